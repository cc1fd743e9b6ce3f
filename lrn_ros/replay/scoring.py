# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finds a bag's ground truth, and maps its classes and the model's to the same classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelMapping, LabelSet
from lrn_ros.replay.ground_truth import FolderTruth, TopicTruth, Truth

if TYPE_CHECKING:  # needs rosbags
    from lrn_ros.data.bags.reader import BagReader


@dataclass(frozen=True)
class TruthOptions:
    """Where the ground truth is, and how it is read.

    Attributes:
        where: a folder, or a topic of the bag; None: the bag's own label topic, if it has one.
        labels: label set of the ids and colours; None: that of the bag, or else the model's.
        mapping: name or path of a LabelMapping; None: labels and model have the same classes.
        tolerance_s: largest difference between the stamps of a label and its image.
    """

    where: str | None = None
    labels: str | None = None
    mapping: str | None = None
    tolerance_s: float = 0.001


@dataclass(frozen=True)
class Scoring:
    """How predictions and ground truth are compared.

    Attributes:
        labels: the classes that are scored.
        of_truth: maps the ground truth to `labels`; None: it has these classes already.
        of_prediction: maps the masks to `labels`; None: they have these classes already.
    """

    labels: LabelSet
    of_truth: LabelMapping | None = None
    of_prediction: LabelMapping | None = None

    @property
    def mapping(self) -> str:
        """A description of the mapping with all ids; empty: nothing is mapped."""
        used, what = self.of_truth or self.of_prediction, "labels" if self.of_truth else "model"
        if used is None:
            return ""
        ids = " ".join(map(str, used.classes))
        return f"{what} from {used.source.name} to {used.target.name}: {ids}"


def scoring(model: LabelSet, truth: LabelSet, mapping: LabelMapping | None) -> Scoring:
    """Decide how model and ground truth are compared; the mapping's target is scored.

    Raises:
        UserError: the label sets differ, and there is no mapping or one for other sets.
    """
    if mapping is None:
        if model.names == truth.names:
            return Scoring(model)
        raise UserError(
            f"the model has the classes of {model.name}, and the labels have those of"
            f" {truth.name}; --mapping NAME or FILE.yaml translates one to the other"
        )
    ends = mapping.source.names, mapping.target.names
    if (truth.names, model.names) == ends:
        return Scoring(mapping.target, of_truth=mapping)
    if (model.names, truth.names) == ends:
        return Scoring(mapping.target, of_prediction=mapping)
    raise UserError(
        f"the mapping is from {mapping.source.name} to {mapping.target.name}, but the model has the"
        f" classes of {model.name} and the labels have those of {truth.name}"
    )


def open_truth(
    bag: BagReader, topic: str, options: TruthOptions, model: LabelSet
) -> tuple[Truth | None, Scoring]:
    """The ground truth of an image topic and how to compare it; None: there is none.

    Raises:
        UserError: it cannot be read, is ambiguous, or has other classes; see scoring.
    """
    mapping = None if options.mapping is None else LabelMapping.load(options.mapping)
    given = None if options.labels is None else LabelSet.load(options.labels)
    tolerance_ns = round(options.tolerance_s * 1e9)
    where = options.where or _own_label_topic(bag, topic)
    if where is None:  # other bags may have ground truth, and all are scored in the same classes
        if mapping is not None and model.names == mapping.source.names:
            return None, Scoring(mapping.target, of_prediction=mapping)
        return None, Scoring(model)
    if where not in bag.topics and not Path(where).is_dir():
        there = ", ".join(bag.label_topics()) or "none"
        raise UserError(
            f"--ground-truth {where} is neither a folder nor a topic of {bag.path}; its label"
            f" topics: {there}"
        )
    if where in bag.topics:
        own = bag.label_set(where)
        labels = given or own or _assumed(model, mapping)
        compare = scoring(model, labels, mapping)
        read, assumed = bag.labels(where, labels), labels if own is None else None
        return TopicTruth(read, where, tolerance_ns, compare.of_truth, assumed), compare
    labels = given or _assumed(model, mapping)
    compare = scoring(model, labels, mapping)
    return FolderTruth(Path(where), labels, tolerance_ns, compare.of_truth), compare


def _own_label_topic(bag: BagReader, topic: str) -> str | None:
    """The label topic in the namespace of an image topic; None: there is none.

    If the bag has only one camera, the topic may also be in a namespace above.

    Raises:
        UserError: there are several label topics.
    """
    base, known = topic.removesuffix("/compressed"), bag.label_topics()
    beside = [t for t in known if _namespace(t) == _namespace(base)]
    if not beside and {t.removesuffix("/compressed") for t in bag.image_topics()} == {base}:
        beside = [t for t in known if base.startswith(_namespace(t) + "/")]
    if len(beside) < 2:
        return beside[0] if beside else None
    raise UserError(
        f"{bag.path}: several label topics, {', '.join(beside)}; --ground-truth TOPIC names one"
    )


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0]


def _assumed(model: LabelSet, mapping: LabelMapping | None) -> LabelSet:
    """The label set that is assumed: the other end of the mapping, or the model's set."""
    if mapping is None:
        return model
    return mapping.target if model.names == mapping.source.names else mapping.source
