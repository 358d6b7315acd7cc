"""The whole configuration tree of one run."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from latticegraph.config.evaluation import EvaluationSettings
from latticegraph.config.lattice import LatticeSettings
from latticegraph.config.losses import LossSettings
from latticegraph.config.model import ModelSettings
from latticegraph.config.report import ReportSettings
from latticegraph.config.section import Section
from latticegraph.config.sources import DataSettings, TeacherSettings
from latticegraph.config.training import TrainingSettings

LONGEST_NAME = 200  # bytes; file systems take 255, and a free name may need a number behind it
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def _check_folder_name(name: str) -> None:
    """Refuse what some system cannot make a folder of."""
    if DEVICES.fullmatch(name):
        raise ValueError(
            f"name: expected a name that Windows allows, got '{name}', which it keeps for a "
            "device; set run.name to another name"
        )
    if name.endswith("."):
        raise ValueError(
            f"name: expected a name that Windows allows, got '{name}' with a dot at its end; set "
            "run.name to another name"
        )
    if len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        raise ValueError(
            f"name: expected at most {LONGEST_NAME} bytes, got {len(name.encode())}; set run.name "
            "to a shorter name"
        )


class RunSettings(Section):
    """Name, place and machine of a run."""

    name: str | None = Field(None, description="folder below output_dir; null: the file's name")
    output_dir: str = Field("runs", description="folder of all runs")
    seed: int = Field(0, ge=0, lt=2**32, description="same seed, same CPU result, bit for bit")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: cuda where there is one, else cpu"
    )
    threads: int = Field(
        0, ge=0, le=1024, description="CPU threads of torch; 0 leaves its own choice"
    )
    parallel: Literal["data", "slabs"] = Field(
        "data",
        description="what several processes (torchrun) share: the samples of a batch, or the cube",
    )

    @model_validator(mode="after")
    def _one_folder(self) -> RunSettings:
        if self.name is not None and not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ValueError(
                "name: expected letters, digits, '_', '.' and '-' with a letter, digit or '_' "
                f"first, got '{self.name}'; set run.name to another name"
            )
        if self.name is not None:
            _check_folder_name(self.name)
        return self


class Config(Section):
    """Everything a run needs, resolved and checked."""

    run: RunSettings = RunSettings()
    lattice: LatticeSettings = LatticeSettings()
    model: ModelSettings = ModelSettings()
    losses: LossSettings = LossSettings()
    teacher: TeacherSettings = TeacherSettings()
    data: DataSettings = DataSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _phase_losses(self) -> Config:
        known = self.losses.weights()
        for index, phase in enumerate(self.training.phases):
            for name in phase.losses:
                if name not in known:
                    raise ValueError(
                        f"training.phases.{index}.losses.{name}: expected the name of a loss term, "
                        f"got '{name}'; the terms are {', '.join(known)}"
                    )
        return self

    @model_validator(mode="after")
    def _volume(self) -> Config:
        if self.lattice.surface != "volume":
            return self
        cells = self.lattice.dimensions[0] * self.lattice.dimensions[1] * self.lattice.dimensions[2]
        if cells != self.teacher.dimension:
            raise ValueError(
                f"lattice.dimensions: expected {self.teacher.dimension} cells (teacher.dimension) "
                f"for surface 'volume', got {cells}; change lattice.dimensions"
            )
        if self.model.surface_channels != 1:
            raise ValueError(
                "model.surface_channels: expected 1 for surface 'volume', got "
                f"{self.model.surface_channels}; set it to 1"
            )
        return self
