"""From settings to the teacher."""

from __future__ import annotations

from pathlib import Path

from latticegraph.config import TeacherSettings
from latticegraph.errors import TeacherError
from latticegraph.plugins import is_class_path, load_class, make
from latticegraph.teachers.protocol import Teacher


def build_teacher(
    settings: TeacherSettings, device: str = "cpu", notes: Path | None = None
) -> Teacher:
    """The teacher that ``settings`` describe, its width checked; weights load at the first text.

    Args:
        settings: the section ``teacher`` of the configuration.
        device: where a model's forward pass runs, ``cpu`` or ``cuda``.
        notes: folder for what is known of model folders; see
            :class:`~latticegraph.teachers.encoder.EncoderTeacher`. None writes nothing.

    Raises:
        TeacherError: it cannot be loaded, or its width is not ``teacher.dimension``.
        CacheError: the notes cannot be read or written.
    """
    teacher = _build(settings, device, notes)
    if teacher.dimension != settings.dimension:
        raise TeacherError(
            "teacher.dimension",
            f"expected {teacher.dimension}, the width of '{teacher.name}', got "
            f"{settings.dimension}",
            f"Set teacher.dimension to {teacher.dimension}, or choose another teacher",
        )
    return teacher


def _build(settings: TeacherSettings, device: str, notes: Path | None) -> Teacher:
    # Imported per kind: transformers takes a second to import, and an array needs none of it.
    if is_class_path(settings.kind):
        own = load_class(settings.kind, "teacher.kind", Teacher)  # type: ignore[type-abstract]
        teacher = make(own, settings.options, "teacher.options", settings.dimension)
        missing = [name for name in ("name", "dimension") if not hasattr(teacher, name)]
        if missing:
            raise TeacherError(
                "teacher.kind",
                f"expected a teacher with name and dimension, got '{settings.kind}' without "
                f"{' and '.join(missing)}",
                f"Set self.{missing[0]} in its __init__",
            )
        return teacher
    if settings.kind == "array":
        from latticegraph.teachers.array import array_teacher

        return array_teacher(settings)
    if settings.kind == "packaged":
        from latticegraph.teachers.packaged import packaged_teacher

        return packaged_teacher(settings, device, notes)
    if settings.kind == "huggingface":
        from latticegraph.teachers.huggingface import huggingface_teacher

        return huggingface_teacher(settings, device, notes)
    from latticegraph.teachers.sentence_folder import sentence_folder_teacher

    return sentence_folder_teacher(settings, device, notes)
