# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Videos read and written with PyAV, against OpenCV's reader and against the original frames."""

from __future__ import annotations

import asyncio
import base64
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import av
import cv2
import numpy as np
import pytest
from browser import CHROMIUM, Browser

import lrn_ros.images.video as video_module
from lrn_ros.errors import RunError, UserError
from lrn_ros.images.video import VideoReader, VideoWriter

RNG = np.random.default_rng(0)
SMOOTH = cv2.resize(
    RNG.integers(0, 256, (12, 20, 3), np.uint8), (320, 192), interpolation=cv2.INTER_CUBIC
)


def picture(i: int) -> np.ndarray:
    """Frame number `i`: (192, 320, 3) uint8, other than all its neighbours."""
    return np.roll(SMOOTH, 5 * i, 1)


def write(
    path: Path, count: int = 30, codec: str = "libx264", seconds=lambda i: i / 10, base: int = 10
) -> bytes:
    """A video that FFmpeg's own muxer writes; its bytes."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height = 320, 192
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, base)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.time_base, frame.pts = Fraction(1, base), round(base * seconds(i))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


def difference(rgb: np.ndarray, i: int) -> float:
    return float(np.abs(rgb.astype(int) - picture(i)).mean())


def test_frames_are_those_that_opencv_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (320, 192))
    for i in range(5):
        writer.write(np.ascontiguousarray(picture(i)[..., ::-1]))
    writer.release()
    reader, capture = VideoReader(str(path)), cv2.VideoCapture(str(path))
    assert (reader.rate, reader.count) == (12.0, 5)
    for frame in reader.frames():
        np.testing.assert_array_equal(frame.rgb, capture.read()[1][..., ::-1])
        assert frame.seconds == frame.index / 12
    assert [f.index for f in reader.frames({1, 3})] == [1, 3] and reader.damage is None


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_times_are_the_frames_own(tmp_path: Path, name: str) -> None:
    at = [0.0, 0.1, 0.2, 0.5, 0.6, 1.4]  # as a telephone records in the dark
    codec = "mjpeg" if name == "a.avi" else "libx264"
    write(tmp_path / name, 6, codec, at.__getitem__, base=1000)
    reader = VideoReader(str(tmp_path / name))
    frames = list(reader.frames())
    assert reader.damage is None
    assert [f.seconds for f in frames] == pytest.approx(at, abs=0.002)
    assert all(difference(f.rgb, f.index) < 8 for f in frames)


@pytest.mark.parametrize(
    ("name", "codec", "says"),
    [
        ("a.avi", "mjpeg", "announces 30 frames"),
        ("a.mkv", "libx264", "announces 3.0 s"),
        ("a.webm", "libvpx-vp9", "announces 3.0 s"),
    ],
)
def test_a_cut_video_says_what_is_missing(tmp_path: Path, name: str, codec: str, says: str) -> None:
    whole = write(tmp_path / name, 30, codec)
    (tmp_path / name).write_bytes(whole[: len(whole) * 6 // 10])
    reader = VideoReader(str(tmp_path / name))
    frames = list(reader.frames())
    assert 1 <= len(frames) < 30 and all(difference(f.rgb, f.index) < 8 for f in frames)
    assert says in str(reader.damage) and f"{len(frames)} frames were read" in str(reader.damage)


def test_damage_inside_is_counted(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.avi", 30, "mjpeg")
    hole = len(whole) // 2
    (tmp_path / "a.avi").write_bytes(whole[:hole] + bytes(9000) + whole[hole + 9000 :])
    reader = VideoReader(str(tmp_path / "a.avi"))
    assert len(list(reader.frames())) < 30 and "it announces 30 frames" in str(reader.damage)


def test_what_was_written_plays_in_a_browser(tmp_path: Path) -> None:
    """H.264 with shared colours, with its index before the frames; odd sizes too."""
    path, at = tmp_path / "overlay.mp4", [0.0, 0.1, 0.2, 0.5]
    writer = VideoWriter(path, 10.0)
    assert [writer.add(picture(i)[:181, :301], at[i]) for i in range(4)] == [0, 1, 2, 3]
    writer.close()
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    frames = list(VideoReader(str(path)).frames())
    assert [f.seconds for f in frames] == pytest.approx(at, abs=1e-4)
    assert frames[0].rgb.shape == (182, 302, 3)
    for frame in frames:
        wanted = picture(frame.index)[:181, :301].astype(int)
        assert np.abs(frame.rgb[:181, :301] - wanted).mean() < 8
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["overlay.mp4"]


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_chromium_plays_what_was_written(tmp_path: Path) -> None:
    """Odd, tiny, upright and large pictures, one frame, times that are uneven; with both codecs."""
    kinds = [  # height, width, times, codec
        (181, 301, [0.0, 0.1, 0.2, 0.5], 0), (1, 1, [0.0, 0.1], 0), (320, 192, [0.0], 0),
        (1080, 1920, [0.0, 0.04], 0), (17, 640, [3.0, 3.1, 3.1, 2.0], 0), (90, 161, [0.0, 0.3], 1),
    ]  # fmt: skip
    sources = []
    for number, (height, width, times, codec) in enumerate(kinds):
        path = tmp_path / f"{number}.mp4"
        with patch.object(video_module, "_ENCODERS", video_module._ENCODERS[codec:]):
            writer = VideoWriter(path, 10.0)
        for i, seconds in enumerate(times):
            writer.add(cv2.resize(picture(i), (width, height)).astype(np.uint8), seconds)
        writer.close()
        sources.append("data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode())
    play = """new Promise(done => {
        const v = Object.assign(document.createElement("video"), {muted: true, src: SOURCE});
        v.onended = () => {
            const c = Object.assign(document.createElement("canvas"),
                                    {width: v.videoWidth, height: v.videoHeight});
            const pen = c.getContext("2d");
            pen.drawImage(v, 0, 0);
            done([v.videoHeight, v.videoWidth, v.duration, ...pen.getImageData(0, 0, 1, 1).data]);
        };
        v.onerror = () => done(v.error.message);
        v.play();
    })"""

    async def watch() -> list[list[float]]:
        async with Browser(tmp_path / "profile") as page:
            return [await page.evaluate(play.replace("SOURCE", f'"{s}"')) for s in sources]

    for (height, width, times, _), shown in zip(kinds, asyncio.run(watch())):
        assert shown[:2] == [height + height % 2, width + width % 2], shown
        assert shown[2] > 0.05 * len(times)
        last = cv2.resize(picture(len(times) - 1), (width, height))[0, 0].astype(int)
        assert np.abs(last - shown[3:6]).max() < 60


def test_no_frame_is_lost_where_the_size_changes(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", 10.0)
    writer.add(picture(0), 0.0)
    writer.add(np.full((96, 320, 3), 200, np.uint8), 0.1)
    writer.add(picture(2), 0.1)  # its time is not after the last one
    writer.close()
    frames = [f.rgb for f in VideoReader(str(tmp_path / "a.mp4")).frames()]
    assert len(frames) == 3 and writer.resized == 1
    np.testing.assert_allclose(frames[1][48:144].mean((0, 1)), 200, atol=4)
    assert frames[1][:40].mean() < 6  # the border
    assert np.abs(frames[2].astype(int) - picture(2)).mean() < 8


def test_a_turned_video_is_read_upright(tmp_path: Path) -> None:
    """As a telephone's that was held upright; OpenCV turns it too."""
    path, data = tmp_path / "a.mp4", bytearray(write(tmp_path / "a.mp4", 3))
    matrix = data.index(b"tkhd") + 4 + 40  # of 9 numbers, ISO/IEC 14496-12, section 8.3.2
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in turned)
    path.write_bytes(data)
    (first, *_), capture = VideoReader(str(path)).frames(), cv2.VideoCapture(str(path))
    assert first.rgb.shape == (320, 192, 3)
    np.testing.assert_array_equal(first.rgb, capture.read()[1][..., ::-1])


def test_errors(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="a.mp4: cannot be read as a video"):
        VideoReader(str(tmp_path / "a.mp4"))
    with pytest.raises(UserError, match="stream: cannot be read") as info:
        VideoReader("http://user:secret@127.0.0.1:9/x", "stream")
    assert "secret" not in str(info.value)
    writer = VideoWriter(tmp_path / "no" / "a.mp4", 10.0)
    with pytest.raises(RunError, match="a.mp4: cannot be written: No such file"):
        for i in range(100):
            writer.add(picture(i), i / 10)
        writer.close()
