# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS graph around a node: peers of a topic, remapping rules, and names that nearly fit."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rclpy.expand_topic_name import expand_topic_name
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

# How image_transport's plugins extend an image topic's name, and what they publish there.
TRANSPORTS = {
    "raw": ("", "sensor_msgs/msg/Image"),
    "compressed": ("/compressed", "sensor_msgs/msg/CompressedImage"),
    "foxglove": ("/foxglove", "foxglove_msgs/msg/CompressedVideo"),
    "ffmpeg": ("/ffmpeg", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"),
}
_MAX_NAMED = 3  # topics that one message names


def publishers(node: Node, topic: str) -> list[TopicEndpointInfo]:
    """The publishers of a topic, given its name after remapping.

    rclpy's own `get_publishers_info_by_topic` would remap the name a second time.
    """
    with node.handle:
        found = rclpy_implementation.rclpy_get_publishers_info_by_topic(node.handle, topic, False)
    return [TopicEndpointInfo(**info) for info in found]


def subscriptions(node: Node, topic: str) -> list[TopicEndpointInfo]:
    """The subscriptions of a topic, given its name after remapping."""
    with node.handle:
        found = rclpy_implementation.rclpy_get_subscriptions_info_by_topic(
            node.handle, topic, False
        )
    return [TopicEndpointInfo(**info) for info in found]


def is_remapped(node: Node, name: str, arguments: Sequence[str] | None = None) -> bool:
    """Whether a remapping rule applies to a topic name; a rule may map the name to itself.

    Args:
        node: the node that uses the name.
        name: the name as the node's code has it, such as `camera_info`.
        arguments: the arguments of the process; None: sys.argv.
    """
    expanded = node.resolve_topic_name(name, only_expand=True)
    if node.resolve_topic_name(name) != expanded:
        return True
    for pattern in _rules(sys.argv if arguments is None else arguments):  # rcl hides such rules
        *owner, topic = pattern.split(":", 1) if ":" in pattern else (pattern,)
        if owner and owner[0] != node.get_name():
            continue
        try:
            written = expand_topic_name(topic, node.get_name(), node.get_namespace())
        except ValueError:  # such as a wildcard, which rclpy cannot expand
            continue
        if written == expanded:
            return True
    return False


def _rules(arguments: Sequence[str]) -> Iterator[str]:
    """The left sides of the remapping rules on a command line."""
    is_ros = False
    for before, argument in zip(("", *arguments), arguments):
        if argument == "--ros-args":
            is_ros = True
        elif argument == "--":
            is_ros = False
        elif is_ros and before in ("-r", "--remap") and ":=" in argument:
            yield argument.split(":=", 1)[0].removeprefix("rostopic://")


def namesakes(node: Node) -> int:
    """How many other nodes of the graph have this node's full name."""
    own = (node.get_name(), node.get_namespace())
    return max(0, list(node.get_node_names_and_namespaces()).count(own) - 1)


def published_images(node: Node) -> dict[str, str]:
    """Topic -> type of the image topics that others publish."""
    own = Counter(publisher.topic_name for publisher in node.publishers)
    kinds = {kind for _, kind in TRANSPORTS.values()}
    return {
        topic: kind
        for topic, found in node.get_topic_names_and_types()
        for kind in found
        if kind in kinds and node.count_publishers(topic) > own[topic]
    }


def near_misses(topic: str, transport: str, published: Mapping[str, str]) -> str:
    """A message about a topic that nothing publishes, with topics that nearly fit.

    Args:
        topic: the topic that the node subscribes.
        transport: a key of TRANSPORTS.
        published: topic -> type of the image topics that exist.
    """
    said = f"nothing publishes {topic}"
    suffix, kind = TRANSPORTS[transport]
    base = topic.removesuffix(suffix) if suffix else topic
    for other, (ending, type_name) in TRANSPORTS.items():
        if other != transport and published.get(base + ending) == type_name:
            only = "only " if not suffix else ""
            return f"{said}; {only}{base}{ending} exists: image_transport:={other}"
    if suffix and published.get(base) == kind:  # the suffix was written twice
        return f"{said}; {base} exists: image:={base.removesuffix(suffix)}"
    fitting = [name for name, type_name in published.items() if type_name == kind]
    named = difflib.get_close_matches(topic, fitting, _MAX_NAMED, 0.6)
    if named:
        return f"{said}; {', '.join(named)} exist{'s' if len(named) == 1 else ''}"
    named = (
        sorted(fitting)[:_MAX_NAMED]
        or [
            f"{name} (image:={name.removesuffix(ending)} image_transport:={other})"
            for other, (ending, type_name) in TRANSPORTS.items()
            for name in sorted(published)
            if published[name] == type_name and name.endswith(ending)
        ][:_MAX_NAMED]
    )
    return said + (f"; images are on {', '.join(named)}" if named else "")
