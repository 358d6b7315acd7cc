"""From a configuration to the model, the text and its embeddings.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latticegraph.aggregation import divide_cells, resolve_backend
from latticegraph.aggregation.memory import GIB
from latticegraph.config import Config
from latticegraph.data import Sample, Splits, load_samples
from latticegraph.distributed import ALONE, Processes
from latticegraph.errors import ConfigError
from latticegraph.hub import TeacherIdentity
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student
from latticegraph.pipeline.header import available_gb
from latticegraph.pipeline.size import check_size
from latticegraph.teachers import EmbeddingCache, build_teacher
from latticegraph.training import EmbeddingPairs
from latticegraph.training.checks import check_phases
from latticegraph.training.origin import TextDigests
from latticegraph.training.plan import TrainingPlan

_log = logging.getLogger(__name__)

SAID_FROM_GB = 0.1


@dataclass(frozen=True)
class Prepared:
    """The text of a run and its embeddings.

    Attributes:
        config: the whole configuration.
        device: where the student computes.
        splits: samples by use.
        cache: the teacher behind its cache, for further text.
        train: embeddings of ``splits.train``.
        validation: embeddings of ``splits.validation``.
        heldout: embeddings of ``splits.heldout``.
        hit_rate: share of the texts whose embedding was on disk.
    """

    config: Config
    device: torch.device
    splits: Splits
    cache: EmbeddingCache
    train: EmbeddingPairs
    validation: EmbeddingPairs
    heldout: EmbeddingPairs
    hit_rate: float

    @property
    def texts(self) -> TextDigests:
        """Digests of the texts that a run learns and chooses its checkpoint by."""
        return TextDigests(_digest(self.splits.train), _digest(self.splits.validation))

    @property
    def identity(self) -> TeacherIdentity:
        """Which teacher made the embeddings."""
        return TeacherIdentity.of(self.cache.teacher, self.config.teacher)


def build_model(
    config: Config, device: torch.device, processes: Processes = ALONE
) -> tuple[LatticeGraph, Student]:
    """The lattice and an untrained student on ``device``.

    Args:
        config: the whole configuration.
        device: where the student computes.
        processes: of the run; with ``run.parallel`` slabs each holds a part of the lattice.

    Raises:
        GraphError: an edge type is empty, or the steps do not reach across.
        ConfigError: a surface of kind volume does not fit the teacher, a phase has nothing to
            train, or the memory does not suffice.
    """
    check_phases(config)
    if processes.size == 1:  # else the others may run on other machines
        check_size(config, device)
    slabs = config.run.parallel == "slabs"
    holders, sharing = (processes, 1) if slabs else (ALONE, processes.size)
    graph = LatticeGraph.build(config.lattice)
    cells = divide_cells(graph, holders)
    batch = -(-config.training.batch_size // sharing)
    student = build_student(
        config.model,
        graph,
        config.teacher.dimension,
        config.run.seed,
        backend=resolve_backend(config.model, graph, batch, device.type, cells.is_whole),
        cells=cells,
        device=device.type,
    )
    student.dynamics.checkpoint_steps = config.training.recomputed_steps
    return graph, student.to(device)


def load_text(config: Config, *, cached: bool = True) -> Splits:
    """The samples of the configuration, enough of them for one update.

    Args:
        config: the whole configuration.
        cached: keep the sentences of the standard library below ``teacher.cache_dir``; False parses
            them again and writes nothing.

    Raises:
        DataError: a source cannot be read or split.
        ConfigError: one update needs more samples than there are.
    """
    folder = Path(config.teacher.cache_dir).expanduser() / "text"
    splits = load_samples(config.data, folder if cached else None)
    TrainingPlan(config.training, len(splits.train))
    _log.info(
        "text: %s training, %s validation, %s held-out samples, %s dropped as repeats",
        *(f"{len(part):,}" for part in (splits.train, splits.validation, splits.heldout)),
        f"{splits.dropped:,}",
    )
    return splits


def prepare(config: Config, device: torch.device, processes: Processes = ALONE) -> Prepared:
    """Read the text and embed all of it through the cache.

    Args:
        config: the whole configuration.
        device: where teacher and student compute.
        processes: of the run; the writer embeds what is new, the others find it in the cache.

    Raises:
        DataError: the text cannot be read or split.
        ConfigError: one update needs more samples than there are.
        TeacherError: the teacher cannot be loaded, or embed a text.
        CacheError: the cache is damaged or cannot be written.
    """
    splits = load_text(config)
    check_embeddings(config, splits)
    notes = Path(config.teacher.cache_dir).expanduser() / "teachers"
    cache = EmbeddingCache(config.teacher, build_teacher(config.teacher, device.type, notes))
    parts = (splits.train, splits.validation, splits.heldout)
    train, validation, heldout = processes.writer_first(lambda: embed_samples(cache, parts))
    _log.info("embeddings: %.1f%% found in the cache", 100 * cache.hit_rate)
    if processes.is_writer:
        _say_cut(config, cache, splits)
    return Prepared(
        config, device, splits, cache, train, validation, heldout, hit_rate=cache.hit_rate
    )


def check_embeddings(config: Config, splits: Splits) -> None:
    """Refuse text whose embeddings the memory has no room for, before the teacher is asked.

    Args:
        config: the section teacher applies.
        splits: all text.

    Raises:
        ConfigError: naming what is needed and what there is.
    """
    texts = len(splits.texts())
    needed = 4 * texts * config.teacher.dimension / GIB
    available = available_gb(torch.device("cpu"))
    if available is not None and needed > available:
        raise ConfigError(
            "data.train",
            f"expected text whose embeddings fit into the {available:.1f} GB free, got {texts:,} "
            f"texts, which take {needed:.1f} GB",
            "Use less text, or a teacher of fewer dimensions",
        )
    if needed > SAID_FROM_GB:
        _log.info("memory: %.1f GB for the embeddings of %s texts", needed, f"{texts:,}")


def _say_cut(config: Config, cache: EmbeddingCache, splits: Splits) -> None:
    texts = splits.texts()
    if cut := cache.teacher.count_cut(sorted(texts)):
        _log.info(
            "teacher: %s of %s texts have more than %s tokens (teacher.max_length); the rest of "
            "them is not read",
            *(f"{number:,}" for number in (cut, len(texts), config.teacher.max_length)),
        )


def embed_samples(cache: EmbeddingCache, parts: Sequence[Sequence[Sample]]) -> list[EmbeddingPairs]:
    """Embeddings of several splits, every text asked for once.

    Where all sources are their own targets, both sides are one tensor.

    Args:
        cache: embeds and remembers.
        parts: splits, each with at least one sample.
    """
    samples = [sample for part in parts for sample in part]
    row_of: dict[str, int] = {}
    for sample in samples:
        row_of.setdefault(sample.source, len(row_of))
        row_of.setdefault(sample.target, len(row_of))
    all_ND = torch.from_numpy(cache.embed(list(row_of)))

    def rows(texts: Iterable[str]) -> Tensor:
        places = [row_of[text] for text in texts]
        first = places[0]
        if places == list(range(first, first + len(places))):
            return all_ND[first : first + len(places)]  # a view: nothing is held twice
        return all_ND[places]

    pairs = []
    for part in parts:
        source_ND = rows(sample.source for sample in part)
        same = all(sample.source == sample.target for sample in part)
        target_ND = source_ND if same else rows(sample.target for sample in part)
        pairs.append(EmbeddingPairs(source_ND, target_ND))
    return pairs


def text_fingerprint(splits: Splits) -> str:
    """SHA-256 of all texts that a run learned or chose its checkpoint by, in order."""
    return _digest((*splits.train, *splits.validation))


def _digest(samples: Iterable[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        for text in (sample.source, sample.target):
            data = text.encode("utf-8")
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
