# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The executable segment_node: arguments, signals, the executor's loop and the end of the process.

Signals are handled before anything heavy is imported, so that Ctrl-C in the first seconds ends the
process without a traceback.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from lrn_ros import __version__


class NodeHandler(logging.Handler):
    """Hands records on to a node's logger.

    Args:
        logger: logger of rclpy.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; rclpy takes one severity from each line of code."""
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def log_to(logger: Any) -> None:
    """Have this process log with a node's logger what the package logs, from level INFO up."""
    package = logging.getLogger("lrn_ros")
    package.setLevel(logging.INFO)
    package.addHandler(NodeHandler(logger))


_STOP_S = 0.2  # a signal is noticed within this long
_UNKNOWN = "UnknownROSArgsError"  # an exception of rclpy; its text has only the arguments
_USAGE = """\
usage: segment_node --ros-args [-p NAME:=VALUE] [-r FROM:=TO] [--params-file FILE] ...
       segment_node --help | --version

Turns camera images into class masks. A managed (lifecycle) node: with -p autostart:=true it
configures and activates itself, else `ros2 lifecycle set /segmentation configure` goes on.

  segment_node --ros-args -p autostart:=true -r image:=/camera/image_raw

`ros2 launch lrn_ros segment.launch.py --show-args` lists the arguments of the launch file, and
`ros2 param describe /segmentation NAME` describes a parameter of a running node."""


class _Stop:
    """Notes SIGINT and SIGTERM; the first signal interrupts what may take longer than one waits."""

    def __init__(self) -> None:
        self.asked = False
        self.starting = True  # nothing is there yet that has to be put in order
        self.is_interruptible: Any = lambda: False

    def __call__(self, number: int, frame: Any) -> None:
        first, self.asked = not self.asked, True
        if self.starting:
            os._exit(0)  # an exception might be swallowed by a module that is being imported
        if first and self.is_interruptible():
            raise KeyboardInterrupt


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; a second signal changes nothing.

    `ros2 launch` sends SIGINT and the terminal sends it once more: the handlers are ours, since
    rclpy's would interrupt the clean-up.

    Returns:
        0 after the help or the version. Otherwise the process ends here: with 0 after a signal,
        with 2 where an argument is wrong.
    """
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    arguments = list(sys.argv[1:] if args is None else args)
    own = _own_arguments(arguments)
    if {"-h", "--help"} & set(own):
        print(_USAGE)
        return 0
    if "--version" in own:
        print(f"lrn_ros {__version__}")
        return 0
    if own:
        print(
            f"segment_node: unknown arguments have no effect: {' '.join(own)}; parameters and"
            " remappings follow --ros-args, and --help says more",
            file=sys.stderr,
        )
    status = _run([sys.argv[0], *arguments], stop)
    # Everything is in order. The interpreter's own end takes seconds where torch is loaded, and it
    # would crash a library that a thread is still compiling in.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _own_arguments(arguments: list[str]) -> list[str]:
    """The arguments that are not between --ros-args and -- or the end."""
    own, is_own = [], True
    for argument in arguments:
        if is_own and argument == "--ros-args":
            is_own = False
        elif is_own:
            own.append(argument)
        elif argument == "--":
            is_own = True
    return own


def _run(arguments: list[str], stop: _Stop) -> int:
    import cv2
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.signals import SignalHandlerOptions

    from lrn_ros.memory import keep_freed_memory
    from lrn_ros.ros.guard import GuardedExecutor, one_line
    from lrn_ros.ros.segmentation_node import SegmentationNode

    keep_freed_memory()
    # Its pool's threads wait busily, half a millisecond of processor time an image, which the
    # backend's threads need (benchmark/transport.py).
    cv2.setNumThreads(1)
    stop.starting = False
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = SegmentationNode()
    except Exception as error:  # such as an argument that rcl cannot read
        unknown = "unknown ROS arguments: " if type(error).__name__ == _UNKNOWN else ""
        print(f"segment_node: {unknown}{one_line(error)}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    stop.is_interruptible = lambda: node.is_interruptible
    node.is_to_end = lambda: stop.asked
    log_to(node.get_logger())
    executor = GuardedExecutor(node.exceptions)
    executor.add_node(node)
    try:
        while not stop.asked:
            executor.spin_once(timeout_sec=_STOP_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()
        # It holds the participant, whose leave peers would otherwise not be told below. No public
        # part of rclpy: it may be called otherwise some day.
        if (machine := getattr(node, "_state_machine", None)) is not None:
            machine.destroy_when_not_in_use()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
