# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Accuracy replay: every frame, exact counts, planted errors found, bad input refused."""

from __future__ import annotations

import signal
import tracemalloc

import cv2
import numpy as np
import pytest
from scene_bags import IMAGES, LABELS, START_NS, STEP_NS

pytest.importorskip("rosbags")

from lrn_ros import Segmenter
from lrn_ros.data.bags.reader import BagReader
from lrn_ros.data.bags.times import Extent
from lrn_ros.errors import UserError
from lrn_ros.inference.smoothing import Smoother
from lrn_ros.metrics.confusion import confusion_matrix
from lrn_ros.model.labels import LabelMapping, LabelSet
from lrn_ros.replay import sampling
from lrn_ros.replay.accuracy import read_frames, read_part, replay
from lrn_ros.replay.gallery import Gallery
from lrn_ros.replay.records import to_data
from lrn_ros.replay.results import merge
from lrn_ros.replay.scoring import Scoring, TruthOptions, open_truth

CAMVID = LabelSet.load("camvid11")


@pytest.fixture(scope="module")
def segmenter(random_model):
    return Segmenter.load(random_model, backend="torch", network_size=(64, 80), threads=1)


@pytest.fixture(scope="module")
def trained():
    """The package's model: only a model that sees can tell that labels are shifted."""
    pytest.importorskip("openvino")
    return Segmenter.load(backend="openvino", network_size=(192, 320), threads=1)


def run(segmenter, bag, folder, truth=None, **more):
    truth = truth or TruthOptions()
    assert replay(segmenter, BagReader(bag), IMAGES, folder, truth, **more)
    return read_part("bag", folder)


def right(write_bag, timed, frames):
    images, labels = zip(*frames)
    return write_bag({IMAGES: timed(images), LABELS: timed(labels)}, CAMVID)


def test_counts_are_those_of_the_frames(segmenter, frames, write_bag, timed, tmp_path):
    part = run(segmenter, right(write_bag, timed, frames), tmp_path / "out", thorough=True)
    expected = [confusion_matrix(label, segmenter(rgb).mask, 11) for rgb, label in frames]
    np.testing.assert_array_equal(part.record.tally.matrix, np.sum(expected, axis=0))
    assert (part.record.tally.frames, part.record.tally.labelled, part.record.tally.sampled) == (
        16,
        16,
        16,
    )
    assert part.record.tally.pairs == 15
    lines = list(read_frames(part))
    assert [line.index for line in lines] == list(range(16))
    assert [line.stamp_ns for line in lines] == [START_NS + i * STEP_NS for i in range(16)]
    assert [line.pixels[0] for line in lines] == [m.diagonal().tolist() for m in expected]
    results = merge([part])
    assert results.complete and results.frames == 16
    assert sum(point.frames for point in results.curve[0].points) == 16
    assert results.findings == ()


def test_smoothing_is_that_of_the_segmenter(segmenter, frames, write_bag, timed, tmp_path):
    bag = right(write_bag, timed, frames)
    smoother, expected = Smoother(), []
    for i, (rgb, label) in enumerate(frames):
        smooth = smoother.at((START_NS + i * STEP_NS) / 1e9)
        expected.append(confusion_matrix(label, segmenter(rgb, smooth=smooth).mask, 11))
    found = run(segmenter, bag, tmp_path / "smooth", smoothing=True).record.tally.matrix
    np.testing.assert_array_equal(found, np.sum(expected, axis=0))
    assert (found != run(segmenter, bag, tmp_path / "single").record.tally.matrix).any()


def test_parts_add_up_exactly(segmenter, frames, write_bag, timed, tmp_path):
    halves = []
    for name, some in (("a", frames[:6]), ("b", frames[6:])):
        images, labels = zip(*some)
        bag = write_bag({IMAGES: timed(images), LABELS: timed(labels)}, CAMVID, name=name)
        halves.append(run(segmenter, bag, tmp_path / f"out_{name}", thorough=True))
    whole = run(segmenter, right(write_bag, timed, frames), tmp_path / "out", thorough=True)
    together, alone = to_data(merge(halves)), to_data(merge([whole]))  # NaN equals nothing
    for key in ("confusion", "classes", "miou", "pixel_accuracy", "boundary", "calibration"):
        assert together["accuracy"][key] == alone["accuracy"][key]
    assert [b["frames"] for b in together["bags"]] == [6, 10]


