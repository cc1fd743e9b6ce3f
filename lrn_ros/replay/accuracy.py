# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Accuracy replay: every frame of a bag's topic goes straight through a Segmenter.

One thread reads, the caller's thread segments, and one thread scores. Each is at most a few frames
ahead, so memory does not grow with the length of the bag. The results of a topic are in one folder,
see PartFiles.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import tee, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros import __version__
from lrn_ros.data.bags.times import Extent
from lrn_ros.errors import UserError
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.inference.smoothing import Smoother
from lrn_ros.metrics.calibration import grouped
from lrn_ros.replay.figures import FrameLine, ModelUse, PartRecord, TruthUse
from lrn_ros.replay.findings import Alignment, of_labels
from lrn_ros.replay.gallery import Gallery, KeptFrame
from lrn_ros.replay.ground_truth import Truth
from lrn_ros.replay.prefetch import prefetch
from lrn_ros.replay.records import (
    check_files,
    digest_folder,
    digest_message,
    read_lines,
    read_record,
    write_record,
)
from lrn_ros.replay.sampling import Sampling
from lrn_ros.replay.scoring import Scoring, TruthOptions, open_truth
from lrn_ros.replay.tally import Tally, marginals, stage_times

if TYPE_CHECKING:  # needs rosbags
    from lrn_ros.data.bags.reader import BagFrame, BagReader

_AHEAD = 4  # frames that wait to be segmented, and frames that wait to be scored
_CONSECUTIVE_NS = 500_000_000  # frames that are further apart are not compared as a pair
_FLUSH_EVERY = 100  # frames


@dataclass(frozen=True)
class PartFiles:
    """The files of one replayed topic: figures, one line per frame, pictures."""

    folder: Path

    @property
    def summary(self) -> Path:
        """A PartRecord; written last."""
        return self.folder / "part.json"

    @property
    def frames(self) -> Path:
        """One JSON line per frame, see FrameLine."""
        return self.folder / "frames.jsonl"

    @property
    def pictures(self) -> Path:
        """See Gallery.write."""
        return self.folder / "pictures"


@dataclass(frozen=True)
class Part:
    """One replayed topic of one bag on disk: its name, its files, its record."""

    name: str
    files: PartFiles
    record: PartRecord


def read_part(name: str, folder: Path, check: bool = True) -> Part:
    """Read the results of `replay`.

    Args:
        name: the name of the topic for people.
        folder: see PartFiles.
        check: read all files and check that they are as they were written.

    Raises:
        UserError: there are no results in the folder, or they are damaged.
    """
    files = PartFiles(folder)
    record = read_record(PartRecord, files.summary)
    if check:
        check_files(folder, record.files)
    return Part(name, files, record)


def read_frames(part: Part) -> Iterator[FrameLine]:
    """The lines of a part's frames.

    Raises:
        UserError: a line is damaged, or the number of lines is not that of the replayed frames.
    """
    count, path = 0, part.files.frames
    for count, line in enumerate(read_lines(path), 1):
        try:
            yield FrameLine(**line)
        except TypeError as error:
            raise UserError(
                f"{path}, line {count}: this is no line of a frame ({error})"
            ) from error
    if count != part.record.tally.frames:
        raise UserError(f"{path}: has {count} lines for {part.record.tally.frames} frames")


@dataclass(frozen=True)
class _Read:
    """A frame with its label and the time in milliseconds that reading both took."""

    frame: BagFrame
    label: NDArray[np.uint8] | None
    read_ms: float
    content: str

    @property
    def time_ns(self) -> int:
        """The frame's stamp, or the time of its recording if the stamp is not set."""
        return self.frame.time_ns


def _timed(frames: Iterator[BagFrame]) -> Iterator[tuple[BagFrame, float]]:
    """The frames, each with the time in milliseconds that reading it took."""
    start = time.perf_counter()
    for frame in frames:
        yield frame, 1000 * (time.perf_counter() - start)
        start = time.perf_counter()


def _read(bag: BagReader, topic: str, truth: Truth | None, extent: Extent) -> Iterator[_Read]:
    """The frames with their labels; reads one frame ahead, because a label may belong to it."""
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
        content = digest_message(frame.data)
        yield _Read(frame, label, read_ms + 1000 * (time.perf_counter() - start), content)


