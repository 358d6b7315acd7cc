"""Metrics of a finished run on text that it never saw."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latticegraph.config import Config, load_config
from latticegraph.data import Sample, Splits, load_source, text_key
from latticegraph.data.load import without_repeats
from latticegraph.early import check_run
from latticegraph.errors import CheckpointError, ConfigError, DataError, TeacherError
from latticegraph.evaluation import read_sts, sts_spearman
from latticegraph.files import parse_json
from latticegraph.hub import LatticeModel
from latticegraph.pipeline.attribution import frozen_checkpoint, wants_frozen
from latticegraph.pipeline.codec_run import check_codec_request, measure_codec_run
from latticegraph.pipeline.curves import read_curves
from latticegraph.pipeline.kept_rows import KeptRows
from latticegraph.pipeline.prepare import Prepared, embed_samples, prepare, text_fingerprint
from latticegraph.pipeline.report_run import make_baselines, make_report
from latticegraph.pipeline.without_lattice import control_checkpoint
from latticegraph.plugins import check_trusted, class_paths
from latticegraph.terminal import command, show_log_by_default
from latticegraph.training import load_checkpoint_model, read_checkpoint
from latticegraph.training.checks import decisive_settings
from latticegraph.training.machine import resolve_device, training_session
from latticegraph.training.run_folder import RunFolder

_log = logging.getLogger(__name__)

_FREE_SECTIONS = ("data.", "teacher.")


def evaluate(
    run_dir: str | Path,
    data: Sequence[str | Path] = (),
    sts: str | Path | None = None,
    config_file: str | Path | None = None,
    overrides: Sequence[str] = (),
    trust: Sequence[str] = (),
    codec: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measure the student, its controls and the baselines on other text.

    Rows that the run fitted are kept; they are fitted again only where its folder has none for
    these settings. Texts that the run trained on or was chosen by are dropped and counted.

    Args:
        run_dir: folder of a finished run.
        data: files (``.txt``, ``.jsonl``) or built-in names; none: the run's own held-out text.
        sts: STS-B pairs (``.tsv``, ``.jsonl``); adds ``sts`` with the Spearman correlation of
            student and teacher.
        config_file: in place of the run's own ``config.yaml``.
        overrides: ``dotted.key=value`` of sections run, teacher, data, evaluation and report.
        trust: class paths outside the package that the run names and whose code may run; those in
            ``config_file`` and ``overrides`` are the caller's own.
        codec: rows of ``codec_run.ROWS`` to measure the code beside; empty: all; None: no codec.

    Returns:
        The keys of ``report.json``, ``codec``; ``data`` has ``files`` and ``seen_in_training`` too.

    Raises:
        LatticeGraphError: the run is unfinished, changed or not trusted, or no text is left.
    """
    show_log_by_default()
    run_dir, names = Path(run_dir), [str(name) for name in data]
    report = _own_report(run_dir)
    if sts is not None:
        read_sts(sts)
    best = RunFolder(run_dir).best
    stored = read_checkpoint(best).config
    config = load_config(config_file or run_dir / "config.yaml", overrides)
    if config_file is None:
        _check_trust(run_dir, config, trust)
    check_codec_request(codec, config.data.task)
    trust = [*trust, *class_paths(config.model_dump(mode="json"))]
    device = resolve_device(config.run)
    with training_session(config.run, device, config.model.init.reproducible):
        model = load_checkpoint_model(best, trust, device)
        retrained = load_checkpoint_model(control_checkpoint(run_dir), trust, device)
        _check_settings(stored, config)
        frozen = _frozen(run_dir, config, trust)
        samples = _read(data, config)
        prepared = prepare(config, device)
        _check_origin(report, prepared)
        if samples:
            prepared = _with_unseen(prepared, samples)
        result = _measure(prepared, model, retrained, frozen, sts, codec, KeptRows(run_dir))
    result |= {"training": report["training"], "curves": read_curves(run_dir)}
    result["command"] = _command(run_dir, names)
    dropped = len(samples) - len(prepared.splits.heldout) if samples else 0
    result["data"] |= {"files": names, "seen_in_training": dropped}
    return result


def _command(run_dir: Path, names: Sequence[str]) -> str:
    words = ["evaluate", "--run", str(run_dir)]
    return command(*words, "--data", *names) if names else command(*words)


def _again(run_dir: Path) -> str:
    return command("train", "--config", str(run_dir / "config.yaml"), "--resume", "auto")


def _measure(
    prepared: Prepared,
    model: LatticeModel,
    retrained: LatticeModel,
    frozen: LatticeModel | None,
    sts: str | Path | None,
    codec: Sequence[str] | None,
    kept: KeptRows,
) -> dict[str, Any]:
    """The report, and what was asked for beside it."""
    baselines = make_baselines(prepared, model.student.surface_width, kept)
    result = make_report(prepared, model, retrained, frozen, baselines, kept)
    if codec is not None:
        result["codec"] = measure_codec_run(prepared, model, baselines, codec, sts)
    if sts is not None:
        result["sts"] = _similarity(prepared, model, sts)
    return result