def test_costly_figures_of_a_short_recording_are_of_every_frame(
    segmenter, frames, write_bag, timed, tmp_path, monkeypatch
):
    bag = right(write_bag, timed, frames)
    tally = run(segmenter, bag, tmp_path / "out").record.tally
    assert (tally.labelled, tally.sampled, tally.pairs, tally.pixels) == (16, 16, 15, 16 * 96 * 160)
    monkeypatch.setattr(sampling, "SHORT", 15)  # so that this one is long
    tally = run(segmenter, bag, tmp_path / "long").record.tally
    assert (tally.labelled, tally.sampled, tally.pairs) == (16, 2, 2)
    tally = run(segmenter, bag, tmp_path / "all", thorough=True).record.tally
    assert (tally.labelled, tally.sampled, tally.pairs) == (16, 16, 15)


@pytest.mark.parametrize(
    ("cost", "strides"), [(0.001, (1, 1)), (0.05, (4, 64)), (9.0, (1024, 8192))]
)
def test_sampling_costs_little_of_a_long_recording(cost, strides):
    """Frames of 100 ms; every tenth has a label, and every figure costs the same."""
    now = 0.0
    found = sampling.Sampling(10_000, False, lambda: now)
    for i in range(4000):
        found.next_frame()
        for kind, candidate in ((found.labels, i % 10 == 0), (found.pairs, True)):
            if candidate and kind.due():
                kind.add(cost)
        now += 0.1
    assert (found.labels.stride, found.pairs.stride) == strides


def test_sparse_labels_from_a_folder(segmenter, frames, write_bag, timed, tmp_path):
    bag = write_bag({IMAGES: timed([rgb for rgb, _ in frames])})
    folder = tmp_path / "labels"
    folder.mkdir()
    for i in (0, 10):
        cv2.imwrite(str(folder / f"{START_NS + i * STEP_NS}.png"), frames[i][1])
    part = run(segmenter, bag, tmp_path / "out", TruthOptions(str(folder)))
    expected = [confusion_matrix(frames[i][1], segmenter(frames[i][0]).mask, 11) for i in (0, 10)]
    np.testing.assert_array_equal(part.record.tally.matrix, np.sum(expected, axis=0))
    assert part.record.tally.frames == 16


def test_without_ground_truth(segmenter, frames, write_bag, timed, tmp_path):
    bag = write_bag({IMAGES: timed([rgb for rgb, _ in frames])})
    part = run(segmenter, bag, tmp_path / "out")
    assert part.record.tally.accuracy(CAMVID.names) is None and part.record.tally.frames == 16
    assert merge([part]).temporal.pairs == 15


def test_start_and_duration(segmenter, frames, write_bag, timed, tmp_path):
    bag = right(write_bag, timed, frames)
    part = run(segmenter, bag, tmp_path / "out", extent=Extent(0.5, 0.4))
    assert [line.index for line in read_frames(part)] == [5, 6, 7, 8]
    assert part.record.tally.labelled == 4 and part.record.findings == ()


def test_worst_frames_are_those_with_most_wrong_pixels(
    segmenter, frames, write_bag, timed, tmp_path
):
    from lrn_ros.replay.gallery import read_frame, read_pictures

    part = run(segmenter, right(write_bag, timed, frames), tmp_path / "out")
    pictures = read_pictures(part.files.pictures)
    road = CAMVID.names.index("road")
    wrong = []
    for rgb, label in frames:
        mask = np.where(label < 11, segmenter(rgb).mask, 255)
        wrong.append(int(((label == road) != (mask == road)).sum()))
    first = pictures.worst["road"][0]
    assert (first.index, first.wrong) == (int(np.argmax(wrong)), max(wrong))
    assert first.missed + first.false == first.wrong
    assert first.seconds == pytest.approx(first.index * STEP_NS / 1e9)
    stamps = [frame.stamp_ns for frame in pictures.worst["road"]]
    assert min(np.diff(sorted(stamps)), default=STEP_NS * 10) >= STEP_NS * 10
    small, (rgb, label) = read_frame(part.files.pictures, first.index), frames[first.index]
    np.testing.assert_array_equal(small.truth, label)
    np.testing.assert_array_equal(small.mask, segmenter(rgb).mask)
    assert np.abs(small.image.astype(int) - rgb).mean() < 6  # JPEG
    assert [frame.index for frame in pictures.spread] == list(range(16))


def test_labels_of_a_neighbouring_frame_are_found(trained, frames, write_bag, timed, tmp_path):
    images, labels = zip(*frames)
    bag = write_bag({IMAGES: timed(images), LABELS: timed([*labels[2:], *labels[:2]])}, CAMVID)
    part = run(trained, bag, tmp_path / "out")
    (finding,) = part.record.findings
    assert finding.startswith("labels are shifted in time: they fit the image 2 later better")


def test_labels_beside_their_pixels_are_found(trained, frames, write_bag, timed, tmp_path):
    images, labels = zip(*frames)
    moved = []
    for label in labels:
        moved.append(np.full_like(label, 255))
        moved[-1][:, 3:] = label[:, :-3]
    bag = write_bag({IMAGES: timed(images), LABELS: timed(moved)}, CAMVID)
    findings = run(trained, bag, tmp_path / "out").record.findings
    assert any("in place, about +3 pixels to the right and +0 down" in f for f in findings)


