"""A sentence-transformers folder, read without the sentence-transformers package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latticegraph.config import TeacherSettings
from latticegraph.errors import TeacherError
from latticegraph.teachers.encoder import EncoderChoices, EncoderTeacher
from latticegraph.teachers.model_folder import existing_folder, read_json
from latticegraph.teachers.pooling import Pooling

_MODE_PREFIX = "pooling_mode_"
_MODES: dict[str, Pooling] = {
    "mean_tokens": "mean",
    "mean": "mean",
    "cls_token": "cls",
    "cls": "cls",
}


def sentence_folder_teacher(
    settings: TeacherSettings, device: str = "cpu", notes: Path | None = None
) -> EncoderTeacher:
    """The encoder of a folder written by ``SentenceTransformer.save``.

    Pooling comes from the folder. Embeddings are scaled to unit length when ``teacher.normalize``
    says so; a folder that ends in Normalize needs it to be true. ``teacher.max_length`` limits the
    tokens, whatever the folder proposes.

    Args:
        settings: name (local folder), normalisation, length limit, batch size.
        device: where the forward pass runs.
        notes: folder for what is known of model folders, or None.

    Raises:
        TeacherError: the folder is incomplete, or has a module other than Transformer, Pooling
            (mean or cls) and Normalize.
    """
    folder = existing_folder(str(settings.name))
    modules = {kind: folder / path for kind, path in _modules(folder)}
    if "Normalize" in modules and not settings.normalize:
        raise TeacherError(
            "teacher.normalize",
            f"expected true for '{folder}', which ends in a Normalize module, got false",
            "Set teacher.normalize to true",
        )
    transformer = modules["Transformer"]
    _reject_prompt(folder)
    choices = EncoderChoices(
        _pooling(modules["Pooling"]), settings.normalize, settings.max_length, _lower(transformer)
    )
    return EncoderTeacher(
        str(settings.name), transformer, choices, settings.batch_size, device, notes
    )


def _modules(folder: Path) -> list[tuple[str, str]]:
    listed = read_json(folder / "modules.json")
    try:
        modules = [(str(row["type"]).rsplit(".", 1)[-1], str(row["path"])) for row in listed]
    except (TypeError, KeyError) as error:
        raise TeacherError(
            str(folder / "modules.json"),
            "expected a list of modules with 'type' and 'path', got something else",
            "Copy the model folder anew",
        ) from error
    kinds = [kind for kind, _ in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise TeacherError(
            str(folder / "modules.json"),
            "expected the modules Transformer, Pooling and perhaps Normalize, got "
            f"{', '.join(kinds) or 'none'}",
            "Precompute its embeddings and set teacher.kind to array",
        )
    return modules


def _pooling(folder: Path) -> Pooling:
    config: dict[str, Any] = read_json(folder / "config.json")
    active = [
        key.removeprefix(_MODE_PREFIX)
        for key, value in config.items()
        if key.startswith(_MODE_PREFIX) and value is True
    ]
    if "pooling_mode" in config:
        active = [str(config["pooling_mode"])]
    if len(active) != 1 or active[0] not in _MODES:
        raise TeacherError(
            str(folder / "config.json"),
            f"expected pooling by mean or cls, got {', '.join(active) or 'none'}",
            "Precompute its embeddings and set teacher.kind to array",
        )
    return _MODES[active[0]]


def _lower(transformer: Path) -> bool:
    path = transformer / "sentence_bert_config.json"
    return bool(read_json(path).get("do_lower_case", False)) if path.is_file() else False


def _reject_prompt(folder: Path) -> None:
    path = folder / "config_sentence_transformers.json"
    prompt = read_json(path).get("default_prompt_name") if path.is_file() else None
    if prompt is not None:
        raise TeacherError(
            str(path),
            f"expected a model without a default prompt, got '{prompt}'",
            "Precompute its embeddings and set teacher.kind to array",
        )
