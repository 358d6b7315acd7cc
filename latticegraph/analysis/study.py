"""What all parts of one analysis share: the model, its twins, the text and its classes.

Legend: S samples, K classes, D teacher width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from latticegraph.analysis.null import (
    PERMUTATIONS,
    Codes,
    Finding,
    LabelPermutations,
    codes_of,
    group_blocks,
)
from latticegraph.analysis.recording import Recording, record_model
from latticegraph.errors import DataError
from latticegraph.evaluation import EmbeddingSplit
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel

LEVEL = 0.05
FEWEST = 12  # samples of a class


@dataclass(frozen=True)
class StudyText:
    """Text that the model never saw, its embeddings and its classes.

    Attributes:
        texts: the samples.
        split: their embeddings and targets.
        labels: class of every sample.
        groups: samples that belong together.
        types: a repeating type of every sample, for control tasks.
        origin: what the classes are, one sentence.
        own_labels: the classes came with the text; else they were made from the embeddings.
    """

    texts: Sequence[str]
    split: EmbeddingSplit
    labels: Sequence[str]
    groups: Sequence[str]
    types: Sequence[int]
    origin: str
    own_labels: bool

    def only(self, rows: Codes) -> StudyText:
        """Some of the samples."""
        return replace(
            self,
            texts=[self.texts[row] for row in rows],
            split=EmbeddingSplit(self.split.source_ND[rows], self.split.target_ND[rows]),
            labels=[self.labels[row] for row in rows],
            groups=[self.groups[row] for row in rows],
            types=[self.types[row] for row in rows],
        )


@dataclass(frozen=True)
class Section:
    """One part of the analysis.

    Attributes:
        title: heading.
        findings: statistics with nulls and intervals.
        data: what the pictures show, as JSON.
    """

    title: str
    findings: Sequence[Finding]
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The entry of ``analysis.json``."""
        found = {finding.name: finding.to_json() for finding in self.findings}
        return {"title": self.title, "findings": found, "data": dict(self.data)}


@dataclass(frozen=True)
class Study:
    """The parts of one analysis.

    Attributes:
        model: the trained model.
        text: to be analysed.
        train_mean_D: mean of the training targets.
        fit: training embeddings, for regressions.
        permutations: P of all label permutations.
        seed: of everything random.
    """

    model: LatticeModel
    text: StudyText
    train_mean_D: Floats
    fit: EmbeddingSplit
    permutations: int = PERMUTATIONS
    seed: int = 0

    @cached_property
    def recording(self) -> Recording:
        """States and gates of the trained model."""
        return record_model(self.model, torch.from_numpy(self.text.split.source_ND))

    @cached_property
    def code_S(self) -> Codes:
        """Class number of every sample."""
        return codes_of(self.text.labels)[0]

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return [str(kind) for kind in codes_of(self.text.labels)[1]]

    @cached_property
    def half_S(self) -> Codes:
        """0 or 1 for every sample, by whole groups."""
        return group_blocks(self.text.groups, 2, self.seed)

    @cached_property
    def block_S(self) -> Codes:
        """Blocks of groups for the jackknife."""
        return group_blocks(self.text.groups, seed=self.seed)

    @property
    def orders(self) -> LabelPermutations:
        """Other orders of the classes."""
        return LabelPermutations(self.text.labels, self.text.groups, self.permutations, self.seed)

    @cached_property
    def steps_shown(self) -> list[int]:
        """At most three steps of which maps are tested: first, middle, last."""
        last = self.recording.steps
        return sorted({1, (last + 1) // 2, last})


def usable(text: StudyText, most: int, seed: int = 0) -> StudyText:
    """At most ``most`` samples, of classes with enough of them in both halves of the groups.

    Args:
        text: all of it.
        most: samples.
        seed: of the choice.

    Raises:
        DataError: fewer than two classes are left.
    """
    rows = np.arange(len(text.texts))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    text = text.only(rows)
    if len(set(text.groups)) < 2:
        raise DataError("--data", "expected text of at least two groups, got one", "Name more text")
    half_S = group_blocks(text.groups, 2, seed)
    sizes = {
        label: min(
            sum(
                one == label and half == which
                for one, half in zip(text.labels, half_S, strict=True)
            )
            for which in (0, 1)
        )
        for label in set(text.labels)
    }
    kept = {label for label, size in sizes.items() if 2 * size >= FEWEST}
    if len(kept) < 2:
        raise DataError(
            "--data",
            f"expected at least two classes with {FEWEST} samples or more in several groups, got "
            f"{len(kept)} of {len(sizes)}",
            "Add text, or leave the labels out",
        )
    return text.only(np.array([i for i, label in enumerate(text.labels) if label in kept]))
