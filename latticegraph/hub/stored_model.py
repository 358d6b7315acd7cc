"""A student with its lattice and settings, and its way to a folder and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from latticegraph.aggregation import resolve_backend
from latticegraph.digests import tensors_sha256
from latticegraph.errors import CheckpointError
from latticegraph.files import write_text
from latticegraph.hub.card import write_card
from latticegraph.hub.settings import LatticeModelConfig
from latticegraph.hub.weights import load_weights, read_weights, write_weights
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student
from latticegraph.plugins import class_paths
from latticegraph.teachers import Teacher, build_teacher

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class StoredModel:
    """Student, lattice, settings, normalisation and teacher in one object.

    The normalisation (means and scale of the training embeddings) is part of the student's buffers.

    Args:
        student: on any device.
        graph: the lattice that the student was built on.
        config: settings, and the identity of the teacher.
        teacher: makes embeddings of texts; None: built from ``config.teacher`` for the first text.

    Raises:
        TeacherError: ``teacher`` is not the one that the model was trained with.
    """

    def __init__(
        self,
        student: Student,
        graph: LatticeGraph,
        config: LatticeModelConfig,
        teacher: Teacher | None = None,
    ) -> None:
        self.student = student.eval()
        self.graph = graph
        self.config = config
        if teacher is not None:
            config.check_teacher(teacher)
        self._teacher = teacher

    @classmethod
    def build(
        cls,
        config: LatticeModelConfig,
        weights: Mapping[str, Tensor],
        where: Path,
        teacher: Teacher | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Build lattice and student and fill in stored weights.

        Args:
            config: settings.
            weights: parameters and buffers by name.
            where: the file they come from, for errors.
            teacher: see :class:`StoredModel`.
            device: where the student will compute; decides what ``model.aggregation`` auto means.

        Raises:
            CheckpointError: a tensor is missing, unknown, or of another shape or type.
            TeacherError: ``teacher`` is another one.
        """
        graph = LatticeGraph.build(config.lattice)
        kind = torch.device(device).type
        backend = resolve_backend(config.model, graph, config.batch_size, kind)
        student = build_student(
            config.model, graph, config.teacher.dimension, backend=backend, device=kind
        )
        load_weights(where, student, weights)
        return cls(student.to(device), graph, config, teacher)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        trust: Sequence[str] = (),
        teacher: Teacher | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Load what :meth:`save_pretrained` wrote. Nothing is unpickled.

        Args:
            folder: the local folder.
            trust: class paths outside the package that the model may use, for instance
                ``["my_expert.py:MyExpert"]``. Their code runs; read it first.
            teacher: in place of the one that the settings describe, for instance because its files
                lie elsewhere on this machine.
            device: where the student computes.

        Raises:
            CheckpointError: a file is missing or damaged, a key or a tensor is unknown, missing or
                of another shape.
            ConfigError: the model names a class path that ``trust`` does not allow.
            TeacherError: ``teacher`` is not the one that the model was trained with.
        """
        folder = Path(folder).expanduser()
        missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(
                str(folder),
                f"expected the folder of a saved model, got one without {missing[0]}",
                "Name a folder that save_pretrained wrote, for instance runs/NAME/model",
            )
        try:
            text = (folder / CONFIG).read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(
                str(folder / CONFIG), f"expected UTF-8, got: {error}", "Save the model again"
            ) from error
        config = LatticeModelConfig.from_json(text, trust, str(folder / CONFIG))
        weights = read_weights(folder / WEIGHTS, text)
        return cls.build(config, weights, folder / WEIGHTS, teacher, device)

    def save_pretrained(
        self, folder: str | Path, results: Mapping[str, float] | None = None
    ) -> None:
        """Write ``model.safetensors``, ``config.json`` and a model card ``README.md``.

        Args:
            folder: made where missing; files of these names are replaced, each atomically.
            results: held-out metrics by name, for the card.

        Raises:
            CheckpointError, ConfigError: the disk is full or refuses.
        """
        folder = Path(folder).expanduser()
        text = self.config.to_json()
        write_weights(folder / WEIGHTS, self.student.state_dict(), text)
        write_text(folder / CONFIG, text, str(folder))
        self.write_card(folder, results)

    def write_card(self, folder: Path, results: Mapping[str, float] | None = None) -> None:
        """Write the model card alone; see :meth:`save_pretrained`."""
        trust = class_paths(self.config.model_dump(mode="json"))
        write_card(folder, self.config, self.parameters, trust, results)

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.student.parameters())

    @property
    def device(self) -> torch.device:
        """Where the student computes."""
        return self.student.std.device

    def to(self, device: str | torch.device) -> Self:
        """Move the student to a device; a teacher built later runs there too."""
        self.student.to(device)
        return self

    @property
    def teacher(self) -> Teacher:
        """The teacher, built and checked when it is first asked for.

        Raises:
            TeacherError: it cannot be loaded, or is not the one that the model was trained with.
        """
        if self._teacher is None:
            teacher = build_teacher(self.config.teacher, self.device.type)
            self.config.check_teacher(teacher)
            self._teacher = teacher
        return self._teacher

    def digest(self) -> str:
        """64 hexadecimal digits over settings and weights."""
        weights = {name: value.cpu() for name, value in self.student.state_dict().items()}
        return tensors_sha256(weights, self.config.to_json())
