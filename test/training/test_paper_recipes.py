# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every value of the papers' recipes against a table that names the source of each value.

`OURS` stands for a value that no source gives although training needs one. A recipe may have an
augmentation, a loss or a schedule only where its source has it.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lrn_ros.training.recipe import load_recipe

OURS = "the choice of this package; no source gives it"
NOTHING = "no source has it"
LRNNET = "LRNNet (arXiv 2006.02706), section 4"
LEDNET = "github.com/xiaoyufenfei/LEDNet, train/main.py"
LEDNET_NET = "github.com/xiaoyufenfei/LEDNet, train/lednet.py"
NDNET = "NDNet (IEEE T-ITS), training details"
NDNET_TRAIN = "github.com/zgyang-hnu/NDNet, Seg_NDNet/train.py"
NDNET_NET = "github.com/zgyang-hnu/NDNet, Seg_NDNet/NDNet_ende.py"
NDNET_DATA = "github.com/zgyang-hnu/NDNet, dataset/cityscape.py"
FRM = "FRM (arXiv 2412.08670), implementation details"
VAN = "github.com/Visual-Attention-Network/VAN-Segmentation, configs/_base_/models/fpn_van.py"

IMAGES = {"cityscapes": 2975, "bdd100k": 7000, "camvid": 367, "train_extra": 20000}
# What has to be off in a recipe whose source does not have it.
OFF: dict[str, Any] = {
    "pretrained_lr": 1.0, "holdout": [], "max_minutes": 0.0, "warmup": 0, "clip": 0.0, "ema": 0,
    "lr_every": 1, "milestones": [], "loss_stride": 1, "ohem": None, "lovasz": 0.0,
    "auxiliary": None,
    "contrastive": None, "teacher": None, "bn_momentum": 0.1, "bn_freeze": 1.0,
    "sequence_balance": 0.0, "class_centred": 0.0, "class_mix": 0.0, "flip": 0, "shift": 0,
    "rotate": 0, "aspect": 0, "colour": 0, "style": 0.0, "degrade": 0.0, "scene_share": 0.0,
    "options": {}, "init": "", "train_split": "train", "class_weights": "none",
    "decayed": "weights", "sampling": "epoch", "precision": "32-true", "schedule": "poly",
    "patience": 0, "keep_best": False, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
}  # fmt: skip
# Keys that say where the data and the results are, or that do not change what is learned.
NEUTRAL = {
    *("name", "labels", "license", "dataset", "eval_every", "seed", "channels_last"),
    *("data", "compile", "temperature", "storage"),
    # Used only where the key that they belong to is on.
    *("scene_frames", "power", "weight_power", "weight_offset", "momentum"),
}


def whole(height: int, width: int) -> list[dict[str, Any]]:
    return [{"until": 1.0, "crop": [height, width], "scale": [1.0, 1.0]}]


