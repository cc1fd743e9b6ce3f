# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several rooms share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell script's background: the processes under test would inherit it, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of LRNNet-C with random weights and CamVid's classes."""
    torch = pytest.importorskip("torch")
    from lrn_ros.artifact import ModelInfo, save_model
    from lrn_ros.labels import LabelSet
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