def _with_unseen(prepared: Prepared, samples: Sequence[Sample]) -> Prepared:
    """The text of a run with the samples it never saw as its held-out part."""
    unseen = _unseen(samples, prepared.splits)
    (heldout,) = embed_samples(prepared.cache, [unseen])
    splits = replace(prepared.splits, heldout=tuple(unseen))
    return replace(prepared, splits=splits, heldout=heldout, hit_rate=prepared.cache.hit_rate)


def _own_report(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "report.json"
    check_run(run_dir)
    control = control_checkpoint(run_dir)
    if not control.is_file():
        raise CheckpointError(
            "--run",
            f"expected the folder of a finished run, got '{run_dir}' without {control.name}",
            f"Finish it: {_again(run_dir)}",
        )
    try:
        report: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            str(path),
            f"expected the report that training wrote, got: {error}",
            f"Write it again: {_again(run_dir)}",
        ) from error
    return report


def _frozen(run_dir: Path, config: Config, trust: Sequence[str]) -> LatticeModel | None:
    """The run's model with a frozen lattice, where the report wants it."""
    if not wants_frozen(config):
        return None
    path = frozen_checkpoint(run_dir)
    if not path.is_file():
        raise CheckpointError(
            "report.attribution",
            f"expected a frozen lattice in the folder of the run for 'full', got no file '{path}'",
            "Set report.attribution=quick, or train it: "
            f"{_again(run_dir)} --set report.attribution=full",
        )
    return load_checkpoint_model(path, trust, resolve_device(config.run))


def _check_trust(run_dir: Path, config: Config, trust: Sequence[str]) -> None:
    """Refuse class paths that come with the run's folder, unless the caller allows them."""
    path = run_dir / "config.yaml"
    own = class_paths(load_config(path).model_dump(mode="json"))
    used = class_paths(config.model_dump(mode="json"))
    check_trusted([name for name in used if name in own], trust, str(path))


def _read(names: Sequence[str | Path], config: Config) -> list[Sample]:
    samples = [sample for name in names for sample in load_source(str(name), config.data.task)]
    return without_repeats(samples)


def _check_settings(stored: Config, config: Config) -> None:
    """Refuse other settings of the trained model: they would be ignored."""
    old, new = decisive_settings(stored), decisive_settings(config)
    for key in old | new:
        if not key.startswith(_FREE_SECTIONS) and old.get(key) != new.get(key):
            raise ConfigError(
                key,
                f"expected {old.get(key)!r} as the run was trained, got {new.get(key)!r}",
                "Change only keys of run, teacher, data, evaluation and report, or train again",
            )


def _check_origin(report: dict[str, Any], prepared: Prepared) -> None:
    if report["data"]["fingerprint"] != text_fingerprint(prepared.splits):
        raise DataError(
            "data.train",
            "expected the text that the run was trained on, got other text: its files, the Python "
            "version (for stdlib) or the split changed since",
            "Put the text back, so that what the run has seen can be told from what it has not",
        )
    teacher = prepared.cache.teacher
    # An array can only hold texts known beforehand: new text takes a new array.
    own = report["teacher"]["fingerprint"]
    if prepared.config.teacher.kind != "array" and teacher.fingerprint != own:
        raise TeacherError(
            "teacher.name",
            f"expected the teacher the run was trained with (fingerprint {own[:12]}), got "
            f"'{teacher.name}' ({teacher.fingerprint[:12]})",
            "Use the same weights, pooling, length and normalisation, or train again",
        )


def _unseen(samples: Sequence[Sample], splits: Splits) -> list[Sample]:
    """The samples whose source occurs nowhere in training or validation, each once."""
    seen = {
        text_key(text)
        for sample in (*splits.train, *splits.validation)
        for text in (sample.source, sample.target)
    }
    unseen = [sample for sample in samples if text_key(sample.source) not in seen]
    dropped = len(samples) - len(unseen)
    if dropped:
        _log.info(
            "text: %s of %s samples dropped, the run has seen them in training",
            f"{dropped:,}",
            f"{len(samples):,}",
        )
    if not unseen:
        raise DataError(
            "--data",
            f"expected text that the run never saw, got only seen text ({dropped} samples)",
            "Name other files",
        )
    return unseen


def _similarity(prepared: Prepared, model: LatticeModel, path: str | Path) -> dict[str, float]:
    settings = prepared.config.evaluation

    def teacher_says(texts: Sequence[str]) -> torch.Tensor:
        return torch.from_numpy(prepared.cache.embed(texts))

    def student_says(texts: Sequence[str]) -> torch.Tensor:
        return model.predict(teacher_says(texts), settings.batch_size)

    return {
        "student": sts_spearman(path, student_says),
        "teacher": sts_spearman(path, teacher_says),
    }
