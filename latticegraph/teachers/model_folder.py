"""A folder that holds a transformers encoder: its files, its width and its fingerprint."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any

from latticegraph.digests import file_sha256
from latticegraph.errors import TeacherError
from latticegraph.files import parse_json

DECIDING_SUFFIXES = (".json", ".model", ".safetensors", ".txt")


def existing_folder(name: str) -> Path:
    """The folder called ``name``.

    Args:
        name: path; ``~`` is the home folder.

    Raises:
        TeacherError: there is no such folder; near names are suggested.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    near: list[str] = []
    if folder.parent.is_dir():
        names = sorted(path.name for path in folder.parent.iterdir() if path.is_dir())
        near = difflib.get_close_matches(folder.name, names, n=3, cutoff=0.5)
    hint = f" (near: {', '.join(near)})" if near else ""
    raise TeacherError(
        "teacher.name",
        f"expected a folder with a model, got '{name}', which is not there",
        f"Set teacher.name to an existing folder{hint}",
    )


def read_json(path: Path) -> Any:
    """The content of a JSON file of a model folder.

    Raises:
        TeacherError: the file is missing, not UTF-8 or not JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TeacherError(
            "teacher.name",
            f"expected the file '{path.name}' in '{path.parent}', got nothing",
            "Set teacher.name to a complete model folder",
        ) from error
    except (OSError, ValueError) as error:
        raise TeacherError(
            str(path), f"expected JSON in UTF-8, got: {error}", "Copy the model folder anew"
        ) from error


def require_safetensors(folder: Path) -> None:
    """Check that the weights can be read without unpickling.

    Raises:
        TeacherError: no ``.safetensors`` file lies in ``folder``.
    """
    if any(folder.glob("*.safetensors")):
        return
    others = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".h5"})
    found = ", ".join(others) if others else "no weights"
    raise TeacherError(
        "teacher.name",
        f"expected weights in model.safetensors in '{folder}', got {found}",
        "Convert them with save_pretrained of a trusted copy: pickled weights can run code and are "
        "never loaded",
    )


def folder_fingerprint(folder: Path, **choices: object) -> str:
    """SHA-256 over the deciding files of ``folder`` and over ``choices``.

    Args:
        folder: model folder; its weights, configuration and tokenizer files count, whatever the
            folder is called.
        choices: JSON values that decide the embeddings too (pooling, length limit, ...).
    """
    digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode("utf-8"))
    for path in deciding_files(folder):
        digest.update(path.name.encode("utf-8") + b"\0")
        digest.update(file_sha256(path))
    return digest.hexdigest()


def deciding_files(folder: Path) -> list[Path]:
    """Weights, configuration and tokenizer files of a model folder, by name."""
    paths = (path for path in folder.iterdir() if path.is_file())
    return sorted((path for path in paths if path.suffix in DECIDING_SUFFIXES), key=_name)


def _name(path: Path) -> str:
    return path.name
