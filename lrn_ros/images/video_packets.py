# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Video topics: one packet of a coded video in every message, decoded by PyAV in their order.

A picture is made of the packets before it, back to a keyframe. Where one of these is missing, no
picture is given out until the next keyframe: what the codec would guess is none.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.images.cdr import VideoMessage
from lrn_ros.images.encodings import NO_KEYFRAME, ImageError

try:
    import av
except ImportError as missing:
    raise UserError(f"video topics need PyAV: pip install av ({missing})") from missing

# A part that the names of encoders and formats have in common, and FFmpeg's decoder for it.
_DECODERS = (
    (("264", "avc"), "h264"), (("265", "hevc"), "hevc"), (("av1",), "libdav1d"),
    (("vp9",), "vp9"), (("vp8",), "vp8"),
)  # fmt: skip
WORKS = "h264, h265, av1, vp9 and vp8"


class PacketDecoder:
    """Decodes the packets of one video topic."""

    def __init__(self) -> None:
        self._codec: Any = None
        self._decoder = ""
        self._waiting = True  # for the picture of a keyframe
        self._begun = False  # a keyframe came, whose picture may come later
        self._number: int | None = None  # the encoder's number of the last packet
        self._frame_numbers = _FrameNumbers()

    def lost(self) -> None:
        """Say that packets before the next one are missing."""
        self._waiting, self._begun = True, False
        if self._codec is not None:
            self._codec.flush_buffers()

    def decode(self, index: int, message: VideoMessage) -> list[tuple[int, Any]]:
        """Decode the next packet.

        Args:
            index: position of the message.
            message: the packet.

        Returns:
            the pictures that are complete now, see `to_rgb`, each with the index of its message:
            one; none or several where frames refer to later ones; none where H.264 without a
            keyframe flag waits for a keyframe.

        Raises:
            ImageError: of cause `no_keyframe`: a keyframe is missing; `unknown encoding`: another
                codec; `undecodable`: damaged, and what follows waits for a keyframe.
        """
        self._open(message.codec)
        data = bytes(message.data)
        if self._is_gap(message.number, data):
            self.lost()
        is_keyframe = message.is_keyframe
        if is_keyframe is None and self._decoder == "h264":  # it would wait without a word
            is_keyframe = _begins(data)
        if self._waiting and is_keyframe is False and not self._begun:
            raise missing_keyframe()
        self._begun = self._begun or bool(is_keyframe)
        self._waiting = self._waiting and not message.is_keyframe
        packet = av.Packet(data)
        packet.pts = index
        try:
            frames = self._codec.decode(packet) if data else []
        except (av.FFmpegError, NotImplementedError, ValueError) as error:
            waited = self._waiting
            self.lost()  # some decoders keep a trace of what they refused
            if waited:
                raise missing_keyframe() from None
            reason = getattr(error, "strerror", "") or str(error)
            raise ImageError("undecodable", f"{message.codec} packet: {reason}") from None
        return self._whole(frames)

    def flush(self) -> list[tuple[int, Any]]:
        """The pictures that still wait, after the last packet."""
        try:
            return self._whole(self._codec.decode(None)) if self._codec is not None else []
        except av.FFmpegError:
            return []

    def _whole(self, frames: list[Any]) -> list[tuple[int, Any]]:
        """Those that are made of packets that came."""
        found = []
        for frame in frames:
            self._waiting = self._waiting and not frame.key_frame
            if not self._waiting and not frame.is_corrupt:
                found.append((int(frame.pts), frame))
        return found

    def _is_gap(self, number: int | None, data: bytes) -> bool:
        """Whether packets are missing before this one; the decoder of H.265 finds it itself."""
        last, self._number = self._number, number
        if self._decoder == "h264":
            return self._frame_numbers.is_gap(data)
        # These number their frames in the order of their packets.
        in_order = self._decoder in ("vp8", "vp9", "libdav1d")
        return in_order and last is not None and number is not None and number != last + 1

    def _open(self, codec: str) -> None:
        name = next((d for parts, d in _DECODERS if any(p in codec.lower() for p in parts)), None)
        if name is None:
            raise ImageError("unknown encoding", f"video codec {codec[:40]!r}; {WORKS} work")
        if name == self._decoder:
            return
        try:
            self._codec = av.CodecContext.create(name, "r")
        except (av.FFmpegError, ValueError) as error:
            raise ImageError("unknown encoding", f"FFmpeg here has no {name}: {error}") from None
        self._codec.thread_count = 1  # several would hold frames back
        self._codec.options = {"err_detect": "explode"}
        self._decoder, self._waiting, self._begun = name, True, False
        self._frame_numbers = _FrameNumbers()


