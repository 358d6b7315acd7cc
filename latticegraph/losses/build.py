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
from latticegraph.losses.contrastive import ContrastiveLoss
from latticegraph.losses.distillation import DistillationLoss
from latticegraph.losses.diversity import DiversityLoss
from latticegraph.losses.dynamics import DynamicsLoss
from latticegraph.losses.emergence import EmergenceLoss
from latticegraph.losses.gates import GateBalanceLoss, GateZLoss
from latticegraph.losses.learned_weighting import GradNormWeighting, UncertaintyWeighting
from latticegraph.losses.objective import Objective, Weight
from latticegraph.losses.prefixes import PrefixLoss
from latticegraph.losses.reconstruction import ReconstructionLoss
from latticegraph.losses.similarity import SimilarityLoss, StructureLoss
from latticegraph.losses.sparsity import SparsityLoss
from latticegraph.losses.spatial import SpatialLoss
from latticegraph.losses.term import LossContext, LossTerm
from latticegraph.losses.triplet import TripletLoss
from latticegraph.losses.weighting import FixedWeighting, SoftmaxWeighting, Weighting
from latticegraph.model import Student
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
    student: Student | None = None,
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
        student: the model, where ``settings`` asks for prefixes or gradnorm; only looked at.

    Shapes:
        teacher_mean_D: [D]

    Raises:
        ConfigError: when every weight of a phase is 0, a term of another file is not usable, or
            the weighting does not fit the terms, the phases or the model.
        DataError: when the teacher's embeddings do not vary.
    """
    context = LossContext(teacher_mean_D, teacher_variance, graph)
    makers = _makers(settings, context, backend, cells, student)
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
    objective = Objective(terms, weights, _weighting(settings, phases, student))
    _check_weights(objective, phases)
    return objective


def _makers(
    settings: LossSettings,
    context: LossContext,
    backend: Backend,
    cells: Cells | None,
    student: Student | None,
) -> dict[str, Callable[[], LossTerm]]:
    """How every term of the package is made, in the order in which they are added."""
    mean_D, variance = context.teacher_mean_D, context.teacher_variance
    return {
        "reconstruction": lambda: ReconstructionLoss(variance),
        "similarity": lambda: SimilarityLoss(mean_D),
        "structure": lambda: StructureLoss(mean_D),
        "diversity": DiversityLoss,
        "emergence": lambda: EmergenceLoss(settings.emergence_target),
        "dynamics": lambda: DynamicsLoss(settings.dynamics_target),
        "spatial": lambda: SpatialLoss(context.graph, backend, cells),
        "triplet": lambda: TripletLoss(mean_D, settings.triplet_margin, settings.triplet_negatives),
        "contrastive": lambda: ContrastiveLoss(
            mean_D, settings.contrastive_temperature, settings.contrastive_hardness
        ),
        "distillation": lambda: DistillationLoss(
            mean_D, settings.distillation_start, settings.distillation_end
        ),
        "sparsity": SparsityLoss,
        "prefixes": lambda: _prefixes(settings, student, variance),
        "gate_balance": GateBalanceLoss,
        "gate_z": GateZLoss,
    }


def _check_weights(objective: Objective, phases: Sequence[PhaseSettings]) -> None:
    """Refuse a phase in which every weight is 0."""
    for index in range(max(len(phases), 1)):
        if not objective.weights_at(index):
            raise ConfigError(
                f"training.phases.{index}.losses" if phases and phases[index].losses else "losses",
                "expected at least one weight above 0, got 0 for every term",
                "Set losses.reconstruction to 1.0",
            )


def _prefixes(
    settings: LossSettings, student: Student | None, teacher_variance: float
) -> PrefixLoss:
    """The term of nested prefixes, where there is a projection to decode them."""
    if student is None or student.transformer is None:
        raise ConfigError(
            "losses.prefixes",
            f"expected 0 where no projection makes a code, got {settings.prefixes}",
            "Set losses.prefixes to 0, or lattice.surface to front_back",
        )
    return PrefixLoss(
        student.project_back, student.surface_width, settings.prefix_lengths, teacher_variance
    )


def _weighting(
    settings: LossSettings, phases: Sequence[PhaseSettings], student: Student | None
) -> Weighting:
    """The weighting of ``losses.weighting``."""
    if settings.weighting == "softmax":
        return SoftmaxWeighting(settings.weighting_temperature)
    if settings.weighting == "uncertainty":
        return UncertaintyWeighting(settings.weighting_rate)
    if settings.weighting == "fixed":
        return FixedWeighting()
    layers = () if student is None else tuple(student.components())
    if settings.gradnorm_layer not in layers:
        raise ConfigError(
            "losses.gradnorm_layer",
            f"expected a component of the model with parameters ({', '.join(layers)}), got "
            f"'{settings.gradnorm_layer}'",
            "Name one that all terms train, for instance mapper",
        )
    for index, phase in enumerate(phases):
        if phase.train != "all":
            raise ConfigError(
                f"training.phases.{index}.train",
                f"expected all with losses.weighting gradnorm, which compares the gradients of one "
                f"layer in all phases, got '{phase.train}'",
                "Set it to all, or losses.weighting to fixed",
            )
    return GradNormWeighting(
        settings.gradnorm_layer,
        settings.weighting_rate,
        settings.gradnorm_alpha,
        settings.gradnorm_every,
    )


def _load(place: int, extra: ExtraLossSettings, context: LossContext) -> LossTerm:
    """A term whose class is defined outside the package."""
    where = f"losses.extra.{place}"
    kind = load_class(extra.kind, f"{where}.kind", LossTerm)  # type: ignore[type-abstract]
    term = make(kind, extra.options, f"{where}.options")
    term.setup(context)
    return term
