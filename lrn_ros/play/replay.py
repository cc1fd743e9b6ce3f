# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real-time replay: bag player, node and recorder as three processes over DDS."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lrn_ros.data.bags.extent import Extent
from lrn_ros.data.bags.reader import COMPRESSED, BagReader
from lrn_ros.errors import RunError
from lrn_ros.play.processes import NODE, ProcessGroup, environment, node_arguments
from lrn_ros.play.watch import Progress, Watch
from lrn_ros.replay.job import ModelOptions
from lrn_ros.replay.realtime import PlayFiles

_PLAYER = "bag_player"
_COMPRESSED = "/compressed"


@dataclass(frozen=True)
class PlayOptions:
    """How a bag is played.

    Attributes:
        topic: its image topic.
        model: of the node.
        smoothing: the node's temporal_smoothing.
        extent: the part of the bag.
        rate: times as fast as recorded.
        loops: how many times.
        clock: publish /clock, leave the stamps as recorded.
        domain_id: ROS domain; None: ROS_DOMAIN_ID if set, else a random one.
    """

    topic: str
    model: ModelOptions
    smoothing: bool
    extent: Extent
    rate: float
    loops: int
    clock: bool
    domain_id: int | None


def play_bag(
    bag: BagReader, options: PlayOptions, folder: Path, report: Callable[[Progress], None]
) -> bool:
    """Play a bag into a node of its own until every frame is accounted for.

    Args:
        bag: what to play.
        options: how.
        folder: for PlayFiles; what is there is removed.
        report: called a few times a second.

    Returns:
        True when the run is complete, False when it was interrupted (Ctrl-C); what was recorded
        until then is there.

    Raises:
        RunError: a process failed; the message holds the end of its log.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = PlayFiles(folder.resolve())
    family = ProcessGroup(environment(options.domain_id), files.folder, _PLAYER)
    watch = Watch(family, files.sent, files.received, report)
    complete = True
    try:
        try:
            family.start(_PLAYER, _player_arguments(bag, options, files))
            family.start("recorder", ["--log", str(files.received), "--segmentation", NODE])
            family.start("node", _node_arguments(bag, options))
            watch.play()
            watch.drain()
        except KeyboardInterrupt:
            complete = False
            family.stop_player()
            if watch.sent:  # else the node may not even be ready
                with suppress(RunError):  # interrupted, it is no failure too
                    watch.drain()
        family.stop()
    except KeyboardInterrupt:
        complete = False
    finally:
        family.stop()
    return complete


def _topics(bag: BagReader, topic: str) -> tuple[str, str]:
    """What the node's `image` is, and where the images are published: the bag's own names."""
    image = "/" + topic.lstrip("/")
    if bag.topics[topic].type != COMPRESSED:
        return image, image
    image = image.removesuffix(_COMPRESSED)
    return image, image + _COMPRESSED


def _player_arguments(bag: BagReader, options: PlayOptions, files: PlayFiles) -> list[str]:
    extent = options.extent
    arguments = [
        str(bag.path.resolve()), "--bag-topic", options.topic, "--log", str(files.sent),
        "--topic", _topics(bag, options.topic)[1], "--segmentation", NODE,
        "--rate", str(options.rate), "--loop", str(options.loops), "--start", str(extent.start_s),
    ]  # fmt: skip
    if extent.duration_s is not None:
        arguments += ["--duration", str(extent.duration_s)]
    return arguments + ["--clock"] * options.clock


def _node_arguments(bag: BagReader, options: PlayOptions) -> list[str]:
    model = options.model
    parameters = {
        "model": model.model,
        "backend": model.backend,
        "precision": model.precision,
        "use_sim_time": str(options.clock).lower(),
        "temporal_smoothing": str(options.smoothing).lower(),
    }
    if bag.topics[options.topic].type == COMPRESSED:
        parameters["image_transport"] = "compressed"
    if model.network_size is not None:
        parameters["network_size"] = "[{}, {}]".format(*model.network_size)
    if model.threads is not None:
        parameters["threads"] = str(model.threads)
    return node_arguments(parameters, {"image": _topics(bag, options.topic)[0]})