def missing_keyframe() -> ImageError:
    """The error about a packet without the keyframe before it."""
    return ImageError(NO_KEYFRAME, "a keyframe before this packet is missing")


def encode_keyframe(rgb: NDArray[np.uint8], codec: str) -> bytes:
    """One (H, W, 3) uint8 picture as a packet of its own, of vp8 or vp9."""
    encoder: Any = av.CodecContext.create({"vp8": "libvpx", "vp9": "libvpx-vp9"}[codec], "w")
    encoder.height, encoder.width, encoder.pix_fmt = *rgb.shape[:2], "yuv420p"
    encoder.time_base = Fraction(1, 10)
    encoder.options = {"deadline": "realtime", "lag-in-frames": "0"}
    packets = encoder.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24"))
    return b"".join(bytes(packet) for packet in (*packets, *encoder.encode(None)))


def to_rgb(picture: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a decoded picture."""
    return np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


def _begins(data: bytes) -> bool:
    """Whether a packet of H.264 has what decoding begins with: an IDR slice or a sequence set."""
    return any(unit[:1] and unit[0] & 31 in (5, 7) for unit in data.split(b"\0\0\1")[1:])


class _FrameNumbers:
    """Finds missing frames of H.264 by its frame_num (ITU-T H.264, sections 7.3.2.1.1 and 7.3.3).

    FFmpeg fills such gaps with copies of other frames; with other codecs it finds them itself.
    """

    _CHROMA = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))  # profiles

    def __init__(self) -> None:
        self._bits = 0  # the number of bits of frame_num; 0: unknown
        self._last = 0  # frame_num of the last frame to which others may refer

    def is_gap(self, data: bytes) -> bool:
        """Whether a frame that others refer to is missing before this packet (Annex B)."""
        for unit in data.split(b"\0\0\1")[1:]:
            kind, refers = unit[0] & 31 if unit else 0, unit[:1] > b"\x1f"
            try:
                if kind == 7:
                    self._read_sequence(unit)
                elif kind in (1, 5) and self._bits:
                    return self._follow(_Bits(unit, 1), kind == 5, refers)
            except IndexError:  # it ends too early, which the decoder will say
                return False
        return False

    def _read_sequence(self, unit: bytes) -> None:
        bits, self._bits = _Bits(unit, 4), 0
        bits.golomb()  # its number
        if unit[1] in self._CHROMA:
            separate = bits.golomb() == 3 and bits.take(1)
            bits.golomb(), bits.golomb(), bits.take(1)  # depths of the values
            if separate or bits.take(1):  # scaling lists: seldom, and long to read past
                return
        self._bits = bits.golomb() + 4

    def _follow(self, bits: _Bits, starts_anew: bool, refers: bool) -> bool:
        bits.golomb(), bits.golomb(), bits.golomb()  # first macroblock, type, picture parameters
        number, last = bits.take(self._bits), self._last
        if starts_anew or refers:
            self._last = number
        return not starts_anew and (number - last) % (1 << self._bits) > 1


class _Bits:
    """The bits of a NAL unit from a byte on."""

    def __init__(self, unit: bytes, start: int) -> None:
        self._data = unit[start : start + 64].replace(b"\0\0\3", b"\0\0")
        self._at = 0

    def take(self, count: int) -> int:
        """The next bits as a number."""
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - self._at & 7) & 1
            self._at += 1
        return value

    def golomb(self) -> int:
        """The next number in Exp-Golomb code (section 9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
