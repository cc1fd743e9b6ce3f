# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a replay tells, as dataclasses: the content of results.json, part.json and frames.jsonl.

Shares are from 0 to 1, durations in milliseconds unless a name ends with _s or _ns. What is not
known is NaN, which the files write as null.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lrn_ros.metrics.latency import Percentiles
from lrn_ros.metrics.machine import Machine, Pace
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.tally import Accuracy, Tally, Temporal

STAGES = ("read_ms", "preprocess_ms", "inference_ms", "postprocess_ms", "total_ms")


@dataclass(frozen=True)
class FrameLine:
    """A frame's line in frames.jsonl.

    Attributes:
        index: position in the topic.
        stamp_ns, recorded_ns: see BagFrame.
        content: digest of the recorded message, see digest_message.
        truth: digest of the label, empty where there is none.
        read_ms to total_ms: time of reading it, and of the Segmenter's stages.
        pixels: (3, K), see marginals; None without a label.
        boundary, calibration: see Tally.sample, calibration in groups; None where not sampled.
        before: (3, K), see Steadiness.matrix and marginals; None where not compared.
        still, flickered: see Steadiness.
    """

    index: int
    stamp_ns: int
    recorded_ns: int
    content: str
    truth: str
    read_ms: float
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float
    total_ms: float
    pixels: list[list[int]] | None = None
    boundary: list[list[int]] | None = None
    calibration: list[list[int]] | None = None
    before: list[list[int]] | None = None
    still: int = 0
    flickered: int = 0


@dataclass(frozen=True)
class ModelUse:
    """The model of a replay and what it ran on; `files` are digests of the model's files.

    Of several bags that ran on different machines a text names all of them.
    """

    name: str
    architecture: str
    license: str
    files: dict[str, str]
    backend: str = ""
    precision: str = ""
    device: str = ""


@dataclass(frozen=True)
class TruthUse:
    """Where labels are from, how many there are, and how they found their images; see Matching."""

    source: str
    labels: int
    matched: int
    nearest_ns: int | None


@dataclass(frozen=True)
class PartRecord:
    """The content of part.json: one topic of one bag, replayed.

    Attributes:
        version: version of this package.
        date: when it was finished, ISO 8601 with the zone.
        bag, topic: what was replayed.
        complete: whether it went on to the end.
        damage: what of the bag could not be read.
        seconds: how long it took.
        image_size, network_size: (height, width) in pixels.
        tally: the counts.
        labels: the classes that were scored.
        mapping: which classes were mapped to which, empty: none were.
        ground_truth: None: there is none.
        findings: about the labels.
        model: what it was replayed with.
        settings: see Job.settings.
        files: digests of frames.jsonl and of the pictures.
    """

    version: str
    date: str
    bag: str
    topic: str
    complete: bool
    damage: str | None
    seconds: float
    image_size: tuple[int, int]
    network_size: tuple[int, int]
    tally: Tally
    labels: LabelSet
    mapping: str
    ground_truth: TruthUse | None
    findings: tuple[str, ...]
    model: ModelUse
    settings: dict[str, Any]
    files: dict[str, str]


@dataclass(frozen=True)
class Provenance:
    """What the results were made with."""

    version: str
    date: str
    command: tuple[str, ...]
    machine: Machine


