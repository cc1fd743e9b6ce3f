# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the jobs of a replay, one after the other or side by side on Dask workers.

What is complete with the same settings is not run again, and one job that fails stops no other.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lrn_ros.errors import BackendError, RunError, UserError, needs
from lrn_ros.replay.accuracy import read_part
from lrn_ros.replay.ground_truth import check_fits_several
from lrn_ros.replay.job import Job, is_done, run_job

_PROGRESS = Callable[[int], None]


@dataclass(frozen=True)
class Workers:
    """Where jobs run.

    Attributes:
        count: processes on this machine, 1: this one; not used with a scheduler.
        scheduler: address of a Dask scheduler; the paths of the jobs must be valid for its workers.
    """

    count: int = 1
    scheduler: str | None = None


@dataclass
class Outcome:
    """The outcome of all jobs.

    Attributes:
        done: names of those with results, of an earlier run or of this one.
        reused: of them those of an earlier run.
        failed: (name, reason) of the others.
        interrupted: whether Ctrl-C ended the run; some jobs then have no results.
    """

    done: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False


def run_jobs(
    jobs: Sequence[Job], workers: Workers, progress: _PROGRESS = lambda count: None
) -> Outcome:
    """Run all jobs that are not done.

    Args:
        jobs: what to run.
        workers: where.
        progress: called with the number of frames replayed since the last call.

    Raises:
        Exception: the only job failed, with a UserError, a RunError or an OSError where it is known
            what may be done.
        UserError: Dask is not installed, or its scheduler does not answer; labels that are named by
            frame for several bags.
    """
    if len(jobs) > 1:
        for where in {job.truth.where for job in jobs if job.truth.where}:
            check_fits_several(Path(where))
    outcome, left = Outcome(), []
    side_by_side = None if workers.scheduler else workers.count
    for job in (replace(job.absolute(), workers=side_by_side) for job in jobs):
        if _done(job):
            outcome.reused.append(job.name)
            progress(_frames(job))
        else:
            left.append(job)
    outcome.done += outcome.reused
    spread = len(left) > 0 and (workers.scheduler is not None or workers.count > 1)
    try:
        for job, error, complete in (_spread if spread else _here)(left, workers, progress):
            if error is None:
                outcome.done.append(job.name)
                outcome.interrupted |= not complete
            elif len(jobs) == 1:
                raise error
            else:
                known = isinstance(error, (UserError, BackendError, RunError, OSError))
                said = str(error) if known else f"{type(error).__name__}: {error}"
                outcome.failed.append((job.name, " ".join(said.split()) or repr(error)))
            if outcome.interrupted:
                break
    except KeyboardInterrupt:
        outcome.interrupted = True
    return outcome


def _frames(job: Job) -> int:
    return read_part(job.name, job.folder, check=False).record.tally.frames


_Ended = tuple[Job, Exception | None, bool]


def _done(job: Job) -> bool:
    try:
        return is_done(job)
    except (OSError, UserError):  # it will say so when it is run
        return False


def _attempt(
    job: Job, progress: _PROGRESS = lambda count: None, threads: int | None = None
) -> _Ended:
    """The job, why it failed, and whether it is complete."""
    try:
        return job, None, run_job(job, progress, threads)
    except Exception as error:  # is told with the job's name, or raised again
        return job, error, False


def _here(jobs: Iterable[Job], workers: Workers, progress: _PROGRESS) -> Iterator[_Ended]:
    for job in jobs:
        yield _attempt(job, progress)


def _spread(jobs: Sequence[Job], workers: Workers, progress: _PROGRESS) -> Iterator[_Ended]:
    from distributed import as_completed

    with _client(workers) as client:
        threads = None
        if workers.scheduler is None:  # the processes share the cores
            threads = max(1, (os.cpu_count() or 1) // workers.count)
        submitted = {client.submit(_attempt, job, threads=threads, pure=False): job for job in jobs}
        for future in as_completed(submitted):
            job, error = submitted[future], future.exception()
            if error is not None:  # such as a worker that was killed
                yield job, RunError(f"{type(error).__name__}: {error}"), False
                continue
            ended: _Ended = future.result()
            if ended[1] is None:
                progress(_frames(job))
            yield ended


@contextmanager
def _client(workers: Workers) -> Iterator[Any]:
    """A client of the scheduler, or of processes on this machine."""
    with needs("scale", "several workers need Dask"):
        import dask
        from distributed import Client, LocalCluster
    with ExitStack() as stack:
        # A job that ends its worker would end the next one too: it is not tried again.
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
        cluster: Any = workers.scheduler
        if cluster is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lrn_replay_"))
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers.count,
                    threads_per_worker=1,
                    dashboard_address=None,
                    memory_limit=0,  # a job's memory is bounded
                    local_directory=folder,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = stack.enter_context(Client(cluster))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{workers.scheduler or 'this machine'}: no Dask scheduler answers ({error}); an"
                " address looks like tcp://host:8786"
            ) from error
        yield client
