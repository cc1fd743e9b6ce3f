# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Follows a run through the JSON lines that its player and its recorder write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrn_ros.play.processes import ProcessGroup

_LOOK_S = 0.2
_QUIET_S = 2.5  # nothing received or answered for this long: the run is over,
_QUIET_BEATS = 2  # if the node has said so as often, which a busy machine may delay
_DRAIN_S = 30.0  # never wait longer than this for it


@dataclass(frozen=True)
class Progress:
    """How far a run is: frames sent and answered; both 0 while the processes start."""

    sent: int
    answered: int


class NewLines:
    """Reads the JSON lines that another process appends to a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def read(self) -> list[dict[str, Any]]:
        """The complete lines since the last call; none while there is no file."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self._at += len(text)
        return [json.loads(line) for line in text.splitlines()]


class Watch:
    """Waits for the end of a run.

    Args:
        processes: those of the run.
        sent: lines of the player, one a frame.
        received: lines of the recorder.
        report: called a few times a second.
    """

    def __init__(
        self,
        processes: ProcessGroup,
        sent: Path,
        received: Path,
        report: Callable[[Progress], None],
    ) -> None:
        self._processes, self._report = processes, report
        self._sent_lines, self._received_lines = NewLines(sent), NewLines(received)
        self._sent = self._answered = 0
        self._received = ""  # frames, as the node last said
        self._beats = 0  # how often it has said so since that changed

    @property
    def sent(self) -> int:
        """Frames sent so far."""
        return self._sent

    def play(self) -> None:
        """Until the player has ended; raises RunError as ProcessGroup.check."""
        while self._processes.check():
            self._look()
            time.sleep(_LOOK_S)

    def drain(self) -> None:
        """Until the node has neither received nor answered anything for a while."""
        start = changed = time.monotonic()
        seen = None
        self._beats = 0
        while time.monotonic() < start + _DRAIN_S:
            self._processes.check()
            self._look()
            if (self._answered, self._received) != seen:
                seen, changed = (self._answered, self._received), time.monotonic()
            if self._beats >= _QUIET_BEATS and time.monotonic() > changed + _QUIET_S:
                return
            time.sleep(_LOOK_S)

    def _look(self) -> None:
        self._sent += len(self._sent_lines.read())
        new = self._received_lines.read()
        if self._sent:  # what was answered before was no frame
            self._answered += sum(line["kind"] == "latency" for line in new)
        for line in new:
            received = line.get("values", {}).get("received")
            if line["kind"] == "diagnostics" and received is not None:
                self._beats = self._beats + 1 if received == self._received else 0
                self._received = received
        self._report(Progress(self._sent, self._answered))