@dataclass(frozen=True)
class Histogram:
    """Counts of durations between `edges`, of which there is one more."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Throughput:
    """Seconds that all workers have spent together, and frames per second of one worker."""

    seconds: float
    fps: float


@dataclass(frozen=True)
class Point:
    """Figures over a span of a recording's time around `time_s`; see metrics.

    Attributes:
        frames: number of frames in the span.
        iou: IoU by class, for classes that occur.
        answered_share: answered share of the frames, in real time.
    """

    time_s: float
    frames: int
    miou: float = float("nan")
    pixel_accuracy: float = float("nan")
    boundary_f: float = float("nan")
    ece: float = float("nan")
    consistency: float = float("nan")
    flicker: float = float("nan")
    p50_ms: float = float("nan")
    p95_ms: float = float("nan")
    answered_share: float = float("nan")
    iou: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """The figures of a bag over its time."""

    bag: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class BagResults:
    """The figures of one topic of one bag; see PartRecord and Results."""

    name: str
    path: str
    topic: str
    complete: bool
    damage: str | None
    frames: int
    labelled: int
    seconds: float
    image_size: tuple[int, int]
    network_size: tuple[int, int]
    mapping: str
    ground_truth: TruthUse | None
    accuracy: Accuracy | None
    temporal: Temporal | None
    latency_ms: dict[str, Percentiles]
    jitter_ms: float


@dataclass(frozen=True)
class RecordingFinding:
    """What is wrong with a recording or its labels."""

    bag: str
    text: str


@dataclass(frozen=True)
class Failure:
    """A bag that could not be replayed, and why."""

    bag: str
    error: str


@dataclass(frozen=True)
class FrameAccount:
    """Where the published frames went.

    Attributes:
        published: number of images that the player published.
        answered: segmented, and their masks published.
        dropped: number of images that the node dropped, by cause.
        idle: received while nobody listened.
        unaccounted: what nobody has told of; negative: more was told of than was published.
        delivered: masks that arrived at a subscriber.
    """

    published: int
    answered: int
    dropped: dict[str, int]
    idle: int
    unaccounted: int
    delivered: int


@dataclass(frozen=True)
class Spread:
    """Percentiles of a duration, with the largest."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class PlayedAs:
    """How a bag was played into the node.

    Attributes:
        name: name of the bag in the results.
        path, topic: what was played.
        rate: times as fast as recorded.
        loops: how many times.
        clock: whether it was played with /clock and the recorded stamps.
        start_s, duration_s: the part of the bag.
        asked_fps: images per second that were to be published.
        complete: whether it went on to the end.
        damage: what of the bag could not be read.
        notes: what is unusual of the bag, see BagReader.
        before, after: how fast the machine was.
        folder: folder of the run, see PlayFiles, below that of the results.
        camera: what the node called it where it had several cameras, else empty.
        interleaved: played in turns with another model that it is compared with.
    """

    name: str
    path: str
    topic: str
    rate: float
    loops: int
    clock: bool
    start_s: float
    duration_s: float | None
    asked_fps: float
    complete: bool
    damage: str | None = None
    notes: tuple[str, ...] = ()
    before: Pace = Pace()  # noqa: RUF009 (frozen)
    after: Pace = Pace()  # noqa: RUF009 (frozen)
    folder: str = ""
    camera: str = ""
    interleaved: bool = False


@dataclass(frozen=True)
class RealtimeBag:
    """Figures of one topic that was played; see metrics.latency for rates and percentiles.

    `late_ms` is by how much images were published late, `between_masks_ms` from one mask to the
    next.
    """

    played: PlayedAs
    backend: str
    frames: FrameAccount
    fps_in: float
    fps_out: float
    latency_ms: dict[str, Percentiles]
    jitter_ms: float
    late_ms: Spread | None
    between_masks_ms: Spread | None


@dataclass(frozen=True)
class Realtime:
    """Figures of all bags that were played."""

    complete: bool
    frames: FrameAccount
    latency_ms: dict[str, Percentiles]
    jitter_ms: float
    histogram: Histogram | None
    bags: tuple[RealtimeBag, ...]
    curve: tuple[Curve, ...]


@dataclass(frozen=True)
class Results:
    """The content of results.json: all bags together, each of them, and over time.

    Attributes:
        provenance: what it was made with.
        frames: number of frames that went straight through the model.
        complete: nothing was interrupted.
        model: what was replayed.
        labels: the classes that were scored; None: only real time was replayed.
        accuracy, temporal: None where there is nothing to compare.
        latency_ms: latency of the Segmenter by stage, while frames were read and scored beside it.
        jitter_ms: mean change of `total_ms` from one frame to the next.
        histogram: histogram of `total_ms`.
        throughput: throughput of one worker.
        bags: one a bag and topic.
        findings: what is wrong with the recordings.
        curve: one a bag and topic.
        realtime: None: only accuracy was replayed.
        failed: bags without results.
        files: digests of all files that these results were made of.
    """

    provenance: Provenance
    frames: int
    complete: bool
    model: ModelUse
    labels: LabelSet | None
    accuracy: Accuracy | None
    temporal: Temporal | None
    latency_ms: dict[str, Percentiles]
    jitter_ms: float
    histogram: Histogram | None
    throughput: Throughput
    bags: tuple[BagResults, ...]
    findings: tuple[RecordingFinding, ...]
    curve: tuple[Curve, ...]
    realtime: Realtime | None
    failed: tuple[Failure, ...]
    files: dict[str, str]
