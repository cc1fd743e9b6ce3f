# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames from bags (both storages), videos, folders and the scene."""

from __future__ import annotations

import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from lrn_ros.data.sources import SceneSource, open_source
from lrn_ros.errors import UserError
from lrn_ros.images.compressed import encode_jpeg
from lrn_ros.images.video import VideoWriter
from lrn_ros.model.labels import UNLABELLED, LabelSet
from lrn_ros.scene import StreetScene

RNG = np.random.default_rng(0)
FRAMES = [RNG.integers(0, 256, (16, 24, 3), np.uint8) for _ in range(5)]


def _png(rgb):
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].ravel()


def _write_bag(path: Path, plugin, damaged: int | None = None) -> None:
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    image, compressed = (types[f"sensor_msgs/msg/{n}"] for n in ("Image", "CompressedImage"))
    header_type, time_type = types["std_msgs/msg/Header"], types["builtin_interfaces/msg/Time"]
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        raw = writer.add_connection("/front/image", image.__msgtype__, typestore=store)
        png = writer.add_connection("/rear/compressed", compressed.__msgtype__, typestore=store)
        for i, rgb in enumerate(FRAMES):
            header = header_type(stamp=time_type(sec=i, nanosec=0), frame_id="camera")
            bgr = np.ascontiguousarray(rgb[:, :, ::-1])
            padded = np.zeros((16, 80), np.uint8)
            padded[:, :72] = bgr.reshape(16, 72)
            message = image(
                header=header, height=16, width=24, is_bigendian=0, step=80,
                encoding="none" if i == damaged else "bgr8", data=padded.ravel(),
            )  # fmt: skip
            stamp = i * 100_000_000
            writer.write(raw, stamp, store.serialize_cdr(message, image.__msgtype__))
            if i % 2:
                message = compressed(header=header, format="png", data=_png(rgb))
                writer.write(png, stamp, store.serialize_cdr(message, compressed.__msgtype__))


@pytest.fixture(params=["SQLITE3", "MCAP"])
def bag(request, tmp_path):
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    path = tmp_path / "bag"
    _write_bag(path, rosbag2.StoragePlugin[request.param])
    return path


def _same(frames, expected):
    assert len(frames) == len(expected)
    for frame, rgb in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)


def test_bag(bag):
    source = open_source(bag, topic="/front/image")
    assert source.count == 5 and source.rate == pytest.approx(10.0)
    _same(list(source.frames()), FRAMES)
    some = list(source.frames({3, 1}))
    _same(some, [FRAMES[1], FRAMES[3]])
    assert [f.index for f in some] == [1, 3]
    assert [f.seconds for f in some] == [1, 3]  # by the stamps, not by when they were recorded
    rear = open_source(bag, topic="/rear/compressed")
    _same(list(rear.frames()), FRAMES[1::2])
    storage = next(p for p in bag.iterdir() if p.suffix in (".db3", ".mcap"))
    _same(list(open_source(storage, topic="/front/image").frames()), FRAMES)
    with pytest.raises(UserError, match="there are /front/image, /rear/compressed"):
        open_source(bag, topic="/left")
    with pytest.raises(UserError, match="name one of /front/image, /rear/compressed"):
        open_source(bag)


def test_a_damaged_bag_warns(bag, caplog):
    (bag / "metadata.yaml").unlink()
    _same(list(open_source(bag, topic="/front/image").frames()), FRAMES)
    assert "read in part: metadata.yaml is missing" in caplog.text


def test_the_images_beside_a_damaged_one_keep_their_numbers(tmp_path, caplog):
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    _write_bag(tmp_path / "bag", rosbag2.StoragePlugin.MCAP, damaged=2)
    source = open_source(tmp_path / "bag", topic="/front/image")
    for wanted, indices in ((None, [0, 1, 3, 4]), ({1, 2, 4}, [1, 4])):
        frames = list(source.frames(wanted))
        _same(frames, [FRAMES[i] for i in indices])
        assert [(f.index, f.name) for f in frames] == [(i, f"{i:06d}") for i in indices]
    assert "messages left out: 1" in caplog.text