def test_right_labels_are_not_suspected(trained, frames, write_bag, timed, tmp_path):
    assert run(trained, right(write_bag, timed, frames), tmp_path / "out").record.findings == ()


def test_dropped_frames_and_wrong_stamps_are_found(segmenter, frames, write_bag, timed, tmp_path):
    messages = timed([rgb for rgb, _ in frames])
    recorded, _, pixels = messages[12]
    messages[12] = (recorded, recorded - 40 * 10**9, pixels)
    del messages[5:8]
    found = merge([run(segmenter, write_bag({IMAGES: messages}), tmp_path / "out")]).findings
    assert [f.text for f in found] == [
        "stamps go back once, first at image 9",
        "1 images have wrong stamps: against the recorder's clock they are off by -40.0 s, first at"
        " image 9",
        "about 3 images are missing in 1 gaps, the first after image 4 (0.40 s instead of 0.10 s)",
    ]


def test_labels_without_an_image_are_counted(segmenter, frames, write_bag, timed, tmp_path):
    images, labels = zip(*frames)
    late = [
        (r, s + (40_000_000 if i % 4 == 0 else 0), p) for i, (r, s, p) in enumerate(timed(labels))
    ]
    part = run(
        segmenter, write_bag({IMAGES: timed(images), LABELS: late}, CAMVID), tmp_path / "out"
    )
    assert part.record.tally.labelled == 12
    expected = "4 of 16 labels belong to no image; the nearest one misses by +40.0 ms"
    assert part.record.findings[0] == expected


def test_labels_that_fit_nothing_say_what_would(segmenter, frames, write_bag, timed, tmp_path):
    images, labels = zip(*frames)
    late = [(r, s + 20_000_000, p) for r, s, p in timed(labels)]
    bag = write_bag({IMAGES: timed(images), LABELS: late}, CAMVID)
    with pytest.raises(UserError, match=r"no label has the stamp.*--tolerance 0\.0202 would fit"):
        run(segmenter, bag, tmp_path / "out")
    assert (
        run(
            segmenter, bag, tmp_path / "out", TruthOptions(tolerance_s=0.0202)
        ).record.tally.labelled
        == 16
    )


def test_labels_that_just_miss_are_said_of_a_part_too(
    segmenter, frames, write_bag, timed, tmp_path
):
    images, labels = zip(*frames)
    late = [(r, s + 20_000_000, p) for r, s, p in timed(labels)]
    bag = write_bag({IMAGES: timed(images), LABELS: late}, CAMVID)
    with pytest.raises(UserError, match=r"no label has the stamp.*--tolerance 0\.0202 would fit"):
        run(segmenter, bag, tmp_path / "out", extent=Extent(0.3, 0.5))


def test_labels_are_those_of_the_same_camera(frames, write_bag, timed):
    images, labels = (timed(some[:2]) for some in zip(*frames))
    other, nested = "/right/image_raw", "/camera/rgb/image_raw"

    def found(*topics: str) -> list[str | None]:
        """The label topic of each of a bag's image topics."""
        bag = write_bag(
            {**dict.fromkeys(topics, images), LABELS: labels}, CAMVID, name=f"bag{len(topics)}"
        )
        truths = [open_truth(BagReader(bag), t, TruthOptions(), CAMVID)[0] for t in topics]
        return [truth and truth.title for truth in truths]

    assert found(nested) == [LABELS], "the only camera"
    assert found(IMAGES, other) == [LABELS, None]
    assert found(IMAGES, other, nested) == [LABELS, None, None]


def test_a_wrong_tolerance_is_not_recommended(segmenter, frames, write_bag, timed, tmp_path):
    """Labels of later frames: a tolerance that reaches them would take wrong ones."""
    images, labels = zip(*frames)
    late = [(r, s + 2_060_000_000, p) for r, s, p in timed(labels)]
    bag = write_bag({IMAGES: timed(images), LABELS: late}, CAMVID)
    with pytest.raises(UserError, match=r"the nearest one misses by \+560\.0 ms$"):
        run(segmenter, bag, tmp_path / "out")


def test_a_part_without_labels(segmenter, frames, write_bag, timed, tmp_path):
    images, labels = zip(*frames)
    bag = write_bag({IMAGES: timed(images), LABELS: timed(labels)[:4]}, CAMVID)
    part = run(segmenter, bag, tmp_path / "out", extent=Extent(0.8))
    assert (part.record.tally.frames, part.record.tally.labelled, part.record.findings) == (
        8,
        0,
        (),
    )