LRNNET_VALUES = {
    "architecture": ("lrnnet_c", LRNNET), "batch": (8, LRNNET), "lr": (0.01, LRNNET),
    "power": (0.9, OURS), "optimizer": ("sgd", OURS), "momentum": (0.9, OURS),
    "weight_decay": (1e-4, OURS),
}  # fmt: skip
LEDNET_VALUES = {
    "architecture": ("lednet", LEDNET), "size": ([512, 1024], LEDNET),
    "stages": (whole(512, 1024), LEDNET), "batch": (5, LEDNET), "steps": (300 * 595, LEDNET),
    "optimizer": ("adam", LEDNET), "lr": (5e-4, LEDNET), "weight_decay": (1e-4, LEDNET),
    "decayed": ("all", LEDNET), "power": (0.9, LEDNET), "lr_every": (595, LEDNET),
    "class_weights": ("log", LEDNET), "weight_power": (1.0, LEDNET),
    "flip": (0.5, LEDNET), "shift": (2, LEDNET), "mean": ([0, 0, 0], LEDNET),
    "std": ([1, 1, 1], LEDNET),
}  # fmt: skip
ENCODER = "runs/lednet_paper_encoder_cityscapes/lednet_paper_encoder_cityscapes.safetensors"
DROPOUT = [0.03, 0.03, 0.3]
FRM_VALUES = {
    "architecture": ("frm", FRM), "init": ("van_small_811.pth.tar", FRM),
    "options": ({"drop_path": 0.1}, VAN), "optimizer": ("sgd", FRM), "momentum": (0.9, FRM),
    "lr": (0.01, FRM), "weight_decay": (1e-4, FRM), "power": (0.9, OURS),
    "contrastive": ({"layer": "decoder", "weight": 1.0, "temperature": 0.1, "samples": 1024,
                     "dim": 256, "head": "convolution"}, FRM + "; layer, samples and dim: " + OURS),
}  # fmt: skip
TABLE: dict[str, dict[str, tuple[Any, str]]] = {
    "lrnnet_paper_camvid": LRNNET_VALUES | {
        "size": ([360, 480], LRNNET), "stages": (whole(360, 480), LRNNET),
        "steps": (250_000, LRNNET),
    },
    "lrnnet_paper_cityscapes_val": LRNNET_VALUES | {
        "size": ([512, 1024], LRNNET), "stages": (whole(512, 1024), LRNNET),
        "steps": (250_000, LRNNET),
    },
    "lrnnet_paper_cityscapes": LRNNET_VALUES | {
        "size": ([512, 1024], LRNNET), "stages": (whole(512, 1024), LRNNET),
        "steps": (520_000, LRNNET),
    },
    "lednet_paper_encoder_cityscapes": LEDNET_VALUES | {
        "options": ({"decoder": "linear", "dropout": DROPOUT}, LEDNET_NET),
        "weight_offset": (1.2, LEDNET), "loss_stride": (8, LEDNET),
    },
    "lednet_paper_cityscapes": LEDNET_VALUES | {
        "options": ({"dropout": DROPOUT}, LEDNET_NET), "init": (ENCODER, LEDNET),
        "weight_offset": (1.1, LEDNET),
    },
    "lednet_paper_coarse_cityscapes": LEDNET_VALUES | {
        "options": ({"dropout": DROPOUT}, LEDNET_NET), "train_split": ("train_extra", OURS),
        "weight_offset": (1.1, LEDNET), "lr_every": (1, OURS), "steps": (178_500, OURS),
    },
    "ndnet45_paper_cityscapes": {
        "architecture": ("ndnet45", NDNET), "size": ([1024, 2048], NDNET),
        "stages": ([{"until": 1.0, "crop": [1024, 1024], "scales": [0.75, 1.0, 1.25, 1.5, 2.0]}],
                   NDNET),
        "steps": (80_000, NDNET), "batch": (16, NDNET), "optimizer": ("sgd", NDNET),
        "lr": (0.1, NDNET), "momentum": (0.9, NDNET), "weight_decay": (5e-4, NDNET_TRAIN),
        "schedule": ("step", NDNET), "milestones": ([35_000 / 80_000, 60_000 / 80_000], NDNET),
        "auxiliary": ({"layer": "blocks.1", "weight": 0.4, "head": "separable"}, NDNET_NET),
        "flip": (0.5, NDNET), "mean": ([0.5] * 3, NDNET_DATA), "std": ([0.5] * 3, NDNET_DATA),
    },
    "frm_paper_cityscapes": FRM_VALUES | {
        "size": ([1024, 2048], FRM), "steps": (300 * 185, FRM), "batch": (16, FRM),
        "stages": ([{"until": 1.0, "crop": [1024, 1024], "scale": [0.5, 2.0]}], FRM),
    },
    "frm_paper_bdd100k": FRM_VALUES | {
        "size": ([720, 1280], FRM), "steps": (300 * 218, FRM), "batch": (32, FRM),
        "stages": ([{"until": 1.0, "crop": [720, 720], "scale": [0.5, 2.0]}], FRM),
    },
}  # fmt: skip
SHIPPED = {p.stem for p in (Path(__file__).parents[2] / "config" / "train").glob("*_paper_*.yaml")}


def test_every_recipe_of_a_paper_has_its_table() -> None:
    assert set(TABLE) == SHIPPED


@pytest.mark.parametrize("name", TABLE)
def test_a_recipe_has_what_its_source_has_and_nothing_else(name: str) -> None:
    found = asdict(load_recipe(name))
    expected = {key: (value, NOTHING) for key, value in OFF.items()} | TABLE[name]
    unaccounted = set(found) - set(expected) - NEUTRAL
    assert not unaccounted, "these keys need a line in the table"
    for key, (value, source) in expected.items():
        assert found[key] == value, f"{key}: {source}"


AUGMENTATIONS = (
    *("class_centred", "class_mix", "flip", "shift", "rotate", "aspect", "colour", "style"),
    *("degrade", "scene_share"),
)


@pytest.mark.parametrize("name", TABLE)
def test_no_augmentation_is_the_choice_of_this_package(name: str) -> None:
    for key in AUGMENTATIONS:
        assert key not in TABLE[name] or TABLE[name][key][1] not in (OURS, NOTHING)


@pytest.mark.parametrize("name", ["lednet_paper_cityscapes", "frm_paper_cityscapes",
                                  "frm_paper_bdd100k"])  # fmt: skip
