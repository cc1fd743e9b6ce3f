# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Accuracy replay: every frame of a bag's topic straight through a Segmenter, none missed.

One thread reads, the caller's segments, one scores; each is at most a few frames ahead, so memory
does not grow with the bag's length. What is found lies in one folder a topic, see PartFiles.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import tee, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.bags.extent import Extent
from lrn_ros.errors import UserError
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.inference.smoothing import Smoother
from lrn_ros.metrics.calibration import grouped
from lrn_ros.replay.findings import Alignment, of_labels
from lrn_ros.replay.frame_counts import marginals
from lrn_ros.replay.gallery import Gallery
from lrn_ros.replay.ground_truth import Truth
from lrn_ros.replay.prefetch import prefetch
from lrn_ros.replay.scoring import Scoring, TruthOptions, open_truth
from lrn_ros.replay.tally import Tally, stage_times

if TYPE_CHECKING:  # needs rosbags
    from lrn_ros.data.bags.reader import BagFrame, BagReader

_AHEAD = 4  # frames read before they are segmented, and segmented before they are scored
# Of the bag's time between two labelled frames, and two pairs of frames, whose costly figures are
# taken: together these take 0.07 s on one core for 1280x720.
_COSTLY_NS = 2_000_000_000
_CONSECUTIVE_NS = 500_000_000  # frames further apart are no pair
_FLUSH = 100  # frames


@dataclass(frozen=True)
class PartFiles:
    """The files of one replayed topic: figures, a line a frame, pictures."""

    folder: Path

    @property
    def summary(self) -> Path:
        """Counts and findings; written last."""
        return self.folder / "part.json"

    @property
    def frames(self) -> Path:
        """One JSON line a frame."""
        return self.folder / "frames.jsonl"

    @property
    def pictures(self) -> Path:
        """See Gallery.write."""
        return self.folder / "pictures"


@dataclass(frozen=True)
class _Read:
    """A frame with its label and the time that reading both took, ms."""

    index: int
    frame: BagFrame
    label: NDArray[np.uint8] | None
    read_ms: float


def _timed(frames: Iterator[BagFrame]) -> Iterator[tuple[BagFrame, float]]:
    """The frames, each with the time that reading it took, ms."""
    start = time.perf_counter()
    for frame in frames:
        yield frame, 1000 * (time.perf_counter() - start)
        start = time.perf_counter()


def _read(bag: BagReader, topic: str, truth: Truth | None, extent: Extent) -> Iterator[_Read]:
    """The frames with their labels; one frame ahead, because labels may be the next one's."""
    frames, following = tee(_timed(bag.frames(topic, extent=extent)))
    next(following, None)
    for (frame, read_ms), after in zip_longest(frames, following):
        start = time.perf_counter()
        label = None
        if truth is not None:
            next_ns = None if after is None else after[0].stamp_ns
            label = truth.find(frame.index, frame.stamp_ns, frame.recorded_ns, next_ns)
        if label is not None and label.shape != frame.rgb.shape[:2]:
            (h, w), (height, width) = label.shape, frame.rgb.shape[:2]
            raise UserError(
                f"{truth.title if truth else ''}: a label of {w}x{h} pixels for an image of"
                f" {width}x{height}; labels must have the image's size"
            )
        yield _Read(frame.index, frame, label, read_ms + 1000 * (time.perf_counter() - start))


