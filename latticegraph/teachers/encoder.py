"""A transformers encoder as teacher. Shape suffixes: B texts, L tokens, D width."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latticegraph.digests import text_sha256
from latticegraph.errors import TeacherError
from latticegraph.progress import ProgressCallback
from latticegraph.teachers.folder_notes import FolderFacts, folder_stamp, noted, noted_facts
from latticegraph.teachers.load_encoder import encoder_width, load_model, load_tokenizer
from latticegraph.teachers.model_folder import folder_fingerprint
from latticegraph.teachers.pooling import Pooling, pool
from latticegraph.teachers.protocol import Embeddings, Teacher, TokenCounter

LENGTH_STEP = 8
BYTES_PER_TOKEN = 4
# Of one thread, in the passes of MiniLM; measured on two CPU cores.
OPERATIONS_PER_SECOND = 7e10


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

    An embedding does not depend on the texts it is computed with, bit for bit: every forward pass
    has ``batch_size`` rows, the last one filled up with a repeated text, and a length that is the
    next multiple of 8 tokens. On the CPU each pass is computed by one thread and several passes at
    once, so the number of threads does not matter either. The weights are loaded at the first text
    and never trained.

    Args:
        name: shown in logs and messages.
        folder: local model folder with ``config.json``, tokenizer and ``model.safetensors``.
        choices: pooling, normalisation, length limit.
        batch_size: rows of every forward pass.
        device: where the forward pass runs, ``cpu`` or ``cuda``.
        notes: folder that keeps width and fingerprint of model folders, and how many of some texts
            are cut, so that a folder that has not changed is neither read nor is transformers
            imported before a text is embedded; None reads it and writes nothing.

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
        self._notes = notes
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

    @property
    def arithmetic(self) -> str:  # type: ignore[override]
        """Processor, precision, version and shape of the passes; see :class:`Teacher`."""
        if self.device.type == "cuda":
            processor = torch.cuda.get_device_name(self.device)
        else:
            processor = torch.backends.cpu.get_cpu_capability()
        return (
            f"{self.device.type} {processor}, float32 {torch.get_float32_matmul_precision()}, "
            f"torch {torch.__version__}, {self.batch_size} x multiples of {LENGTH_STEP}"
        )

    @property
    def max_tokens(self) -> int:  # type: ignore[override]
        """See :class:`Teacher`."""
        return self.choices.max_length

    def load(self) -> None:
        """Load weights and tokenizer; see :class:`Teacher`."""
        self._model.eval()
        len(self._tokenizer)

    def token_counter(self) -> TokenCounter:
        """Counts with a tokenizer of its own: one of transformers is not safe in two threads."""
        tokenizer = load_tokenizer(self.folder, self.choices.max_length)
        lower_case = self.choices.lower_case

        def count(texts: Sequence[str]) -> list[int]:
            prepared = [text.lower() for text in texts] if lower_case else list(texts)
            encoded = tokenizer(prepared, truncation=False, padding=False, verbose=False)
            return [len(ids) for ids in encoded["input_ids"]]

        return count

    @cached_property
    def _model(self) -> torch.nn.Module:
        return load_model(self.folder).to(self.device)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.folder, self.choices.max_length)

    def encode(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> Embeddings:
        """Embed ``texts``; see :class:`Teacher`."""
        embeddings_BD = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return embeddings_BD
        tokens = self._tokenize(texts)
        with self._passes() as run:
            batches = list(self._batches(tokens["input_ids"]))
            for rows, found_BD in zip(
                batches, run(lambda rows: self._forward(tokens, rows), batches), strict=True
            ):
                embeddings_BD[rows] = found_BD
                if progress is not None:
                    progress(len(rows))
        self._check_finite(embeddings_BD, texts)
        return embeddings_BD

    def _batches(self, ids: list[list[int]]) -> Iterator[np.ndarray[Any, Any]]:
        """Rows of at most ``batch_size`` texts that are padded to one length."""
        padded = np.array([self._padded(len(row)) for row in ids])
        for length in np.unique(padded):
            rows = np.flatnonzero(padded == length)
            yield from np.split(rows, range(self.batch_size, len(rows), self.batch_size))

    def _padded(self, length: int) -> int:
        return min(-(-length // LENGTH_STEP) * LENGTH_STEP, self.choices.max_length)

    @contextmanager
    def _passes(self) -> Iterator[Any]:
        """A map over batches, in order: by as many threads as torch has, each with one of its own.

        A sum that several threads share may be split differently from one pass to the next.
        """
        if self.device.type != "cpu":
            yield map
            return
        threads = torch.get_num_threads()
        self._model.eval()  # loaded before the threads start
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            yield pool.map
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    def expected_seconds(self, texts: Sequence[str]) -> float | None:
        """Operations of all passes, by the rate of one thread; None on a GPU.

        Equation::

            2 P tokens / (rate threads)        P: weights, without the tables of embeddings

        Args:
            texts: counted by their bytes, not by their tokens.
        """
        if self.device.type != "cpu":
            return None
        tables = (m for m in self._model.modules() if isinstance(m, torch.nn.Embedding))
        looked_up = sum(table.weight.numel() for table in tables)
        weights = sum(weight.numel() for weight in self._model.parameters()) - looked_up
        tokens = sum(self._padded(2 + len(t.encode("utf-8")) // BYTES_PER_TOKEN) for t in texts)
        return 2 * weights * tokens / (OPERATIONS_PER_SECOND * torch.get_num_threads())

    def count_cut(self, texts: Sequence[str]) -> int:
        """Texts with more tokens than ``max_length``; see :class:`Teacher`."""
        # A token stands for a byte or more; eight are left for those that frame the text.
        long = [text for text in texts if len(text.encode("utf-8")) + 8 > self.choices.max_length]
        if not long:
            return 0
        prepared = [text.lower() for text in long] if self.choices.lower_case else long
        if self._notes is None:
            return self._count_cut(prepared)
        stamp = text_sha256("\0".join(["cut", self.fingerprint, *prepared]))
        return int(noted(self._notes, stamp, lambda: {"cut": self._count_cut(prepared)})["cut"])

    def _count_cut(self, texts: list[str]) -> int:
        # Cut one token later: a text that fits is then shorter than that.
        limit = self.choices.max_length + 1
        encoded = self._tokenizer(texts, truncation=True, max_length=limit, padding=False)
        return sum(len(ids) == limit for ids in encoded["input_ids"])

    def _tokenize(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        prepared = [text.lower() for text in texts] if self.choices.lower_case else list(texts)
        encoded = self._tokenizer(
            prepared, truncation=True, max_length=self.choices.max_length, padding=False
        )
        # A tokenizer may offer inputs that this model has no use for (DistilBERT: token types).
        accepted = inspect.signature(self._model.forward).parameters
        return {key: values for key, values in encoded.items() if key in accepted}

    @torch.inference_mode()
    def _forward(
        self, tokens: dict[str, list[list[int]]], rows: np.ndarray[Any, Any]
    ) -> Embeddings:
        fillers = {
            "input_ids": self._tokenizer.pad_token_id,
            "token_type_ids": self._tokenizer.pad_token_type_id,
        }
        filled = np.resize(rows, self.batch_size)
        length = self._padded(max(len(tokens["input_ids"][row]) for row in rows))
        batch = {}
        for key, values in tokens.items():
            batch_BL = np.full((self.batch_size, length), fillers.get(key, 0))
            for row_L, row in zip(batch_BL, filled, strict=True):
                row_L[: len(values[row])] = values[row]
            batch[key] = torch.from_numpy(batch_BL).to(self.device)
        states_BLD = self._model(**batch).last_hidden_state
        pooled_BD = pool(
            states_BLD, batch["attention_mask"], self.choices.pooling, self.choices.normalize
        )
        found_BD: Embeddings = pooled_BD[: len(rows)].cpu().numpy()
        return found_BD

    def _check_finite(self, embeddings_BD: Embeddings, texts: Sequence[str]) -> None:
        bad = np.flatnonzero(~np.isfinite(embeddings_BD).all(axis=1))
        if len(bad):
            raise TeacherError(
                "teacher.name",
                f"expected finite embeddings from '{self.name}', got NaN or infinity for "
                f"{len(bad)} of {len(texts)} texts, first '{texts[bad[0]][:60]}'",
                "Choose another teacher, or check its weights",
            )
