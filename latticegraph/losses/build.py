"""From settings to the objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from latticegraph.aggregation import Backend, Cells
from latticegraph.config.losses import ExtraLossSettings, LossSettings
from latticegraph.config.model import GatingSettings
from latticegraph.config.training import PhaseSettings
from latticegraph.errors import ConfigError
from latticegraph.lattice.graph import LatticeGraph
from latticegraph.losses.diversity import DiversityLoss
from latticegraph.losses.dynamics import DynamicsLoss
from latticegraph.losses.emergence import EmergenceLoss
from latticegraph.losses.gates import GateBalanceLoss, GateZLoss
from latticegraph.losses.objective import Objective, Weight
from latticegraph.losses.reconstruction import ReconstructionLoss
from latticegraph.losses.similarity import SimilarityLoss, StructureLoss
from latticegraph.losses.spatial import SpatialLoss
from latticegraph.losses.term import LossContext, LossTerm
from latticegraph.plugins import load_class, make


@dataclass(frozen=True)
class PhaseWeight:
    """A weight that some phases change.

    Attributes:
        usual: weight in all other phases.
        changed: weight by the index of a phase.
    """

    usual: float
    changed: dict[int, float]

    def __call__(self, phase: int, update: int) -> float:
        """The weight in a phase, the same in all its updates."""
        return self.changed.get(phase, self.usual)


def build_objective(
    settings: LossSettings,
    gating: GatingSettings,
    teacher_mean_D: Tensor,
    teacher_variance: float,
    graph: LatticeGraph,
    backend: Backend = "spmm",
    cells: Cells | None = None,
    phases: Sequence[PhaseSettings] = (),
) -> Objective:
    """Build every term that has a weight above 0 in some phase.

    Args:
        settings: weights and targets of the terms, each weight >= 0; terms of other files.
        gating: weights of the two gating terms, each >= 0.
        teacher_mean_D: mean of the training targets.
        teacher_variance: mean over dimensions of their variance, > 0.
        graph: the lattice.
        backend: how the spatial term sums over neighbours.
        cells: which cells this process holds; None: all.
        phases: of the training, which may change weights; none: the weights of ``settings`` hold.

    Shapes:
        teacher_mean_D: [D]

    Raises:
        ConfigError: when every weight of a phase is 0, or a term of another file is not usable.
        DataError: when the teacher's embeddings do not vary.
    """
    context = LossContext(teacher_mean_D, teacher_variance, graph)
    makers: dict[str, Callable[[], LossTerm]] = {
        "reconstruction": lambda: ReconstructionLoss(teacher_variance),
        "similarity": lambda: SimilarityLoss(teacher_mean_D),
        "structure": lambda: StructureLoss(teacher_mean_D),
        "diversity": DiversityLoss,
        "emergence": lambda: EmergenceLoss(settings.emergence_target),
        "dynamics": lambda: DynamicsLoss(settings.dynamics_target),
        "spatial": lambda: SpatialLoss(graph, backend, cells),
        "gate_balance": GateBalanceLoss,
        "gate_z": GateZLoss,
    }
    usual = settings.weights() | {
        "gate_balance": gating.balance_weight,
        "gate_z": gating.z_weight,
    }
    for place, extra in enumerate(settings.extra):
        makers[extra.name] = lambda place=place, extra=extra: _load(place, extra, context)  # type: ignore[misc]
    weights: dict[str, Weight] = {}
    terms: dict[str, LossTerm] = {}
    for name, make_term in makers.items():
        changed = {i: p.losses[name] for i, p in enumerate(phases) if name in p.losses}
        if usual[name] > 0 or any(changed.values()):
            weights[name] = PhaseWeight(usual[name], changed) if changed else usual[name]
            terms[name] = make_term()
    objective = Objective(terms, weights)
    _check_weights(objective, phases)
    return objective


def _check_weights(objective: Objective, phases: Sequence[PhaseSettings]) -> None:
    """Refuse a phase in which every weight is 0."""
    for index in range(max(len(phases), 1)):
        if not objective.weights_at(index):
            raise ConfigError(
                f"training.phases.{index}.losses" if phases and phases[index].losses else "losses",
                "expected at least one weight above 0, got 0 for every term",
                "Set losses.reconstruction to 1.0",
            )


def _load(place: int, extra: ExtraLossSettings, context: LossContext) -> LossTerm:
    """A term whose class is defined outside the package."""
    where = f"losses.extra.{place}"
    kind = load_class(extra.kind, f"{where}.kind", LossTerm)  # type: ignore[type-abstract]
    term = make(kind, extra.options, f"{where}.options")
    term.setup(context)
    return term
