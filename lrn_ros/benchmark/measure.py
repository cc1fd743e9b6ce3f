# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Side-by-side measurement: every combination in a process of its own, in turns, in rounds.

All processes are started and warmed up first; then one at a time measures while the others block,
so that a drift of the machine hits all alike. What is derived from it: benchmark/figures.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrn_ros.benchmark.models import Model
from lrn_ros.benchmark.process import WorkerEnded, WorkerProcess
from lrn_ros.benchmark.worker import BASELINE
from lrn_ros.inference.backends.base import MODULES
from lrn_ros.scene import StreetScene

SCENES = 8  # rendered frames of every size
RESERVE = 512e6  # bytes of memory that the benchmark leaves free
STEADY = 0.1  # a figure with a larger spread was disturbed


@dataclass(frozen=True)
class Combination:
    """The combination of model, backend, precision and size that one process runs.

    Attributes:
        model: the name it was asked for by.
        backend: one of lrn_ros.inference.backends.base.MODULES.
        precision: e.g. "fp32".
        size: (height, width) of the frames and of the network's input.
    """

    model: str
    backend: str
    precision: str
    size: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.model} {self.backend} {self.precision} {self.size[0]}x{self.size[1]}"


@dataclass(frozen=True)
class Skipped:
    """A combination without figures: "unavailable", "failed" or "interrupted", and why."""

    combination: Combination
    status: str
    reason: str


@dataclass
class Samples:
    """The measurements of the process of a combination.

    Attributes:
        combination: what it ran.
        start_s: seconds from the import to the first mask, with an empty cache of engines.
        device: the backend's words for it.
        warm_memory: resident memory after the warm-up, MB.
        rounds_ms: one a round: "total", "pre", "network", "post", "bare" and of the baseline
            "eager" -> ms of every frame.
        memory: resident memory after the last round, MB.
        peak: its peak, MB.
        score: "images", "same_label" (0-1), "miou" (0-1 or None) once it is known; or "refused",
            the reason why it is not.
    """

    combination: Combination
    start_s: float
    device: str
    warm_memory: float
    rounds_ms: list[dict[str, list[float]]] = field(default_factory=list)
    memory: float = 0.0
    peak: float = 0.0
    score: dict[str, Any] = field(default_factory=dict)

    def spread(self, rounds: slice = slice(None)) -> float:
        """Largest minus smallest of the rounds' medians of "total", divided by the median of all.

        Args:
            rounds: those that count, at least one.
        """
        totals = [one["total"] for one in self.rounds_ms[rounds]]
        medians = [float(np.median(total)) for total in totals]
        middle = float(np.median([value for total in totals for value in total]))
        return (max(medians) - min(medians)) / middle


@dataclass
class Measurement:
    """A whole measurement.

    Attributes:
        samples: samples by combination, in order.
        skipped: the combinations that are not among them.
        limits: limits of the machine, one a round, see benchmark.worker.limits.
        no_limits: why they are missing.
        used: the rounds that the figures are of, see `steadiest`; of those that were measured.
        interrupted: whether Ctrl-C ended the measurement, so that rounds are missing.
    """

    samples: list[Samples] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    limits: list[dict[str, Any]] = field(default_factory=list)
    no_limits: str | None = None
    used: slice = field(default_factory=lambda: slice(None))
    interrupted: bool = False


@dataclass(frozen=True)
class Plan:
    """The plan of a measurement.

    Attributes:
        models: see benchmark.models.find_models.
        combinations: combinations of them, see `combine`.
        threads: CPU threads of every process.
        frames: measured frames of a combination in a round.
        rounds: how often it is everybody's turn, at least, and how many rounds in a row count.
        budget_s: how long rounds are repeated while figures are not steady.
        data: a data set whose val split the masks are scored on; None: the rendered frames.
    """

    models: Sequence[Model]
    combinations: Sequence[Combination]
    threads: int
    frames: int
    rounds: int
    data: Path | None = None
    budget_s: float = 0.0


