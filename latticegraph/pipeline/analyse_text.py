"""The text of an analysis: held-out text of the run or a file, and its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latticegraph.analysis.classes import cluster_names, clusters
from latticegraph.analysis.study import StudyText, usable
from latticegraph.data import Sample, load_source, text_key
from latticegraph.data.lines import kind_of, numbered_lines
from latticegraph.data.load import without_repeats
from latticegraph.data.rows import named_value, parse_row, row_samples
from latticegraph.errors import DataError
from latticegraph.evaluation import EmbeddingSplit
from latticegraph.pipeline.prepare import Prepared, embed_samples

CLUSTERS = 4
SAMPLES_PER_TYPE = 15
LABELS = ("label", "gold_label")
FEWEST_GROUPS = 5  # of every source, where sources are the classes


@dataclass(frozen=True)
class Labelled:
    """A sample and its label, where it has one."""

    sample: Sample
    label: str | None


def read_text(name: str) -> list[Labelled]:
    """The samples of a file with their labels.

    Of a JSONL file, ``label`` (or ``gold_label``) of every row is the label. A pair, ``sentence1``
    and ``sentence2``, with a label is one text, as the label is that of both: the second sentence
    behind the first, in the group of the first.

    Args:
        name: file, folder or built-in corpus.

    Raises:
        DataError: it cannot be read, or some rows have a label and others have none.
    """
    path = Path(name).expanduser()
    if not path.is_file() or kind_of(path) != ".jsonl":
        return [Labelled(sample, None) for sample in load_source(name, "reconstruction")]
    found: list[Labelled] = []
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        row = parse_row(line, where)
        label = _label(row, where)
        samples = row_samples(row, "reconstruction", where)
        if label is not None and len(samples) == 2:
            both = " ".join(sample.source for sample in samples)
            samples = [Sample(both, both, samples[0].group)]
        found += [Labelled(sample, label) for sample in samples]
    labelled = sum(one.label is not None for one in found)
    if labelled not in (0, len(found)):
        raise DataError(
            name,
            f"expected a label in every row or in none, got {labelled} of {len(found)}",
            "Label every row, or leave the labels out",
        )
    return found


def study_text(prepared: Prepared, data: str | None, most: int) -> StudyText:
    """The text of an analysis, without what the run has trained on.

    Classes are the labels of the text where it has them. Else they are its sources, where there are
    several with enough groups each, and else clusters of the teacher's embeddings, whose means are
    fitted to the training text.

    Args:
        prepared: text and embeddings of the run.
        data: a file; None: the run's held-out text.
        most: samples.

    Raises:
        DataError: the file cannot be read, or no two classes are left.
    """
    if data is None:
        found = [Labelled(sample, None) for sample in prepared.splits.heldout]
    else:
        found = _unseen(read_text(data), prepared, data)
    if len(found) > 4 * most:
        chosen = np.random.default_rng(0).permutation(len(found))[: 4 * most]
        found = [found[row] for row in np.sort(chosen)]
    (pairs,) = embed_samples(prepared.cache, [[one.sample for one in found]])
    split = EmbeddingSplit.of("text", pairs.source_ND, pairs.target_ND)
    train_ND = prepared.train.source_ND.double().numpy()
    texts = [one.sample.source for one in found]
    labels, origin = _classes(found, train_ND, split.source_ND)
    types_S = clusters(train_ND, split.source_ND, max(8, min(len(found), most) // SAMPLES_PER_TYPE))
    text = StudyText(
        texts=texts,
        split=split,
        labels=labels,
        groups=[one.sample.group for one in found],
        types=types_S.tolist(),
        origin=origin,
        own_labels=found[0].label is not None,
    )
    return usable(text, most)


def _classes(found: Sequence[Labelled], train_ND: Any, source_SD: Any) -> tuple[list[str], str]:
    labels = [one.label for one in found if one.label is not None]
    if labels:
        return labels, "Classes are the labels that came with the text."
    sources = [one.sample.group.partition(":")[0] for one in found]
    groups = {source: set[str]() for source in sources}
    for one, source in zip(found, sources, strict=True):
        groups[source].add(one.sample.group)
    if len(groups) > 1 and min(len(held) for held in groups.values()) >= FEWEST_GROUPS:
        return sources, "Classes are the sources of the text."
    code_S = clusters(train_ND, source_SD, CLUSTERS)
    names = cluster_names([one.sample.source for one in found], code_S)
    said = (
        f"The text has no labels: classes are {CLUSTERS} clusters (k-means) of the teacher's "
        "embeddings, named by their most typical words."
    )
    return [names[code] for code in code_S], said


def _unseen(found: Sequence[Labelled], prepared: Prepared, data: str) -> list[Labelled]:
    """Every text once, and none that the run has learned or was chosen by."""
    seen = {
        text_key(text)
        for sample in (*prepared.splits.train, *prepared.splits.validation)
        for text in (sample.source, sample.target)
    }
    first = {id(sample) for sample in without_repeats(one.sample for one in found)}
    left = [
        one for one in found if id(one.sample) in first and text_key(one.sample.source) not in seen
    ]
    if not left:
        raise DataError(
            data, "expected text that the run never saw, got only seen text", "Name another file"
        )
    return left


def _label(row: dict[str, Any], where: str) -> str | None:
    found = named_value(row, LABELS, where)
    return None if found is None else found[1]
