"""Interventions: what happens when a gate, an expert, an edge type or some cells are replaced.

Legend: C channels, N cells, B batch, M = N B columns, X experts, K chosen cells.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latticegraph.aggregation import Layout
from latticegraph.dynamics.gating import Gate
from latticegraph.errors import ConfigError
from latticegraph.lattice import EdgeType


@dataclass(frozen=True)
class Intervention:
    """A change of the dynamics at some steps; subclasses say of what.

    Args:
        steps: numbers of the steps it applies to, from 1; None: all.
    """

    steps: Collection[int] | None = None

    def applies(self, step: int) -> bool:
        """Whether it applies to a step."""
        return self.steps is None or step in self.steps

    @property
    def expert(self) -> str | None:
        """Name of the expert it changes, where it changes one."""
        return None

    @property
    def silent_edges(self) -> EdgeType | None:
        """Edge type whose messages are removed, where it removes one."""
        return None

    @property
    def changed_edges(self) -> EdgeType | None:
        """Edge type whose messages it changes, where it changes those of one."""
        return None

    def messages(self, m_CNB: Tensor) -> Tensor:
        """What edges of its type bring to every cell."""
        return m_CNB

    def update(self, u_CNB: Tensor) -> Tensor:
        """The update of its expert."""
        return u_CNB

    def gate(self, share_NB: Tensor) -> Tensor:
        """The share of its expert."""
        return share_NB

    def states(self, x_CNB: Tensor, samples: slice) -> Tensor:
        """The states after the step; ``samples`` of the batch are in this chunk."""
        return x_CNB


@dataclass(frozen=True)
class SilenceExpert(Intervention):
    """The update of an expert becomes 0; its gate stays.

    Args:
        steps: numbers of the steps, from 1; None: all.
        name: of the expert.
    """

    name: str = ""

    @property
    def expert(self) -> str | None:
        """Name of the expert."""
        return self.name

    def update(self, u_CNB: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(u_CNB)


@dataclass(frozen=True)
class ReplaceGate(Intervention):
    """The share of an expert becomes a constant; 0 silences it. Shares are not normalised again.

    Args:
        steps: numbers of the steps, from 1; None: all.
        name: of the expert.
        share: the constant.
    """

    name: str = ""
    share: float = 0.0

    @property
    def expert(self) -> str | None:
        """Name of the expert."""
        return self.name

    def gate(self, share_NB: Tensor) -> Tensor:
        """The constant."""
        return torch.full_like(share_NB, self.share)


@dataclass(frozen=True)
class SilenceEdges(Intervention):
    """No message passes over edges of one type, whichever expert uses them.

    Args:
        steps: numbers of the steps, from 1; None: all.
        edges: the edge type.
    """

    edges: EdgeType = EdgeType.LOCAL

    @property
    def silent_edges(self) -> EdgeType | None:
        """The edge type."""
        return self.edges


@dataclass(frozen=True)
class ReplaceCells(Intervention):
    """The states of some cells are replaced after the step.

    Args:
        steps: numbers of the steps, from 1; None: all.
        cells: K numbers of cells.
        values: new states: a number, (C, K, 1) for all samples, or (C, K, B) for each of them.
    """

    cells: Sequence[int] | Tensor = ()
    values: float | Tensor = 0.0

    def states(self, x_CNB: Tensor, samples: slice) -> Tensor:
        """States with those of the cells replaced."""
        values_CKB = torch.as_tensor(self.values, dtype=x_CNB.dtype, device=x_CNB.device)
        if values_CKB.ndim == 3 and values_CKB.shape[2] > 1:
            values_CKB = values_CKB[:, :, samples]
        shape = (x_CNB.shape[0], len(self.cells), x_CNB.shape[2])
        cells_K = torch.as_tensor(self.cells, dtype=torch.int64, device=x_CNB.device)
        return x_CNB.index_copy(1, cells_K, values_CKB.expand(shape))


class Edits:
    """The interventions of one step, applied to columns.

    Args:
        active: interventions that apply to the step.
        names: of the experts.
        layout: order of the columns.
        samples: of the batch that are in this chunk.
    """

    def __init__(
        self,
        active: Sequence[Intervention] = (),
        names: Sequence[str] = (),
        layout: Layout | None = None,
        samples: slice = slice(None),
    ) -> None:
        self._active = active
        self._names = names
        self._layout = layout
        self._samples = samples

    @property
    def is_empty(self) -> bool:
        """Whether nothing is changed."""
        return not self._active

    @property
    def silent(self) -> frozenset[EdgeType]:
        """Edge types over which no message passes."""
        return frozenset(
            edit.silent_edges for edit in self._active if edit.silent_edges is not None
        )

    @property
    def changed(self) -> tuple[EdgeType, ...]:
        """Edge types whose messages are changed, in a fixed order."""
        return tuple(
            sorted({edit.changed_edges for edit in self._active if edit.changed_edges is not None})
        )

    def messages(self, edge_type: EdgeType, m_CM: Tensor) -> Tensor:
        """What edges of one type bring."""
        for edit in self._active:
            if self._layout is not None and edit.changed_edges == edge_type:
                m_CM = self._layout.columns(edit.messages(self._layout.states(m_CM)))
        return m_CM

    def gates(self, gate: Gate) -> Gate:
        """The gates of all experts."""
        if self._layout is None:
            return gate
        share_XNB = self._layout.states(gate.share_XM)
        shares = list(share_XNB)
        for edit in self._active:
            if edit.expert is not None:
                index = self._names.index(edit.expert)
                shares[index] = edit.gate(shares[index])
        return replace(gate, share_XM=self._layout.columns(torch.stack(shares)))

    def update(self, index: int, u_CM: Tensor) -> Tensor:
        """The update of one expert."""
        for edit in self._active:
            if self._layout is not None and edit.expert == self._names[index]:
                u_CM = self._layout.columns(edit.update(self._layout.states(u_CM)))
        return u_CM

    def states(self, x_CM: Tensor) -> Tensor:
        """The states after the step."""
        for edit in self._active:
            if self._layout is not None:
                changed_CNB = edit.states(self._layout.states(x_CM), self._samples)
                x_CM = self._layout.columns(changed_CNB)
        return x_CM


NO_EDITS = Edits()


def check_interventions(interventions: Sequence[Intervention], names: Sequence[str]) -> None:
    """Refuse interventions in experts that do not exist.

    Raises:
        ConfigError: naming the experts there are.
    """
    for edit in interventions:
        if edit.expert is not None and edit.expert not in names:
            raise ConfigError(
                "interventions",
                f"expected one of the experts {', '.join(names)}, got '{edit.expert}'",
                "Name an expert of model.experts",
            )