def combine(
    models: Sequence[str],
    backends: Sequence[str],
    precisions: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    others: Sequence[str] = (),
) -> list[Combination]:
    """All combinations; the baseline of every model and size is added where it is not among them.

    Somebody else's networks, `others`, run with openvino in fp32 and bf16 as far as asked for.

    >>> [str(c) for c in combine(["m"], ["openvino"], ["bf16"], [(64, 96)])]
    ['m torch fp32 64x96', 'm openvino bf16 64x96']
    """
    kinds = [(b, p) for b in dict.fromkeys(backends) for p in dict.fromkeys(precisions)]
    kinds = kinds if BASELINE in kinds else [BASELINE, *kinds]
    places = [(m, s) for m in dict.fromkeys(models) for s in dict.fromkeys(sizes)]
    own = [Combination(m, *kind, size) for m, size in places for kind in kinds]
    plain = [p for p in dict.fromkeys(precisions) if p in ("fp32", "bf16")]
    return own + [
        Combination(other, "openvino", precision, size)
        for other in others
        for size in dict.fromkeys(sizes)
        for precision in plain
    ]


def steadiest(samples: Sequence[Samples], rounds: int) -> tuple[slice, float]:
    """Choose consecutive rounds in which the largest spread of all rows is the smallest.

    Args:
        samples: samples of every combination, with the same number of rounds.
        rounds: how many rounds in a row.

    Returns:
        The rounds, and that spread; of equal ones the last.
    """
    count = max(len(one.rounds_ms) for one in samples)
    windows = [slice(i, i + rounds) for i in range(max(1, count - rounds + 1))]
    worst = [max(one.spread(window) for one in samples) for window in windows]
    best = min(range(len(windows)), key=lambda i: (worst[i], -i))
    return windows[best], worst[best]


def measure(plan: Plan, folder: Path, step: Callable[[str], None]) -> Measurement:
    """Start a process for every combination, measure in rounds, then score the masks.

    Ctrl-C ends all processes and keeps the rounds that were measured.

    Args:
        plan: see Plan.
        folder: folder for temporary files.
        step: called with what happens next.

    Raises:
        KeyboardInterrupt: before anything was measured.
    """
    return _Session(plan, folder, step).run()


