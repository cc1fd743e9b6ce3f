# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real time: a player, the node and a recorder as three processes over DDS."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lrn_ros.data.bags.times import Extent
from lrn_ros.errors import RunError, UserError
from lrn_ros.play.processes import (
    NODE,
    ProcessGroup,
    Progress,
    Watch,
    environment,
    model_path,
    node_arguments,
)
from lrn_ros.replay.job import ModelOptions, open_bag
from lrn_ros.replay.realtime import PlayFiles

_PLAYER = "player"
DEMO_TOPIC = "/camera/image_raw"  # as in the layouts of the viewers


@dataclass(frozen=True)
class PlayOptions:
    """How images are played into the node.

    Attributes:
        model: model of the node.
        smoothing: the node's temporal_smoothing.
        extent: the part of a bag.
        rate: times as fast as recorded.
        loops: how many times.
        clock: publish /clock, leave the stamps as recorded.
        domain_id: ROS domain; None: ROS_DOMAIN_ID if set, else a random one.
    """

    model: ModelOptions
    smoothing: bool = False
    extent: Extent = Extent()  # noqa: RUF009 (frozen)
    rate: float = 1.0
    loops: int = 1
    clock: bool = False
    domain_id: int | None = None


@dataclass(frozen=True)
class SourceOptions:
    """A source that is played at a steady rate; see Source.

    Attributes:
        input: video, folder or bag; None: the rendered scene.
        topic: image topic of a bag; None: its only one.
        frames: how many to play; 0: all.
        fps: Hz.
        size: (height, width) of the scene.
        seed: seed of the scene.
        pictures: folder for overlay.mp4, masks/STAMP.png and labels/INDEX.png.
    """

    input: Path | None
    topic: str | None
    frames: int
    fps: float
    size: tuple[int, int]
    seed: int
    pictures: Path


def play_bag(
    bag: Path,
    topics: Sequence[str],
    options: PlayOptions,
    folder: Path,
    report: Callable[[Progress], None],
) -> bool:
    """Play image topics of a bag into a node of its own until every frame is accounted for.

    Args:
        bag: what to play.
        topics: image topics of the bag; several are cameras of one node, see cameras_of.
        options: how.
        folder: folder for PlayFiles; its old files are removed.
        report: called a few times per second.

    Returns:
        True when the run is complete, False when it was interrupted (Ctrl-C); what was recorded
        until then is there.

    Raises:
        UserError: the topics are of different types, or the ROS package of their type is missing.
        RunError: a process failed; the message holds the end of its log.
    """
    from lrn_ros.ros.transports import message_class, transport_of  # needs rclpy

    cameras, extent = cameras_of(topics), options.extent
    types = {open_bag(bag).topics[topic].type for topic in topics}
    if len(types) > 1:
        raise UserError(f"{bag}: one node takes images of one type, not {' and '.join(types)}")
    transport, suffix = transport_of(types.pop())
    message_class(transport)  # before any process starts: its package may be missing
    images = {c: "/" + topic.lstrip("/").removesuffix(suffix) for c, topic in cameras.items()}
    player = ["--bag", str(bag.resolve()), "--rate", str(options.rate)]
    player += ["--loop", str(options.loops), "--start", str(extent.start_s)]
    for camera, topic in cameras.items():
        player += ["--camera", camera, topic, images[camera] + suffix]
    if extent.duration_s is not None:
        player += ["--duration", str(extent.duration_s)]
    player += ["--clock"] * options.clock
    several = [camera for camera in cameras if camera]
    player += ["--outputs", "latency", *("/".join(filter(None, (c, "mask"))) for c in cameras)]
    recorder = ["--cameras", *several]
    parameters = {"image_transport": transport}
    if several:
        parameters["cameras"] = f"[{', '.join(several)}]"
    node = _node_arguments(options, images, parameters)
    return _run(player, recorder, node, options, folder, report)


def play_source(
    source: SourceOptions,
    options: PlayOptions,
    folder: Path,
    report: Callable[[Progress], None],
) -> bool:
    """Play a source into a node of its own and record pictures; otherwise as `play_bag`."""
    labels = (source.pictures / "labels").resolve()
    labels.mkdir(parents=True, exist_ok=True)
    player = [
        "--topic", DEMO_TOPIC, "--labels", str(labels), "--frames", str(source.frames), "--fps",
        str(source.fps), "--seed", str(source.seed), "--size", *map(str, source.size),
        "--outputs", "mask", "overlay", "latency",
    ]  # fmt: skip
    if source.input is not None:
        player += ["--input", str(source.input.resolve())]
        player += ["--model", model_path(options.model.model)]
    if source.topic is not None:
        player += ["--bag-topic", source.topic]
    recorder = ["--output", str(source.pictures.resolve()), "--rate", str(source.fps)]
    recorder += ["--sent", str(PlayFiles(folder.resolve()).sent)]
    node = _node_arguments(options, {"": DEMO_TOPIC}, {"legend": "true"})
    return _run(player, recorder, node, options, folder, report)


def cameras_of(topics: Sequence[str]) -> dict[str, str]:
    """Image topics by the name of their camera in the node: one alone has the empty name.

    >>> cameras_of(["/left/image_raw", "/right/image_raw"])
    {'camera0': '/left/image_raw', 'camera1': '/right/image_raw'}
    """
    if len(topics) == 1:
        return {"": topics[0]}
    return {f"camera{i}": topic for i, topic in enumerate(topics)}


def _run(
    player: list[str],
    recorder: list[str],
    node: list[str],
    options: PlayOptions,
    folder: Path,
    report: Callable[[Progress], None],
) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = PlayFiles(folder.resolve())
    processes = ProcessGroup(environment(options.domain_id), files.folder, _PLAYER)
    watch = Watch(processes, files.sent, files.received, report)
    complete, segmentation = True, ["--segmentation", NODE]
    try:
        try:
            processes.start(_PLAYER, [*player, *segmentation, "--log", str(files.sent)])
            processes.start("recorder", [*recorder, *segmentation, "--log", str(files.received)])
            processes.start("node", node)
            watch.play()
            watch.drain()
        except KeyboardInterrupt:
            complete = False
            processes.stop_player()
            if watch.sent:  # else the node may not even be ready
                with suppress(RunError):  # interrupted, it is no failure too
                    watch.drain()
        processes.stop()
    except KeyboardInterrupt:
        complete = False
    finally:
        processes.stop()
    return complete


def _node_arguments(
    options: PlayOptions, images: Mapping[str, str], more: Mapping[str, str]
) -> list[str]:
    """Arguments of segment_node; `images` are its topics by camera."""
    model = options.model
    parameters = {
        "model": model.model,
        "backend": model.backend,
        "precision": model.precision,
        "use_sim_time": str(options.clock).lower(),
        "temporal_smoothing": str(options.smoothing).lower(),
        **more,
    }
    if model.network_size is not None:
        parameters["network_size"] = "[{}, {}]".format(*model.network_size)
    if model.threads is not None:
        parameters["threads"] = str(model.threads)
    remappings = {"/".join(filter(None, (c, "image"))): topic for c, topic in images.items()}
    return node_arguments(parameters, remappings)
