# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which arguments a launch file was given: an include keeps its arguments to itself.

`launch` has one set of launch configurations for all files. What one include is given, and the
defaults that a file declares, stay there for the files that follow. The functions here tell the
arguments of the present include from those that an earlier include of the same file has left, from
the defaults of files around it, and from anything else that stands there, such as the lists that
SetParameter and SetRemap keep.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence

import launch.logging
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_context import LaunchContext
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from lrn_ros.ros.launch_arguments import Argument

_OF_LAUNCH = ("launch-prefix", "launch-prefix-filter")  # arguments that every launch file has
_LOG = launch.logging.get_logger("lrn_ros")


class _Left(str):
    """A value that is nobody's choice for the present include.

    An earlier include was given it, or it is the default of a file around this one that has the
    same arguments. A launch file that reads this configuration gets the same text as before.
    """


def with_arguments(
    arguments: Sequence[Argument],
    function: Callable[[LaunchContext, dict[str, str]], Iterable[object]],
    refuse_others: bool = False,
) -> list[object]:
    """Entities that declare arguments and then run a function with those that were given.

    Args:
        arguments: arguments of the launch file.
        function: gets the context and the arguments with a value, by their names, and returns
            entities. Defaults are among the context's launch configurations only, and no file that
            the function includes takes them for given.
        refuse_others: an argument of another name ends the launch; else it is named in a warning.
    """
    given: dict[str, str] = {}
    names = [a.name for a in arguments]

    def enter(context: LaunchContext) -> None:
        given.clear()
        given.update(_given(context, names))
        _name_others(context, names, refuse_others)

    def leave(context: LaunchContext) -> None:
        configurations = context.launch_configurations
        for name in _own(context) & configurations.keys() & set(names):
            configurations[name] = _Left(configurations[name])

    declarations = [
        DeclareLaunchArgument(
            a.name, default_value=a.default, description=a.meaning, choices=list(a.choices) or None
        )
        for a in arguments
    ]

    def run(context: LaunchContext) -> list[object]:
        configurations = context.launch_configurations
        for name in set(names) - given.keys() & configurations.keys():
            configurations[name] = _Left(configurations[name])
        return list(function(context, dict(given)))

    group = GroupAction(
        [OpaqueFunction(function=enter), *declarations, OpaqueFunction(function=run)]
    )
    return [group, OpaqueFunction(function=leave)]


def _given(context: LaunchContext, names: Iterable[str]) -> dict[str, str]:
    """The arguments that this include, the command line or a file above this one has given."""
    own, configurations = _own(context), context.launch_configurations
    # The argument of an earlier include has replaced the one of the command line.
    command_line = dict(word.split(":=", 1) for word in context.argv if ":=" in word)
    found = {}
    for name in configurations.keys() & set(names):
        value = configurations[name]
        if isinstance(value, _Left) and name not in own:
            value = command_line.get(name, "")
        if value := str(value).strip():
            found[name] = value
    return found


def _own(context: LaunchContext) -> set[str]:
    """Names of the arguments that the include of the present file is given.

    The command line's arguments are those of an include too. launch tells no file which include it
    is visited for, but the visit is on the stack.
    """
    frame = inspect.currentframe()
    while frame is not None:
        for value in frame.f_locals.values():
            if isinstance(value, IncludeLaunchDescription):
                names = (normalize_to_list_of_substitutions(n) for n, _ in value.launch_arguments)
                return {perform_substitutions(context, name) for name in names}
        frame = frame.f_back
    return set()


def _name_others(context: LaunchContext, names: Sequence[str], refuse: bool) -> None:
    for other in sorted(_own(context) - {*names, *_OF_LAUNCH}):
        close = difflib.get_close_matches(other, names, 1)
        hint = f"is {close[0]} meant? " if close else ""
        if refuse:
            raise RuntimeError(f"unknown argument {other}:=; there are {', '.join(names)}")
        _LOG.warning(
            f"argument {other} is unknown and has no effect; {hint}--show-args lists the arguments"
        )
