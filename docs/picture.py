# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the README's picture with the present weights: `make picture`, before every release.

The picture holds a SHA-256 of weights and colours in a JPEG comment, and a test compares it.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.images.compressed import encode_jpeg  # noqa: E402
from lrn_ros.inference.overlay import colorize, draw_legend, draw_overlay  # noqa: E402
from lrn_ros.inference.palette import shown  # noqa: E402
from lrn_ros.model.artifact import read_info  # noqa: E402
from lrn_ros.scene import StreetScene  # noqa: E402

MODEL = "lrnnet_c_camvid"
PICTURE = ROOT / "docs" / "images" / "demo.jpg"
_SEED, _SIZE, _FRAMES = 0, (360, 640), (40, 100)


def present_digest() -> str:
    """SHA-256 of the weights and the colours that the picture is made with."""
    file = ROOT / "weights" / f"{MODEL}.safetensors"
    colors = shown(read_info(file).labels).colors
    return hashlib.sha256(file.read_bytes() + repr(colors).encode()).hexdigest()


def picture_digest() -> str:
    """The SHA-256 that the picture holds."""
    data = PICTURE.read_bytes()
    length = struct.unpack(">H", data[4:6])[0]
    return data[6 : 4 + length].decode() if data[2:4] == b"\xff\xfe" else ""


def main() -> None:
    """Write the picture: camera, overlay and colours side by side, two moments."""
    segmenter = Segmenter.load(MODEL, backend="torch", precision="fp32")
    labels, scene = shown(segmenter.labels), StreetScene(_SEED, *_SIZE)
    rows = []
    for number in _FRAMES:
        rgb, _ = scene.frame(number)
        mask = segmenter(rgb).mask
        overlay = draw_overlay(rgb, mask, labels)
        draw_legend(overlay, mask, labels)
        rows.append(np.hstack((rgb, overlay, colorize(mask, labels.lookup()))))
    sheet = np.vstack(rows)
    small = cv2.resize(sheet, (1440, round(1440 * sheet.shape[0] / sheet.shape[1])),
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    data, digest = encode_jpeg(np.asarray(small, np.uint8), 88), present_digest().encode()
    comment = b"\xff\xfe" + struct.pack(">H", len(digest) + 2) + digest
    PICTURE.write_bytes(data[:2] + comment + data[2:])
    print(f"{PICTURE.relative_to(ROOT)} is made with {MODEL}")


if __name__ == "__main__":
    main()
