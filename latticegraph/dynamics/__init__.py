"""The step, the experts, their gates, and what takes their place in controls."""

from latticegraph.dynamics.ablations import AblateCells, AblateEdges, AblateExpert, Ablation
from latticegraph.dynamics.controls import Identity, Wire
from latticegraph.dynamics.disk_recorder import DiskRecorder, read_trajectory
from latticegraph.dynamics.distant_expert import DistantExpert
from latticegraph.dynamics.dynamics import Dynamics, Rollout
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.functional_expert import FunctionalExpert
from latticegraph.dynamics.gating import GatingNetwork
from latticegraph.dynamics.interventions import (
    Intervention,
    ReplaceCells,
    ReplaceGate,
    SilenceEdges,
    SilenceExpert,
)
from latticegraph.dynamics.lattice3d import Lattice3D
from latticegraph.dynamics.local_expert import LocalExpert
from latticegraph.dynamics.recorder import Recorder, StepRecord, TrajectoryRecorder

__all__ = [
    "AblateCells",
    "AblateEdges",
    "AblateExpert",
    "Ablation",
    "DiskRecorder",
    "DistantExpert",
    "Dynamics",
    "Expert",
    "FunctionalExpert",
    "GatingNetwork",
    "Identity",
    "Intervention",
    "Lattice3D",
    "LocalExpert",
    "Recorder",
    "ReplaceCells",
    "ReplaceGate",
    "Rollout",
    "SilenceEdges",
    "SilenceExpert",
    "StepRecord",
    "TrajectoryRecorder",
    "Wire",
    "read_trajectory",
]
