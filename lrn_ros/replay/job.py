# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One topic of one bag as a job that any process can run: plain data in, a folder out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros import __version__
from lrn_ros.data.bags.times import Extent
from lrn_ros.errors import UserError, needs
from lrn_ros.inference.backends.base import MODULES
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.model.artifact import SUFFIXES, model_files
from lrn_ros.model.labels import LabelMapping, LabelSet
from lrn_ros.replay.accuracy import read_part, replay
from lrn_ros.replay.records import digest_file, to_data
from lrn_ros.replay.scoring import TruthOptions

if TYPE_CHECKING:  # needs rosbags
    from lrn_ros.data.bags.reader import BagReader


@dataclass(frozen=True)
class ModelOptions:
    """The options of a Segmenter; see Segmenter.load."""

    model: str
    backend: str = "auto"
    precision: str = "auto"
    network_size: tuple[int, int] | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Job:
    """A replay as plain data: which bag, with which model, into which folder.

    Attributes:
        name: what the topic of the bag is called in the results.
        bag: folder or storage file of the bag.
        folder: folder of the results, see PartFiles.
        topic: image topic; None: the only one.
        model: the model.
        truth: the ground truth.
        extent: the part of the bag.
        thorough, smoothing, stale: see replay.
        group: what the bag is called, whose topics real time plays at once.
        workers: how many such jobs run side by side, None: as many as a cluster has; latencies
            depend on it.
    """

    name: str
    bag: Path
    folder: Path
    topic: str | None
    model: ModelOptions
    truth: TruthOptions
    extent: Extent
    thorough: bool
    smoothing: bool = False
    stale: tuple[Path, ...] = ()
    group: str = ""
    workers: int | None = 1

    def absolute(self) -> Job:
        """The same job for a process with another working directory."""
        name = self.model.model
        is_path = name.endswith(SUFFIXES) or model_files(name)[0].parent == Path(name).expanduser()
        model = replace(self.model, model=_absolute(name) if is_path else name)
        truth, yaml = self.truth, (".yaml", ".yml")
        truth = replace(truth, where=truth.where and _absolute(truth.where))
        truth = replace(truth, labels=truth.labels and _absolute(truth.labels, yaml))
        truth = replace(truth, mapping=truth.mapping and _absolute(truth.mapping, yaml))
        bag, folder = self.bag.resolve(), self.folder.resolve()
        stale = tuple(path.resolve() for path in self.stale)
        return replace(self, bag=bag, folder=folder, model=model, truth=truth, stale=stale)

    def settings(self) -> dict[str, Any]:
        """Everything on which the result depends, as plain data, without names and `folder`.

        Files count by their content, see digest_file.

        Raises:
            UserError: no such model, label set or mapping.
        """
        data = asdict(self)
        del data["name"], data["group"], data["folder"], data["stale"]
        truth, bag = self.truth, self.bag
        if bag.is_file() and (bag.parent / "metadata.yaml").exists():
            bag = bag.parent  # a file stands for the whole bag
        read = [bag, *([Path(truth.where)] if truth.where else [])]
        data["files"] = [_state(path) for path in read if path.exists()]
        data["model_files"] = model_digests(self.model.model)
        data["classes"] = truth.labels and LabelSet.load(truth.labels).to_dict()
        data["mapping"] = truth.mapping and asdict(LabelMapping.load(truth.mapping))
        data["bag"], data["version"] = str(self.bag), __version__
        return dict(to_data(data))


def _absolute(name_or_path: str, suffixes: tuple[str, ...] = ("",)) -> str:
    """A path with one of these suffixes as an absolute path; a topic or a name unchanged."""
    path = Path(name_or_path).expanduser()
    is_path = name_or_path.endswith(suffixes) and path.exists()
    return str(path.resolve()) if is_path else name_or_path


def model_digests(name_or_path: str) -> dict[str, str]:
    """Digests by name of all files of a model, see model_files.

    Raises:
        UserError: no such model.
    """
    return {file.name: digest_file(file) for file in model_files(name_or_path)}


def _state(path: Path) -> str:
    """A digest of a file, or of all files in a folder with their names."""
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    found = [(p.name, digest_file(p)) for p in files]
    return hashlib.sha256(repr((str(path), found)).encode()).hexdigest()


def open_bag(path: Path) -> BagReader:
    """Open a rosbag2.

    Raises:
        UserError: not a bag, or rosbags is not installed.
    """
    with needs("bags", f"{path}: reading bags"):
        from lrn_ros.data.bags.reader import BagReader
    return BagReader(path)


@lru_cache(maxsize=1)
def load(options: ModelOptions, files: tuple[tuple[str, str], ...]) -> Segmenter:
    """The Segmenter; a process loads it once, as long as its files have the same digests."""
    return Segmenter.load(**vars(options))


def run_job(
    job: Job,
    progress: Callable[[int], None] = lambda count: None,
    threads: int | None = None,
) -> bool:
    """Replay one topic of one bag.

    Args:
        job: what to do.
        progress: see replay.
        threads: threads of the backend, where the job does not say.

    Returns:
        see replay.

    Raises:
        UserError: see open_bag, Segmenter.load and replay.
    """
    settings = job.settings()  # before: a file that is written meanwhile makes this one stale
    bag = open_bag(job.bag)
    topic = bag.image_topic(job.topic)
    files = tuple(settings["model_files"].items())
    segmenter = load(replace(job.model, threads=job.model.threads or threads), files)
    suffix = MODULES[segmenter.backend.name].suffix
    return replay(
        segmenter, bag, topic, job.folder, job.truth, job.extent, job.thorough, progress,
        job.smoothing, job.stale, settings,
        {name: digest for name, digest in files if name.endswith(suffix)},
    )  # fmt: skip


def is_done(job: Job) -> bool:
    """Whether an earlier run has completed the same job with the same settings and files."""
    try:
        record = read_part(job.name, job.folder).record
    except UserError:
        return False
    return record.complete and record.settings == job.settings()
