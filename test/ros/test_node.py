# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""segment_node as its own process over real DDS: outputs, order, drops, parameters, lifecycle."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from harness import (
    Client,
    NodeProcess,
    best_effort,
    image_message,
    latched,
    new_domain,
    reliable,
    stamp_of,
    wait,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from lrn_ros import Segmenter
from lrn_ros.inference.overlay import colorize, draw_overlay, legend_picture
from lrn_ros.inference.palette import shown
from lrn_ros.model.labels import LabelSet
from lrn_ros.scene import StreetScene

SIZE = (120, 160)
CAMVID = LabelSet.load("camvid11")
SCENE = StreetScene(seed=2, height=SIZE[0], width=SIZE[1])


def to_array(message: Image) -> np.ndarray:
    array = np.frombuffer(message.data, np.uint8)
    shape = (message.height, message.width, -1)
    assert message.step * message.height == len(array)
    return array.reshape(shape).squeeze(-1) if message.encoding == "mono8" else array.reshape(shape)


def values(message: DiagnosticArray) -> dict[str, str]:
    return {v.key: v.value for v in message.status[0].values}


@pytest.fixture(scope="module")
def reference(random_model: Path) -> Segmenter:
    return Segmenter.load(random_model, backend="torch")


@pytest.fixture(scope="module")
def running(
    random_model: Path, domain: int, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    """One autostarted node that several tests share."""
    log = tmp_path_factory.mktemp("node") / "node.log"
    arguments = ["-p", "autostart:=true", "-p", f"model:={random_model}"]
    node = NodeProcess(log, domain, *arguments, "-r", "image:=/camera/image_raw")
    client.wait_active()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def camera(client: Client, running: NodeProcess) -> Any:
    publisher = client.node.create_publisher(Image, "/camera/image_raw", reliable(1))
    wait(lambda: publisher.get_subscription_count() > 0, 10, "the node subscribes")
    wait(lambda: " as reliable" in running.text(), 10, "the subscription follows the publisher")
    wait(lambda: publisher.get_subscription_count() > 0, 10, "the new subscription is connected")
    return publisher


def send(publisher: Any, got: list[Any], message: Any, timeout: float = 20.0) -> Any:
    """Publish and wait for the answer with the same stamp."""
    publisher.publish(message)
    stamp = stamp_of(message)
    wait(lambda: any(stamp_of(m) == stamp for m in got), timeout, "an answer with this stamp")
    return next(m for m in got if stamp_of(m) == stamp)


def subscribe_outputs(client: Client, *names: str) -> list[list[Any]]:
    kinds = {"latency": DiagnosticArray, "overlay/compressed": CompressedImage}
    got = [client.collect(kinds.get(n, Image), f"/segmentation/{n}") for n in names]
    for name in names:
        topic = f"/segmentation/{name}"
        wait(lambda t=topic: client.node.count_publishers(t) > 0, 10, f"{topic} is discovered")
    time.sleep(0.5)
    return got


def test_every_output(client: Client, camera: Any, reference: Segmenter) -> None:
    names = ("mask", "color", "overlay", "overlay/compressed", "confidence", "latency")
    got = dict(zip(names, subscribe_outputs(client, *names)))
    rgb, _ = SCENE.frame(0)
    message = image_message(rgb, "rgb8", time.time_ns(), "front camera ü")
    camera.publish(message)
    for name, messages in got.items():
        wait(lambda m=messages: m, 20, f"{name} arrives")
    expected = reference(rgb, confidence=True)
    for name, messages in got.items():
        assert messages[0].header.stamp == message.header.stamp, name
        assert messages[0].header.frame_id == "front camera ü", name
    np.testing.assert_array_equal(to_array(got["mask"][0]), expected.mask)
    np.testing.assert_array_equal(to_array(got["confidence"][0]), expected.confidence)
    color = colorize(expected.mask, shown(reference.labels).lookup())
    np.testing.assert_array_equal(to_array(got["color"][0]), color)
    overlay = to_array(got["overlay"][0])
    drawn = draw_overlay(rgb, expected.mask, shown(reference.labels))  # with people outlined
    np.testing.assert_array_equal(overlay, drawn)
    lines = (drawn == 0).all(2) | (drawn == 255).all(2)
    assert np.abs(overlay - (rgb * 0.5 + color * 0.5))[~lines].max() <= 1
    jpeg = cv2.imdecode(np.frombuffer(got["overlay/compressed"][0].data, np.uint8), 1)
    band = 24  # the legend is always on it, and not on ~/overlay by default
    assert np.abs(jpeg[band:, :, ::-1].astype(int) - overlay[band:]).mean() < 8
    assert np.median(jpeg[:14, -4:]) < 45 < np.median(overlay[:14, -4:])
    assert [m[0].encoding for n, m in got.items() if n in ("mask", "color", "confidence")] == [
        "mono8", "rgb8", "mono8",
    ]  # fmt: skip
    latency = values(got["latency"][0])
    stages = ("queue", "decode", "preprocess", "inference", "postprocess")
    parts = sum(float(latency[f"{s}_ms"]) for s in stages)
    assert parts <= float(latency["processing_ms"]) <= float(latency["end_to_end_ms"])
    assert float(latency["processing_ms"]) - parts < 50
    assert 0 <= float(latency["transport_ms"]) < 1000
    assert latency["backend"] == "torch fp32" and latency["batch"] == "1"


def test_classes_for_late_subscribers(client: Client, running: NodeProcess) -> None:
    got = client.collect(String, "/segmentation/classes", latched())
    wait(lambda: got, 10, "classes arrive")
    classes = json.loads(got[0].data)
    road = {"id": 3, "name": "road", "rgb": [132, 158, 155], "dataset_rgb": [128, 64, 128]}
    assert classes[3] == road and len(classes) == 11
    legends = client.collect(Image, "/segmentation/legend", latched())
    wait(lambda: legends, 10, "a legend arrives")
    np.testing.assert_array_equal(to_array(legends[0]), legend_picture(shown(CAMVID)))


def test_the_palette_can_be_changed(client: Client, camera: Any, reference: Segmenter) -> None:
    classes = client.collect(String, "/segmentation/classes", latched())
    legends = client.collect(Image, "/segmentation/legend", latched())
    (colors,) = subscribe_outputs(client, "color")
    wait(lambda: classes and legends, 10, "the present palette arrives")
    rgb, _ = SCENE.frame(2)
    try:
        assert client.set_parameter("palette", "dataset").successful
        wait(lambda: len(classes) > 1 and len(legends) > 1, 10, "the new one")
        assert json.loads(classes[-1].data)[3]["rgb"] == [128, 64, 128]
        np.testing.assert_array_equal(to_array(legends[-1]), legend_picture(CAMVID))
        color = to_array(send(camera, colors, image_message(rgb, "rgb8", time.time_ns())))
        np.testing.assert_array_equal(color, colorize(reference(rgb).mask, CAMVID.lookup()))
    finally:
        assert client.set_parameter("palette", "display").successful


@pytest.mark.parametrize("encoding", ["bgr8", "mono8", "rgba8"])
def test_encodings_reach_the_network(
    client: Client, camera: Any, reference: Segmenter, encoding: str
) -> None:
    (masks,) = subscribe_outputs(client, "mask")
    rgb, _ = SCENE.frame(1)
    convert = {
        "bgr8": lambda: rgb[..., ::-1].copy(),
        "mono8": lambda: rgb[..., 0].copy(),
        "rgba8": lambda: np.dstack([rgb, np.zeros(SIZE, np.uint8)]),
    }
    sent = convert[encoding]()
    seen = np.repeat(sent[..., None], 3, 2) if encoding == "mono8" else rgb
    answer = send(camera, masks, image_message(sent, encoding, time.time_ns()))
    np.testing.assert_array_equal(to_array(answer), reference(seen).mask)


def test_bad_images_are_counted_said_once_and_survived(
    client: Client, camera: Any, running: NodeProcess
) -> None:
    masks, latencies = subscribe_outputs(client, "mask", "latency")
    diagnostics = client.diagnostics()
    rgb, _ = SCENE.frame(2)
    good = image_message(rgb, "rgb8", 0)

    def bad(**changes: Any) -> Image:
        message = image_message(rgb, "rgb8", time.time_ns())
        for key, value in changes.items():
            setattr(message, key, value)
        return message

    broken = [
        bad(encoding="rgb7"), bad(encoding="rgb7"), bad(height=4_000_000_000), bad(width=0),
        bad(step=3), bad(step=SIZE[1] * 3 + 1), bad(height=SIZE[0] + 1), bad(encoding=""),
    ]  # fmt: skip
    before = running.text().count("dropped as invalid")
    for message in broken:
        camera.publish(message)
        time.sleep(0.15)
    good.header.stamp.sec = 17
    assert send(camera, masks, good).header.stamp.sec == 17
    wait(lambda: latencies, 5, "latency arrives")
    assert int(values(latencies[-1])["dropped"]) >= len(broken)

    def reported() -> dict[str, str]:
        return {
            v.key: v.value
            for array in diagnostics[-1:]
            for status in array.status
            if status.name == "segmentation: camera"
            for v in status.values
        }

    wait(lambda: int(reported().get("dropped_invalid", 0)) >= len(broken), 5, "diagnostics count")
    faults = [k for k in reported() if k.startswith("fault ")]
    assert 3 <= len(faults) < len(broken)
    assert running.text().count("dropped as invalid") - before == len(faults)


def test_a_fast_camera_gets_the_newest_frame(client: Client, camera: Any) -> None:
    masks, latencies = subscribe_outputs(client, "mask", "latency")
    rgb, _ = SCENE.frame(3)
    # Large images, so that the camera outruns the node on any machine.
    big = cv2.resize(rgb, (1280, 960))
    message = image_message(big, "rgb8", 1)
    sent: list[int] = []
    end = time.monotonic() + 5
    while time.monotonic() < end:
        now = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
        camera.publish(message)
        sent.append(now)
        time.sleep(0.01)
    time.sleep(1.5)
    stamps = [stamp_of(m) for m in masks]
    assert 3 < len(stamps) < len(sent)
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    assert set(stamps) <= set(sent)
    assert stamps[-1] == sent[-1], "the last frame is processed, not an older one"
    half = len(latencies) // 2
    queue = [float(values(m)["queue_ms"]) for m in latencies]
    inference = [float(values(m)["processing_ms"]) for m in latencies]
    assert np.median(queue[half:]) < 1.5 * np.median(inference), "no queue builds up"


def test_live_parameters(client: Client, camera: Any, reference: Segmenter) -> None:
    masks, overlays = subscribe_outputs(client, "mask", "overlay")
    rgb, _ = SCENE.frame(4)
    expected = reference(rgb, confidence=True)
    assert expected.confidence is not None
    threshold = float(np.median(expected.confidence)) / 255
    try:
        assert client.set_parameter("confidence_threshold", threshold).successful
        assert client.set_parameter("overlay_alpha", 1).successful  # an integer is fine
        mask = to_array(send(camera, masks, image_message(rgb, "rgb8", time.time_ns())))
        low = expected.confidence < threshold * 255
        np.testing.assert_array_equal(mask[low], 255)
        np.testing.assert_array_equal(mask[~low], expected.mask[~low])
        wait(lambda: overlays and stamp_of(overlays[-1]) == stamp_of(masks[-1]), 5, "overlay")
        drawn = draw_overlay(rgb, mask, shown(reference.labels), 1.0)
        np.testing.assert_array_equal(to_array(overlays[-1]), drawn)
        plain = (drawn > 0).any(2) & (drawn < 255).any(2)  # not the outline of people
        np.testing.assert_array_equal(drawn[low & plain], rgb[low & plain])
        color = colorize(expected.mask, shown(reference.labels).lookup())
        np.testing.assert_array_equal(drawn[~low & plain], color[~low & plain])
    finally:
        client.set_parameter("confidence_threshold", 0.0)
        client.set_parameter("overlay_alpha", 0.5)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("overlay_alpha", 1.5, "'overlay_alpha': 1.5 is not allowed; a number from 0 to 1"),
        ("max_age_ms", -1.0, "a number from 0 up"),
        ("legend", "yes", "true or false"),
        ("palette", "pretty", "one of display, dataset"),
        ("backend", "tpu", "one of auto"),
        ("model", "lrnnet_c_camvid", "ros2 lifecycle set /segmentation deactivate"),
        ("cameras", ["front", "left"], "cleanup"),
        ("autostart", False, "process start only"),
    ],
)
def test_refused_parameters(
    client: Client, running: NodeProcess, name: str, value: Any, says: str
) -> None:
    result = client.set_parameter(name, value)
    assert not result.successful and says in result.reason


