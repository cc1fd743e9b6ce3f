# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Video with PyAV: reads files and streams, writes files that browsers play."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from queue import Queue
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import RunError, UserError

try:
    import av
except ImportError as missing:
    raise UserError(f"video needs PyAV: pip install av ({missing})") from missing

_TIMEOUT_S = (10.0, 10.0)  # to open an address, and to wait for its next frame
_TICKS = 90_000  # per second, the time base of files that are written
_PAUSE_S = 10.0  # a frame is never shown for longer than this
_MAX_WAITING = 8  # frames that wait for the encoder
# Browsers play both in an mp4 file. The second is for builds of FFmpeg without the first.
_ENCODERS = (
    ("libx264", {"preset": "veryfast", "crf": "23"}),
    ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "30"}),
)


@dataclass(frozen=True)
class DecodedFrame:
    """One frame of a video.

    Attributes:
        index: position in the video, from 0; frames that cannot be decoded are counted too.
        rgb: (H, W, 3) uint8.
        seconds: time since the video's first frame; None: the video does not say.
    """

    index: int
    rgb: NDArray[np.uint8]
    seconds: float | None


class VideoReader:
    """Reads the first video stream of a file, an address or a camera device.

    Args:
        name: path or address.
        title: what errors call it; default: `name`.
        format: FFmpeg's name of the format, such as v4l2; None: FFmpeg finds it.

    Attributes:
        rate: average frames per second; None: unknown.
        count: number of frames that the file announces; None: unknown.
        seconds: length that the file announces; None: unknown, as of a live stream.

    Raises:
        UserError: `name` cannot be opened, or has no video stream.
    """

    def __init__(self, name: str, title: str | None = None, format: str | None = None) -> None:
        self._name, self._title, self._format = name, title or name, format
        self._lost = self._read = self._hidden = 0
        self._stopped = ""
        with self._open() as container:
            stream = container.streams.video[0]
            rates = (float(r or 0) for r in (stream.average_rate, stream.guessed_rate))
            self.rate: float | None = next((r for r in rates if 0 < r < 1000), None)
            self.count: int | None = _announced(stream)
            length = container.duration
            self.seconds: float | None = length / 1e6 if length and length > 0 else None

    @property
    def damage(self) -> str | None:
        """A text about the part that could not be read in the last pass; None: no damage."""
        found = []
        if self._lost:
            found.append(f"{self._lost} frames cannot be decoded")
        if self._stopped:
            found.append(self._stopped)
        return f"{'; '.join(found)}; {self._read} frames were read" if found else None

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[DecodedFrame]:
        """The frames in the order of showing; damaged ones are left out, see `damage`.

        Args:
            wanted: only those with these indices; None: all.
        """
        self._lost, self._read, self._hidden, self._stopped = 0, 0, 0, ""
        first: Fraction | None = None
        end, after = 0.0, 0.0
        last = None if wanted is None else max(wanted, default=-1)
        for index, frame in self._decoded():
            if last is not None and index > last:
                return
            time = None if frame.pts is None else frame.pts * Fraction(frame.time_base)
            first = time if first is None else first
            at = None if time is None or first is None else float(time - first)
            after, end = (0.0 if at is None else at - end), at or 0.0
            self._read += 1
            if wanted is None or index in wanted:
                yield DecodedFrame(index, _rgb(frame), self._seconds(index, at))
        self._note_end(end + max(after, 0.0))

    def _seconds(self, index: int, at: float | None) -> float | None:
        if at is not None:
            return at
        return index / self.rate if self.rate else None

    def _decoded(self) -> Iterator[tuple[int, Any]]:
        """Frames with their indices; counts those that are damaged."""
        index = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if stream.codec_context.name == "mjpeg":  # others may hide a fault in one slice
                stream.codec_context.options = {"err_detect": "explode"}
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.FFmpegError as error:
                    self._stopped = f"it ends early: {_reason(error)}"
                    return
                if packet is None:
                    return
                self._hidden += packet.is_discard  # an edit list cuts it away: it is never shown
                try:  # a frame that is cut would be grey in part
                    frames = [] if packet.is_corrupt else packet.decode()
                    if packet.is_corrupt:
                        self._lost, index = self._lost + 1, index + 1
                except av.FFmpegError:
                    frames, self._lost, index = [], self._lost + 1, index + 1
                for frame in frames:
                    if frame.is_corrupt:
                        self._lost += 1
                    else:
                        yield index, frame
                    index += 1

    def _note_end(self, end: float) -> None:
        """Note frames that the file announces and does not have."""
        read, announced = self._read + self._lost + self._hidden, self.seconds or 0.0
        missing_s = 0.0 if self.rate is None else announced - end - 2 / self.rate
        if self._stopped:
            return
        if self.count is not None and read < self.count:
            self._stopped = f"cut short or damaged: it announces {self.count} frames and has {read}"
        elif self.count is None and missing_s > 0.02 * announced:
            self._stopped = f"cut short: it announces {announced:.1f} s and ends after {end:.1f} s"

    def _open(self) -> Any:
        options = {"rtsp_transport": "tcp"} if self._name.startswith("rtsp") else {}
        timeout = _TIMEOUT_S if "://" in self._name else None
        try:
            container = av.open(self._name, format=self._format, options=options, timeout=timeout)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UserError(f"{self._title}: cannot be read as a video: {_reason(error)}") from None
        if not container.streams.video:
            container.close()
            raise UserError(f"{self._title}: cannot be read as a video: it has no video stream")
        return container


