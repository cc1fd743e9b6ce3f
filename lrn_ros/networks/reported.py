# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of the papers' tables, as they are printed there; UNREAD says which are incomplete.

Rows without an architecture are networks that the papers compare theirs with. They are citations:
nothing of them was run or counted by this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PAPERS = ("LRNNet", "LEDNet", "NDNet", "FRM")
CITYSCAPES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)


@dataclass(frozen=True)
class Reported:
    """A row of a paper's table.

    Attributes:
        source: the paper and its table.
        network: name in the paper.
        architecture: name in the registry; empty: a network of others.
        size: (height, width) of the input; None where the paper does not say.
        parameters: number of parameters in millions.
        multiply_adds: number in billions; the papers call them FLOPs.
        convention: of lrn_ros.networks.counting, the one that the source used or that comes
            closest.
        miou: mean IoU in percent.
        miou_on: data set and split of `miou`.
        category_miou: mean IoU of the categories in percent, on the same images.
        fps: frames per second.
        fps_on: the graphics card of `fps`.
        classes: IoU of the classes in percent, in the order of CITYSCAPES.
        note: what a reader must know to compare the figures.
    """

    source: str
    network: str
    architecture: str = ""
    size: tuple[int, int] | None = None
    parameters: float | None = None
    multiply_adds: float | None = None
    convention: str = ""
    miou: float | None = None
    miou_on: str = ""
    category_miou: float | None = None
    fps: float | None = None
    fps_on: str = ""
    classes: tuple[float, ...] = ()
    note: str = ""

    @property
    def paper(self) -> str:
        """The paper's network, one of PAPERS."""
        return self.source.split()[0].rstrip(",")


UNREAD = (
    "not legible in the sources at hand, and therefore blank or missing: the mIoU of LRNNet's"
    " tables 1 and 2, of the other networks and of A and B in its table 3, of SS-nbt in its table"
    " 4; LEDNet's table of speed; the mIoU and speed in NDNet's tables and its rows of other"
    " networks; the mIoU of PPM and DAPPM and the rows of other networks in FRM's tables"
)
BINARY = "the paper adds 4.0 binary giga (2^32) to decimal ones; in decimal giga it is 12.84"
POOLING = "the paper leaves out the 0.034 G of the matrix products, unlike in its other rows"
MISPRINT = "below what the two 1x1 convolutions alone cost (8.547 G); probably a misprint of 8.55"
SS_BIASES = "without biases 0.944 M and 11.7 G, with LEDNet's biases 0.949 M and 11.8 G"
LED_BIASES = "the official code, which has biases, counts 0.923 M; no published code has 0.94 M"
TWICE = "counted as two operations per multiply-add"
FRM_COST = "of the module the paper has 2.0 G; its convolutions alone cost 4.0 G in every reading"


def _rows(source: str, **common: Any) -> Any:
    def row(network: str, architecture: str = "", **figures: Any) -> Reported:
        return Reported(source, network, architecture, **(common | figures))

    return row


def _all() -> list[Reported]:
    half: dict[str, Any] = {"size": (512, 1024), "convention": "ptflops"}
    core = {"convention": "ptflops + core"}
    first, second = _rows("LRNNet table 1", **half), _rows("LRNNet table 2", **half)
    third = _rows("LRNNet table 3", miou_on="Cityscapes test")
    camvid = _rows("LRNNet table 4", size=(360, 480), miou_on="CamVid test")
    led = _rows("LEDNet table 2", miou_on="Cityscapes test")
    second_nd = _rows("NDNet table II, logs", size=(1024, 2048), convention="ptflops")
    nd = _rows("NDNet, abstract")
    frm = _rows("FRM", size=(1024, 2048), convention="conv")
    return [
        first("SS-nbt", "lrnnet_ssnbt", parameters=0.95, multiply_adds=11.7, note=SS_BIASES),
        first("A", "lrnnet_a", parameters=0.67, multiply_adds=8.48),
        first("max", "lrnnet_max", parameters=0.68, multiply_adds=8.54, note=POOLING),
        first("avg", "lrnnet_avg", parameters=0.68, multiply_adds=8.54, note=POOLING),
        first("B", "lrnnet_b", parameters=0.68, multiply_adds=8.57, **core),
        first("C", "lrnnet_c", parameters=0.68, multiply_adds=8.58, **core),
        second("non-local", "lrnnet_nonlocal", multiply_adds=12.5, note=BINARY, **core),
        second("SS 16x16", "lrnnet_ss16", multiply_adds=8.68, **core),
        second("SS 8x8", "lrnnet_b", **core),
        second("SS 4x4", "lrnnet_ss4", multiply_adds=8.51, note=MISPRINT, **core),
        second("MS 8x8 + 4x4", "lrnnet_c", **core),
        second("MS 8x8 + 4x4 + 2x2", "lrnnet_ms3", multiply_adds=8.59, **core),
        third("SegNet", size=(360, 640), multiply_adds=286.0, note=TWICE),
        third("ENet", size=(360, 640), multiply_adds=3.8, note=TWICE),
        third("ERFNet", multiply_adds=21.0),
        third("LEDNet", "lednet", size=(512, 1024), parameters=0.94, multiply_adds=11.5,
              convention="ptflops", note=LED_BIASES),
        third("A", "lrnnet_a", size=(512, 1024)),
        third("B", "lrnnet_b", size=(512, 1024)),
        third("C", "lrnnet_c", size=(512, 1024), parameters=0.68, miou=72.2, fps=71.0,
              fps_on="GTX 1080Ti"),
        camvid("SS-nbt", "lrnnet_ssnbt"),
        camvid("A", "lrnnet_a", miou=67.6),
        camvid("B", "lrnnet_b", miou=68.9),
        camvid("C", "lrnnet_c", miou=69.2),
        *(led(name, arch, miou=miou, category_miou=cat, classes=classes, **more)
          for name, arch, miou, cat, classes, more in _LEDNET),
        second_nd("NDNet29", "ndnet29", parameters=0.515, multiply_adds=2.84),
        second_nd("NDNet45", "ndnet45", parameters=0.386, multiply_adds=2.09),
        second_nd("NDNet61", "ndnet61", parameters=0.292, multiply_adds=1.72),
        second_nd("NDNet29, wide", "ndnet29w", parameters=3.505, multiply_adds=17.41),
        *(second_nd(f"NDNet{n} (e=2)", f"ndnet{n}_e2") for n in (29, 45, 61)),
        nd("NDNet45, FCN32", "ndnet45", size=(1024, 2048), multiply_adds=4.2, miou=61.5,
           miou_on="Cityscapes val", note=TWICE),
        nd("NDNet45, encoder and decoder", size=(1024, 2048), multiply_adds=14.0, miou=65.3,
           miou_on="Cityscapes test", fps=39.9, fps_on="Titan X",
           note=TWICE + "; this decoder is not part of the package"),
        nd("ENet", size=(360, 640), multiply_adds=3.8, miou=58.3, miou_on="Cityscapes",
           note=TWICE),
        frm("PPM", "frm_ppm", parameters=15.23, multiply_adds=213.21),
        frm("DAPPM", "frm_dappm", parameters=15.98, multiply_adds=214.81),
        frm("FRM", "frm", parameters=16.48, multiply_adds=214.82, miou=80.4,
            miou_on="Cityscapes test", note=FRM_COST),
        frm("FRM", "frm", size=(720, 1280), parameters=16.48, multiply_adds=94.55),
    ]  # fmt: skip


