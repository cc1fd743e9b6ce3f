# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of every transport to pictures, on plain objects: no DDS."""

from __future__ import annotations

import pytest
from video_topics import CODECS, compressed_video, difference, ffmpeg_packet, packets

from lrn_ros.errors import UserError
from lrn_ros.images.encodings import ImageError
from lrn_ros.ros import graph
from lrn_ros.ros.transports import PARSERS, VIDEOS, VideoStream, depth, message_class

MAKERS = {"foxglove": compressed_video, "ffmpeg": ffmpeg_packet}


def test_every_transport_is_complete() -> None:
    assert PARSERS.keys() == graph.TRANSPORTS.keys() and set(VIDEOS) == set(MAKERS)
    assert [depth(t) for t in ("raw", "compressed")] == [1, 1] and depth("ffmpeg") > 10
    assert message_class("raw").__name__ == "Image"
    for transport in VIDEOS:
        try:
            assert message_class(transport).__name__ in graph.TRANSPORTS[transport][1]
        except UserError as error:
            assert "sudo apt install ros-$ROS_DISTRO-" in str(error)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("transport", MAKERS)
def test_pictures_and_packets_without_keyframe(transport: str, codec: str) -> None:
    stream, found = VideoStream(), {}
    for packet in packets(codec, 26)[3:]:
        if packet.number == 14:
            stream.lost()  # as the middleware says; the packet itself came
        data = MAKERS[transport](packet, codec, packet.number + 7)
        try:
            pictures = stream.pictures(PARSERS[transport](data))
        except ImageError as error:
            found[packet.number] = error.cause
            continue
        for picture in pictures:
            number = picture.header.stamp.nanosec - 7
            assert difference(picture.to_rgb(), number) < 10
            assert picture.header.frame_id == "camera" and 0 < picture.decoding_s < 60
            found[number] = "picture"
    waits = {*range(3, 10), *range(14, 20)}
    assert found == {i: "no_keyframe" if i in waits else "picture" for i in range(3, 26)}
