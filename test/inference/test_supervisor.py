# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compiling in the background and replacing a backend that fails, with the real torch backend."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrn_ros import Segmenter
from lrn_ros.errors import RunError, UserError
from lrn_ros.inference import supervisor as module
from lrn_ros.inference.backends.base import BackendError
from lrn_ros.inference.supervisor import NotReady, Supervisor
from lrn_ros.scene import StreetScene

SIZE = (96, 128)
RGB = StreetScene(seed=5, height=SIZE[0], width=SIZE[1]).frame(0)[0]


class Bench:
    """A Supervisor over torch, whose backends compile and run as a test says.

    Attributes:
        compile: called with every size before it is prepared.
        fault: raised by every backend's run while it is set.
        loads: the backends given up at each load.
        held: at each load, how many of the earlier ones' Segmenters are still held.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.loads, self.said = path, list[dict[str, str]](), list[str]()
        self.fault: Exception | None = None
        self.held: list[int] = []
        self._earlier: list[weakref.ref[Segmenter]] = []
        self.compile: Callable[[], object] = lambda: None
        self.ready: set[tuple[Any, int]] = set()
        self.supervisor = Supervisor(self._load, self.said.append)
        self.geometry = self.supervisor.segmenter.geometry(*SIZE)

    def _load(self, given_up: Mapping[str, str]) -> Segmenter:
        self.loads.append(dict(given_up))
        self.held.append(sum(earlier() is not None for earlier in self._earlier))
        segmenter = Segmenter.load(self.path, backend="torch", given_up=given_up)
        self._earlier.append(weakref.ref(segmenter))
        backend, run = segmenter.backend, segmenter.backend.run
        self.ready = ready = set()

        def prepare(geometry: Any, batch: int = 1) -> None:
            self.compile()
            ready.add((geometry, batch))

        def failing_run(*arguments: Any) -> Any:
            if self.fault is not None:
                raise self.fault
            return run(*arguments)

        backend.prepared = lambda g, batch=1: (g, batch) in ready  # type: ignore[method-assign]
        backend.prepare, backend.run = prepare, failing_run  # type: ignore[method-assign]
        return segmenter

    def mask(self, frames: int = 1) -> Any:
        return [r.mask for r in self.supervisor.run([RGB] * frames, self.geometry, False)]

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)

    def fail(self, reason: str, times: int = 3) -> None:
        """So many frames in a row fail."""
        self.fault = RuntimeError(reason)
        for _ in range(times):
            with pytest.raises(RuntimeError, match=reason):
                self.mask()
        self.fault = None

    def fail_to_compile(self, first: Callable[[], object] = lambda: None) -> None:
        """The next compilation does something first, and fails."""

        def fail() -> None:
            self.compile = lambda: None
            first()
            raise BackendError("cannot compile")

        self.compile = fail

    def warm(self) -> None:
        with pytest.raises(NotReady):
            self.mask()
        self.wait(
            lambda: (self.geometry, 1) in self.ready and not self.supervisor.status().compiling
        )


@pytest.fixture
def bench(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    return Bench(random_model)


def test_a_new_size_compiles_while_others_run(bench: Bench) -> None:
    bench.warm()
    expected = Segmenter.load(bench.path, backend="torch")(RGB).mask
    go, started = threading.Event(), threading.Event()
    bench.compile = lambda: (started.set(), go.wait(20))
    other = bench.supervisor.segmenter.geometry(120, 160)
    for _ in range(3):
        with pytest.raises(NotReady, match="96x128 is being compiled"):
            bench.supervisor.run([np.zeros((120, 160, 3), np.uint8)], other, False)
    assert started.wait(5)
    np.testing.assert_array_equal(bench.mask()[0], expected)
    assert bench.supervisor.status().compiling.startswith("96x128 since ")
    go.set()
    bench.wait(lambda: not bench.supervisor.status().compiling)
    frame = StreetScene(seed=5, height=120, width=160).frame(0)[0]
    (result,) = bench.supervisor.run([frame], other, False)
    assert result.mask.shape == (120, 160)
    assert sum("ready after" in line for line in bench.said) == 2


def test_a_batch_runs_one_by_one_until_it_is_compiled(bench: Bench) -> None:
    bench.warm()
    (one,) = bench.mask()
    first = bench.supervisor.run([RGB] * 4, bench.geometry, False)
    assert [r.timings.batch for r in first] == [1, 1, 1, 1]
    bench.wait(lambda: (bench.geometry, 4) in bench.ready)
    second = bench.supervisor.run([RGB] * 4, bench.geometry, False)
    assert [r.timings.batch for r in second] == [4, 4, 4, 4]
    for result in (*first, *second):
        np.testing.assert_array_equal(result.mask, one)


def test_few_engines_serve_every_number_of_frames(bench: Bench) -> None:
    bench.warm()
    images = [StreetScene(seed=i, height=SIZE[0], width=SIZE[1]).frame(0)[0] for i in range(7)]
    expected = [Segmenter.load(bench.path, backend="torch")(rgb).mask for rgb in images]
    for count in range(1, 8):
        bench.supervisor.run(images[:count], bench.geometry, False)
        bench.wait(lambda: not bench.supervisor.status().compiling)
    assert {batch for _, batch in bench.ready} == {1, 2, 4}
    results = bench.supervisor.run(images, bench.geometry, False)
    assert [r.timings.batch for r in results] == [4, 4, 4, 4, 2, 2, 1]
    for result, mask in zip(results, expected):
        assert (result.mask == mask).mean() > 0.999  # a batch's sums are rounded otherwise


def test_a_batch_that_is_compiled_needs_no_other_engine(bench: Bench) -> None:
    bench.warm()
    bench.ready.clear()
    bench.ready.add((bench.geometry, 2))
    results = bench.supervisor.run([RGB] * 2, bench.geometry, False)
    assert [r.timings.batch for r in results] == [2, 2]
    with pytest.raises(NotReady):
        bench.supervisor.run([RGB], bench.geometry, False)


def test_a_batch_that_cannot_be_compiled_runs_one_by_one(bench: Bench) -> None:
    bench.warm()

    def fail() -> None:
        raise BackendError("out of memory")

    bench.compile = fail
    for _ in range(5):
        results = bench.supervisor.run([RGB] * 3, bench.geometry, False)
        assert [r.timings.batch for r in results] == [1, 1, 1]
        bench.wait(lambda: not bench.supervisor.status().compiling)
    assert len(bench.loads) == 1, "no restart for it"
    assert sum("one by one: out of memory" in line for line in bench.said) == 1


def test_sizes_that_change_all_the_time_do_not_pile_up(bench: Bench) -> None:
    go = threading.Event()
    bench.compile = lambda: go.wait(20)
    shapes = [(64, 64 + 8 * i) for i in range(40)]
    for shape in shapes:
        with pytest.raises(NotReady):
            bench.supervisor.run([RGB], bench.supervisor.segmenter.geometry(*shape), False)
    assert bench.supervisor.status().compiling.count(" since ") == 4
    go.set()


def test_a_size_that_the_model_refuses_stays_refused(bench: Bench) -> None:
    def refuse() -> None:
        raise UserError("runs at [64, 64] only")

    bench.compile = refuse
    with pytest.raises(NotReady):
        bench.mask()
    bench.wait(lambda: not bench.supervisor.status().compiling)
    for _ in range(5):
        with pytest.raises(UserError, match=r"runs at \[64, 64\] only"):
            bench.mask()
    assert len(bench.loads) == 1, "no restart for it"


def test_three_failures_in_a_row_restart_the_backend(bench: Bench) -> None:
    bench.warm()
    for failures in (2, 2):  # a frame that works in between
        bench.fail("out of memory", failures)
        bench.mask()
    assert len(bench.loads) == 1
    bench.fail("out of memory")
    bench.wait(lambda: len(bench.loads) == 2 and not bench.supervisor.status().restarting)
    assert bench.loads == [{}, {}]
    assert "backend torch failed and is restarted: RuntimeError: out of memory" in bench.said
    bench.warm()
    bench.mask()


def test_a_backend_that_keeps_failing_is_given_up(bench: Bench) -> None:
    """After two restarts; it was the only one, so that nothing runs any more."""
    for restart in range(3):
        bench.warm()
        bench.fail("driver reset")
        bench.wait(lambda n=restart + 2: len(bench.loads) == n)  # type: ignore[misc]
        bench.wait(lambda: not bench.supervisor.status().restarting)
    assert [list(given_up) for given_up in bench.loads] == [[], [], [], ["torch"]]
    failure = bench.supervisor.status().failure
    assert failure.startswith("no backend works any more: torch: given up after 2 restarts")
    assert "driver reset" in failure
    with pytest.raises(RunError, match="no backend works any more"):
        bench.mask()


def test_a_compiler_that_fails_restarts_the_backend(bench: Bench) -> None:
    bench.fail_to_compile()
    with pytest.raises(NotReady):
        bench.mask()
    bench.wait(lambda: len(bench.loads) == 2 and not bench.supervisor.status().restarting)
    bench.warm()
    bench.mask()


@pytest.mark.parametrize("fails", ["running", "compiling"])
def test_a_failed_backend_is_let_go_before_the_next_one_is_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Its memory is needed."""
    monkeypatch.setattr(module, "_PAUSE_S", 0.3)  # the frames that failed are done with by then

    if fails == "compiling":
        bench.fail_to_compile()
        with pytest.raises(NotReady):
            bench.mask()
    else:
        bench.warm()
        bench.fail("driver reset")
    bench.wait(lambda: len(bench.loads) == 2)
    assert bench.held == [0, 0]


