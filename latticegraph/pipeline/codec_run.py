"""The student's code as a codec, beside others at equal bytes.

Legend: N texts, D teacher width, S surface width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latticegraph.errors import ConfigError
from latticegraph.evaluation import Baseline, MlpAutoencoder, PcaBaseline
from latticegraph.evaluation.arrays import Floats, as_float64
from latticegraph.evaluation.codec import (
    FIXED,
    ByteCodec,
    Codec,
    CodecQuality,
    NotMeasured,
    OpqCodec,
    RandomProjectionCodec,
    check_names,
    codec_verdicts,
    draw_codecs,
    fixed_rate,
    measure_codecs,
    require_faiss,
    stored,
)
from latticegraph.files import write_json
from latticegraph.hub import LatticeModel
from latticegraph.pipeline.prepare import Prepared
from latticegraph.pipeline.student_codec import StudentCodec

_log = logging.getLogger(__name__)

ROWS = (PcaBaseline.name, MlpAutoencoder.name, RandomProjectionCodec.name, *FIXED)
"""What can be measured beside the student."""

FORMAT = 1
REFINED_TRAINING_TEXTS = 1024
"""Refining codes takes many passes through the lattice: levels are learned on so many of them."""


def check_codec_request(rows: Sequence[str] | None, task: str) -> None:
    """Refuse what cannot be measured before anything is computed.

    Args:
        rows: of ``--codec``; None: nothing was asked for.
        task: of the run.

    Raises:
        ConfigError: a row that does not exist or needs an extra, or a run that does not
            reconstruct.
    """
    if rows is None:
        return
    check_names(rows, ROWS)
    if OpqCodec.name in rows:
        require_faiss()
    if task != "reconstruction":
        raise ConfigError(
            "--codec",
            f"expected a run of data.task 'reconstruction', got '{task}', whose output is another "
            "text than its input",
            "Leave --codec out",
        )


def measure_codec_run(
    prepared: Prepared,
    model: LatticeModel,
    baselines: Sequence[Baseline],
    rows: Sequence[str] = (),
    sts: str | Path | None = None,
) -> dict[str, Any]:
    """Measure the student's code and others on ``prepared.heldout``.

    Every fitted baseline that has ``encode`` and ``decode`` is a row.

    Args:
        prepared: text and embeddings; codecs are fitted to its training part.
        model: trained to reconstruct.
        baselines: fitted.
        rows: names of the codecs beside the student, of :data:`ROWS`; none: all that there are.
        sts: STS pairs; adds ``sts_spearman`` to each row.

    Returns:
        ``format``, ``width``, ``numbers``, ``refine_steps``, ``counts``, ``rows`` (see
        :func:`~latticegraph.evaluation.codec.table.measure_codecs`) and ``verdicts``.

    Raises:
        ConfigError: a row asked for by name needs an extra that is not installed.
        DataError: there is too little held-out text, or a codec returns what is no embedding.
    """
    train_ND = as_float64("train", prepared.train.source_ND)
    quality = CodecQuality(
        as_float64("heldout", prepared.heldout.source_ND),
        train_ND.mean(axis=0),
        sts,
        lambda texts: as_float64("sts", prepared.cache.embed(texts)),
    )
    measured = measure_codecs(
        _rows(prepared, model, baselines, rows, train_ND),
        quality,
        lambda what: _log.info("codec: %s", what),
    )
    return {
        "format": FORMAT,
        "width": train_ND.shape[1],
        "numbers": model.student.surface_width,
        "refine_steps": prepared.config.evaluation.refine_steps,
        "counts": quality.counts,
        "rows": measured,
        "verdicts": codec_verdicts(measured),
    }


def write_codec(folder: Path, result: Mapping[str, Any]) -> list[Path]:
    """Write ``codec.json``, ``codec.svg`` and ``codec.png``.

    Args:
        folder: made where missing.
        result: of :func:`measure_codec_run`.

    Raises:
        ConfigError: when a file cannot be written.
    """
    path = folder / "codec.json"
    write_json(path, result, "--codec-dir")
    return [path, *draw_codecs(result["rows"], folder)]


def _rows(
    prepared: Prepared,
    model: LatticeModel,
    baselines: Sequence[Baseline],
    names: Sequence[str],
    train_ND: Floats,
) -> Iterator[ByteCodec | NotMeasured]:
    settings, seed = prepared.config.evaluation, prepared.config.run.seed
    yield from stored(StudentCodec(model, settings.batch_size), train_ND)
    if settings.refine_steps:
        refined = StudentCodec(model, settings.batch_size, settings.refine_steps)
        count = min(len(train_ND), REFINED_TRAINING_TEXTS)
        some = np.linspace(0, len(train_ND) - 1, count).round().astype(int)
        yield from stored(refined, train_ND[some])
    for baseline in baselines:
        if isinstance(baseline, Codec) and (not names or baseline.name in names):
            yield from stored(baseline, train_ND)
    if not names or RandomProjectionCodec.name in names:
        projection = RandomProjectionCodec(model.student.surface_width, seed)
        projection.fit(train_ND, train_ND)
        yield from stored(projection, train_ND)
    numbers = model.student.surface_width
    yield from fixed_rate(names or FIXED, bool(names), numbers, train_ND, seed)
