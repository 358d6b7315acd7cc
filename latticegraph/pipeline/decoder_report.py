"""Measures a decoder that writes on held-out text, beside what it must be better than.

Legend: N texts, D teacher width.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from latticegraph.config.decoder import Method
from latticegraph.data import Sample
from latticegraph.decoding import Decoder, TextDecoder
from latticegraph.decoding.generative import load_decoder
from latticegraph.evaluation.text_metrics import text_metrics
from latticegraph.pipeline.decoder_run import DecoderText

if TYPE_CHECKING:
    from rich.table import Table

    from latticegraph.hub import LatticeModel

_log = logging.getLogger(__name__)

TITLES = {
    "best": "best of {candidates} by the teacher's cosine",
    "greedy": "likeliest token by token",
    "beam": "beam search, {beams} beams",
    "student": "best of {candidates}, from the cube's reconstruction",
    "shuffled": "best of {candidates}, from another text's embedding",
    "shuffled_greedy": "likeliest, from another text's embedding",
    "mean": "best of {candidates}, from the mean embedding",
    "nearest": "nearest training sentence",
}
WAYS: dict[str, Method] = {"greedy": "greedy", "beam": "beam", "shuffled_greedy": "greedy"}
"""How a row chooses tokens, where not by the teacher's cosine."""

COLUMNS = {
    "token_f1": "token F1",
    "content_f1": "content F1",
    "cosine": "cosine",
    "bleu": "BLEU",
    "chrf": "chrF",
    "exact": "exact",
}
PERCENT = {"bleu": 1, "chrf": 1}
"""Decimals of metrics that reach 100; all others have 3."""

EXAMPLES = 10


def report_decoder(
    folder: Path, samples: int = 0, model: LatticeModel | None = None
) -> dict[str, Any]:
    """Write texts for held-out embeddings, and compare them with what was embedded.

    Every row is compared with the same texts: metrics of the words, and the cosine of the teacher's
    embedding of what was written with that of what was meant.

    Args:
        folder: of a decoder; its own settings say which text is held out.
        samples: so many held-out texts from all over the split; 0: all.
        model: a cube whose reconstructions are decoded too.

    Returns:
        ``samples``, ``train``, ``rows`` (name, title and metrics each) and
        ``examples``, the first ten held-out texts, whatever ``samples`` is.

    Raises:
        CheckpointError: the folder is none of a decoder, or damaged.
        ConfigError: sacrebleu is not installed.
        TeacherError: the teacher is another one than that of the decoder or the cube.
    """
    writer, config = load_decoder(folder)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    text = DecoderText.load(config)
    teacher = text.cache.teacher
    writer.encode = teacher.encode
    writer.teacher.check(str(folder), teacher.name, teacher.fingerprint)
    if model is not None:
        model.config.check_teacher(teacher)
    heldout = _spread(text.splits.heldout, samples)
    meant = [sample.target for sample in heldout]
    learned = [sample.target for sample in text.splits.train]
    meant_ND, train_ND = text.embed(meant), text.embed(learned)
    sources = _sources(meant_ND, train_ND, model)
    known = TextDecoder(learned, train_ND)
    rows, settings = [], config.writing.model_dump()
    for name in (name for name in TITLES if name in sources):
        _log.info("decoder: writing %s texts, row '%s'", f"{len(meant):,}", name)
        used: Decoder = known if name == "nearest" else writer.using(WAYS.get(name, "best"))
        written = _written(used, sources[name])
        if name == "mean":
            written *= len(meant)
        cosine = _cosine(teacher.encode, written, meant_ND)
        values = text_metrics(written, meant) | {"cosine": cosine}
        rows.append({"name": name, "title": TITLES[name].format(**settings)} | values)
    return {
        "samples": len(meant),
        "train": len(train_ND),
        "rows": rows,
        "examples": _examples(text, {"best": writer.using("best"), "nearest": known}, model),
    }


def decoder_table(result: Mapping[str, Any]) -> Table:
    """The rows of :func:`report_decoder` as a table."""
    from rich.table import Table

    table = Table(title=f"{result['samples']:,} held-out texts")
    table.add_column("written")
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    for row in result["rows"]:
        numbers = [f"{row[name]:.{PERCENT.get(name, 3)}f}" for name in COLUMNS]
        table.add_row(row["title"], *numbers)
    return table


def _spread(heldout: Sequence[Sample], count: int) -> Sequence[Sample]:
    """So many samples from all over the split."""
    if not 0 < count < len(heldout):
        return heldout
    return [heldout[i] for i in np.linspace(0, len(heldout) - 1, count).astype(int).tolist()]


def _sources(
    meant_ND: NDArray[np.float32], train_ND: NDArray[np.float32], model: LatticeModel | None
) -> Mapping[str, NDArray[np.float32]]:
    """What every row decodes."""
    order_N = np.random.default_rng(0).permutation(len(meant_ND))
    shuffled_ND = np.empty_like(meant_ND)
    shuffled_ND[order_N] = meant_ND[np.roll(order_N, 1)]  # one cycle: no text keeps its own
    sources = dict.fromkeys(("best", "greedy", "beam", "nearest"), meant_ND)
    sources |= {"shuffled": shuffled_ND, "shuffled_greedy": shuffled_ND}
    sources["mean"] = train_ND.mean(axis=0, keepdims=True)
    if model is not None:
        sources["student"] = model.predict(torch.from_numpy(meant_ND)).float().numpy()
    return sources


def _written(decoder: Decoder, rows_ND: NDArray[np.float32]) -> list[str]:
    return [row[0].text for row in decoder.decode(rows_ND)]


def _cosine(encode: Any, written: Sequence[str], meant_ND: NDArray[np.float32]) -> float:
    """Mean cosine of the written texts' embeddings; an empty text counts as 0."""
    texts = list({text: None for text in written if text})
    row_of = dict(zip(texts, encode(texts), strict=True)) if texts else {}
    total = 0.0
    for text, meant_D in zip(written, meant_ND, strict=True):
        if text:
            row_D = row_of[text].astype(np.float64)
            total += float(row_D @ meant_D / np.linalg.norm(row_D))
    return total / len(written)


def _examples(
    text: DecoderText, decoders: Mapping[str, Decoder], model: LatticeModel | None
) -> list[dict[str, str]]:
    """The first held-out texts beside what is made of their embeddings."""
    meant = [sample.target for sample in text.splits.heldout[:EXAMPLES]]
    meant_ND = text.embed(meant)
    made = {"meant": meant}
    for name, decoder in decoders.items():
        made[name] = _written(decoder, meant_ND)
    if model is not None:
        predicted_ND = model.predict(torch.from_numpy(meant_ND)).float().numpy()
        made["student"] = _written(decoders["best"], predicted_ND)
    return [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)]
