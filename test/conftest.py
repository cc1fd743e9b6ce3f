# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several rooms share."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_bags import LABELS, START_NS, STEP_NS

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell script's background: the processes under test would inherit it, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of LRNNet-C with random weights and CamVid's classes."""
    torch = pytest.importorskip("torch")
    from lrn_ros.model.artifact import ModelInfo, save_model
    from lrn_ros.model.labels import LabelSet
    from lrn_ros.networks import build

    torch.manual_seed(0)
    network = build("lrnnet_c", num_classes=11)
    torch.nn.init.normal_(network.svn.conv2.weight, std=0.05)
    with torch.no_grad():
        for _ in range(3):  # so that the statistics of batch norm are not the trivial ones
            network.train()(torch.randn(2, 3, 64, 96))
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    info = ModelInfo(
        name="random",
        architecture="lrnnet_c",
        labels=LabelSet.load("camvid11"),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size=(96, 128),
        license="none: random weights",
    )
    save_model(path, info, {k: v.numpy() for k, v in network.state_dict().items()})
    return path


@pytest.fixture
def write_bag(tmp_path: Path) -> Callable[..., Path]:
    """Write messages to a bag: for each topic (recorded ns, stamp ns, pixels).

    Pixels are (H, W, 3) RGB or (H, W) ids; a topic is given its classes with `label_set`.
    """
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    types = store.types

    def message(stamp_ns: int, pixels: Any) -> Any:
        stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
        header = types["std_msgs/msg/Header"](stamp, "camera")
        encoding = "rgb8" if pixels.ndim == 3 else "mono8"
        flat = np.ascontiguousarray(pixels).reshape(-1)
        height, width = pixels.shape[:2]
        return types["sensor_msgs/msg/Image"](
            header, height, width, encoding, 0, pixels[0].size, flat
        )

    def write(
        topics: dict[str, Sequence[tuple[int, int, Any]]], label_set: Any = None, name: str = "bag"
    ) -> Path:
        with rosbag2.Writer(tmp_path / name, version=9) as writer:
            if label_set is not None:
                import json

                pairs = zip(label_set.names, label_set.colors)
                text = json.dumps([{"name": n, "rgb": list(c)} for n, c in pairs])
                kind = "std_msgs/msg/String"
                topic = writer.add_connection(f"{LABELS}/classes", kind, typestore=store)
                data = store.serialize_cdr(types[kind](text), kind)
                writer.write(topic, min(m[0][0] for m in topics.values()), data)
            kind = "sensor_msgs/msg/Image"
            for topic_name, messages in topics.items():
                topic = writer.add_connection(topic_name, kind, typestore=store)
                for recorded_ns, stamp_ns, pixels in messages:
                    data = store.serialize_cdr(message(stamp_ns, pixels), kind)
                    writer.write(topic, recorded_ns, data)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def frames() -> list[tuple[Any, Any]]:
    """Sixteen frames of the street scene with their labels, 96x160."""
    from lrn_ros.scene import StreetScene

    scene = StreetScene(seed=3, height=96, width=160, fps=10.0)
    return [scene.frame(i) for i in range(16)]


@pytest.fixture(scope="session")
def timed() -> Callable[..., list[tuple[int, int, Any]]]:
    """Pixels with the stamps of a 10 Hz camera, which is recorded as it is stamped."""

    def give(pixels: Sequence[Any]) -> list[tuple[int, int, Any]]:
        stamps = [START_NS + i * STEP_NS for i in range(len(pixels))]
        return [(stamp, stamp, p) for stamp, p in zip(stamps, pixels)]

    return give
