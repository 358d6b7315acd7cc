"""The analysis of a finished run: numbers with nulls and intervals, pictures, and a summary.

Legend: D teacher width.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from latticegraph.analysis.page import PAGE, check_plotly, write_page
from latticegraph.analysis.section_causes import damage_section, lesions_section, use_section
from latticegraph.analysis.section_cells import cells_section, experts_section
from latticegraph.analysis.section_layers import flow_section, layers_section
from latticegraph.analysis.section_readings import composition_section, probes_section
from latticegraph.analysis.section_twins import twins_section
from latticegraph.analysis.study import LEVEL, Section, Study
from latticegraph.analysis.summary import summary
from latticegraph.config import Config, load_config
from latticegraph.early import check_run
from latticegraph.errors import ConfigError
from latticegraph.evaluation import EmbeddingSplit
from latticegraph.evaluation.arrays import Floats
from latticegraph.files import check_writable, write_json
from latticegraph.hub import LatticeModel
from latticegraph.pipeline.analyse_text import study_text
from latticegraph.pipeline.attribution import untrained
from latticegraph.pipeline.prepare import Prepared, prepare
from latticegraph.plugins import check_trusted, class_paths
from latticegraph.terminal import command, show_log_by_default
from latticegraph.training.machine import resolve_device, training_session

_log = logging.getLogger(__name__)

__all__ = ["FOLDER", "PAGE", "analyse"]

FOLDER = "analysis"
MOST_SAMPLES = 600
TWINS = 19
FIT_ROWS = 1000


def analyse(
    run_dir: str | Path,
    data: str | None = None,
    out: str | Path | None = None,
    trust: Sequence[str] = (),
    twins: int = TWINS,
) -> dict[str, Any]:
    """Analyse the model of a finished run and write ``analysis.json`` and ``analysis.html``.

    Args:
        run_dir: folder of a finished run.
        data: text to analyse it with (a JSONL file may have labels); None: the run's held-out text.
        out: folder for the result; None: ``analysis`` in that of the run.
        trust: class paths outside the package that the run names and whose code may run.
        twins: untrained lattices to compare with; p-values are at least 1 / (twins + 1).

    Returns:
        What ``analysis.json`` holds.

    Raises:
        LatticeGraphError: the run is unfinished or has no lattice, the text cannot be used, the
            packages for the pictures are missing, or the folder cannot be written.
    """
    show_log_by_default()
    run_dir = Path(run_dir).expanduser()
    config = _checked(run_dir, trust)
    folder = run_dir / FOLDER if out is None else Path(out).expanduser()
    check_writable(folder, "--out")
    check_plotly()
    device, began = resolve_device(config.run), time.perf_counter()
    with training_session(config.run, device, config.model.init.reproducible):
        model = LatticeModel.from_pretrained(run_dir / "model", trust, device=device)
        prepared = prepare(config, device)
        study = _study(model, prepared, data)
        sections = dict(_sections(study, prepared, twins))
    result = {
        "run": run_dir.resolve().name,
        "command": command("analyse", str(run_dir), *(["--data", data] if data else [])),
        "level": LEVEL,
        **_subject(study, data),
        "seconds": round(time.perf_counter() - began, 1),
        "sections": {name: section.to_json() for name, section in sections.items()},
    }
    result["summary"] = summary(result)
    write_json(folder / "analysis.json", result, "--out")
    write_page(folder, result)
    return result


def _checked(run_dir: Path, trust: Sequence[str]) -> Config:
    """The configuration of a finished run with a lattice."""
    check_run(run_dir)
    config = load_config(run_dir / "config.yaml")
    check_trusted(class_paths(config.model_dump(mode="json")), trust, str(run_dir / "config.yaml"))
    if config.model.dynamics.mode != "lattice":
        raise ConfigError(
            "model.dynamics.mode",
            f"expected a run with a lattice, got '{config.model.dynamics.mode}'",
            "Analyse a run whose model.dynamics.mode is lattice",
        )
    return config


def _subject(study: Study, data: str | None) -> dict[str, Any]:
    """The lattice and the text, as in ``analysis.json``."""
    lattice, text = study.model.config.lattice, study.text
    sizes = {name: int((study.code_S == code).sum()) for code, name in enumerate(study.classes)}
    return {
        "lattice": {
            "dimensions": list(lattice.dimensions),
            "axis": lattice.axis,
            "steps": study.recording.steps,
            "coordinates": study.recording.coordinates_n3.tolist(),
            "cells": study.model.graph.num_cells,
        },
        "text": {
            "file": data,
            "samples": len(text.texts),
            "groups": len(set(text.groups)),
            "classes": sizes,
            "origin": text.origin,
            "own_labels": text.own_labels,
        },
    }


def _study(model: LatticeModel, prepared: Prepared, data: str | None) -> Study:
    text = study_text(prepared, data, MOST_SAMPLES)
    _log.info(
        "analysis: %s samples of %s classes in %s groups",
        len(text.texts),
        len(set(text.labels)),
        len(set(text.groups)),
    )
    train = prepared.train
    every = -(-len(train.source_ND) // FIT_ROWS)
    fit = EmbeddingSplit.of("train", train.source_ND[::every], train.target_ND[::every])
    return Study(
        model=model,
        text=text,
        train_mean_D=train.target_ND.double().mean(0).cpu().numpy(),
        fit=fit,
        seed=prepared.config.run.seed,
    )


def _sections(study: Study, prepared: Prepared, twins: int) -> Iterator[tuple[str, Section]]:
    """All parts in order; what does not apply to a model is left out."""

    def embed(texts: Sequence[str]) -> Floats:
        rows_ND: Floats = prepared.cache.embed(texts).astype("float64")
        return rows_ND

    twin = next(_twins(prepared, 1))
    parts: dict[str, Callable[[], Section | None]] = {
        "experts": lambda: experts_section(study),
        "cells": lambda: cells_section(study),
        "training": lambda: twins_section(study, _twins(prepared, twins)),
        "lesions": lambda: lesions_section(study),
        "use": lambda: use_section(study, twin) if study.recording.steps > 1 else None,
        "layers": lambda: layers_section(study),
        "flow": lambda: flow_section(study),
        "probes": lambda: probes_section(study),
        "composition": lambda: composition_section(study, embed, twin),
        "damage": lambda: damage_section(study),
    }
    for name, make in parts.items():
        began = time.perf_counter()
        section = make()
        _log.info("analysis: %s, %.1f s", name, time.perf_counter() - began)
        if section is not None:
            yield name, section


def _twins(prepared: Prepared, count: int) -> Iterator[LatticeModel]:
    """Untrained lattices with the run's seed and those that follow it."""
    config = prepared.config
    for number in range(count):
        run = config.run.model_copy(update={"seed": (config.run.seed + number) % 2**32})
        yield untrained(replace(prepared, config=config.model_copy(update={"run": run})))
