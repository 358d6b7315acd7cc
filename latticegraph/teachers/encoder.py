"""A transformers encoder as teacher. Shape suffixes: B texts, L tokens, D width."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from latticegraph.errors import TeacherError
from latticegraph.teachers.folder_notes import FolderFacts, folder_stamp, noted_facts
from latticegraph.teachers.load_encoder import encoder_width, load_model, load_tokenizer
from latticegraph.teachers.model_folder import folder_fingerprint
from latticegraph.teachers.pooling import Pooling, pool
from latticegraph.teachers.protocol import Embeddings, ProgressCallback, Teacher


@dataclass(frozen=True)
class EncoderChoices:
    """What decides an embedding beside the files of the model.

    Args:
        pooling: mean of all tokens, or the first token.
        normalize: scale embeddings to unit length.
        max_length: tokens; longer texts are cut.
        lower_case: texts are lower-cased before the tokenizer sees them.
    """

    pooling: Pooling = "mean"
    normalize: bool = True
    max_length: int = 128
    lower_case: bool = False


class EncoderTeacher(Teacher):
    """Embeds text with a frozen transformers encoder.

    Texts are sorted by their number of tokens, so that a batch holds little padding. Padding and
    the size of a batch change an embedding by rounding only (below 1e-5 of its length). The weights
    are loaded at the first text and never trained.

    Args:
        name: shown in logs and messages.
        folder: local model folder with ``config.json``, tokenizer and ``model.safetensors``.
        choices: pooling, normalisation, length limit.
        batch_size: texts per forward pass.
        device: where the forward pass runs, ``cpu`` or ``cuda``.
        notes: folder that keeps width and fingerprint of model folders, so that one that has not
            changed is neither read nor is transformers imported before a text is embedded; None
            reads it and writes nothing.

    Raises:
        TeacherError: the folder is no encoder, or its weights are not in safetensors.
        CacheError: the notes cannot be read or written.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        choices: EncoderChoices,
        batch_size: int = 64,
        device: str = "cpu",
        notes: Path | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.choices = choices
        self.batch_size = batch_size
        self.device = torch.device(device)
        self._known: FolderFacts | None = None
        if notes is not None:
            self._known = noted_facts(notes, folder_stamp(folder, **vars(choices)), self._facts)
            self.dimension = self._known.dimension
        else:
            self.dimension = encoder_width(folder, choices.max_length)

    def _facts(self) -> FolderFacts:
        width = encoder_width(self.folder, self.choices.max_length)
        return FolderFacts(width, folder_fingerprint(self.folder, **vars(self.choices)))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of files and choices; see :class:`Teacher`."""
        if self._known is not None:
            return self._known.fingerprint
        return folder_fingerprint(self.folder, **vars(self.choices))

    @cached_property
    def _model(self) -> torch.nn.Module:
        return load_model(self.folder).to(self.device)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.folder, self.choices.max_length)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> Embeddings:
        """Embed ``texts``; see :class:`Teacher`."""
        embeddings_BD = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return embeddings_BD
        tokens = self._tokenize(texts)
        lengths = [len(ids) for ids in tokens["input_ids"]]
        order = np.argsort(np.asarray(lengths), kind="stable")
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            embeddings_BD[rows] = self._forward(tokens, rows).cpu().numpy()
            if progress is not None:
                progress(len(rows))
        self._check_finite(embeddings_BD, texts)
        return embeddings_BD

    def _tokenize(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        prepared = [text.lower() for text in texts] if self.choices.lower_case else list(texts)
        encoded = self._tokenizer(
            prepared, truncation=True, max_length=self.choices.max_length, padding=False
        )
        # A tokenizer may offer inputs that this model has no use for (DistilBERT: token types).
        accepted = inspect.signature(self._model.forward).parameters
        return {key: values for key, values in encoded.items() if key in accepted}

    def _forward(self, tokens: dict[str, list[list[int]]], rows: np.ndarray[Any, Any]) -> Tensor:
        fillers = {
            "input_ids": self._tokenizer.pad_token_id,
            "token_type_ids": self._tokenizer.pad_token_type_id,
        }
        batch = {
            key: pad_sequence(
                [torch.tensor(values[row]) for row in rows],
                batch_first=True,
                padding_value=fillers.get(key, 0),
            ).to(self.device)
            for key, values in tokens.items()
        }
        states_BLD = self._model(**batch).last_hidden_state
        return pool(
            states_BLD, batch["attention_mask"], self.choices.pooling, self.choices.normalize
        )

    def _check_finite(self, embeddings_BD: Embeddings, texts: Sequence[str]) -> None:
        bad = np.flatnonzero(~np.isfinite(embeddings_BD).all(axis=1))
        if len(bad):
            raise TeacherError(
                "teacher.name",
                f"expected finite embeddings from '{self.name}', got NaN or infinity for "
                f"{len(bad)} of {len(texts)} texts, first '{texts[bad[0]][:60]}'",
                "Choose another teacher, or check its weights",
            )
