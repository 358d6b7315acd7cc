"""Settings: one tree, read from YAML with dotted overrides, checked before anything runs."""

from latticegraph.config.decoder import (
    DecoderConfig,
    DecoderNetworkSettings,
    DecoderTrainingSettings,
    WritingSettings,
)
from latticegraph.config.evaluation import EvaluationSettings
from latticegraph.config.lattice import LatticeSettings
from latticegraph.config.load import dump_config, load_config, load_decoder_config
from latticegraph.config.losses import LossSettings
from latticegraph.config.model import ModelSettings
from latticegraph.config.report import ReportSettings
from latticegraph.config.root import Config, RunSettings
from latticegraph.config.sources import DataSettings, TeacherSettings
from latticegraph.config.training import PhaseSettings, TrainingSettings

__all__ = [
    "Config",
    "DataSettings",
    "DecoderConfig",
    "DecoderNetworkSettings",
    "DecoderTrainingSettings",
    "EvaluationSettings",
    "LatticeSettings",
    "LossSettings",
    "ModelSettings",
    "PhaseSettings",
    "ReportSettings",
    "RunSettings",
    "TeacherSettings",
    "TrainingSettings",
    "WritingSettings",
    "dump_config",
    "load_config",
    "load_decoder_config",
]
