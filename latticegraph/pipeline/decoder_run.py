"""Trains a decoder that writes, from its settings to its folder.

Legend: N texts, D teacher width.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latticegraph.config import DecoderConfig
from latticegraph.data import Splits, load_samples
from latticegraph.decoding import KnownTeacher
from latticegraph.decoding.decoder import unit_rows
from latticegraph.decoding.generative import (
    CausalTransformer,
    Epoch,
    GenerativeDecoder,
    TokenTexts,
    Vocabulary,
    fit_decoder,
    fragments,
    save_decoder,
)
from latticegraph.errors import ConfigError
from latticegraph.files import check_writable, write_text
from latticegraph.teachers import EmbeddingCache, build_teacher

_log = logging.getLogger(__name__)

SHOWN = 3
"""Validation texts that every validation shows, always the same."""


@dataclass(frozen=True, eq=False)
class DecoderText:
    """The text of a decoder and the embeddings of its teacher.

    Args:
        splits: samples by use, the same as those of a cube with the same ``data``.
        cache: the teacher behind its cache.
    """

    splits: Splits
    cache: EmbeddingCache

    @classmethod
    def load(cls, config: DecoderConfig) -> DecoderText:
        """Read and split the text; nothing is embedded yet.

        Args:
            config: ``teacher`` and ``data`` apply.

        Raises:
            DataError: the text cannot be read or split.
            TeacherError: the teacher cannot be loaded.
        """
        folder = Path(config.teacher.cache_dir).expanduser()
        splits = load_samples(config.data, folder / "text")
        teacher = build_teacher(config.teacher, "cpu", folder / "teachers")
        return cls(splits, EmbeddingCache(config.teacher, teacher))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of length 1.

        Args:
            texts: N texts; the row of an empty one is zeros.

        Shapes:
            result: [N, D].
        """
        full = [place for place, text in enumerate(texts) if text]
        unit_ND = np.zeros((len(texts), self.cache.teacher.dimension), dtype=np.float32)
        rows_ND = self.cache.embed([texts[place] for place in full])
        unit_ND[full] = unit_rows(rows_ND.astype(np.float64))
        return unit_ND

    @property
    def teacher(self) -> KnownTeacher:
        """What a stored decoder says of its teacher."""
        made = self.cache.teacher
        return KnownTeacher(name=made.name, dimension=made.dimension, fingerprint=made.fingerprint)


def train_decoder(config: DecoderConfig) -> dict[str, Any]:
    """Train on the training text, stop by the validation text, and save the best weights.

    The folder holds the best decoder so far after every validation, so that an interrupted training
    leaves a whole one. ``training.jsonl`` in it lists the losses.

    Args:
        config: all settings.

    Returns:
        ``folder``, ``epoch`` (the best one), ``validation_loss``, ``seconds`` and ``parameters``.

    Raises:
        ConfigError: the folder holds a decoder already or cannot be written.
        DataError: the text cannot be read or split.
        TeacherError: the teacher cannot be loaded, or embed a text.
        TrainingError: the loss is no finite number.
    """
    folder = _new_folder(config)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    text = DecoderText.load(config)
    splits, network_settings = text.splits, config.network
    _log.info(
        "text: %s training, %s validation, %s held-out samples",
        *(f"{len(part):,}" for part in (splits.train, splits.validation, splits.heldout)),
    )
    vocabulary = Vocabulary.learn(
        (sample.target for sample in splits.train), network_settings.vocabulary
    )

    longest = network_settings.max_tokens
    sentences = [sample.target for sample in splits.train]
    pieces = fragments(sentences, config.training.fragments, config.run.seed)
    ids = vocabulary.encode(sentences, longest) + vocabulary.encode(pieces, longest, pieces=True)
    train = TokenTexts(ids, torch.from_numpy(text.embed(sentences + pieces)))
    checked = [sample.target for sample in splits.validation]
    validation = TokenTexts(
        vocabulary.encode(checked, longest), torch.from_numpy(text.embed(checked))
    )
    network = CausalTransformer(network_settings, text.cache.teacher.dimension, config.run.seed)
    network.start_from_tokens(torch.from_numpy(text.embed(vocabulary.starts_of_words())))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    _log.info("decoder: %s parameters, %s tokens", f"{parameters:,}", f"{train.tokens:,}")
    watch = _Watch(folder, config, network, vocabulary, text)
    best = fit_decoder(
        network, train, validation, config.training, config.run.seed, watch.validated
    )
    return {
        "folder": str(folder),
        "epoch": best.number,
        "validation_loss": best.validation_loss,
        "seconds": time.monotonic() - watch.start,
        "parameters": parameters,
    }


def _new_folder(config: DecoderConfig) -> Path:
    folder = Path(config.run.folder).expanduser()
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            "run.folder",
            f"expected a folder that is empty or new, got '{folder}' with files in it",
            "Choose another folder, or delete it",
        )
    check_writable(folder, "run.folder")
    return folder


class _Watch:
    """Saves what is best, and says what each epoch came to."""

    def __init__(
        self,
        folder: Path,
        config: DecoderConfig,
        network: CausalTransformer,
        vocabulary: Vocabulary,
        text: DecoderText,
    ) -> None:
        self.start = time.monotonic()
        self._folder, self._config, self._network = folder, config, network
        self._vocabulary, self._teacher = vocabulary, text.teacher
        shown = text.splits.validation
        places = np.linspace(0, len(shown) - 1, min(SHOWN, len(shown))).round().astype(int)
        self._shown = [shown[place].target for place in places.tolist()]
        self._rows_ND = text.embed(self._shown)
        self._lines: list[str] = []

    def validated(self, epoch: Epoch) -> None:
        """Write and show one validation."""
        # A copy, because a decoder freezes its network.
        decoder = GenerativeDecoder(
            copy.deepcopy(self._network), self._vocabulary, self._teacher
        ).using("greedy")
        if epoch.best:
            save_decoder(self._folder, decoder, self._config)
        written = [row[0].text for row in decoder.decode(self._rows_ND)]
        examples = [
            {"target": target, "written": written_text}
            for target, written_text in zip(self._shown, written, strict=True)
        ]
        record = {
            "epoch": epoch.number,
            "train_loss": epoch.train_loss if epoch.number else None,
            "validation_loss": epoch.validation_loss,
            "seconds": round(epoch.seconds, 1),
            "best": epoch.best,
            "examples": examples,
        }
        self._lines.append(json.dumps(record, ensure_ascii=False, allow_nan=False))
        write_text(self._folder / "training.jsonl", "\n".join(self._lines) + "\n", "run.folder")
        _log.info(
            "epoch %s of %s  training loss %.3f  validation loss %.3f  %.0f s%s",
            epoch.number,
            self._config.training.epochs,
            epoch.train_loss,
            epoch.validation_loss,
            epoch.seconds,
            "  best" if epoch.best else "",
        )
        for example in examples:
            _log.info("  meant:   %s\n  written: %s", example["target"], example["written"])
