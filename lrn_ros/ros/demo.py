# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera player, node and recorder as three processes over DDS; none is ever left behind."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import lrn_ros
from lrn_ros.errors import RunError, UserError
from lrn_ros.paths import share_folder

NODE = "/segmentation"
TOPIC = "/demo/image"
_PROFILE = "fastdds_shared_memory.xml"
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_SEGMENTS = 256 << 20  # bytes of /dev/shm that the profile's segments of all processes may take
_QUIET_S = 2.5  # nothing answered for this long after the last frame: the run is over
_DRAIN_S = 30.0  # never wait longer than this for it


@dataclass(frozen=True)
class DemoOptions:
    """What a demo plays, with what, and where to.

    Attributes:
        input: video, folder or bag; None: the rendered scene.
        topic: image topic of a bag; None: its first.
        output: folder for everything that is written.
        frames: how many to play; 0: all.
        rate: Hz.
        size: (height, width) of the scene.
        seed: of the scene.
        model, backend, precision: the node's parameters.
        domain_id: ROS domain; None: ROS_DOMAIN_ID if set, else a random one.
    """

    input: Path | None
    topic: str | None
    output: Path
    frames: int
    rate: float
    size: tuple[int, int]
    seed: int
    model: str
    backend: str
    precision: str
    domain_id: int | None


@dataclass(frozen=True)
class DemoFiles:
    """Where a run leaves its traces."""

    output: Path

    @property
    def logs(self) -> Path:
        """Folder of the processes' logs and of the JSON lines."""
        return self.output / "log"

    @property
    def sent(self) -> Path:
        """What the player sent."""
        return self.logs / "sent.jsonl"

    @property
    def received(self) -> Path:
        """What the recorder got."""
        return self.logs / "received.jsonl"

    @property
    def masks(self) -> Path:
        """Folder of the recorded masks, STAMP.png."""
        return self.output / "masks"

    @property
    def labels(self) -> Path:
        """Folder of the labels of the frames, INDEX.png, where known."""
        return self.output / "labels"


@dataclass(frozen=True)
class Progress:
    """How far a run is: frames sent and answered; both 0 while the processes start."""

    sent: int
    answered: int


def check_ros() -> None:
    """Refuse to start where rclpy is missing.

    Raises:
        UserError: the message says how to get it.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise UserError(
            "rclpy is not installed: source a ROS 2 installation"
            " (source /opt/ros/jazzy/setup.bash), or: pip install 'lrn_ros[ros]'"
        )


def environment(domain_id: int | None, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment of the processes: a domain and a host of their own, and large shared memory.

    What the user set stays: ROS_DOMAIN_ID, unless `domain_id` is given, and the Fast DDS profile.
    """
    env = dict(base)
    if domain_id is not None:
        env["ROS_DOMAIN_ID"] = str(domain_id)
    env.setdefault("ROS_DOMAIN_ID", str(random.randint(1, 101)))
    env.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    xml = share_folder() / "config" / _PROFILE
    given = any(v in env for v in _PROFILE_VARIABLES)
    if xml.is_file() and _shared_memory_suffices() and not given:
        # Jazzy reads the first, later releases the second.
        env |= dict.fromkeys(_PROFILE_VARIABLES, str(xml))
    env |= {"RCUTILS_COLORIZED_OUTPUT": "0", "PYTHONUNBUFFERED": "1"}
    # The processes import the same package as this one, also from a source checkout.
    home = str(Path(lrn_ros.__file__).resolve().parent.parent)
    env["PYTHONPATH"] = os.pathsep.join(p for p in (home, env.get("PYTHONPATH")) if p)
    return env


def _shared_memory_suffices() -> bool:
    shm = Path("/dev/shm")
    return shm.is_dir() and shutil.disk_usage(shm).free > _SEGMENTS


