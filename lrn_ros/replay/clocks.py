# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finds faults in the times of a recording: gaps, pauses, loops, clocks that were set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.bags.times import same_receipt

_GAP = 1.5  # an image is missing between two images that are so many intervals apart
_APART_S = 0.5  # a stamp is wrong if it is further from its neighbours' clock than this
_AROUND = 9  # the number of images that tell a wrong stamp from a clock that was set
_PAUSE_S, _PAUSE = 5.0, 20  # a pause is longer than both so many seconds and so many intervals
_S = 1e9  # nanoseconds

_Times = NDArray[np.float64]


def of_stream(stamps_ns: Sequence[int], recorded_ns: Sequence[int]) -> list[str]:
    """The faults in the times of an image topic, one sentence for each kind.

    A loop, a clock that was set and a pause are one finding each, however many images follow.

    Args:
        stamps_ns: stamps of the images in recorded order.
        recorded_ns: when the images were recorded.
    """
    if len(stamps_ns) < 2:
        return []
    stamps, recorded = np.array(stamps_ns, np.int64), np.array(recorded_ns, np.int64)
    found, unset = [], _unset(stamps)
    if unset.any():
        found.append(
            f"stamps are not set: those of {int(unset.sum())} of {len(stamps)} images are 0"
        )
    if same_receipt(recorded) or (stamps == recorded).all():  # only one of the clocks is useful
        if not unset.any():
            found += _of_one_clock(stamps / _S)
    elif unset.any():
        found += _of_one_clock(recorded / _S)
    else:
        found += _of_two_clocks(stamps / _S, recorded / _S)
    return found


def _unset(stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) bool: stamps of 0 that are not set; at the begin of a simulation 0 is a stamp."""
    zero = stamps == 0
    if not zero.any() or zero.all():
        return zero
    steps = np.diff(stamps[~zero])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    following = np.append(stamps[1:], 0)
    begins = zero & (following > 0) & (following <= max(_S, _PAUSE * usual))
    return np.asarray(zero & ~begins)


def _of_two_clocks(stamps: _Times, recorded: _Times) -> list[str]:
    """Findings from stamps, which say when images were taken, and from when they arrived."""
    wrong = _outliers(stamps - recorded)
    found = []
    back = np.flatnonzero(np.diff(stamps) < 0)
    whole_s, whole_r = stamps[~wrong], recorded[~wrong]
    numbers = np.flatnonzero(~wrong)
    steps, arrivals = np.diff(whole_s), np.diff(whole_r)
    usual = _usual(steps)
    leaps = _lasting(whole_s - whole_r, np.abs(steps - arrivals) > max(_APART_S, 3 * usual))
    again = leaps & (steps < 0)
    if len(back) > int(again.sum()):
        left = [i for i in back if i + 1 not in set(numbers[1:][again])]
        found.append(f"stamps go back {_times(len(left))}, first at image {left[0] + 1}")
    if same := int((steps == 0).sum()):
        found.append(f"{same} images have the stamp of the one before")
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        late = stamps - recorded
        off = late[at] - np.median(late[max(0, at - _AROUND) : at + _AROUND + 1])
        found.append(
            f"{int(wrong.sum())} images have wrong stamps: against the recorder's clock they are"
            f" off by {off:+.1f} s, first at image {at}"
        )
    if again.any():
        at = int(np.flatnonzero(again)[0])
        found.append(
            f"stamps start again {_times(int(again.sum()))}, first at image {numbers[at + 1]}"
            f" ({steps[at]:+.1f} s): a recording or a simulation that was repeated, or a clock that"
            " was set back"
        )
    ahead = leaps & (steps >= 0)
    if ahead.any():
        at = int(np.flatnonzero(ahead)[0])
        moved = "stamps" if abs(steps[at]) > abs(arrivals[at]) else "the recorder's times"
        by = steps[at] if moved == "stamps" else arrivals[at]
        found.append(
            f"a clock was set {_times(int(ahead.sum()))}: {moved} jump by {by:+.1f} s at image"
            f" {numbers[at + 1]}, the other clock does not"
        )
    # Where stamps were found wrong or a clock was set, the other one says how much time passed.
    intervals = np.where(leaps, np.where(again, usual, np.minimum(steps, arrivals)), steps)
    if wrong.any() or same or len(back) > int(again.sum()):
        return found + _gaps(np.diff(recorded), np.arange(len(recorded)), usual)
    return found + _gaps(intervals, numbers, usual)


def _lasting(late: _Times, leaps: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those after which the clocks stay apart: images that were held up soon catch up."""
    ends = [0, *(np.flatnonzero(leaps) + 1), len(late)]
    middles = [np.median(late[a:b]) for a, b in zip(ends, ends[1:])]
    lasting = leaps.copy()
    lasting[leaps] = np.abs(np.diff(middles)) > _APART_S
    return lasting


def _of_one_clock(times: _Times) -> list[str]:
    """Findings where one of the two clocks tells nothing."""
    steps = np.diff(times)
    usual, found = _usual(steps), []
    if (back := np.flatnonzero(steps < 0)).size:
        found.append(
            f"times start again {_times(len(back))}, first at image {back[0] + 1}"
            f" ({steps[back[0]]:+.1f} s)"
        )
    return found + _gaps(np.where(steps < 0, usual, steps), np.arange(len(times)), usual)


def _outliers(late: _Times) -> NDArray[np.bool_]:
    """(N,) bool: far from the others around them, before and behind; not where a clock was set."""
    around = min(_AROUND, len(late) - (len(late) + 1) % 2)
    padded = np.pad(late, around // 2, mode="edge")
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, around), axis=1)
    return np.asarray(np.abs(late - middle) > _APART_S)


def _gaps(intervals: _Times, numbers: NDArray[np.int64], usual: float) -> list[str]:
    """Images that are missing, and pauses; `numbers` are those of the images."""
    if usual <= 0:
        return []
    pause = intervals > max(_PAUSE_S, _PAUSE * usual)
    gaps, found = np.flatnonzero((intervals > _GAP * usual) & ~pause), []
    if gaps.size:
        missing = int(np.maximum(1, np.round(intervals[gaps] / usual) - 1).sum())
        found.append(
            f"about {missing} images are missing in {len(gaps)} gaps, the first after image"
            f" {numbers[gaps[0]]} ({intervals[gaps[0]]:.2f} s instead of {usual:.2f} s)"
        )
    if pause.any():
        at = int(np.flatnonzero(pause)[0])
        found.append(
            f"the recording pauses {_times(int(pause.sum()))}, first after image {numbers[at]}, for"
            f" {intervals[pause].sum():.1f} s in all"
        )
    return found


def _usual(steps: _Times) -> float:
    """The usual interval in seconds; 0 where there is none."""
    forward = steps[steps > 0]
    return float(np.median(forward)) if forward.size else 0.0


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
