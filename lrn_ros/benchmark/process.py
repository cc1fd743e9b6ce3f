# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parent's end of a benchmark's worker process."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class WorkerEnded(Exception):
    """A worker's process has ended by itself; the message says how."""


class WorkerProcess:
    """A process of lrn_ros.benchmark.worker; Ctrl-C in the terminal does not reach it.

    Args:
        log: file for its standard error.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lrn_ros.benchmark.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("a worker without pipes")
        self.pid = self._process.pid
        self._requests, self._replies = self._process.stdin, self._process.stdout

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Let it do something and wait.

        Raises:
            WorkerEnded: instead of an answer.
        """
        line = b""
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._requests.flush()
            line = self._replies.readline()
        if not line.endswith(b"\n"):
            raise WorkerEnded(self._last_words())
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _last_words(self) -> str:
        status = self._process.wait()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f"its process ended with {how}" + (f": {said[-1][:300]}" if said else "")

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._replies.close()
        with contextlib.suppress(BrokenPipeError):  # an unsent rest of a request
            self._requests.close()
