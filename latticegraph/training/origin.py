"""What a run learned from and on which machine: a resumed run must meet the same again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from latticegraph.config import RunSettings
from latticegraph.config.section import Section
from latticegraph.digests import tensors_sha256
from latticegraph.distributed import Processes
from latticegraph.errors import CheckpointError
from latticegraph.hub import TeacherIdentity
from latticegraph.training.batches import EmbeddingPairs

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextDigests:
    """SHA-256 of the texts of a run in their order, 64 hexadecimal digits each.

    Attributes:
        train: sources and targets that are learned.
        validation: those that choose the best checkpoint.
    """

    train: str
    validation: str


class Origin(Section):
    """What a run learns from, as its checkpoints keep it.

    Args:
        train_text: digest of the training texts in order; None where only embeddings are known.
        validation_text: likewise.
        embeddings: digest of all training and validation pairs, bit for bit.
        machine: device, threads, processes and torch.
    """

    train_text: str | None
    validation_text: str | None
    embeddings: str
    machine: str

    @classmethod
    def of(
        cls,
        texts: TextDigests | None,
        train: EmbeddingPairs,
        validation: EmbeddingPairs,
        run: RunSettings,
        device: torch.device,
        processes: Processes,
    ) -> Self:
        """The origin of a run that is about to train.

        Args:
            texts: of the pairs; None where they are not known.
            train: pairs to learn.
            validation: pairs for early stopping and the choice of the best checkpoint.
            run: its threads and what processes share.
            device: where the student computes.
            processes: of the run.
        """
        tensors = {
            f"{name}.{side}": getattr(pairs, side).contiguous()
            for name, pairs in (("train", train), ("validation", validation))
            for side in ("source_ND", "target_ND")
        }
        machine = (
            f"{device.type}, {run.threads or torch.get_num_threads()} thread(s), "
            f"{processes.size} process(es) sharing {run.parallel}, torch {torch.__version__}"
        )
        return cls(
            train_text=texts and texts.train,
            validation_text=texts and texts.validation,
            embeddings=tensors_sha256(tensors),
            machine=machine,
        )


def check_same_text(path: Path, stored: Origin, own: Origin) -> None:
    """Refuse to go on with other text, or the same in another order.

    Args:
        path: the checkpoint, for the error.
        stored: of the checkpoint.
        own: of the run that should go on.

    Raises:
        CheckpointError: naming the setting whose text differs.
    """
    for key, old, new in (
        ("data.train", stored.train_text, own.train_text),
        ("data.validation", stored.validation_text, own.validation_text),
    ):
        if old is not None and new is not None and old != new:
            raise CheckpointError(
                str(path),
                f"expected the text of {key} that it was trained with, line by line in the same "
                f"order, got another (digest {old[:12]} in the checkpoint, {new[:12]} now)",
                "Restore the files of data.train, or start a new run under another run.name",
            )


def check_same_teacher(
    path: Path, stored: TeacherIdentity | None, own: TeacherIdentity | None
) -> None:
    """Refuse to go on with another teacher. Of a teacher of kind array only its rows count.

    Raises:
        CheckpointError: naming both fingerprints.
    """
    if stored is None or own is None or "array" in (stored.kind, own.kind):
        return
    if stored.fingerprint != own.fingerprint:
        raise CheckpointError(
            str(path),
            f"expected the teacher '{stored.name}' with fingerprint {stored.fingerprint[:12]}, got "
            f"'{own.name}' with {own.fingerprint[:12]}",
            "Restore the teacher's files, or start a new run under another run.name",
        )


def check_same_embeddings(
    path: Path, stored: Origin, own: Origin, teachers: Sequence[TeacherIdentity | None]
) -> None:
    """Refuse other embeddings; warn where the same text was embedded with other rounding.

    Args:
        path: the checkpoint, for the error.
        stored: of the checkpoint.
        own: of the run that should go on.
        teachers: of both, None where only embeddings are known.

    Raises:
        CheckpointError: when they differ and no teacher explains it.
    """
    if stored.embeddings != own.embeddings:
        computed = all(one is not None and one.kind != "array" for one in teachers)
        known = None not in (stored.train_text, own.train_text)
        if not (computed and known):
            raise CheckpointError(
                str(path),
                "expected the embeddings it was trained with, in the same order, got others",
                "Restore the embeddings, or start a new run under another run.name",
            )
        _log.warning(
            "resume: the teacher computed some embeddings with other rounding than when the run "
            "began; it goes on, but not bit for bit"
        )
    if stored.machine != own.machine:
        _log.warning(
            "resume: the run began on %s and goes on with %s; sums may be rounded otherwise, so "
            "that the result is not that of an uninterrupted run bit for bit",
            stored.machine,
            own.machine,
        )
