# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An executor that survives exceptions of its callbacks: it counts them and logs each kind once."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

_MAX_KINDS = 32  # kinds of exceptions that are told apart; further kinds are counted together
_RECENT_S = 10.0


class Exceptions:
    """Counts unexpected exceptions by kind. Thread-safe.

    Args:
        log: writes a line for every new kind.
    """

    def __init__(self, log: Callable[[str], object]) -> None:
        self._log, self._lock = log, threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last: tuple[float, str] | None = None

    def add(self, error: Exception, where: str) -> None:
        """Count an exception; `where` names the code that raised it in a few words."""
        kind = f"{where}: {type(error).__name__}: {one_line(error)}"
        with self._lock:
            if len(self._counts) >= _MAX_KINDS and kind not in self._counts:
                kind = "other exceptions"
            self._counts[kind] += 1
            self._last = time.monotonic(), kind
            is_new = self._counts[kind] == 1
        if is_new:
            self._log(f"{kind} (the node goes on; logged once per kind, /diagnostics counts them)")

    def counts(self) -> dict[str, int]:
        """How often each kind was raised."""
        with self._lock:
            return dict(self._counts)

    def recent(self) -> str:
        """The kind of the last exception if it is at most ten seconds old, otherwise empty."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > _RECENT_S:
                return ""
            return self._last[1]


def one_line(error: Exception) -> str:
    """The text of an exception in one line, without the source location that rcl appends."""
    text = re.sub(r",? at /?[\w./-]+:\d+", "", str(error))
    return " ".join(text.split()) or "without a message"


class GuardedExecutor(SingleThreadedExecutor):
    """Goes on when a callback raises an exception, and makes such a service answer all the same.

    The answer is the default of the service's response, such as `success=false`; parameters are
    refused with the reason, one by one. rclpy itself raises for a lifecycle transition that the
    present state does not have (rclpy issue 1209), and for a parameter of a type that does not
    exist.

    Args:
        exceptions: counts the exceptions.
        context: the context of rclpy.
    """

    def __init__(self, exceptions: Exceptions, context: Any = None) -> None:
        super().__init__(context=context)
        self._exceptions = exceptions

    def add_node(self, node: Node) -> bool:
        """Guard a node, with the services that it has at this moment."""
        for service in node.services:
            service.callback = self._answering(service.callback, service.srv_name)
        return bool(super().add_node(node))

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Execute one callback; raise only if the context has ended."""
        try:
            super().spin_once(timeout_sec)
        except ExternalShutdownException:
            raise
        except Exception as error:
            self._exceptions.add(error, "a callback")
            self._release_entities()

    def _answering(self, callback: Callable[..., Any], name: str) -> Callable[..., Any]:
        def answer(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except Exception as error:
                self._exceptions.add(error, f"service {name}")
                return _refusal(request, response, one_line(error))

        return answer

    def _release_entities(self) -> None:
        """Release the entities whose message could not even be taken.

        rclpy leaves such an entity marked as being executed, and its whole callback group would
        wait for ever. On a single thread nothing is being executed at this moment.
        """
        for entity in self._entities():
            group: Any = entity.callback_group
            if group is not None and id(getattr(group, "_active_entity", None)) == id(entity):
                entity._executor_event = False
                group.ending_execution(entity)

    def _entities(self) -> Iterator[Any]:
        for node in self.get_nodes():
            for kind in ("subscriptions", "timers", "clients", "services", "guards", "waitables"):
                yield from getattr(node, kind)


def _refusal(request: Any, response: Any, reason: str) -> Any:
    """The answer to a request at which a service raised, after it may have begun `response`."""
    refused = SetParametersResult(successful=False, reason=reason)
    if isinstance(response, SetParameters.Response):
        missing = len(request.parameters) - len(response.results)
        return SetParameters.Response(results=[*response.results, *[refused] * missing])
    if isinstance(response, SetParametersAtomically.Response):
        return SetParametersAtomically.Response(result=refused)
    return type(response)()
