# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compiling in the background and replacing a backend that fails, with the real torch backend."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lrn_ros import Segmenter
from lrn_ros.errors import BackendError, RunError, UserError
from lrn_ros.inference import supervisor as module
from lrn_ros.inference.geometry import fit
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

    def __init__(self, path: Path, said: list[str]) -> None:
        self.path, self.loads, self.said = path, list[dict[str, str]](), said
        self.fault: Exception | None = None
        self.held: list[int] = []
        self._earlier: list[weakref.ref[Segmenter]] = []
        self.compile: Callable[[], object] = lambda: None
        self.ready: set[tuple[Any, int]] = set()
        self.supervisor = Supervisor(self._load)
        self.geometry = self.supervisor.model.geometry(*SIZE)

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


class Said(logging.Handler):
    """Collects what the package logs, with its level."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts, self.levels = list[str](), dict[str, int]()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(text := record.getMessage())
        self.levels[text] = record.levelno


@pytest.fixture
def said() -> Iterator[Said]:
    log, handler = logging.getLogger("lrn_ros"), Said()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.fixture
def bench(random_model: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> Iterator[Bench]:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    bench = Bench(random_model, said.texts)
    yield bench
    bench.supervisor.close()


def test_a_new_size_compiles_while_others_run(bench: Bench) -> None:
    bench.warm()
    expected = Segmenter.load(bench.path, backend="torch")(RGB).mask
    go, started = threading.Event(), threading.Event()
    bench.compile = lambda: (started.set(), go.wait(20))
    other = bench.supervisor.model.geometry(120, 160)
    for _ in range(3):  # the compiled size stands in
        (result,) = bench.supervisor.run([np.zeros((120, 160, 3), np.uint8)], other, False)
        assert result.mask.shape == (120, 160)
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
            bench.supervisor.run([RGB], bench.supervisor.model.geometry(*shape), False)
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
def test_a_failed_backend_is_let_go_before_the_next_one_is_loaded(bench: Bench, fails: str) -> None:
    """Its memory is needed, even while somebody still looks at the exception of a frame."""
    errors: list[BaseException] = []
    if fails == "compiling":
        bench.fail_to_compile()
        with pytest.raises(NotReady):
            bench.mask()
    else:
        bench.warm()
        bench.fault = RuntimeError("driver reset")
        for _ in range(3):
            try:
                bench.mask()
            except RuntimeError as error:
                errors.append(error)
        bench.fault = None
    bench.wait(lambda: len(bench.loads) == 2)
    assert bench.held == [0, 0]


class Watched:
    """Notes the thread that frees it; a part of the backend under test."""

    def __init__(self, freed: list[str]) -> None:
        self._freed = freed

    def __del__(self) -> None:
        self._freed.append(threading.current_thread().name)


@pytest.mark.parametrize("ends", ["closed", "failed", "refused at load"])
def test_the_thread_that_loads_a_backend_frees_it(
    random_model: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    freed, loaded = list[str](), list[str]()

    def load(given_up: Mapping[str, str]) -> Segmenter:
        loaded.append(threading.current_thread().name)
        segmenter = Segmenter.load(random_model, backend="torch")
        segmenter.backend._watched = Watched(freed)  # type: ignore[attr-defined]
        if ends == "refused at load":
            raise BackendError("too old a driver")
        return segmenter

    if ends == "refused at load":
        with pytest.raises(BackendError, match="too old") as caught:
            Supervisor(load)
        assert caught.value is not None and freed == loaded == ["backend"]
        return
    supervisor = Supervisor(load)
    geometry = supervisor.model.geometry(*SIZE)
    if ends == "failed":
        no_image: Any = "no image"
        failures = []
        for _ in range(3):
            with pytest.raises(ValueError, match="could not convert") as failure:
                supervisor.run([no_image], geometry, False)
            failures.append(failure)
        deadline = time.monotonic() + 20
        while len(loaded) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert freed == ["backend"] and len(failures) == 3
    else:
        supervisor.run([RGB], geometry, False)
    supervisor.close()
    assert freed == loaded == ["backend"] * len(loaded)


def test_a_frame_in_work_is_finished_before_the_backend_is_freed(random_model: Path) -> None:
    freed, go, started = list[str](), threading.Event(), threading.Event()

    def load(given_up: Mapping[str, str]) -> Segmenter:
        segmenter = Segmenter.load(random_model, backend="torch")
        segmenter.backend._watched = Watched(freed)  # type: ignore[attr-defined]
        return segmenter

    supervisor = Supervisor(load)
    geometry = supervisor.model.geometry(*SIZE)

    def wait(scores: Any, image: Any) -> Any:
        started.set()
        go.wait(20)
        return scores

    worker = threading.Thread(target=lambda: supervisor.run([RGB], geometry, False, [wait]))
    worker.start()
    assert started.wait(20)
    supervisor.close(0.1)
    assert freed == []
    go.set()
    worker.join()
    supervisor.close()
    assert freed == ["backend"]


def test_news_that_is_good_is_no_warning(bench: Bench, said: Said) -> None:
    bench.warm()
    bench.fail("out of memory")
    bench.wait(lambda: "backend torch runs" in said.texts)
    levels = {text.split(" after")[0]: level for text, level in said.levels.items()}
    assert levels["96x128 ready"] == levels["backend torch runs"] == logging.INFO
    failed = "backend torch failed and is restarted: RuntimeError: out of memory"
    assert levels[failed] == logging.WARNING


def test_a_compiled_size_stands_in_for_one_that_is_not(bench: Bench) -> None:
    """A crop or a zoom gets masks of its own size at once; the size is compiled if it stays."""
    bench.warm()
    go = threading.Event()
    bench.compile = lambda: go.wait(20)
    frame = StreetScene(seed=5, height=100, width=200).frame(0)[0]
    own = bench.supervisor.model.geometry(100, 200)
    through = replace(fit((100, 200), SIZE, SIZE), output=own.output)
    bench.ready.add((through, 1))  # host backends know engines by the network's size alone
    assert own.network == (96, 192) and through.network == SIZE and through.content == (64, 128)
    expected = Segmenter.load(bench.path, backend="torch", network_size=SIZE)(frame).mask
    (first,) = bench.supervisor.run([frame], own, False)
    np.testing.assert_array_equal(first.mask, expected)
    assert not bench.supervisor.status().compiling, "one frame is not worth an engine"
    bench.supervisor.run([frame], own, False)
    assert bench.supervisor.status().compiling.startswith("96x192 since ")
    go.set()
    bench.wait(lambda: (own, 1) in bench.ready)
    (last,) = bench.supervisor.run([frame], own, False)
    np.testing.assert_array_equal(
        last.mask, Segmenter.load(bench.path, backend="torch")(frame).mask
    )


@pytest.mark.parametrize("output", ["input", "network"])
def test_an_engine_of_other_frames_stands_in(bench: Bench, output: str) -> None:
    """Where engines are compiled for a frame's size, as those of the backend cuda are."""
    bench.warm()
    frame = StreetScene(seed=5, height=64, width=200).frame(0)[0]
    own = bench.supervisor.model.geometry(64, 200, output)
    (result,) = bench.supervisor.run([frame], own, True)
    assert result.mask.shape == own.output and result.confidence is not None
    assert result.confidence.shape == own.output
    inside = np.zeros((96, 128, 3), np.uint8)  # at the scale of 128 / 200, the border repeated
    inside[:41] = cv2.resize(frame, (128, 41), interpolation=cv2.INTER_AREA)
    inside[41:] = inside[40]
    expected = Segmenter.load(bench.path, backend="torch")(inside).mask[:41]
    expected = cv2.resize(expected, own.output[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_array_equal(result.mask, expected)


def test_the_stand_in_is_the_most_similar_in_scale(random_model: Path) -> None:
    segmenter = Segmenter.load(random_model, backend="torch")
    assert segmenter.stand_in(segmenter.geometry(96, 128)) is None, "nothing is compiled"
    for height, width in ((96, 128), (96, 320), (320, 96)):
        segmenter.prepare(segmenter.geometry(height, width))
    wide = segmenter.stand_in(segmenter.geometry(96, 300, "network"))
    assert wide is not None and wide.network == (96, 320)
    assert wide.output == segmenter.geometry(96, 300, "network").output
    tall = segmenter.stand_in(segmenter.geometry(280, 96))
    assert tall is not None and tall.network == (320, 96) and tall.content == (280, 96)


def test_two_failures_at_once_are_one_restart(bench: Bench) -> None:
    """Frames fail while another size compiles, and then that fails as well."""
    bench.warm()
    go, started = threading.Event(), threading.Event()
    bench.fail_to_compile(lambda: (started.set(), go.wait(20)))
    other = bench.supervisor.model.geometry(120, 160)
    for _ in range(2):
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
