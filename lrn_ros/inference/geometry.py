# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one resize policy: which size the network runs at for a frame, and how pixels map.

The frame is scaled with its aspect ratio kept, placed at the top left of the network's input and
its border repeated to the right and below up to the network's size, a multiple of 8 per side.
All maps use half-pixel centres: x_content + 0.5 = (x_frame + 0.5) * scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lrn_ros.errors import UserError

MULTIPLE = 8
_MAX_ASPECT = 8  # the long side stays below this many trained short sides, whatever the frame


@dataclass(frozen=True)
class Geometry:
    """Sizes as (height, width) in pixels.

    Attributes:
        frame: the camera image.
        content: the scaled frame.
        network: the network's input, content plus border.
        output: the mask: the frame's size, or the content's.
    """

    frame: tuple[int, int]
    content: tuple[int, int]
    network: tuple[int, int]
    output: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """(vertical, horizontal) factor from frame to content."""
        return self.content[0] / self.frame[0], self.content[1] / self.frame[1]

    def scaled(self, factor: float) -> Geometry:
        """The same frame and output through a network input about `factor` times as large.

        Sides of the network's input stay multiples of 8 from 64 up.

        >>> fit((720, 960), trained=(360, 480)).scaled(0.75)
        Geometry(frame=(720, 960), content=(270, 360), network=(272, 360), output=(720, 960))
        """
        height, width = (max(1, round(n * factor)) for n in self.content)
        rows, columns = (max(64, _round_up(round(n * factor))) for n in self.network)
        return replace(self, content=(height, width), network=(rows, columns))


def _round_up(value: int) -> int:
    return -(-value // MULTIPLE) * MULTIPLE


def check_network_size(size: tuple[int, int]) -> None:
    """Refuse a network size that no network runs at.

    Raises:
        UserError: the message says the nearest size that works.
    """
    fixed = tuple(max(64, round(n / MULTIPLE) * MULTIPLE) for n in size)
    if any(n % MULTIPLE or n < 64 for n in size):
        raise UserError(
            f"network_size {list(size)}: height and width are multiples of {MULTIPLE} from 64 up;"
            f" {list(fixed)} would work"
        )


def fit(
    frame: tuple[int, int],
    trained: tuple[int, int],
    requested: tuple[int, int] | None = None,
    output: str = "input",
) -> Geometry:
    """Geometry for a frame.

    Args:
        frame: (height, width) of the camera image.
        trained: (height, width) the model was trained at.
        requested: the network's exact size; None: the frame's aspect ratio with the trained
            short side.
        output: "input" for masks of the frame's size, "network" for the content's.

    Raises:
        UserError: impossible size or unknown output.
    """
    if output not in ("input", "network"):
        raise UserError(f"output_size {output!r} is not 'input' or 'network'")
    if min(frame) < 1:
        raise UserError(f"frame size {frame} is empty")
    if requested is not None:
        check_network_size(requested)
        scale = min(requested[0] / frame[0], requested[1] / frame[1])
    else:
        short = min(trained)
        scale = min(short / min(frame), short * _MAX_ASPECT / max(frame))
    content = (max(1, round(frame[0] * scale)), max(1, round(frame[1] * scale)))
    network = requested or (max(64, _round_up(content[0])), max(64, _round_up(content[1])))
    return Geometry(frame, content, network, frame if output == "input" else content)
