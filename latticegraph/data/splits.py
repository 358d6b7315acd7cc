"""Training, validation and held-out samples that share no group and no source text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from latticegraph.config import DataSettings
from latticegraph.data.load import load_source, without_repeats
from latticegraph.data.sample import Sample, text_key
from latticegraph.errors import DataError

# A group above this share of the wanted size would make one module or dialogue the whole split.
LARGEST_SHARE = 0.25


@dataclass(frozen=True)
class Splits:
    """Samples by use.

    Args:
        train: learned.
        validation: for early stopping and choosing the best checkpoint.
        heldout: for the final report only.
        dropped: samples left out because their text or group was met before or is held out.
    """

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    heldout: tuple[Sample, ...]
    dropped: int

    def texts(self) -> set[str]:
        """All different texts, sources and targets."""
        parts = (self.train, self.validation, self.heldout)
        return {text for part in parts for one in part for text in (one.source, one.target)}


def load_samples(settings: DataSettings, cache_dir: Path | None = None) -> Splits:
    """Load ``data.train`` and ``data.heldout`` and split them by group.

    The split depends on ``data.split_seed``, the names and the sizes of the groups, not on their
    order; a text that occurs in several groups belongs to the first. Held-out text stays: what also
    occurs elsewhere is dropped from validation and training.

    Args:
        settings: the section ``data`` of the configuration.
        cache_dir: folder that keeps the sentences of ``stdlib``; None writes nothing.

    Raises:
        DataError: a source cannot be read, there are too few groups to split, or fewer training
            samples than ``data.min_sentences``.
    """
    loaded = _load_all(settings.train, settings, cache_dir)
    pool = without_repeats(loaded)
    seed = settings.split_seed
    if isinstance(settings.heldout, float):
        _require_groups(pool, 3, "heldout, validation and training", len(loaded))
        groups = choose_groups(_sizes(pool), settings.heldout, f"heldout {seed}")
        heldout = [sample for sample in pool if sample.group in groups]
    else:
        extra = _load_all(settings.heldout, settings, cache_dir)
        loaded += extra
        heldout = without_repeats(extra)
    rest = apart_from(pool, heldout)
    if pool and not rest:
        raise DataError(
            "data.heldout",
            f"expected other text than data.train, got all of its {len(pool)} different samples "
            "or their groups",
            "Name other files, or set data.heldout to a share such as 0.1",
        )
    _require_groups(rest, 2, "validation and training", len(loaded))
    groups = choose_groups(_sizes(rest), settings.validation, f"validation {seed}")
    validation = [sample for sample in rest if sample.group in groups]
    train = apart_from(rest, validation)
    dropped = len(loaded) - len(train) - len(validation) - len(heldout)
    if len(train) < settings.min_sentences:
        raise DataError(
            "data.min_sentences",
            f"expected at least {settings.min_sentences} training samples, got {len(train)} "
            f"({len(validation)} for validation, {len(heldout)} held out, {dropped} dropped as "
            "repeats)",
            "Add text to data.train, or lower data.min_sentences",
        )
    return Splits(tuple(train), tuple(validation), tuple(heldout), dropped)


def choose_groups(sizes: dict[str, int], share: float, salt: str) -> frozenset[str]:
    """Groups that together hold about ``share`` of all samples; at least one, never all.

    Groups are taken in the order of SHA-256(salt, group) as long as that brings the count nearer to
    the wanted one. Groups above a quarter of the wanted count and above twice the mean come last,
    smallest first.

    Args:
        sizes: samples by group, at least two groups.
        share: wanted share, between 0 and 1.
        salt: decides the order.

    >>> sorted(choose_groups({"a": 1, "b": 1, "c": 98}, 0.02, "seed 0"))
    ['a', 'b']
    """
    wanted = share * sum(sizes.values())
    usual = max(wanted * LARGEST_SHARE, 2 * sum(sizes.values()) / len(sizes))
    small = [group for group in sizes if sizes[group] <= usual]
    small.sort(key=lambda group: hashlib.sha256(f"{salt}\0{group}".encode()).digest())
    large = sorted(sizes.keys() - set(small), key=lambda group: (sizes[group], group))
    chosen: set[str] = set()
    count = 0
    for group in small + large:
        if len(chosen) < len(sizes) - 1 and count + sizes[group] / 2 <= wanted:
            chosen.add(group)
            count += sizes[group]
    return frozenset(chosen or {min(small + large, key=sizes.__getitem__)})


def apart_from(samples: Iterable[Sample], reserved: Collection[Sample]) -> list[Sample]:
    """The samples that share neither group nor source text with ``reserved``."""
    groups = {sample.group for sample in reserved}
    texts = {text_key(sample.source) for sample in reserved}
    return [
        sample
        for sample in samples
        if sample.group not in groups and text_key(sample.source) not in texts
    ]


def _load_all(names: Iterable[str], settings: DataSettings, cache_dir: Path | None) -> list[Sample]:
    return [sample for name in names for sample in load_source(name, settings.task, cache_dir)]


def _sizes(samples: list[Sample]) -> dict[str, int]:
    return dict(Counter(sample.group for sample in samples))


def _require_groups(samples: list[Sample], needed: int, purpose: str, loaded: int) -> None:
    found = len(_sizes(samples))
    if found < needed:
        fewer = loaded - len(samples)
        left_out = f"; {fewer} of {loaded} are repeats or held out" if fewer else ""
        raise DataError(
            "data.train",
            f"expected at least {needed} groups of text to split into {purpose}, got {found} "
            f"({len(samples)} samples{left_out})",
            "Add text of other conversations or files, or give rows different groups",
        )