def test_folder_with_labels(tmp_path):
    labels = LabelSet.load("camvid11")
    folder, annotations = tmp_path / "val", tmp_path / "valannot"
    folder.mkdir()
    annotations.mkdir()
    for name, rgb in zip(("b", "a", "c"), FRAMES, strict=False):
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(annotations / "a.png"), np.full((16, 24), 11, np.uint8))
    source = open_source(folder, labels)
    frames = list(source.frames())
    assert [f.name for f in frames] == ["a", "b", "c"] and source.count == 3
    assert frames[0].seconds is None
    assert source.label_set == "camvid11"
    _same(frames, [FRAMES[1], FRAMES[0], FRAMES[2]])
    assert frames[0].label is not None and (frames[0].label == UNLABELLED).all()
    assert frames[1].label is None
    assert open_source(folder).label_set is None
    _same(list(open_source(folder / "c.png").frames()), [FRAMES[2]])


def test_video(tmp_path):
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), (40 * i, 0, 200 - 40 * i), np.uint8))  # BGR
    writer.release()
    source = open_source(path)
    assert (source.rate, source.count) == (12.0, 5)
    means = [f.rgb.mean((0, 1)) for f in source.frames()]
    np.testing.assert_allclose(means, [(200 - 40 * i, 0, 40 * i) for i in range(5)], atol=4)
    assert [(f.index, f.seconds) for f in source.frames({0, 4})] == [(0, 0), (4, 4 / 12)]


def test_scene():
    frames = list(SceneSource(2, (64, 96), 10.0).frames({1, 3}))
    assert [(f.index, f.seconds) for f in frames] == [(1, 0.1), (3, 0.3)]
    rgb, label = StreetScene(2, 64, 96, 10.0).frame(3)
    np.testing.assert_array_equal(frames[1].rgb, rgb)
    np.testing.assert_array_equal(frames[1].label, label)


@pytest.mark.parametrize(
    ("name", "says"),
    [("nowhere", "no such file"), ("x.txt", "not a video"), ("empty", "no images"),
     ("x.mp4", "cannot be read as a video")],
)  # fmt: skip
def test_not_a_source(tmp_path, name, says):
    (tmp_path / "empty").mkdir()
    for file in ("x.txt", "x.mp4"):
        (tmp_path / file).write_text("no frames", encoding="utf-8")
    with pytest.raises(UserError, match=says):
        open_source(tmp_path / name)


class _Camera(BaseHTTPRequestHandler):
    """A network camera: JPEGs one after the other, each a grey that tells its number."""

    count = 40

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for i in range(self.count):
            jpeg = encode_jpeg(np.full((48, 64, 3), 5 * i, np.uint8))
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.02)

    def log_message(self, *_):
        """Log nothing."""


def test_a_live_stream_gives_its_newest_frame():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/camera.mjpg")
        assert source.count is None and "127.0.0.1" in source.title
        numbers, times = [], []
        for frame in source.frames():
            numbers.append(round(frame.rgb.mean() / 5))
            times.append(frame.seconds)
            time.sleep(0.15)  # slower than the camera
        server.shutdown()
    assert numbers == sorted(set(numbers)) and len(numbers) < _Camera.count / 2
    assert numbers[-1] >= _Camera.count - 2 and times == sorted(times)


def test_a_finite_video_at_an_address(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", 10.0)
    for i in range(8):
        writer.add(np.full((48, 64, 3), 20 * i, np.uint8), i / 10)
    writer.close()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/a.mp4")
        frames = list(source.frames())
        server.shutdown()
    assert source.count == 8 and [round(f.rgb.mean() / 20) for f in frames] == [*range(8)]
