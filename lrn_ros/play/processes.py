# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Player, node and recorder as processes over DDS: started, watched and ended together."""

from __future__ import annotations

import ctypes
import importlib.util
import json
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
from typing import Any

import lrn_ros
from lrn_ros.errors import RunError, UserError, install
from lrn_ros.paths import share_folder
from lrn_ros.ros.shared_memory import profile_environment

NODE = "/segmentation"
GREY = "grey"  # frame_id of the image that wakes the node; this image does not count as a frame
_LAST_DOMAIN = 232  # the ports of a higher domain would exceed 65535
_PROFILE = "fastdds_shared_memory.xml"
_SEGMENTS = 256 << 20  # bytes of /dev/shm that the profile's segments of all processes may take


def check_ros() -> None:
    """Refuse to start if rclpy is missing.

    Raises:
        UserError: the message says how to get it.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise UserError(
            "rclpy is not installed: source a ROS 2 installation"
            f" (source /opt/ros/jazzy/setup.bash), or: {install('ros')}"
        )


def check_domain(domain_id: int | None) -> None:
    """Refuse an impossible --domain-id with a UserError."""
    if (domain_id or 0) > _LAST_DOMAIN:
        raise UserError(f"--domain-id {domain_id}: 0 to {_LAST_DOMAIN} work")


def environment(domain_id: int | None, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment of the processes: their own domain on this host, and large shared memory.

    What the user set stays: ROS_DOMAIN_ID, unless `domain_id` is given, and the Fast DDS profile.
    """
    env = dict(base)
    if domain_id is not None:
        env["ROS_DOMAIN_ID"] = str(domain_id)
    env.setdefault("ROS_DOMAIN_ID", str(random.randint(1, 101)))
    env.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    xml = share_folder() / "config" / _PROFILE
    if xml.is_file() and _shared_memory_suffices():
        env |= profile_environment(xml, env)
    env |= {"RCUTILS_COLORIZED_OUTPUT": "0", "PYTHONUNBUFFERED": "1"}
    # The processes import the same package as this one, also from a source checkout.
    home = str(Path(lrn_ros.__file__).resolve().parent.parent)
    env["PYTHONPATH"] = os.pathsep.join(p for p in (home, env.get("PYTHONPATH")) if p)
    return env


def _shared_memory_suffices() -> bool:
    shm = Path("/dev/shm")
    return shm.is_dir() and shutil.disk_usage(shm).free > _SEGMENTS


def node_arguments(parameters: Mapping[str, str], remappings: Mapping[str, str]) -> list[str]:
    """Arguments of segment_node, which starts by itself; `model` may be a relative path."""
    values = {"autostart": "true", **parameters, "model": model_path(parameters["model"])}
    pairs = [a for name, value in values.items() for a in ("-p", f"{name}:={value}")]
    pairs += [a for name, topic in remappings.items() for a in ("-r", f"{name}:={topic}")]
    return ["--ros-args", *pairs]


def model_path(model: str) -> str:
    """A path becomes absolute, a name stays."""
    return str(Path(model).expanduser().resolve()) if Path(model).suffix else model


class ProcessGroup:
    """The processes of one run. Each is a module of this package and writes NAME.log.

    Args:
        env: their environment.
        logs: folder of the logs.
        player: the one that ends by itself, if there is one.
    """

    def __init__(self, env: dict[str, str], logs: Path, player: str = "") -> None:
        self._env, self._logs, self._player = env, logs, player
        self._members: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Start the node or a module of `lrn_ros.play` as a process."""
        room = "ros" if name == "node" else "play"
        command = [sys.executable, "-m", f"lrn_ros.{room}.{name}", *arguments]
        with (self._logs / f"{name}.log").open("wb") as log:
            process = self._members[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,  # Ctrl-C reaches only the parent, which ends the others
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        return process

    def check(self) -> bool:
        """Whether the player still runs.

        Raises:
            RunError: a process has failed; the message holds the end of its log.
        """
        for name, process in self._members.items():
            status = process.poll()
            if status is not None and (name != self._player or status != 0):
                raise RunError(f"{name} ended with status {status}{self._tail()}")
        player = self._members.get(self._player)
        return player is not None and player.poll() is None

    def stop_player(self) -> None:
        """End only the player, before it ends by itself."""
        if player := self._members.pop(self._player, None):
            _end(player)

    def stop(self) -> None:
        """End all processes in the order of their start: first SIGINT, later SIGKILL."""
        for process in self._members.values():
            _end(process)

    def _tail(self, lines: int = 6) -> str:
        """The last lines of every log that has any."""
        text = ""
        for name in self._members:
            path = self._logs / f"{name}.log"
            end = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            if end:
                text += "\n".join(["", f"{path}:", *(f"  {line}" for line in end)])
        return text


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGINT, 8), (signal.SIGTERM, 4), (signal.SIGKILL, 5)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _die_with_parent() -> None:
    """In the child before it starts: ask for SIGTERM if the parent ends, even by SIGKILL."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


_LOOK_S = 0.2
# A run is over when nothing was received or answered for _QUIET_S seconds, and when the node has
# published the same figures _QUIET_BEATS times, which a busy machine may delay.
_QUIET_S = 2.5
_QUIET_BEATS = 2
_DRAIN_S = 30.0  # the end of the run is never awaited for longer than this


@dataclass(frozen=True)
class Progress:
    """How far a run is: frames sent and answered; both 0 while the processes start."""

    sent: int
    answered: int


class NewLines:
    """Reads the JSON lines that another process appends to a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def read(self) -> list[dict[str, Any]]:
        """The complete lines since the last call; none while there is no file."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self._at += len(text)
        return [json.loads(line) for line in text.splitlines()]


class Watch:
    """Waits for the end of a run.

    Args:
        processes: those of the run.
        sent: lines of the player, one a frame.
        received: lines of the recorder.
        report: called a few times per second.
    """

    def __init__(
        self,
        processes: ProcessGroup,
        sent: Path,
        received: Path,
        report: Callable[[Progress], None],
    ) -> None:
        self._processes, self._report = processes, report
        self._sent_lines, self._received_lines = NewLines(sent), NewLines(received)
        self._sent = self._answered = 0
        self._received = ""  # number of received frames, as the node last published it
        self._beats = 0  # how often the node has published this number

    @property
    def sent(self) -> int:
        """Frames sent so far."""
        return self._sent

    def play(self) -> None:
        """Until the player has ended; raises RunError as ProcessGroup.check."""
        while self._processes.check():
            self._look()
            time.sleep(_LOOK_S)

    def drain(self) -> None:
        """Until the node has neither received nor answered anything for a while."""
        start = changed = time.monotonic()
        seen = None
        self._beats = 0
        while time.monotonic() < start + _DRAIN_S:
            self._processes.check()
            self._look()
            if (self._answered, self._received) != seen:
                seen, changed = (self._answered, self._received), time.monotonic()
            if self._beats >= _QUIET_BEATS and time.monotonic() > changed + _QUIET_S:
                return
            time.sleep(_LOOK_S)

    def _look(self) -> None:
        self._sent += len(self._sent_lines.read())
        new = self._received_lines.read()
        if self._sent:  # what was answered before was no frame
            self._answered += sum(line["kind"] == "latency" for line in new)
        for line in new:
            received = line.get("values", {}).get("received")
            if line["kind"] == "diagnostics" and received is not None:
                self._beats = self._beats + 1 if received == self._received else 0
                self._received = received
        self._report(Progress(self._sent, self._answered))
