# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table of parameters: accepted values in all forms, and refused values with their messages."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from lrn_ros.errors import UserError
from lrn_ros.inference.backends import MODULES
from lrn_ros.ros.launch_arguments import parameter
from lrn_ros.ros.parameters import BACKENDS, SPECS, Settings, check, check_all


def test_the_defaults_are_settings() -> None:
    settings = check_all({s.name: s.default for s in SPECS.values()})
    assert settings.network_size is None and settings.cameras == ("",)
    assert set(vars(settings)) == set(SPECS) == set(Settings.__dataclass_fields__)


def test_every_backend_is_a_value_and_auto_is_the_first() -> None:
    assert ("auto", *MODULES) == BACKENDS
    assert [check("backend", name) for name in BACKENDS] == list(BACKENDS)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("autostart", "true", True),
        ("autostart", "False", False),
        ("legend", True, True),
        ("device", "3", 3),
        ("device", 2.0, 2),
        ("threads", " 4 ", 4),
        ("max_age_ms", 500, 500.0),
        ("overlay_alpha", "0.25", 0.25),
        ("network_size", [360, 480], (360, 480)),
        ("network_size", "[360, 480]", (360, 480)),
        ("network_size", "360,480", (360, 480)),
        ("network_size", [360.0, "480"], (360, 480)),
        ("network_size", "0, 0", None),
        ("cameras", ["front", "left"], ("front", "left")),
        ("cameras", "front,left", ("front", "left")),
        ("cameras", "['front', 'rear/left']", ("front", "rear/left")),
        ("cameras", [], ("",)),
        ("cameras", "", ("",)),
    ],
)
def test_what_can_mean_one_thing_only_is_accepted(name: str, value: Any, right: Any) -> None:
    found = check(name, value)
    assert found == right and type(found) is type(right)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("autostart", "maybe", "true or false"),
        ("autostart", 1, "true or false"),
        ("lazy", None, "true or false"),
        ("device", 2.5, "a whole number from 0 to 255"),
        ("device", True, "a whole number from 0 to 255"),
        ("device", 256, "a whole number from 0 to 255"),
        ("threads", float("inf"), "a whole number from 0 to 1024"),
        ("threads", [4], "a whole number from 0 to 1024"),
        ("overlay_alpha", "nan", "a number from 0 to 1"),
        ("overlay_alpha", False, "a number from 0 to 1"),
        ("max_age_ms", -1, "a number from 0 up"),
        ("stale_after_ms", float("inf"), "a number from 1 up"),
        ("network_size", [360.5, 480], "[height, width], [0, 0] for automatic"),
        ("network_size", [360], "[height, width], [0, 0] for automatic"),
        ("network_size", 360, "[height, width], [0, 0] for automatic"),
        ("network_size", ["inf", "inf"], "[height, width], [0, 0] for automatic"),
        ("network_size", [100, 100], "[96, 96] would work"),
        ("network_size", [-8, -8], "[64, 64] would work"),
        ("cameras", ["a", "a"], "the prefixes must differ"),
        ("cameras", "front left", "a list of topic prefixes"),
        ("cameras", [1], "a list of topic prefixes"),
        ("cameras", 5, "a list of topic prefixes"),
        ("model", "", "a model's name or the path of a model file"),
        ("model", 5, "a model's name or the path of a model file"),
        ("backend", "Torch", f"one of {', '.join(BACKENDS)}"),
    ],
)
def test_anything_else_is_refused_by_name(name: str, value: Any, says: str) -> None:
    with pytest.raises(UserError) as error:
        check(name, value)
    assert str(error.value).startswith(f"parameter '{name}': {value!r} is not allowed; ")
    assert says in str(error.value)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_text_of_a_default_is_the_default(spec: Any) -> None:
    """As a launch file passes it on: in the type of the default."""
    text = ",".join(map(str, spec.default)) if isinstance(spec.default, list) else str(spec.default)
    value = parameter(spec.name, text)
    assert value == spec.default and type(value) is type(spec.default)


def test_a_launch_argument_that_is_not_allowed_is_left_to_the_node() -> None:
    assert parameter("network_size", "[100, 100]") == "[100, 100]"
    assert parameter("device", "2.5") == "2.5"
    with pytest.raises(RuntimeError, match="legend:=maybe is not allowed; use true or false"):
        parameter("legend", "maybe")


def test_the_table_needs_no_package_from_outside() -> None:
    """`ros2 launch` may run in a Python without them: the executables have one of their own."""
    code = (
        "import sys\n"
        "known = {*sys.stdlib_module_names, 'lrn_ros'} | {n.split('.')[0] for n in sys.modules}\n"
        "import lrn_ros.ros.launch_arguments\n"
        "import lrn_ros.ros.shared_memory\n"
        "print({n.split('.')[0] for n in sys.modules} - known)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
