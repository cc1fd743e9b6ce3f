# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Video topics: pictures are right, and pictures that depend on a lost packet are left out."""

from __future__ import annotations

import numpy as np
import pytest
from bag_files import rosbag2, typesys
from video_topics import CODECS, KEY, Packet, compressed_video, difference, ffmpeg_packet, packets

from lrn_ros.data.bags.reader import BagReader
from lrn_ros.data.bags.times import Extent
from lrn_ros.errors import UserError
from lrn_ros.images.cdr import (
    parse_compressed_video,
    parse_ffmpeg_packet,
    serialize_video,
    with_stamp,
)
from lrn_ros.images.encodings import ImageError
from lrn_ros.images.video_packets import PacketDecoder, encode_keyframe, to_rgb

VIDEO = "foxglove_msgs/msg/CompressedVideo"
PACKET = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
MAKERS = {VIDEO: compressed_video, PACKET: ffmpeg_packet}
START = 1_700_000_000 * 10**9


def write(path, kind, found, codec, numbers=None):
    """A bag of packets; the stamp of packet number i is i tenths of a second."""
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    store.register(typesys.get_types_from_msg("uint8 x", kind))
    with rosbag2.Writer(path, version=9) as writer:
        connection = writer.add_connection("/camera/video", kind, typestore=store)
        for packet in found:
            stamp = START + packet.number * 10**8
            writer.write(connection, stamp, MAKERS[kind](packet, codec, stamp))
    return path


def read(path, **options):
    """Positions of the images that are given out, after a check that each is the right one."""
    bag = BagReader(path)
    assert bag.image_topics() == ["/camera/video"]
    positions = []
    for frame in bag.frames(**options):
        position = (frame.stamp_ns - START) // 10**8
        assert difference(frame.rgb, position) < 10 and frame.frame_id == "camera"
        assert frame.recorded_ns == frame.stamp_ns
        positions.append(position)
    return positions, bag.damage


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", MAKERS)
def test_video(tmp_path, kind, codec):
    found = packets(codec)
    assert read(write(tmp_path / "whole", kind, found, codec), wanted=None) == ([*range(26)], None)
    assert read(tmp_path / "whole", wanted={3, 14}) == ([3, 14], None)
    assert read(tmp_path / "whole", extent=Extent(0.55, 0.5)) == ([6, 7, 8, 9, 10], None)
    positions, damage = read(write(tmp_path / "late", kind, found[3:], codec))
    assert positions == [*range(10, 26)]
    assert "message 0: a keyframe before this packet is missing; messages left out: 7" in damage
    positions, damage = read(write(tmp_path / "lost", kind, found[:4] + found[5:], codec))
    assert positions == [*range(4), *range(10, 26)]
    assert "a keyframe before this packet is missing; messages left out: " in damage
    left_out = sum(int(part.split(";")[0]) for part in damage.split("left out: ")[1:])
    assert left_out == 5  # 5 to 9
    broken = [*found[:14], type(found[0])(found[14].data[:9], False, 14), *found[15:]]
    positions, damage = read(write(tmp_path / "damaged", kind, broken, codec))
    assert positions == [*range(14), *range(20, 26)] and damage


@pytest.mark.parametrize("kind", MAKERS)
def test_frames_that_refer_to_later_ones(tmp_path, kind):
    """They come in another order than their packets, and late."""
    found = packets("h264", 20, reordered=True)
    assert [p.number for p in found] != [*range(20)]
    numbered = [type(p)(p.data, p.is_keyframe, i) for i, p in enumerate(found)]
    bag = BagReader(write(tmp_path / "bag", kind, numbered, "h264"))
    frames = list(bag.frames())
    assert [f.index for f in frames] != [*range(20)] and bag.damage is None
    for frame in frames:
        assert difference(frame.rgb, found[frame.index].number) < 10
    assert len(frames) == 20


def test_names_of_encoders_and_errors(tmp_path):
    found = packets("h264", KEY)
    for name in ("libx264", "h264_nvenc", "h264;yuv420p;bgr8;bgr8", "H264"):
        assert len(read(write(tmp_path / name[:7], PACKET, found, name))[0]) == KEY
    path = write(tmp_path / "other", PACKET, found, "theora")
    with pytest.raises(UserError, match=r"codec 'theora'; h264, .* work \(ffmpeg_image_tra"):
        list(BagReader(path).frames())
    path = write(tmp_path / "none", VIDEO, found[1:], "h264")
    with pytest.raises(UserError, match="message 0: a keyframe before this packet is missing"):
        list(BagReader(path).frames())


@pytest.mark.parametrize("serialize, size", [(compressed_video, None), (ffmpeg_packet, (192, 320))])
def test_a_keyframe_of_another_codec_is_no_keyframe_for_what_follows(serialize, size):
    """The player sends such a grey picture first, so that the node is ready."""
    grey = np.full((192, 320, 3), 127, np.uint8)
    data = encode_keyframe(grey, "vp8")
    message = with_stamp(serialize_video("camera", "vp8", data, size), 5)
    assert message == serialize(Packet(data, True, 0), "vp8", 5)
    decoder = PacketDecoder()
    parse = parse_compressed_video if size is None else parse_ffmpeg_packet
    ((_, picture),) = decoder.decode(0, parse(message))
    assert np.abs(to_rgb(picture).astype(int) - grey).max() < 4
    for packet in packets("h264", KEY)[1:]:
        with pytest.raises(ImageError, match="a keyframe before this packet is missing"):
            decoder.decode(packet.number, parse(serialize(packet, "h264", 6)))