class _Session:
    """The processes of one measurement."""

    def __init__(self, plan: Plan, folder: Path, step: Callable[[str], None]) -> None:
        self._plan, self._folder, self._step = plan, folder, step
        self._workers: dict[Combination, WorkerProcess] = {}
        self._samples: dict[Combination, Samples] = {}
        self._run = Measurement()
        self._others = {m.name for m in plan.models if m.info is None}

    def run(self) -> Measurement:
        """See measure."""
        run = self._run
        limits = WorkerProcess(self._folder / "limits.log")
        try:
            self._start_all()
            self._rounds(limits)
            self._score_all()
        except KeyboardInterrupt:
            run.interrupted = True
        finally:
            for worker in (limits, *self._workers.values()):
                worker.close()
        complete = [s for s in self._samples.values() if len(s.rounds_ms) >= self._plan.rounds]
        if complete and not run.interrupted:
            run.used = steadiest(complete, self._plan.rounds)[0]
        for combination, samples in self._samples.items():
            if samples.rounds_ms:
                run.samples.append(samples)
            elif run.interrupted:
                run.skipped.append(Skipped(combination, "interrupted", "before its first turn"))
        if run.interrupted and not run.samples:
            raise KeyboardInterrupt
        self._note_missing()
        return run

    def _note_missing(self) -> None:
        """The combinations that an interruption left without a process."""
        known = {s.combination for s in self._run.samples}
        known |= {s.combination for s in self._run.skipped}
        for combination in self._plan.combinations:
            if combination not in known:
                self._skip(combination, "interrupted", "before its start")

    def _skip(self, combination: Combination, status: str, reason: str) -> None:
        self._run.skipped.append(Skipped(combination, status, reason))

    def _start_all(self) -> None:
        models = {m.name: m for m in self._plan.models}
        frames = {}
        for size in dict.fromkeys(c.size for c in self._plan.combinations):
            self._step(f"rendering {size[0]}x{size[1]}")
            frames[size] = self._folder / f"{size[0]}x{size[1]}.npy"
            np.save(frames[size], render(size))
        for number, combination in enumerate(self._plan.combinations):
            self._step(f"starting {combination}")
            model = models[combination.model]
            suffix = MODULES[combination.backend].suffix
            if suffix not in model.files:
                self._skip(combination, "unavailable", model.missing[suffix])
            elif reason := self._no_room():
                self._skip(combination, "unavailable", reason)
            else:
                file, folder = model.file(suffix, combination.precision), self._folder / str(number)
                self._start(combination, file, folder, frames[combination.size])

    def _no_room(self) -> str | None:
        """Why another process does not fit into memory."""
        need = max((s.peak for s in self._samples.values()), default=0.0) * 1e6
        free = _available()
        if free - RESERVE >= need:
            return None
        return (
            f"{free / 1e6:.0f} MB of memory are free beside the {len(self._workers)} processes that"
            f" are measured side by side, {(need + RESERVE) / 1e6:.0f} MB are needed: name fewer"
        )

    def _start(self, combination: Combination, model: Path, folder: Path, frames: Path) -> None:
        folder.mkdir()
        worker = self._workers[combination] = WorkerProcess(folder / "worker.log")
        try:
            reply = worker.ask(
                "load",
                model=str(model),
                backend=combination.backend,
                precision=combination.precision,
                size=combination.size,
                threads=self._plan.threads,
                cache=str(folder),
                frames=str(frames),
                other=combination.model in self._others,
            )
        except WorkerEnded as error:
            self._drop(combination, "failed", str(error))
            return
        if "refused" in reply:
            self._drop(combination, "unavailable", reply["refused"])
            return
        self._samples[combination] = Samples(
            combination, reply["start_s"], reply["device"], reply["memory"], peak=reply["peak"]
        )

    def _drop(self, combination: Combination, status: str, reason: str) -> None:
        self._workers.pop(combination).close()
        self._samples.pop(combination, None)
        self._skip(combination, status, reason)

    def _rounds(self, limits: WorkerProcess) -> None:
        """The rounds that were asked for, and more until the last ones are steady."""
        end, number = time.monotonic() + self._plan.budget_s, 0
        while self._workers:
            self._round(number, limits)
            number += 1
            if number < self._plan.rounds:
                continue
            last = slice(number - self._plan.rounds, number)
            spreads = {c: s.spread(last) for c, s in self._samples.items()}
            worst = max(spreads, key=lambda c: spreads[c], default=None)
            if worst is None or spreads[worst] <= STEADY:
                return
            text = f"{worst} is not steady, its medians differ by {100 * spreads[worst]:.0f} %"
            if time.monotonic() >= end:
                self._step(f"{text}; the budget is spent")
                return
            self._step(f"{text}: once more")

    def _round(self, number: int, limits: WorkerProcess) -> None:
        """One turn of every process, in the opposite order every other time."""
        text = f"round {number + 1} of {max(number + 1, self._plan.rounds)}"
        if self._run.no_limits is None:
            self._step(f"{text}: limits of the machine")
            try:
                self._run.limits.append(limits.ask("limits", threads=self._plan.threads))
            except WorkerEnded as error:
                self._run.no_limits = str(error)
        for combination in list(self._workers)[:: -1 if number % 2 else 1]:
            self._step(f"{text}: {combination}")
            try:
                reply = self._workers[combination].ask("turn", frames=self._plan.frames)
            except WorkerEnded as error:
                self._drop(combination, "failed", str(error))
                continue
            samples = self._samples[combination]
            samples.rounds_ms.append(reply["ms"])
            samples.memory, samples.peak = reply["memory"], reply["peak"]

    def _score_all(self) -> None:
        """Compare every combination's masks with those of its baseline."""
        random = {m.name for m in self._plan.models if m.random}
        named = [c for c in self._workers if c.model not in random | self._others]
        for model, size in dict.fromkeys((c.model, c.size) for c in named):
            group = [c for c in named if (c.model, c.size) == (model, size)]
            baseline = Combination(model, *BASELINE, size)
            if baseline not in group:
                continue
            masks = self._folder / "masks"
            masks.mkdir(exist_ok=True)
            for combination in sorted(group, key=lambda c: c != baseline):
                self._step(f"scoring {combination}")
                self._score(combination, masks, combination == baseline)
                if combination == baseline and "refused" in self._samples[baseline].score:
                    break

    def _score(self, combination: Combination, masks: Path, reference: bool) -> None:
        data = str(self._plan.data) if self._plan.data else None
        samples = self._samples[combination]
        try:
            samples.score = self._workers[combination].ask(
                "score", data=data, masks=str(masks), reference=reference
            )
        except WorkerEnded as error:
            samples.score = {"refused": str(error)}


def render(size: tuple[int, int]) -> np.ndarray:
    """Rendered street scenes, (SCENES, H, W, 3) uint8 RGB, of a (height, width)."""
    scenes = (StreetScene(seed=n, height=size[0], width=size[1]) for n in range(SCENES))
    return np.stack([scene.frame(0)[0] for scene in scenes])


def _available() -> float:
    """Bytes of memory that processes can have without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024.0
    raise OSError("/proc/meminfo has no MemAvailable")
