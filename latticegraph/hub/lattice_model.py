"""LatticeModel: a trained student with all that its use needs.

Legend: N samples or texts, D teacher width, S surface width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latticegraph.aggregation import resolve_backend
from latticegraph.digests import tensors_sha256
from latticegraph.dynamics import Intervention, Recorder
from latticegraph.errors import CheckpointError, DataError
from latticegraph.files import write_text
from latticegraph.hub.card import write_card
from latticegraph.hub.codes import decode_rows, encode_rows
from latticegraph.hub.inference import Prediction, run_student
from latticegraph.hub.settings import LatticeModelConfig
from latticegraph.hub.weights import load_weights, read_weights, write_weights
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student
from latticegraph.plugins import class_paths
from latticegraph.teachers import Teacher, build_teacher
from latticegraph.teachers.progress import show_progress as progress_display

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class LatticeModel:
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
            teacher: see :class:`LatticeModel`.
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

    @property
    def teacher(self) -> Teacher:
        """The teacher; where none was given, built from the settings when first asked for.

        Raises:
            TeacherError: it cannot be loaded, or is not the one that the model was trained with.
        """
        if self._teacher is None:
            teacher = build_teacher(self.config.teacher, self.device.type)
            self.config.check_teacher(teacher)
            self._teacher = teacher
        return self._teacher

    def to(self, device: str | torch.device) -> Self:
        """Move the student to a device; a teacher built later runs there too."""
        self.student.to(device)
        return self

    def encode(
        self,
        texts: str | Sequence[str],
        batch_size: int = 256,
        *,
        output: Literal["embedding", "code"] = "embedding",
        normalize: bool = False,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Predicted embeddings of texts: through the teacher, then through the student.

        Args:
            texts: N texts, at least one; a single text is N = 1.
            batch_size: samples per forward pass of the student.
            output: ``embedding``, or ``code``: the S numbers that enter the lattice, from which
                :meth:`decode_code` makes the embedding.
            normalize: scale every row to length 1; not for codes.
            show_progress: on standard error.

        Shapes:
            result: float32 [N, D], or [N, S] for codes; row i for ``texts[i]``.

        Raises:
            TeacherError: the teacher cannot be loaded, is not the one that the model was trained
                with, or cannot embed a text.
            DataError: for no texts, an unknown output, or normalised codes.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if output not in ("embedding", "code") or (output == "code" and normalize):
            wanted = f"expected 'embedding', or 'code' without normalize, got {output!r}"
            raise DataError("output", wanted, "Ask for one of these")
        title, shown = f"embedding with {self.teacher.name}", len(texts) if show_progress else 0
        with progress_display(title, shown) as progress:
            source_ND = torch.from_numpy(self.teacher.encode(texts, progress))
        how = self.to_codes if output == "code" else self.predict
        rows_NW: NDArray[np.float32] = how(source_ND, batch_size).float().numpy()
        if normalize:
            rows_NW /= np.maximum(np.linalg.norm(rows_NW, axis=1, keepdims=True), 1e-12)
        return rows_NW

    def decode_code(
        self, codes: NDArray[np.floating], batch_size: int = 256
    ) -> NDArray[np.float32]:
        """Predicted embeddings [N, D] of codes [N, S] that :meth:`encode` gave."""
        codes_NS = torch.from_numpy(np.asarray(codes, dtype=np.float32))
        embedding_ND: NDArray[np.float32] = self.from_codes(codes_NS, batch_size).float().numpy()
        return embedding_ND

    def digest(self) -> str:
        """64 hexadecimal digits over settings and weights."""
        weights = {name: value.cpu() for name, value in self.student.state_dict().items()}
        return tensors_sha256(weights, self.config.to_json())

    def predict(
        self, embeddings: Tensor, batch_size: int = 256, precision: str = "float32"
    ) -> Tensor:
        """Predicted embeddings of teacher embeddings.

        Args:
            embeddings: made by the teacher that the model was trained with.
            batch_size: samples per forward pass; changes nothing but speed and memory, up to
                rounding.
            precision: of matrix products, as ``training.precision``.

        Shapes:
            embeddings: [N, D]; result: [N, D] on the CPU.

        Raises:
            DataError: for no rows, or rows of another width.
        """
        return self.run(embeddings, batch_size, precision).embedding_ND

    def run(
        self,
        embeddings: Tensor,
        batch_size: int = 256,
        precision: str = "float32",
        *,
        recorder: Recorder | None = None,
        interventions: Sequence[Intervention] = (),
    ) -> Prediction:
        """Like :meth:`predict`, with the steps used and the throughput.

        Args:
            embeddings: made by the teacher that the model was trained with.
            batch_size: samples per forward pass.
            precision: of matrix products.
            recorder: called after every step of every batch, one batch after the other.
            interventions: changes of the dynamics, such as a silenced expert.
        """
        return run_student(
            self.student,
            embeddings,
            batch_size,
            precision,
            recorder=recorder,
            interventions=interventions,
        )

    def to_codes(self, embeddings: Tensor, batch_size: int = 256, refine_steps: int = 0) -> Tensor:
        """The numbers that enter the lattice, all that :meth:`from_codes` needs of a text.

        Args:
            embeddings: made by the teacher that the model was trained with.
            batch_size: samples per pass.
            refine_steps: gradient steps on each code through the frozen decoder, for models trained
                to return what goes in; see :func:`~latticegraph.hub.refine.refine_codes`.

        Shapes:
            embeddings: [N, D]; result: [N, S] on the CPU.

        Raises:
            DataError: for no rows, rows of another width, or negative steps.
        """
        return encode_rows(self.student, embeddings, batch_size, refine_steps)

    def from_codes(self, codes: Tensor, batch_size: int = 256) -> Tensor:
        """Predicted embeddings [N, D], on the CPU, of codes [N, S]; see :meth:`to_codes`.

        Raises:
            DataError: for no rows, or rows of another width.
        """
        return decode_rows(self.student, codes, batch_size)
