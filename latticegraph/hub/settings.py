"""What a saved model says about itself, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from latticegraph.config import Config, LatticeSettings, ModelSettings, TeacherSettings
from latticegraph.config.messages import config_error
from latticegraph.config.section import Section
from latticegraph.errors import CheckpointError, TeacherError
from latticegraph.files import parse_json
from latticegraph.plugins import check_trusted, class_paths
from latticegraph.teachers import Teacher

FORMAT: Literal["latticegraph-model"] = "latticegraph-model"
VERSION: Literal[1] = 1


class TeacherIdentity(Section):
    """Which teacher made the embeddings that a model was trained on."""

    kind: str = Field(description="teacher.kind")
    name: str = Field(description="name shown in logs")
    dimension: int = Field(ge=1, description="width of the embeddings")
    fingerprint: str = Field(description="SHA-256 over all that decides the embeddings")

    @classmethod
    def of(cls, teacher: Teacher, settings: TeacherSettings) -> Self:
        """The identity of a loaded teacher."""
        return cls(
            kind=settings.kind,
            name=teacher.name,
            dimension=teacher.dimension,
            fingerprint=teacher.fingerprint,
        )


class LatticeModelConfig(Section):
    """The settings that inference needs; the content of ``config.json``.

    Args:
        lattice: geometry.
        model: architecture.
        teacher: how the teacher is built.
        identity: of the teacher; None for a model trained on embeddings of unknown origin.
        batch_size: samples per forward pass in training, on which ``auto`` aggregation depends.
    """

    format: Literal["latticegraph-model"] = FORMAT
    version: Literal[1] = VERSION
    lattice: LatticeSettings
    model: ModelSettings
    teacher: TeacherSettings
    identity: TeacherIdentity | None
    batch_size: int = Field(ge=1)

    @classmethod
    def of(cls, config: Config, identity: TeacherIdentity | None) -> Self:
        """The part of a run's configuration that inference needs."""
        return cls(
            lattice=config.lattice,
            model=config.model,
            teacher=config.teacher,
            identity=identity,
            batch_size=config.training.batch_size,
        )

    def check_teacher(self, teacher: Teacher) -> None:
        """Refuse a teacher that is not the one that the model was trained with.

        Raises:
            TeacherError: it is another one, or the model does not name its teacher.
        """
        if self.identity is None:
            raise TeacherError(
                "teacher",
                "expected a model that names its teacher, got one trained on embeddings of unknown "
                "origin",
                "Embed the texts yourself and pass the embeddings to predict",
            )
        if teacher.fingerprint != self.identity.fingerprint:
            raise TeacherError(
                "teacher.name",
                f"expected the teacher that the model was trained with, '{self.identity.name}' "
                f"(fingerprint {self.identity.fingerprint[:12]}), got '{teacher.name}' "
                f"({teacher.fingerprint[:12]})",
                "Use the same weights, pooling, length and normalisation",
            )

    def to_json(self) -> str:
        """Indented JSON; :meth:`from_json` gives back an equal object."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, trust: Sequence[str], where: str) -> Self:
        """Check and read what :meth:`to_json` wrote. No class outside the package is imported.

        Args:
            text: JSON.
            trust: class paths that the caller allows.
            where: the file, for errors.

        Raises:
            CheckpointError: the text is no JSON, of another format or version, or has an unknown,
                missing or wrong key.
            ConfigError: it names a class path that the caller does not allow.
        """
        try:
            tree = parse_json(text)
        except ValueError as error:
            raise _unreadable(where, f"a file that is no JSON ({error})") from error
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            raise _unreadable(where, "JSON of something else")
        if tree.get("version") != VERSION:
            raise CheckpointError(
                where,
                f"expected model format {VERSION}, got {tree.get('version')}",
                "Use the version of latticegraph that wrote it, or train again",
            )
        check_trusted(class_paths(tree), trust, where)
        try:
            config = cls.model_validate(tree)
        except ValidationError as error:
            raise _unreadable(where, str(config_error(error))) from error
        key = _difference(config.model_dump(mode="json"), tree)
        if key is not None:
            raise _unreadable(where, f"a missing or inexact value for '{key}'")
        return config


def _difference(expected: Any, found: Any, key: str = "") -> str | None:
    """The first dotted key under which two trees differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in expected | found:
            inner = f"{key}.{name}" if key else name
            if name not in expected or name not in found:
                return inner
            if (below := _difference(expected[name], found[name], inner)) is not None:
                return below
        return None
    return None if expected == found else key


def _unreadable(where: str, found: str) -> CheckpointError:
    return CheckpointError(
        where,
        f"expected the settings of a model saved by this version of latticegraph, got {found}",
        "Save the model again, or use the version of latticegraph that wrote it",
    )