def test_best_effort_publishers_are_heard(
    client: Client, running: NodeProcess, camera: Any
) -> None:
    (masks,) = subscribe_outputs(client, "mask")
    other = client.node.create_publisher(Image, "/camera/image_raw", best_effort(1))
    try:
        wait(
            lambda: "subscribed as best_effort" in running.text().split("active")[-1], 10, "switch"
        )
        wait(lambda: other.get_subscription_count() > 0, 10, "match")
        rgb, _ = SCENE.frame(6)
        send(other, masks, image_message(rgb, "rgb8", time.time_ns()))
        send(camera, masks, image_message(rgb, "rgb8", time.time_ns()))
    finally:
        client.node.destroy_publisher(other)
    wait(lambda: running.text().rstrip().endswith("reliable"), 10, "reliable again")


def test_nobody_listens_no_inference(
    start_node: Callable[..., NodeProcess], random_model: Path
) -> None:
    domain = new_domain()
    client = Client(domain)
    node = NodeProcess(
        Path(str(random_model) + ".log"), domain, "-p", "autostart:=true", "-p",
        f"model:={random_model}",
    )  # fmt: skip
    try:
        client.wait_active()
        diagnostics = client.diagnostics()
        camera = client.node.create_publisher(Image, "/image", reliable(1))
        wait(lambda: camera.get_subscription_count() > 0, 10, "the node subscribes")
        rgb, _ = SCENE.frame(7)

        def status() -> Any:
            camera.publish(image_message(rgb, "rgb8", time.time_ns()))
            time.sleep(0.1)
            return [s for a in diagnostics[-1:] for s in a.status if s.name.endswith("camera")]

        wait(lambda: any(s.message == "idle: no subscribers" for s in status()), 15, "idle")
        counts = {v.key: v.value for v in status()[0].values}
        assert counts["published"] == "0" and int(counts["idle"]) > 0
        assert client.set_parameter("lazy", False).successful
        wait(
            lambda: "Hz" in status()[0].message and "0.0 of" not in status()[0].message, 15, "runs"
        )
    finally:
        node.stop()
        client.close()