def test_two_failures_at_once_are_one_restart(bench: Bench) -> None:
    """Frames fail while another size compiles, and then that fails as well."""
    bench.warm()
    go, started = threading.Event(), threading.Event()
    bench.fail_to_compile(lambda: (started.set(), go.wait(20)))
    with pytest.raises(NotReady):
        other = bench.supervisor.segmenter.geometry(120, 160)
        bench.supervisor.run([np.zeros((120, 160, 3), np.uint8)], other, False)
    assert started.wait(5)
    bench.fail("driver reset")
    go.set()
    bench.wait(lambda: len(bench.loads) == 2 and not bench.supervisor.status().restarting)
    bench.warm()  # behind whatever else was to be done
    bench.mask()
    assert len(bench.loads) == 2
    assert sum("is restarted" in line for line in bench.said) == 1


def test_auto_passes_over_what_was_given_up(random_model: Path) -> None:
    given_up = {"cuda": "given up after 2 restarts", "openvino": "tired"}
    segmenter = Segmenter.load(random_model, given_up=given_up)
    assert segmenter.backend.name == "torch"
    assert dict(segmenter.passed_over).items() >= given_up.items()
    with pytest.raises(BackendError, match="torch: no more"):
        Segmenter.load(random_model, backend="torch", given_up={"torch": "no more"})