def test_labels_half_an_interval_away_are_matched_once(
    segmenter, frames, write_bag, timed, tmp_path
):
    images, labels = zip(*frames)
    early = [(r, s - 40_000_000, p) for r, s, p in timed(labels)[1:]]
    bag = write_bag({IMAGES: timed(images), LABELS: early}, CAMVID)
    part = run(segmenter, bag, tmp_path / "out", TruthOptions(tolerance_s=0.09))
    expected = [confusion_matrix(label, segmenter(rgb).mask, 11) for rgb, label in frames[1:]]
    np.testing.assert_array_equal(part.record.tally.matrix, np.sum(expected, axis=0))


def test_stamps_that_are_not_set(segmenter, frames, write_bag, timed, tmp_path):
    bag = write_bag({IMAGES: [(r, 0, p) for r, _, p in timed([rgb for rgb, _ in frames])]})
    found = merge([run(segmenter, bag, tmp_path / "out")])
    assert found.temporal.pairs == 15
    (finding,) = found.findings
    assert finding.text == "stamps are not set: those of 16 of 16 images are 0"


def test_labels_of_another_camera_are_not_taken(segmenter, frames, write_bag, timed, tmp_path):
    images, labels = zip(*frames)
    topics = {"/left/image_raw": timed(images), LABELS: timed(labels)}
    bag = write_bag(topics, CAMVID)
    assert replay(segmenter, BagReader(bag), "/left/image_raw", tmp_path / "out", TruthOptions())
    assert read_part("bag", tmp_path / "out").record.ground_truth is None


def test_a_bag_without_labels_is_mapped_like_the_others(frames, write_bag, timed):
    bag = BagReader(write_bag({IMAGES: timed([rgb for rgb, _ in frames])}))
    options, city = TruthOptions(mapping="cityscapes19_to_camvid11"), LabelSet.load("cityscapes19")
    truth, compare = open_truth(bag, IMAGES, options, city)
    assert truth is None and compare.labels == CAMVID
    assert compare.of_prediction == LabelMapping.load("cityscapes19_to_camvid11")
    assert open_truth(bag, IMAGES, options, CAMVID) == (None, Scoring(CAMVID))


def test_a_replay_that_cannot_start_leaves_what_there_was(
    segmenter, frames, write_bag, timed, tmp_path
):
    out, report = tmp_path / "out", tmp_path / "report.html"
    report.touch()
    bag = right(write_bag, timed, frames)
    run(segmenter, bag, out)
    for wrong, extent in ((TruthOptions("/no/labels"), Extent()), (None, Extent(99.0))):
        with pytest.raises(UserError):
            run(segmenter, bag, out, wrong, extent=extent, stale=[report])
        assert read_part("bag", out).record.tally.frames == 16 and report.exists()
    run(segmenter, bag, out, stale=[report])
    assert not report.exists()


def test_an_interrupt_while_it_is_finished_loses_nothing(
    segmenter, frames, write_bag, timed, tmp_path, monkeypatch
):
    write, came = Gallery.write, []

    def interrupted(gallery, folder):
        signal.raise_signal(signal.SIGINT)
        write(gallery, folder)

    monkeypatch.setattr(Gallery, "write", interrupted)
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        part = run(segmenter, right(write_bag, timed, frames[:3]), tmp_path / "out")
        assert part.record.complete and came == []
        signal.raise_signal(signal.SIGINT)  # not ignored any more
        assert came == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_labels_of_another_size(segmenter, frames, write_bag, timed, tmp_path):
    images, labels = zip(*frames)
    small = [label[::2, ::2] for label in labels]
    bag = write_bag({IMAGES: timed(images), LABELS: timed(small)}, CAMVID)
    with pytest.raises(UserError, match="a label of 80x48 pixels for an image of 160x96"):
        run(segmenter, bag, tmp_path / "out")


def test_ground_truth_that_is_not_there(segmenter, frames, write_bag, timed, tmp_path):
    bag = right(write_bag, timed, frames)
    with pytest.raises(UserError, match="neither a folder nor a topic.*its label topics: /camera"):
        run(segmenter, bag, tmp_path / "out", TruthOptions("/no/labels"))


def test_memory_does_not_grow_with_the_bag(segmenter, frames, write_bag, timed, tmp_path):
    peaks = []
    for repeat in (4, 6):
        images, labels = zip(*(frames * repeat))
        bag = write_bag({IMAGES: timed(images), LABELS: timed(labels)}, CAMVID, name=f"{repeat}")
        tracemalloc.start()
        run(segmenter, bag, tmp_path / f"out{repeat}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    frame = frames[0][0].nbytes + frames[0][1].nbytes
    assert peaks[1] - peaks[0] < 12 * frame  # of 32 more frames