class TestLifecycle:
    """A node without autostart, taken through its states."""

    def test_life(self, start_node: Callable[..., NodeProcess], random_model: Path) -> None:
        domain = new_domain()
        client = Client(domain)
        log = random_model.parent / "life.log"
        node = NodeProcess(log, domain, "-p", f"model:={random_model}", "-p", "overlay_alpha:=7.5")
        try:
            diagnostics = client.diagnostics()
            assert client.state() == "unconfigured"
            wait(lambda: diagnostics, 5, "diagnostics while unconfigured")
            assert "ros2 lifecycle set /segmentation configure" in diagnostics[-1].status[0].message
            # A bad override fails configure, with the reason, and the node lives on.
            assert not client.transition("configure")
            assert client.state() == "unconfigured"
            assert "'overlay_alpha': 7.5 is not allowed; a number from 0 to 1" in node.text()
            assert client.set_parameter("overlay_alpha", 0.25).successful
            assert not client.set_parameter("model", "/etc/passwd").successful
            for _ in range(2):
                assert client.transition("configure")
                assert client.state() == "inactive"
                masks = client.collect(Image, "/segmentation/mask")
                camera = client.node.create_publisher(Image, "/image", reliable(1))
                wait(lambda c=camera: c.get_subscription_count() > 0, 10, "the node subscribes")
                time.sleep(1.0)
                camera.publish(image_message(SCENE.frame(0)[0], "rgb8", 5))
                time.sleep(0.5)
                assert not masks, "an inactive node publishes nothing"
                assert client.transition("activate")
                send(camera, masks, image_message(SCENE.frame(0)[0], "rgb8", 10**9))
                assert client.transition("deactivate")
                assert client.transition("cleanup")
                assert client.state() == "unconfigured"
                client.node.destroy_publisher(camera)
            assert client.transition("shutdown")
            assert client.state() == "finalized"
        finally:
            node.stop()
            client.close()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signals_end_it_within_two_seconds(
        self, tmp_path: Path, random_model: Path, number: int
    ) -> None:
        node = NodeProcess(
            tmp_path / "node.log", new_domain(), "-p", "autostart:=true", "-p",
            f"model:={random_model}",
        )  # fmt: skip
        wait(lambda: "active" in node.text(), 30, "active")
        node.process.send_signal(number)  # a terminal and ros2 launch together send two
        assert node.stop(number) < 2.0
        assert node.process.returncode == 0 and "Traceback" not in node.text()

    def test_a_signal_while_configuring(self, tmp_path: Path, random_model: Path) -> None:
        arguments = ["-p", "autostart:=true", "-p", f"model:={random_model}"]
        node = NodeProcess(tmp_path / "node.log", new_domain(), *arguments)
        time.sleep(1.5)  # torch is being imported
        assert node.stop() < 2.0
        assert node.process.returncode in (0, -signal.SIGINT)


