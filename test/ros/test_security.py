# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy lists exactly what the node has in the live graph."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import NODE, Client, NodeProcess, wait

POLICY = Path(__file__).parents[2] / "config" / "sros2_policy.xml"
QUERIES: dict[str, Callable] = {
    "topics subscribe": lambda n: n.get_subscriber_names_and_types_by_node,
    "topics publish": lambda n: n.get_publisher_names_and_types_by_node,
    "services reply": lambda n: n.get_service_names_and_types_by_node,
}


def allowed() -> dict[str, set[str]]:
    """Full names by kind."""
    (profile,) = ElementTree.parse(POLICY).getroot().iter("profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", "segmentation")
    names: dict[str, set[str]] = {}
    for group in profile:
        (access,) = group.attrib
        assert group.get(access) == "ALLOW"
        texts = [(entry.text or "").strip() for entry in group]
        assert len(set(texts)) == len(texts)
        names[f"{group.tag} {access}"] = {
            NODE + t[1:] if t.startswith("~") else f"/{t}" for t in texts
        }
    return names


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_the_policy_is_the_graph(
    client: Client, start_node: Callable[..., NodeProcess], random_model: Path, transport: str
) -> None:
    start_node(
        "-p", "autostart:=true", "-p", f"model:={random_model}", "-p", "output_size:=network",
        "-p", f"image_transport:={transport}", "-p", "use_sim_time:=true",
    )  # fmt: skip
    client.wait_active()
    image = "/image" if transport == "raw" else "/image/compressed"
    expected = allowed()
    assert set(expected) == set(QUERIES)
    expected["topics subscribe"] -= {"/image", "/image/compressed"} - {image}
    try:
        import vision_msgs  # noqa: F401
    except ImportError:
        expected["topics publish"].remove(f"{NODE}/label_info")
    seen: dict[str, set[str]] = {}

    def equal() -> bool:
        for kind, query in QUERIES.items():
            seen[kind] = {name for name, _ in query(client.node)("segmentation", "/")}
        return seen == expected

    wait(equal, 10, f"graph {seen} is the policy {expected}")
    assert not client.node.get_client_names_and_types_by_node("segmentation", "/")
