"""Interventions that take the text out of a part of the lattice: zero, mean or another sample's.

Legend: C channels, N cells, B batch, K chosen cells.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor

from latticegraph.dynamics.interventions import Intervention
from latticegraph.lattice import EdgeType

if TYPE_CHECKING:
    from latticegraph.aggregation import Aggregation, Neighbourhood, PreparedWeights
    from latticegraph.dynamics.interventions import Edits

Ablation = Literal["zero", "mean", "resample"]


def ablated(value_CNB: Tensor, how: Ablation, seed: int = 0) -> Tensor:
    """A value without what it says about its own sample.

    ``zero``: 0. It also removes what is the same for all samples, such as a bias that a later part
    expects, so that its effect is not that of the text alone. ``mean``: the mean over the samples
    that are computed together. ``resample``: the value of another of these samples, the same one
    for every cell, channel, step and part; the values then have the distribution that the rest of
    the lattice knows.

    Args:
        value_CNB: any values with samples last.
        how: the kind.
        seed: of the choice of the other sample.

    >>> ablated(torch.tensor([[[1.0, 3.0]]]), "mean").tolist()
    [[[2.0, 2.0]]]
    >>> ablated(torch.tensor([[[1.0, 3.0]]]), "resample").tolist()
    [[[3.0, 1.0]]]
    """
    if how == "zero":
        return torch.zeros_like(value_CNB)
    if how == "mean":
        return value_CNB.mean(dim=-1, keepdim=True).expand_as(value_CNB)
    donor_B = other_samples(value_CNB.shape[-1], seed).to(value_CNB.device)
    return value_CNB.index_select(-1, donor_B)


def other_samples(count: int, seed: int = 0) -> Tensor:
    """For every sample another one, each chosen once (one random cycle; Sattolo 1986).

    Args:
        count: samples, at least 1; a single one can only choose itself.
        seed: of the cycle.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    donor_B = torch.empty(count, dtype=torch.int64)
    donor_B[order] = order.roll(1)
    return donor_B


@dataclass(frozen=True)
class AblateExpert(Intervention):
    """The update of an expert loses its text; its gate stays.

    Args:
        steps: numbers of the steps, from 1; None: all.
        name: of the expert.
        how: see :func:`ablated`.
        seed: of the other sample.
    """

    name: str = ""
    how: Ablation = "mean"
    seed: int = 0

    @property
    def expert(self) -> str | None:
        """Name of the expert."""
        return self.name

    def update(self, u_CNB: Tensor) -> Tensor:
        """The update, ablated."""
        return ablated(u_CNB, self.how, self.seed)


@dataclass(frozen=True)
class AblateCells(Intervention):
    """The states of some cells lose their text after the step.

    Args:
        steps: numbers of the steps, from 1; None: all.
        cells: K numbers of cells.
        how: see :func:`ablated`.
        seed: of the other sample.
    """

    cells: Sequence[int] | Tensor = ()
    how: Ablation = "mean"
    seed: int = 0

    def states(self, x_CNB: Tensor, samples: slice) -> Tensor:
        """States with those of the cells ablated."""
        cells_K = torch.as_tensor(self.cells, dtype=torch.int64, device=x_CNB.device)
        changed_CKB = ablated(x_CNB.index_select(1, cells_K), self.how, self.seed)
        return x_CNB.index_copy(1, cells_K, changed_CKB)


@dataclass(frozen=True)
class AblateEdges(Intervention):
    """What edges of one type carry loses its text, whichever expert uses them.

    Args:
        steps: numbers of the steps, from 1; None: all.
        edges: the edge type.
        how: see :func:`ablated`.
        seed: of the other sample.
    """

    edges: EdgeType = EdgeType.LOCAL
    how: Ablation = "mean"
    seed: int = 0

    @property
    def changed_edges(self) -> EdgeType | None:
        """The edge type."""
        return self.edges

    def messages(self, m_CNB: Tensor) -> Tensor:
        """What these edges bring to every cell, ablated."""
        return ablated(m_CNB, self.how, self.seed)


class EditedSums:
    """Sums over the edges of one expert, of which some types are changed.

    Sums are linear in the edges: what a type brings is the whole sum minus the sum without it.

    Args:
        whole: all edges of the expert.
        rests: weights without each changed edge type.
        edits: change what these types bring.
    """

    def __init__(
        self, whole: Neighbourhood, rests: Sequence[tuple[EdgeType, PreparedWeights]], edits: Edits
    ) -> None:
        self.whole, self.rests, self.edits = whole, rests, edits

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`~latticegraph.aggregation.Neighbourhood`."""
        full_CM = self.whole.sum(values_CM, prepared)
        sum_CM = full_CM
        for edge_type, rest in self.rests:
            part_CM = full_CM - self.whole.sum(values_CM, rest)
            sum_CM = sum_CM - part_CM + self.edits.messages(edge_type, part_CM)
        return sum_CM


def edited_aggregation(
    aggregation: Aggregation,
    without: Sequence[tuple[EdgeType, tuple[PreparedWeights, ...]]],
    edits: Edits,
) -> Aggregation:
    """The same sums with some edge types changed.

    Args:
        aggregation: of the lattice.
        without: for every changed type, the weights of all experts without it.
        edits: change what these types bring.
    """
    edited = copy.copy(aggregation)
    edited.neighbourhoods = [
        cast(
            "Neighbourhood",
            EditedSums(whole, [(kind, weights[index]) for kind, weights in without], edits),
        )
        for index, whole in enumerate(aggregation.neighbourhoods)
    ]
    return edited