def test_compressed_input_and_scaled_camera_info(
    start_node: Callable[..., NodeProcess], random_model: Path
) -> None:
    domain = new_domain()
    client = Client(domain)
    log = random_model.parent / "compressed.log"
    node = NodeProcess(
        log, domain, "-p", "autostart:=true", "-p", f"model:={random_model}",
        "-p", "image_transport:=compressed", "-p", "output_size:=network",
        "-r", "image:=/front/image_raw",
    )  # fmt: skip
    try:
        client.wait_active()
        camera = client.node.create_publisher(
            CompressedImage, "/front/image_raw/compressed", best_effort(1)
        )
        infos = client.node.create_publisher(CameraInfo, "/front/camera_info", reliable(1))
        masks = client.collect(Image, "/segmentation/mask")
        scaled = client.collect(CameraInfo, "/segmentation/camera_info")
        wait(lambda: camera.get_subscription_count() and infos.get_subscription_count(), 10, "subs")
        rgb, _ = StreetScene(seed=2, height=240, width=320).frame(0)
        info = CameraInfo(height=240, width=320)
        info.k = [200.0, 0.0, 159.5, 0.0, 210.0, 119.5, 0.0, 0.0, 1.0]
        info.p = [200.0, 0.0, 159.5, -20.0, 0.0, 210.0, 119.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        info.d = [0.1, 0.2, 0.0, 0.0, 0.0]
        infos.publish(info)
        time.sleep(1.0)
        message = CompressedImage(format="jpeg")
        message.header.frame_id, message.header.stamp.sec = "front", 7
        jpeg = cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()
        message.data.frombytes(jpeg)
        camera.publish(message)
        wait(lambda: masks and scaled, 20, "mask and camera_info arrive")
        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        reference = Segmenter.load(random_model, backend="torch")
        expected = reference(decoded, output="network").mask
        np.testing.assert_array_equal(to_array(masks[0]), expected)
        assert expected.shape == (96, 128)
        out = scaled[0]
        assert (out.height, out.width, out.header) == (96, 128, masks[0].header)
        np.testing.assert_allclose(out.k, [80, 0, 63.5, 0, 84, 47.5, 0, 0, 1])
        np.testing.assert_allclose(out.p, [80, 0, 63.5, -8, 0, 84, 47.5, 0, 0, 0, 1, 0])
        assert list(out.d) == list(info.d)
        # A header that claims a huge image is refused without decoding it.
        huge = CompressedImage(format="png")
        ihdr = (20_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
        huge.data.frombytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + ihdr + b"\x00" * 8)
        camera.publish(huge)
        wait(lambda: "dropped as invalid" in node.text(), 10, "the huge image is reported")
    finally:
        node.stop()
        client.close()
