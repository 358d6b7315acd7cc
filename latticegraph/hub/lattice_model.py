"""LatticeModel: the uses of a trained student.

Legend: N samples or texts, D teacher width, S surface width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latticegraph.dynamics import Intervention, Recorder
from latticegraph.errors import DataError
from latticegraph.hub.codes import decode_rows, encode_rows
from latticegraph.hub.inference import Prediction, run_student
from latticegraph.hub.stored_model import StoredModel
from latticegraph.progress import show_progress as progress_display

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class LatticeModel(StoredModel):
    """Student, lattice, settings, normalisation and teacher in one object, and all their uses.

    Made by :meth:`from_pretrained`, or from the parts that :class:`StoredModel` lists.
    """

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
        teacher, shown = self.teacher, len(texts) if show_progress else 0
        with progress_display(f"embedding with {teacher.name}", shown) as progress:
            source_ND = torch.from_numpy(teacher.encode(texts, progress))
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

    def as_sentence_transformer(
        self, output: Literal["embedding", "code"] = "embedding"
    ) -> SentenceTransformer:
        """This model as a SentenceTransformer: the modules of the teacher, then the lattice.

        Its ``encode`` gives what :meth:`encode` gives, up to rounding. It shares the student with
        this object, so that moving one to a device moves both. Needs the extra ``st``.

        Args:
            output: of ``encode``; ``code``: the S numbers that enter the lattice.

        Raises:
            DataError: sentence-transformers 6 is not installed, the output is unknown, or the
                teacher is no transformers encoder.
            TeacherError: the teacher cannot be loaded, or is not the one that the model was trained
                with.
        """
        # Takes seconds to import, for which nothing else should wait.
        from latticegraph.hub.sentence_transformers import sentence_transformer

        return sentence_transformer(self, self.teacher, output)

    def export(
        self,
        path: str | Path,
        format: Literal["onnx", "torch"] = "onnx",  # noqa: A002  the usual word for it
    ) -> None:
        """Write the student as one file for programs without this package.

        It maps embeddings of the teacher (B, D) to predictions (B, D) and codes (B, S), as
        :meth:`predict` and :meth:`to_codes`, up to rounding. The lattice becomes dense
        convolutions, with every step written out.

        Args:
            path: ``.onnx``, or ``.pt2`` for torch; replaced where it exists.
            format: ``onnx`` (needs the extra ``onnx``), or ``torch`` for ``torch.export.load``.

        Raises:
            DataError: the name does not fit the format, or the packages of ONNX are missing.
            ConfigError: samples may stop early (``model.dynamics.tolerance``), the lattice is too
                large to be written out, or the disk refuses.
        """
        # The exporters take a second to import.
        from latticegraph.hub.export import export_model

        export_model(self, path, format)