_LEDNET: list[tuple[str, str, float, float, tuple[float, ...], dict[str, Any]]] = [
    ("SegNet", "", 57.0, 79.1,
     (96.4, 73.2, 84.0, 28.4, 29.0, 35.7, 39.8, 45.1, 87.0, 63.8, 91.8, 62.8, 42.8, 89.3, 38.1,
      43.1, 44.1, 35.8, 51.9), {}),
    ("ENet", "", 58.3, 80.4,
     (96.3, 74.2, 75.0, 32.2, 33.2, 43.4, 34.1, 44.0, 88.6, 61.4, 90.6, 65.5, 38.4, 90.6, 36.9,
      50.5, 48.1, 38.8, 55.4), {}),
    ("ESPNet", "", 60.3, 82.2,
     (97.0, 77.5, 76.2, 35.0, 36.1, 45.0, 35.6, 46.3, 90.8, 63.2, 92.6, 67.0, 40.9, 92.3, 38.1,
      52.5, 50.1, 41.8, 57.2), {}),
    ("CGNet", "", 64.8, 85.7,
     (95.5, 78.7, 88.1, 40.0, 43.0, 54.1, 59.8, 63.9, 89.6, 67.6, 92.9, 74.9, 54.9, 90.2, 44.1,
      59.5, 25.2, 47.3, 60.2), {}),
    ("ERFNet", "", 66.3, 85.2,
     (97.2, 80.0, 89.5, 41.6, 45.3, 56.4, 60.5, 64.6, 91.4, 68.7, 94.2, 76.1, 56.4, 92.4, 45.7,
      60.6, 27.0, 48.7, 61.8), {}),
    ("ICNet", "", 69.5, 86.4,
     (97.1, 79.2, 89.7, 43.2, 48.9, 61.5, 60.4, 63.4, 91.5, 68.3, 93.5, 74.6, 56.1, 92.6, 51.3,
      72.7, 51.3, 53.6, 70.5), {}),
    ("LEDNet, fine labels", "lednet", 69.2, 86.8,
     (97.1, 78.6, 90.4, 46.5, 48.1, 60.9, 60.4, 71.1, 91.2, 60.0, 93.2, 74.3, 51.8, 92.3, 61.0,
      72.4, 51.0, 43.3, 70.2), {"size": (512, 1024)}),
    ("LEDNet, with coarse labels", "lednet", 70.6, 87.1,
     (98.1, 79.5, 91.6, 47.7, 49.9, 62.8, 61.3, 72.8, 92.6, 61.2, 94.9, 76.2, 53.7, 90.9, 64.4,
      64.0, 52.7, 44.4, 71.6),
     {"size": (512, 1024), "fps": 71.0, "fps_on": "GTX 1080Ti",
      "note": "the mean of its classes is 70.0, not 70.6"}),
]  # fmt: skip

REPORTED = _all()

# The input sizes at which the papers give the speed of their networks, with one image at a time.
SPEED_SIZES: dict[str, tuple[tuple[int, int], ...]] = {
    "LRNNet": ((512, 1024),),
    "LEDNet": ((512, 1024),),
    "NDNet": ((1024, 2048),),
    "FRM": ((1024, 2048), (720, 1280)),
}


def speed_sizes() -> dict[str, tuple[tuple[int, int], ...]]:
    """Per architecture of the papers' tables the input sizes of the paper that introduces it."""
    found: dict[str, tuple[tuple[int, int], ...]] = {"lednet": SPEED_SIZES["LEDNet"]}
    for row in REPORTED:
        if row.architecture:
            found.setdefault(row.architecture, SPEED_SIZES[row.paper])
    return found