def _announced(stream: Any) -> int | None:
    """The number of frames that a file announces; None: it announces none.

    The header of an AVI file also counts the moments at which no new frame is shown; its index does
    not. A file that is cut has no index.
    """
    index = getattr(stream, "index_entries", ())
    if stream.frames and len(index) > 1 and stream.duration:
        end = index[len(index) - 1].timestamp - (stream.start_time or 0)
        if end + 2 * end / (len(index) - 1) >= stream.duration:
            return sum(entry.size > 0 for entry in index)
    return stream.frames or None


def _reason(error: Exception) -> str:
    """FFmpeg's message without the name of the input, because an address may hold a password."""
    return str(getattr(error, "strerror", "") or error)


def _rgb(frame: Any) -> NDArray[np.uint8]:
    """The frame as (H, W, 3) uint8, rotated as the file says, as every player does."""
    rgb = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


class VideoWriter:
    """Writes an mp4 file that browsers play; frames are encoded on a thread of its own.

    A frame is shown until the time of the next frame. Frames of another size than the first are
    fitted into its size with black borders. `close` finishes the file.

    Args:
        path: path of the file, which has another name until it is complete.
        rate: frames per second, for the length of the last frame.

    Raises:
        RunError: this build of FFmpeg has no encoder for mp4, or the file cannot be written. `add`
            and `close` raise it too.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path, self._partial = path, path.with_name(f".{path.name}.partial")
        self._encoder, self._options = _encoder(path)
        self._rate = Fraction(rate).limit_denominator(1001)
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._previous = self._at = 0.0  # time of the last frame as given, and in the file
        self._last = -1  # in ticks
        self._error: Exception | None = None
        self._queue: Queue[tuple[NDArray[np.uint8], float] | None] = Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="video", daemon=True)
        self._thread.start()
        self.count = 0
        self.resized = 0

    def add(self, rgb: NDArray[np.uint8], seconds: float) -> int:
        """Append an (H, W, 3) uint8 frame to be shown at `seconds`; returns its position.

        The call blocks while the encoder has too many frames to do. If time goes back, stands still
        or pauses for more than ten seconds, the frame follows the last frame at the usual rate.
        """
        if self._error is None:
            self._queue.put((rgb, seconds))
        self._check()
        self.count += 1
        return self.count - 1

    def close(self) -> None:
        """Encode the frames that wait and finish the file; without any frame there is no file."""
        if self._thread.is_alive():
            self._queue.put(None)
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise RunError(f"{self._path}: cannot be written: {_reason(self._error)}")

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                self._encode(*item)
            if self._container is not None:
                self._container.mux(self._stream.encode(None))
                self._container.close()
                self._partial.replace(self._path)
        except Exception as error:  # `add` and `close` raise it
            self._error = error
            while self._queue.get() is not None:  # keep `add` from waiting for ever
                pass

    def _encode(self, rgb: NDArray[np.uint8], seconds: float) -> None:
        if self._container is None:
            self._start(rgb.shape[0], rgb.shape[1])
        elapsed = seconds - self._previous if self._last >= 0 else 0.0
        if self._last >= 0 and not 0 < elapsed <= _PAUSE_S:
            elapsed = float(1 / self._rate)
        self._previous, self._at = seconds, self._at + elapsed
        if rgb.shape[:2] != self._size:
            self.resized += 1
            rgb = _fitted(rgb, self._size)
        # Four pixels share their colour, so an odd last row or column is doubled.
        height, width = self._size
        even = cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even, np.uint8), format="rgb24")
        frame.time_base = Fraction(1, _TICKS)
        self._last = frame.pts = max(round(self._at * _TICKS), self._last + 1)
        self._container.mux(self._stream.encode(frame))

    def _start(self, height: int, width: int) -> None:
        self._size = height, width
        options = {"movflags": "+faststart"}  # a browser shows it while it loads
        self._container = av.open(str(self._partial), "w", format="mp4", options=options)
        stream = self._container.add_stream(self._encoder, rate=self._rate, options=self._options)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.max_b_frames = 0
        stream.codec_context.thread_count = 1  # the network needs the other cores
        self._stream = stream


def _encoder(path: Path) -> tuple[str, dict[str, str]]:
    for name, options in _ENCODERS:
        if name in av.codecs_available:
            return name, options
    names = " or ".join(name for name, _ in _ENCODERS)
    raise RunError(f"{path}: this build of FFmpeg cannot encode mp4; a build with {names} can")


def _fitted(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture as large as it fits into (height, width), centred on black."""
    factor = min(size[0] / rgb.shape[0], size[1] / rgb.shape[1])
    height, width = (max(1, round(length * factor)) for length in rgb.shape[:2])
    out = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    out[top : top + height, left : left + width] = cv2.resize(rgb, (width, height))
    return out
