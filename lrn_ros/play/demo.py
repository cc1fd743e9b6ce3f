# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's three processes: camera player, node and recorder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lrn_ros.play.processes import NODE, ProcessGroup, environment, model_path, node_arguments
from lrn_ros.play.watch import Progress, Watch

_PLAYER = "camera_player"
_TOPIC = "/demo/image"


@dataclass(frozen=True)
class DemoOptions:
    """What a demo plays, with what, and where to.

    Attributes:
        input: video, folder or bag; None: the rendered scene.
        topic: image topic of a bag; None: its only one.
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
    family = ProcessGroup(environment(options.domain_id), files.logs, _PLAYER)
    try:
        family.start(_PLAYER, _player_arguments(options, files))
        family.start("recorder", _recorder_arguments(options, files))
        family.start("node", node_arguments(_parameters(options), {"image": _TOPIC}))
        watch = Watch(family, files.sent, files.received, report)
        watch.play()
        watch.drain()
        return True
    except KeyboardInterrupt:
        return False
    finally:
        family.stop()


def _player_arguments(options: DemoOptions, files: DemoFiles) -> list[str]:
    arguments = [
        "--log", str(files.sent), "--labels", str(files.labels), "--topic", _TOPIC,
        "--segmentation", NODE, "--frames", str(options.frames), "--rate", str(options.rate),
        "--seed", str(options.seed), "--size", *map(str, options.size),
    ]  # fmt: skip
    if options.input is not None:
        arguments += ["--input", str(options.input.resolve())]
        arguments += ["--model", model_path(options.model)]
    if options.topic is not None:
        arguments += ["--bag-topic", options.topic]
    return arguments


def _recorder_arguments(options: DemoOptions, files: DemoFiles) -> list[str]:
    return [
        "--log", str(files.received), "--output", str(files.output), "--segmentation", NODE,
        "--rate", str(options.rate),
    ]  # fmt: skip


def _parameters(options: DemoOptions) -> dict[str, str]:
    return {
        "model": options.model,
        "backend": options.backend,
        "precision": options.precision,
    }
