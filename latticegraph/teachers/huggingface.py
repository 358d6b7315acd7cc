"""Any transformers encoder, from a local folder or from the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from latticegraph.config import TeacherSettings
from latticegraph.errors import TeacherError
from latticegraph.teachers.encoder import EncoderChoices, EncoderTeacher
from latticegraph.teachers.model_folder import DECIDING_SUFFIXES, existing_folder

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def huggingface_teacher(
    settings: TeacherSettings, device: str = "cpu", notes: Path | None = None
) -> EncoderTeacher:
    """The encoder called ``teacher.name``, pooled as ``teacher.pooling`` says.

    Args:
        settings: name, pooling, normalisation, length limit, batch size.
        device: where the forward pass runs.
        notes: folder for what is known of model folders, or None.

    Raises:
        TeacherError: there is no such folder, or the hub does not give the model.
    """
    name = str(settings.name)
    choices = EncoderChoices(settings.pooling, settings.normalize, settings.max_length)
    return EncoderTeacher(name, model_folder(name), choices, settings.batch_size, device, notes)


def model_folder(name: str) -> Path:
    """The local folder of ``name``; a hub model is downloaded, or found in the hub's own cache.

    Args:
        name: folder, or hub name such as ``distilbert-base-uncased``.

    Raises:
        TeacherError: as for :func:`huggingface_teacher`.
    """
    is_hub_name = _HUB_NAME.fullmatch(name) and not name.startswith(".")
    if Path(name).expanduser().is_dir() or not is_hub_name:
        return existing_folder(name)
    from huggingface_hub import snapshot_download

    # HTTPError is the base class of whichever HTTP client this version of the hub uses.
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    try:
        patterns = [f"*{suffix}" for suffix in DECIDING_SUFFIXES]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, HTTPError, HFValidationError) as error:
        raise TeacherError(
            "teacher.name",
            f"expected a local folder or a model on the hub, got '{name}', which is no folder here "
            f"and which the hub did not give ({type(error).__name__})",
            "Set teacher.name to a local folder with the model, or check the name and the network",
        ) from error
