"""The weighted sum of all terms, and the value of each.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from latticegraph.errors import ConfigError
from latticegraph.losses.diversity import DiversityLoss
from latticegraph.losses.dynamics import DynamicsLoss
from latticegraph.losses.emergence import EmergenceLoss
from latticegraph.losses.reconstruction import ReconstructionLoss
from latticegraph.losses.similarity import SimilarityLoss, StructureLoss
from latticegraph.losses.spatial import SpatialLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from latticegraph.aggregation import Backend
    from latticegraph.config.losses import LossSettings
    from latticegraph.config.model import GatingSettings
    from latticegraph.lattice.graph import LatticeGraph
    from latticegraph.model.output import StudentOutput


class CombinedLoss(nn.Module):
    """Sum over terms of weight * term; a term of weight 0 is neither built nor computed.

    ``gate_balance`` and ``gate_z`` come ready-made from the model and are weighted by the gating
    settings.

    Args:
        settings: weights and targets of the terms, each weight >= 0.
        gating: weights of the two gating terms, each >= 0.
        teacher_mean_D: mean of the training embeddings.
        teacher_variance: mean over dimensions of their variance, > 0.
        graph: the lattice, for the spatial term.
        backend: how that term sums over neighbours.

    Shapes:
        teacher_mean_D: [D]

    Raises:
        ConfigError: when every weight is 0.
        DataError: when the teacher's embeddings do not vary.
    """

    def __init__(
        self,
        settings: LossSettings,
        gating: GatingSettings,
        teacher_mean_D: Tensor,
        teacher_variance: float,
        graph: LatticeGraph,
        backend: Backend = "spmm",
    ) -> None:
        super().__init__()
        makers: dict[str, Callable[[], nn.Module]] = {
            "reconstruction": lambda: ReconstructionLoss(teacher_variance),
            "similarity": lambda: SimilarityLoss(teacher_mean_D),
            "structure": lambda: StructureLoss(teacher_mean_D),
            "diversity": DiversityLoss,
            "emergence": lambda: EmergenceLoss(settings.emergence_target),
            "dynamics": lambda: DynamicsLoss(settings.dynamics_target),
            "spatial": lambda: SpatialLoss(graph, backend),
        }
        weights = {name: float(getattr(settings, name)) for name in makers}
        self.terms = nn.ModuleDict({n: make() for n, make in makers.items() if weights[n] > 0})
        gates = {"gate_balance": gating.balance_weight, "gate_z": gating.z_weight}
        self.weights = {name: w for name, w in (weights | gates).items() if w > 0}
        if not self.weights:
            raise ConfigError(
                "losses",
                "expected at least one weight above 0, got 0 for every term",
                "Set losses.reconstruction to 1.0",
            )

    def forward(self, output: StudentOutput, target_BD: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and every computed term before weighting.

        Returns:
            The total to differentiate, and detached scalars by term name together with ``total``.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; total and terms: scalars.
        """
        values: dict[str, Tensor] = {}
        total = target_BD.new_zeros(())
        # Cosines and energies lose their meaning in bfloat16.
        with torch.autocast(target_BD.device.type, enabled=False):
            for name, weight in self.weights.items():
                values[name] = self._term(name, output, target_BD)
                total = total + weight * values[name]
        values["total"] = total
        return total, {name: value.detach() for name, value in values.items()}

    def _term(self, name: str, output: StudentOutput, target_BD: Tensor) -> Tensor:
        term: Tensor
        term = self.terms[name](output, target_BD) if name in self.terms else getattr(output, name)
        return term