class _Scorer:
    """Scores segmented frames in order, on one thread."""

    def __init__(self, compare: Scoring, thorough: bool, lines: TextIO) -> None:
        self._map, self._thorough, self._lines = compare.of_prediction, thorough, lines
        self.tally = Tally.empty(len(compare.labels))
        self.gallery, self.alignment = Gallery(compare.labels), Alignment(len(compare.labels))
        self._previous: tuple[int, NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._paired_ns: int | None = None

    def score(
        self,
        read: _Read,
        mask: NDArray[np.uint8],
        confidence: NDArray[np.uint8] | None,
        stages: dict[str, float],
    ) -> None:
        """Count a frame and write its line; its confidence where it is to be sampled."""
        frame, tally, time_ns = read.frame, self.tally, _time_ns(read.frame)
        mask = mask if self._map is None else self._map(mask)
        line: dict[str, Any] = {
            "index": read.index, "stamp_ns": frame.stamp_ns, "recorded_ns": frame.recorded_ns,
            "read_ms": round(read.read_ms, 3), **stages,
        }  # fmt: skip
        self.alignment.add(mask, read.label)
        if read.label is not None:
            matrix = tally.compare(read.label, mask)
            pictures = frame.rgb, read.label, mask
            self.gallery.judge(read.index, time_ns, matrix, pictures)
            line["pixels"] = marginals(matrix).tolist()
            if confidence is not None:
                edges, levels = tally.sample(read.label, mask, confidence)
                line |= {"boundary": edges.tolist(), "calibration": grouped(levels).tolist()}
        line |= self._follow(frame, mask)
        self.gallery.add(read.index, time_ns, frame.rgb, mask)
        tally.frames += 1
        self._lines.write(json.dumps(line) + "\n")
        if tally.frames % _FLUSH == 0:
            self._lines.flush()

    def _follow(self, frame: BagFrame, mask: NDArray[np.uint8]) -> dict[str, Any]:
        """Compare with the frame before, if it is time to and it was the one before."""
        time_ns = _time_ns(frame)
        previous, self._previous = self._previous, (time_ns, frame.rgb, mask)
        if previous is None or previous[1].shape != frame.rgb.shape:
            return {}
        if not 0 < time_ns - previous[0] <= _CONSECUTIVE_NS:
            return {}
        if not self._thorough and not _due(time_ns, self._paired_ns):
            return {}
        self._paired_ns = time_ns
        found = self.tally.follow(previous[1:], (frame.rgb, mask))
        before = marginals(found.matrix).tolist()
        return {"before": before, "still": found.still, "flickered": found.flickered}


def _time_ns(frame: BagFrame) -> int:
    """Its stamp; where that is not set, when it was recorded."""
    return frame.stamp_ns or frame.recorded_ns


def _due(time_ns: int, last_ns: int | None) -> bool:
    """Whether it is time for costly figures again."""
    return last_ns is None or abs(time_ns - last_ns) >= _COSTLY_NS


def replay(
    segmenter: Segmenter,
    bag: BagReader,
    topic: str,
    folder: Path,
    truth_options: TruthOptions,
    extent: Extent = Extent(),  # noqa: B008 (frozen)
    thorough: bool = False,
    progress: Callable[[int], None] = lambda count: None,
    smoothing: bool = False,
    stale: Sequence[Path] = (),
) -> bool:
    """Replay an image topic into `folder`.

    Args:
        segmenter: what to replay through.
        bag: what to replay.
        topic: its image topic.
        folder: for PartFiles; it is made.
        truth_options: the ground truth.
        extent: the part of the bag.
        thorough: take boundary, calibration and temporal figures of every frame, not just every
            two seconds.
        progress: called with 1 for every frame.
        smoothing: between frames, see lrn_ros.inference.smoothing.
        stale: files that are removed, as earlier figures in `folder` are, once it is sure that the
            replay can start.

    Returns:
        True when it is complete, False when it was interrupted (Ctrl-C); what was done until then
        is written.

    Raises:
        UserError: no image in `extent`, no ground truth as asked for, labels that fit no image, or
            of another size.
    """
    files = PartFiles(folder)
    truth, compare = open_truth(bag, topic, truth_options, segmenter.labels)
    first = next(bag.frames(topic, extent=extent), None)
    if first is None:
        raise UserError(
            f"{bag.path}: {topic} has no image after {extent.start_s:g} s; a smaller --start"
        )
    height, width, _ = first.rgb.shape
    segmenter.warm_up(height, width)  # compiling is not what is timed
    folder.mkdir(parents=True, exist_ok=True)
    for old in (files.summary, *stale):
        old.unlink(missing_ok=True)
    complete, start = True, time.perf_counter()
    with files.frames.open("w", encoding="utf-8") as lines, _one_opencv_thread():
        scorer = _Scorer(compare, thorough, lines)
        frames = prefetch(_read(bag, topic, truth, extent), _AHEAD)
        try:
            smoother = Smoother() if smoothing else None
            _segment_all(segmenter, smoother, frames, scorer, thorough, progress)
        except KeyboardInterrupt:
            complete = False
        finally:
            frames.close()
    seconds = time.perf_counter() - start
    with _undisturbed():
        if truth is not None:
            rate = bag.rate(topic)
            _finish(truth, scorer.tally, complete and extent == Extent(), rate)
        scorer.gallery.write(files.pictures)
        summary = {
            "bag": str(bag.path),
            "topic": topic,
            "complete": complete,
            "damage": bag.damage,
            "seconds": seconds,
            "tally": scorer.tally.to_dict(),
            "labels": compare.labels.to_dict(),
            "ground_truth": truth and {"from": truth.title, **asdict(truth.matching)},
            "findings": [] if truth is None else of_labels(truth.matching, scorer.alignment),
        }
        files.summary.write_text(json.dumps(summary) + "\n", encoding="utf-8")
    return complete


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """OpenCV's pool waits busily and so takes the processor from the backend."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore SIGINT, which only the main thread gets: what is done is written in a moment."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


def _segment_all(
    segmenter: Segmenter,
    smoother: Smoother | None,
    frames: Iterator[_Read],
    scorer: _Scorer,
    thorough: bool,
    progress: Callable[[int], None],
) -> None:
    waiting: deque[Future[None]] = deque()
    sampled_ns: int | None = None
    with ThreadPoolExecutor(1, "scoring") as pool:
        for read in frames:
            time_ns = _time_ns(read.frame)
            sample = read.label is not None and (thorough or _due(time_ns, sampled_ns))
            sampled_ns = time_ns if sample else sampled_ns
            smooth = smoother.at(time_ns / 1e9) if smoother else None
            result = segmenter(read.frame.rgb, confidence=sample, smooth=smooth)
            stages = stage_times(result)
            waiting.append(pool.submit(scorer.score, read, result.mask, result.confidence, stages))
            if len(waiting) > _AHEAD:
                waiting.popleft().result()
            progress(1)
        while waiting:
            waiting.popleft().result()


def _finish(truth: Truth, tally: Tally, whole: bool, rate: float) -> None:
    """Count the labels without an image, unless images are missing because they were not read.

    Raises:
        UserError: no label has an image, though of all images, or within half their interval.
    """
    matching = truth.matching
    near, works = matching.nearest_ns, "; frames are numbered from 0"
    missed = near is not None and abs(near) / 1e9 * rate < 0.5  # of the frames' interval
    if near is not None:
        works = f"; the nearest one misses by {near / 1e6:+.1f} ms"
        works += f", --tolerance {abs(near) / 1e9 * 1.01:.4g} would fit some" if missed else ""
    if matching.labels and not tally.labelled and (whole or missed):
        raise UserError(f"{truth.title}: no label has the stamp or the number of an image{works}")
    if whole:
        truth.finish()
    else:
        matching.labels = matching.matched
