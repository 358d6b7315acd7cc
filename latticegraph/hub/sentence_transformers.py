"""The lattice as a module of sentence-transformers, which is imported with this file.

Legend: B batch, D teacher width, S surface width.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from latticegraph.errors import DataError
from latticegraph.hub.stored_model import StoredModel
from latticegraph.teachers import Teacher
from latticegraph.teachers.encoder import EncoderTeacher

try:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.base.modules.module import Module
    from sentence_transformers.sentence_transformer.modules import Pooling
except ImportError as error:
    try:
        found = f"version {version('sentence-transformers')}"
    except PackageNotFoundError:
        found = "none"
    raise DataError(
        "sentence_transformers",
        f"expected the package sentence-transformers, 6 or later, got {found} ({error})",
        "Run: pip install 'latticegraph[st]'",
    ) from error

Output = Literal["embedding", "code"]
OUTPUTS: tuple[Output, ...] = ("embedding", "code")
CODE = "surface_code"


class LatticeModule(Module):
    """A trained student behind the modules of its teacher.

    Reads ``features["sentence_embedding"]``, the teacher's embedding, and writes the prediction in
    its place. The S numbers that enter the lattice are ``features["surface_code"]``, which
    ``encode(texts, output_value="surface_code")`` returns. Students are shared, not copied.

    A saved module is a folder of :meth:`StoredModel.save_pretrained` with one file more.

    Args:
        model: student and settings.
        output: ``embedding``, or ``code``: the S numbers in place of the prediction; no step of the
            lattice is then computed.

    Shapes:
        sentence_embedding [B, D] -> sentence_embedding [B, D], or [B, S] for codes; surface_code
        [B, S]

    Raises:
        DataError: for another output.
    """

    config_file_name = "lattice_module.json"
    config_keys = ["output"]  # noqa: RUF012  declared so by the base class

    def __init__(self, model: StoredModel, output: Output = "embedding") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if output not in OUTPUTS:
            raise DataError(
                "output", f"expected 'embedding' or 'code', got {output!r}", "Ask for one of these"
            )
        self.stored = model
        self.student = model.student
        self.output = output

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Replace the embedding; see the class.

        Args:
            features: of a batch, with the teacher's embedding.
            kwargs: of ``encode``; none is used.
        """
        given: Tensor = features["sentence_embedding"]
        source_BD = given.to(self.student.std.dtype)
        if self.output == "code":
            code_BS = self.student.encode(source_BD)
            features |= {"sentence_embedding": code_BS, CODE: code_BS}
            return features
        done = self.student(source_BD, whole=False)
        features |= {"sentence_embedding": done.embedding_BD, CODE: done.code_BS}
        return features

    def get_embedding_dimension(self) -> int:
        """D, or S for codes."""
        student = self.student
        return student.surface_width if self.output == "code" else student.teacher_dimension

    def save(
        self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any
    ) -> None:
        """Write weights, settings and the choice of the output.

        Args:
            output_path: folder.
            args: without effect.
            safe_serialization: True; nothing is pickled.
            kwargs: without effect.

        Raises:
            DataError: pickled weights are asked for.
            CheckpointError, ConfigError: the disk is full or refuses.
        """
        if not safe_serialization:
            raise DataError(
                "safe_serialization",
                "expected true, got false: a lattice is saved as safetensors alone",
                "Leave it out",
            )
        self.stored.save_pretrained(output_path)
        self.save_config(output_path)

    @classmethod
    def load(  # type: ignore[override]
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load what :meth:`save` wrote; called by ``SentenceTransformer``.

        Args:
            model_name_or_path: folder of the SentenceTransformer, or its name on the hub.
            subfolder: of this module.
            token: of the hub.
            cache_folder: of the hub.
            revision: of the hub.
            local_files_only: never ask the hub.
            kwargs: for other modules; none is used.

        Raises:
            CheckpointError: a file is missing or damaged.
            ConfigError: the model names a class outside the package, which is never imported here.
        """
        where: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        settings = cls.load_config(model_name_or_path, **where)
        folder = cls.load_dir_path(model_name_or_path, **where)
        return cls(StoredModel.from_pretrained(str(folder)), **settings)


def sentence_transformer(
    model: StoredModel, teacher: Teacher, output: Output = "embedding"
) -> SentenceTransformer:
    """Teacher and lattice in one SentenceTransformer, on the device of the student.

    Args:
        model: shares its student.
        teacher: of the model; its weights are loaded anew.
        output: see :class:`LatticeModule`.

    Raises:
        DataError: the teacher is no transformers encoder, or ``output`` is unknown.
    """
    modules: list[nn.Module] = [*teacher_modules(teacher), LatticeModule(model, output)]
    return SentenceTransformer(modules=modules, device=str(model.device))


def teacher_modules(teacher: Teacher) -> Sequence[Module]:
    """Transformer, Pooling and, for embeddings of unit length, Normalize.

    They cut texts where the teacher cuts them. Its embeddings do not depend on the other texts of
    a batch; those of these modules do, in their last bits.

    Args:
        teacher: an encoder of transformers.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(teacher, EncoderTeacher):
        raise DataError(
            "teacher.kind",
            "expected packaged, huggingface or sentence_transformers, whose embeddings follow from "
            f"the text alone, got '{teacher.name}' ({type(teacher).__name__})",
            "Pass its embeddings to LatticeModel.predict",
        )
    choices = teacher.choices
    transformer = Transformer(
        str(teacher.folder),
        model_kwargs={"use_safetensors": True, "dtype": torch.float32, "local_files_only": True},
        processor_kwargs={"model_max_length": choices.max_length, "local_files_only": True},
        config_kwargs={"local_files_only": True},
        do_lower_case=choices.lower_case,
    )
    pooling = Pooling(teacher.dimension, choices.pooling)
    return [transformer, pooling, Normalize()] if choices.normalize else [transformer, pooling]
