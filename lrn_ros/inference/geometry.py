# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decides at which size the network runs for a frame, and where each pixel of the frame goes.

The frame is scaled with its aspect ratio kept and placed at the top left of the network's input.
Its border is repeated to the right and below until both sides are multiples of 8. All maps use
half-pixel centres: x_content + 0.5 = (x_frame + 0.5) * scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lrn_ros.errors import UserError

MULTIPLE = 8
_MAX_ASPECT = 8  # the long side of the content is at most so many times the trained short side


@dataclass(frozen=True)
class Geometry:
    """Sizes as (height, width) in pixels.

    Attributes:
        frame: the camera image.
        content: the scaled frame.
        network: the network's input, which is the content plus a border.
        output: the mask, which has the size of the frame or of the content.
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
    """Refuse a size at which no network runs.

    Raises:
        UserError: the size does not work; the message names the nearest size that works.
    """
    fixed = tuple(max(64, round(n / MULTIPLE) * MULTIPLE) for n in size)
    if any(n % MULTIPLE or n < 64 for n in size):
        raise UserError(
            f"network_size {list(size)}: height and width must be multiples of {MULTIPLE} from 64"
            f" up; {list(fixed)} would work"
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
        trained: (height, width) at which the model was trained.
        requested: the exact size of the network's input; None: the short side is the trained one,
            and the aspect ratio is that of the frame.
        output: "input" for masks of the frame's size, "network" for masks of the content's size.

    Raises:
        UserError: the size is impossible, or the output is unknown.
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
