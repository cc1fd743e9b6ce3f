# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fast DDS loads the shared-memory profile, and large best-effort images arrive."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import NodeProcess, wait

from lrn_ros.ros.shared_memory import shared_memory_fault

PROFILE = Path(__file__).resolve().parents[2] / "config" / "fastdds_shared_memory.xml"
VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
FRAMES = 40

CAMERA = """
import sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

width, height, frames = map(int, sys.argv[1:])
rclpy.init()
node = rclpy.create_node("camera")
qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
publisher = node.create_publisher(Image, "image", qos)
image = Image(width=width, height=height, encoding="bgr8", step=3 * width)
image.data.frombytes(bytes(3 * width * height))
limit = time.monotonic() + 15
while not publisher.get_subscription_count() and time.monotonic() < limit:
    time.sleep(0.05)
time.sleep(0.5)
start = time.monotonic()
for i in range(frames):
    image.header.frame_id = str(i)
    publisher.publish(image)
    time.sleep(max(0.0, start + (i + 1) / 10 - time.monotonic()))
time.sleep(0.5)
"""
READER = """
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node("reader")
qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
node.create_subscription(Image, "image", lambda m: print(m.header.frame_id, flush=True), qos)
rclpy.spin(node)
"""


def environment(domain, profile):
    """Variables of a process in the domain that has the profile and no other."""
    variables = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    variables["ROS_DOMAIN_ID"] = str(domain)
    return variables | (dict.fromkeys(VARIABLES, str(profile)) if profile else {})


def received(domain, width, height, *, camera, reader):
    """Numbers of the camera's frames that reach a reader; each process with its own profile."""
    listen = [sys.executable, "-c", READER]
    publish = [sys.executable, "-c", CAMERA, str(width), str(height), str(FRAMES)]
    listener = subprocess.Popen(
        listen, env=environment(domain, reader), stdout=subprocess.PIPE, text=True
    )
    try:
        subprocess.run(publish, env=environment(domain, camera), check=True, timeout=60)
    finally:
        listener.kill()
        said, _ = listener.communicate(timeout=20)
    return [int(line) for line in said.split()]


def test_large_images_arrive_with_the_profile(domain):
    """1920x1080 bgr8; with the default segment of 512 KB most of them are lost."""
    numbers = received(domain, 1920, 1080, camera=PROFILE, reader=None)
    assert numbers == sorted(numbers)
    assert len(numbers) >= 0.9 * FRAMES


def test_a_reader_without_shared_memory_hears_the_profiles_udp(domain, tmp_path):
    """As on another host: the reader's only transport is UDP."""
    udp_only = tmp_path / "udp.xml"
    udp_only.write_text(
        PROFILE.read_text()
        .replace("<type>SHM</type>", "<type>UDPv4</type>")
        .replace("<segment_size>67108864</segment_size>", "")
        .replace("<maxMessageSize>16777216</maxMessageSize>", "")
    )
    assert len(received(domain, 160, 120, camera=PROFILE, reader=udp_only)) >= 0.9 * FRAMES


def test_the_profile_takes_shared_memory_of_the_stated_size(domain):
    """The mapped segment shows that the profile is used: Fast DDS says nothing when it is not."""
    code = """
import rclpy
rclpy.init()
node = rclpy.create_node("n")
for line in open("/proc/self/maps"):
    if "/dev/shm/fast" in line:
        start, end = line.split()[0].split("-")
        print("segment", int(end, 16) - int(start, 16))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(domain, PROFILE),
        capture_output=True,
        text=True,
        timeout=60,
    )
    sizes = [int(line.split()[1]) for line in done.stdout.splitlines() if "segment" in line]
    assert done.returncode == 0 and sizes, done.stderr
    assert max(sizes) >= 64 * 1024 * 1024


def test_a_small_shared_memory_is_said(domain, tmp_path):
    """As in Docker, whose /dev/shm has 64 MB; here it has 16."""
    small = 'mount -t tmpfs -o size=16m tmpfs /dev/shm && exec "$@"'
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", small, "small"]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespace")
    node = NodeProcess(tmp_path / "node.log", domain, prefix=prefix)
    try:
        wait(lambda: "next: ros2 lifecycle set" in node.text(), 30, "the node lives")
        assert "of 16 MB free, and every process with the DDS profile takes 64 MB" in node.text()
        assert "--shm-size=1g" in node.text()
    finally:
        node.stop()


def test_only_the_missing_segment_of_this_profile_is_a_fault(tmp_path):
    """Mappings as in /proc/self/maps: Fast DDS's own segment of 540 KB, and one of 64 MB."""
    own = "7fc930779000-7fc930800000 rw-s 00000000 00:27 8   /dev/shm/fastrtps_2a199c431c0618c5\n"
    large = "7fc930000000-7fc934001000 rw-s 00000000 00:27 8   /dev/shm/fastrtps_3a199c431c0618c5\n"
    ours = {VARIABLES[0]: str(PROFILE)}
    assert "64 MB" in shared_memory_fault(own, ours)
    assert not shared_memory_fault(own + large, ours)
    assert not shared_memory_fault(own, {})
    other = tmp_path / "other.xml"
    other.write_text("<dds/>")
    assert not shared_memory_fault(own, {VARIABLES[0]: str(other)})
    assert not shared_memory_fault(own, {VARIABLES[0]: str(tmp_path / "absent.xml")})