def run_demo(options: DemoOptions, report: Callable[[Progress], None]) -> bool:
    """Run the three processes until every frame is played and answered.

    Args:
        options: what to run; `options.output` exists.
        report: called a few times a second.

    Returns:
        True when the run is complete, False when it was interrupted (Ctrl-C); what was recorded
        until then is there.

    Raises:
        RunError: a process failed; the message holds the end of its log.
    """
    files = DemoFiles(options.output.resolve())
    for folder in (files.logs, files.masks, files.labels):
        folder.mkdir(parents=True, exist_ok=True)
    family = _Family(environment(options.domain_id), files.logs)
    try:
        family.start("camera_player", _player_arguments(options, files))
        family.start("recorder", _recorder_arguments(options, files))
        family.start("node", _node_arguments(options))
        _watch(family, files, report)
        return True
    except KeyboardInterrupt:
        return False
    finally:
        family.stop()


def _player_arguments(options: DemoOptions, files: DemoFiles) -> list[str]:
    arguments = [
        "--log", str(files.sent), "--labels", str(files.labels), "--topic", TOPIC,
        "--segmentation", NODE, "--frames", str(options.frames), "--rate", str(options.rate),
        "--seed", str(options.seed), "--size", *map(str, options.size),
    ]  # fmt: skip
    if options.input is not None:
        arguments += ["--input", str(options.input.resolve()), "--model", _model(options.model)]
    if options.topic is not None:
        arguments += ["--bag-topic", options.topic]
    return arguments


def _recorder_arguments(options: DemoOptions, files: DemoFiles) -> list[str]:
    return [
        "--log", str(files.received), "--output", str(files.output), "--segmentation", NODE,
        "--rate", str(options.rate),
    ]  # fmt: skip


def _node_arguments(options: DemoOptions) -> list[str]:
    parameters = {
        "autostart": "true",
        "model": _model(options.model),
        "backend": options.backend,
        "precision": options.precision,
    }
    pairs = [a for name, value in parameters.items() for a in ("-p", f"{name}:={value}")]
    return ["--ros-args", "-r", f"image:={TOPIC}", *pairs]


def _model(model: str) -> str:
    """A path becomes absolute, a name stays."""
    return str(Path(model).expanduser().resolve()) if Path(model).suffix else model


def _watch(family: _Family, files: DemoFiles, report: Callable[[Progress], None]) -> None:
    """Follow the run through its files until the player has ended and answers have ceased."""
    answered, changed, drain_until = 0, time.monotonic(), None
    while True:
        time.sleep(0.2)
        playing = family.check()
        progress = Progress(_count(files.sent, "stamp_ns"), _count(files.received, '"latency"'))
        report(progress)
        now = time.monotonic()
        if progress.answered != answered or playing:
            answered, changed = progress.answered, now
        if not playing:
            drain_until = drain_until or now + _DRAIN_S
            if now - changed > _QUIET_S or now > drain_until:
                return


def _count(path: Path, word: str) -> int:
    return path.read_text(encoding="utf-8").count(word) if path.is_file() else 0


class _Family:
    """The processes of one run; each writes NAME.log."""

    def __init__(self, env: dict[str, str], logs: Path) -> None:
        self._env, self._logs = env, logs
        self._members: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: list[str]) -> None:
        command = [sys.executable, "-m", f"lrn_ros.ros.{name}", *arguments]
        with (self._logs / f"{name}.log").open("wb") as log:
            self._members[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends the others
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def check(self) -> bool:
        """Whether the player still runs; raises when a process has failed."""
        for name, process in self._members.items():
            status = process.poll()
            if status is not None and (name != "camera_player" or status != 0):
                raise RunError(f"{name} ended with status {status}{self._tail()}")
        return self._members["camera_player"].poll() is None

    def stop(self) -> None:
        """End all in the order they were started, politely first."""
        for process in self._members.values():
            for number, patience in ((signal.SIGINT, 8), (signal.SIGTERM, 4), (signal.SIGKILL, 5)):
                if process.poll() is not None:
                    break
                process.send_signal(number)
                try:
                    process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue

    def _tail(self, lines: int = 6) -> str:
        """The last lines of every log that has any."""
        text = ""
        for name in self._members:
            path = self._logs / f"{name}.log"
            end = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            if end:
                text += "\n".join(["", f"{path}:", *(f"  {line}" for line in end)])
        return text


def _die_with_parent() -> None:
    """In the child before it starts: SIGTERM when the parent dies, even when that is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