class _Scorer:
    """Scores segmented frames in order, on one thread."""

    def __init__(self, compare: Scoring, sampling: Sampling, lines: TextIO, first_ns: int) -> None:
        self._map, self._sampling, self._lines = compare.of_prediction, sampling, lines
        self._first_ns = first_ns
        self.tally = Tally.empty(len(compare.labels))
        self.gallery, self.alignment = Gallery(compare.labels), Alignment(compare.labels)
        self._previous: tuple[int, NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def score(
        self,
        read: _Read,
        mask: NDArray[np.uint8],
        confidence: NDArray[np.uint8] | None,
        stages: dict[str, float],
    ) -> None:
        """Count a frame and write its line; a frame with a confidence is sampled."""
        frame, tally, label = read.frame, self.tally, read.label
        mask = mask if self._map is None else self._map(mask)
        line: dict[str, Any] = {
            "index": frame.index, "stamp_ns": frame.stamp_ns, "recorded_ns": frame.recorded_ns,
            "content": read.content, "truth": "", "read_ms": round(read.read_ms, 3), **stages,
        }  # fmt: skip
        self.alignment.add(mask, label)
        matrix = None
        if label is not None:
            matrix = tally.compare(label, mask)
            line |= {"truth": _digest_label(label), "pixels": marginals(matrix).tolist()}
            if confidence is not None:
                start = time.perf_counter()
                edges, levels = tally.sample(label, mask, confidence)
                self._sampling.labels.add(time.perf_counter() - start)
                line |= {"boundary": edges.tolist(), "calibration": grouped(levels).tolist()}
        line |= self._follow(read, mask)
        seconds = (frame.recorded_ns - self._first_ns) / 1e9
        kept = KeptFrame(frame.index, read.time_ns, seconds)
        self.gallery.add(kept, frame.rgb, label, mask, matrix)
        tally.frames += 1
        self._lines.write(json.dumps(line) + "\n")
        if tally.frames % _FLUSH_EVERY == 0:
            self._lines.flush()

    def _follow(self, read: _Read, mask: NDArray[np.uint8]) -> dict[str, Any]:
        """Compare with the frame before if it is close in time and this pair is sampled."""
        rgb, time_ns = read.frame.rgb, read.time_ns
        previous, self._previous = self._previous, (time_ns, rgb, mask)
        if previous is None or previous[1].shape != rgb.shape:
            return {}
        if not 0 < time_ns - previous[0] <= _CONSECUTIVE_NS or not self._sampling.pairs.due():
            return {}
        start = time.perf_counter()
        found = self.tally.follow(previous[1:], (rgb, mask))
        self._sampling.pairs.add(time.perf_counter() - start)
        before = marginals(found.matrix).tolist()
        return {"before": before, "still": found.still, "flickered": found.flickered}


def _digest_label(label: NDArray[np.uint8]) -> str:
    """16 hexadecimal digits; only every fourth row of a large label is digested."""
    rows = label[:: 4 if label.size > 1 << 18 else 1]
    return hashlib.blake2b(rows.tobytes(), digest_size=8).hexdigest()


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
    settings: Mapping[str, Any] | None = None,
    model_files: Mapping[str, str] | None = None,
) -> bool:
    """Replay an image topic into `folder`.

    Args:
        segmenter: segments the frames.
        bag: the bag.
        topic: the image topic of the bag.
        folder: the folder of the PartFiles; it is made.
        truth_options: the ground truth.
        extent: the part of the bag.
        thorough: compute boundary, calibration and temporal figures for every frame, however long
            that takes; see Sampling.
        progress: called with 1 for every frame.
        smoothing: smooth between frames, see lrn_ros.inference.smoothing.
        stale: files that are removed when it is sure that the replay can start, like the earlier
            figures in `folder`.
        settings: everything on which the result depends, for the record.
        model_files: digests of the model's files by name, for the record.

    Returns:
        True if the replay is complete, False if Ctrl-C interrupted it; what was done until then is
        written.

    Raises:
        UserError: `extent` has no image, the wanted ground truth does not exist, or the labels fit
            no image or have another size.
    """
    files = PartFiles(folder)
    truth, compare = open_truth(bag, topic, truth_options, segmenter.labels)
    first = next(bag.frames(topic, extent=extent), None)
    if first is None:
        raise UserError(
            f"{bag.path}: {topic} has no image after {extent.start_s:g} s; try a smaller --start"
        )
    height, width, _ = first.rgb.shape
    segmenter.warm_up(height, width)  # so that the time of compiling is not measured
    folder.mkdir(parents=True, exist_ok=True)
    for old in (files.summary, *stale):
        old.unlink(missing_ok=True)
    began_ns = next(bag.messages(topic)).recorded_ns
    complete, start = True, time.perf_counter()
    with files.frames.open("w", encoding="utf-8") as lines, _one_opencv_thread():
        sampling = Sampling(_expected(bag, topic, extent), thorough)
        scorer = _Scorer(compare, sampling, lines, began_ns)
        frames = prefetch(_read(bag, topic, truth, extent), _AHEAD)
        try:
            smoother = Smoother() if smoothing else None
            _segment_all(segmenter, smoother, frames, scorer, sampling, progress)
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
        record = PartRecord(
            version=__version__,
            date=datetime.now().astimezone().isoformat(timespec="seconds"),
            bag=str(bag.path),
            topic=topic,
            complete=complete,
            damage=bag.damage,
            seconds=seconds,
            image_size=(height, width),
            network_size=segmenter.geometry(height, width).network,
            tally=scorer.tally,
            labels=compare.labels,
            mapping=compare.mapping,
            ground_truth=None if truth is None else TruthUse(truth.title, **asdict(truth.matching)),
            findings=(
                *bag.notes,
                *(() if truth is None else of_labels(truth, scorer.alignment)),
            ),
            model=_model_use(segmenter, model_files or {}),
            settings=dict(settings or {}),
            files=digest_folder(folder, (files.frames.name, files.pictures.name)),
        )
        write_record(files.summary, record)
    return complete


def _expected(bag: BagReader, topic: str, extent: Extent) -> int | None:
    """The approximate number of frames; None: unknown."""
    count, rate = bag.topics[topic].count, bag.rate(topic)
    if extent == Extent():
        return count
    if extent.duration_s is None or not rate:
        return None
    return min(count, round(extent.duration_s * rate))


def _model_use(segmenter: Segmenter, files: Mapping[str, str]) -> ModelUse:
    info, backend = segmenter.info, segmenter.backend
    return ModelUse(
        info.name, info.architecture, info.license, dict(files), backend.name, backend.precision,
        backend.device_name,
    )  # fmt: skip


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Switch OpenCV's pool of threads off, which waits busily and slows the backend."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore SIGINT for the moment in which the results are written."""
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
    sampling: Sampling,
    progress: Callable[[int], None],
) -> None:
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "scoring") as pool:
        for read in frames:
            sampling.next_frame()
            sample = read.label is not None and sampling.labels.due()
            smooth = smoother.at(read.time_ns / 1e9) if smoother else None
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
        UserError: no label belongs to an image, although all images were read, or although a label
            is nearer to an image than half the interval between images.
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