def test_three_hundred_epochs(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.steps == 300 * (IMAGES[recipe.dataset] // recipe.batch)
    assert recipe.lr_every in (1, IMAGES[recipe.dataset] // recipe.batch)


class TestTraining:
    """A few steps of what only the papers' recipes use."""

    CHANGES = (
        *("batch=2", "steps=10", "eval_every=100", "lr_every=1"),
        *("labels=camvid11", "size=[]", "stages=[{until: 1, crop: [96, 128], scale: [1, 1]}]"),
    )

    def drawn(self, root: Path, layout: str) -> Path:
        """Three images to train on and one to validate on, in one of the layouts of the papers."""
        import cv2
        import numpy as np

        from lrn_ros.model.labels import LabelSet
        from lrn_ros.scene import StreetScene

        ids = np.array(LabelSet.load("cityscapes19").ids, np.uint8)
        colours = LabelSet.load("camvid11").palette.copy()
        colours[4] = (0, 0, 192)  # the pavement; the other colours are those of the 32 classes
        names = ["0006R0_f00930", "0006R0_f00960", "0001TP_006690", "0016E5_07959"]
        scene = StreetScene(seed=5, height=96, width=128)
        for i, name in enumerate(names):
            rgb, label = scene.frame(5 * i)
            city, split = f"ulm_00000{i}_000019", "val" if i == 3 else "train"
            if layout == "camvid":
                label = colours[label][..., ::-1]
                files = f"701_StillsRaw_full/{name}.png", f"LabeledApproved_full/{name}_L.png"
            elif layout == "bdd100k":
                files = f"images/10k/{split}/{i}.jpg", f"labels/sem_seg/masks/{split}/{i}.png"
            else:
                kind = "gtFine" if split == "val" or layout == "trainIds" else "gtCoarse"
                split = "train_extra" if kind == "gtCoarse" else split
                label = label if layout == "trainIds" else ids[label]
                ending = "labelTrainIds" if layout == "trainIds" else "labelIds"
                files = (
                    f"leftImg8bit/{split}/ulm/{city}_leftImg8bit.png",
                    f"{kind}/{split}/ulm/{city}_{kind}_{ending}.png",
                )
            for file, image in zip(files, (rgb[..., ::-1], label)):
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(root / file), image)
        return root

    @pytest.mark.parametrize(
        ("layout", "name", "changes"),
        [
            ("camvid", "lrnnet_paper_camvid", []),
            ("coarse", "lednet_paper_coarse_cityscapes", []),
            ("trainIds", "ndnet45_paper_cityscapes", []),
            ("bdd100k", "frm_paper_bdd100k", ["init=''"]),
        ],
    )
    def test_ten_steps_on_every_data_set(
        self, layout: str, name: str, changes: list[str], tmp_path: Path
    ) -> None:
        from lrn_ros.model.artifact import read_info

        labels = "camvid11" if layout == "camvid" else "cityscapes19"
        data = self.drawn(tmp_path / "data", layout)
        model = self.trained(name, data, tmp_path / "run", f"labels={labels}", *changes)
        info = read_info(model)
        assert info.labels.name == labels and info.size == (96, 128)
        assert info.provenance["images"] == 3 and info.metrics["val"]["images"] == 1
        assert info.metrics["val"]["pixels"] > 0.9 * 96 * 128

    def trained(self, name: str, data: Path, output: Path, *changes: str) -> Path:
        from lrn_ros.training.recipe import parse_changes
        from lrn_ros.training.release import release
        from lrn_ros.training.trainer import Trainer

        recipe = load_recipe(name, parse_changes([*self.CHANGES, *changes]))
        run = Trainer(recipe, data, output, progress=False)
        run.fit()
        assert run.state.step == 10 and run.state.skipped == 0
        return release(run).model

    def test_lednet_trains_its_encoder_first(self, data: Path, tmp_path: Path) -> None:
        import numpy as np

        from lrn_ros.model.artifact import read_info, read_weights
        from lrn_ros.training.trainer import Trainer

        first = self.trained("lednet_paper_encoder_cityscapes", data, tmp_path / "encoder")
        assert read_info(first).options == {"decoder": "linear"}
        assert read_info(first).std == (1.0, 1.0, 1.0)
        changes = {"init": str(first), "batch": 2, "labels": "camvid11", "size": []}
        changes["stages"] = whole(96, 128)
        recipe = load_recipe("lednet_paper_cityscapes", changes)
        run = Trainer(recipe, data, tmp_path / "whole", progress=False)
        found = {k: v.numpy() for k, v in run.average.state_dict().items() if v.ndim}
        given = read_weights(first)
        encoder = [name for name in found if name.startswith("encoder.")]
        assert len(encoder) > 100
        for name in encoder:
            np.testing.assert_array_equal(found[name], given[name])
        second = self.trained("lednet_paper_cityscapes", data, tmp_path / "whole", f"init={first}")
        assert read_info(second).options == {}

    def test_lednet_says_what_makes_its_encoder(self, data: Path, tmp_path: Path) -> None:
        from lrn_ros.errors import UserError

        with pytest.raises(UserError, match="`lrn train lednet_paper_encoder_cityscapes` makes it"):
            self.trained("lednet_paper_cityscapes", data, tmp_path)

    def test_ndnet_trains_with_its_separable_head(self, data: Path, tmp_path: Path) -> None:
        from lrn_ros.model.artifact import read_info

        stages = "stages=[{until: 1, crop: [96, 128], scales: [0.75, 1.0, 2.0]}]"
        model = self.trained("ndnet45_paper_cityscapes", data, tmp_path, stages)
        assert read_info(model).mean == (0.5, 0.5, 0.5)
