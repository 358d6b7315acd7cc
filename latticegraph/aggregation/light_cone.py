"""The cells that matter in each step between an input face and an output face.

Legend: C channels, H heads, J channels per head (C = J * H), N cells, B batch, O offsets; in a step
n varying and k constant sources, a varying and l constant targets, M = n B + k or a B + l columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from latticegraph.aggregation.cone_step import ConeCells, ConeStep
from latticegraph.aggregation.layout import Layout
from latticegraph.aggregation.neighbourhood import Neighbourhood, PreparedWeights, SelfNeighbourhood
from latticegraph.lattice import LatticeGraph


class ConeBlocks:
    """The edges of one expert between the varying cells of all steps, as small dense matrices.

    Steps that join the same offsets share a matrix, which is filled once per rollout. What constant
    cells send is summed over the whole lattice, for one sample.

    Args:
        whole: all edges of the expert.
        layout: order of the columns of the whole lattice.
        offset_NN: row of the weights of the edge from source (column) to target (row); O: no edge.
    """

    def __init__(self, whole: Neighbourhood, layout: Layout, offset_NN: Tensor) -> None:
        self.whole, self.layout = whole, layout
        self.offsets: list[Tensor] = []
        self._offset_NN = offset_NN
        self._known: dict[tuple[tuple[int, ...], bytes], int] = {}

    def joins(self, target: Tensor, source: Tensor) -> bool:
        """Whether an edge leads from some cells to others."""
        chosen = self._offset_NN[target[:, None], source[None]]
        return bool((chosen < len(self.whole.edge_attr_O4)).any())

    def number(self, target: Tensor, source: Tensor) -> int | None:
        """Number of the matrix between some cells; None where no edge joins them."""
        if not self.joins(target, source):
            return None
        chosen = self._offset_NN[target[:, None], source[None]]
        key = tuple(chosen.shape), chosen.numpy().tobytes()
        if key not in self._known:
            self._known[key] = len(self.offsets)
            self.offsets.append(chosen)
        return self._known[key]

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """Every matrix, by head, and behind them the weights of the whole lattice."""
        prepared = self.whole.prepare(weight_OH)
        if isinstance(self.whole, SelfNeighbourhood):
            return prepared
        none_1H = weight_OH.new_zeros(1, weight_OH.shape[1])
        weight_HO = torch.cat([weight_OH, none_1H]).t().contiguous()
        matrices = (
            weight_HO.index_select(1, offset.flatten()).view(-1, *offset.shape)
            for offset in self.offsets
        )
        return (*matrices, *prepared)

    def sum_constant(
        self, values_Ck: Tensor, source_k: Tensor, target: Tensor, prepared: PreparedWeights
    ) -> Tensor:
        """What constant cells send to the target cells, one value per channel and target.

        Args:
            values_Ck: of the constant cells.
            source_k: their numbers.
            target: numbers of the target cells.
            prepared: result of :meth:`prepare`.
        """
        all_CN = values_Ck.new_zeros(len(values_Ck), self.whole.num_cells)
        all_CN = all_CN.index_copy(1, source_k, values_Ck)
        columns = self.layout.columns(all_CN[..., None])
        sums_CN1 = self.layout.states(self.whole.sum(columns, prepared[len(self.offsets) :]))
        return sums_CN1[..., 0].index_select(1, target)


class ConeNeighbourhood(Neighbourhood):
    """The edges of one expert between the cells of one step.

    Args:
        blocks: matrices of the expert.
        before: cells whose values enter.
        after: cells whose sums leave.
    """

    def __init__(self, blocks: ConeBlocks, before: ConeCells, after: ConeCells) -> None:
        whole = blocks.whole
        super().__init__(whole.edge_attr_O4, whole.num_cells, whole.heads, whole.neighbours)
        self.blocks, self.before, self.after = blocks, before, after
        self.varying = blocks.number(after.varying_n, before.varying_n)
        self.target = torch.cat([after.varying_n, after.constant_k])
        self.hears_constant = blocks.joins(self.target, before.constant_k)

    def largest_sum(self, size_OH: Tensor) -> Tensor:
        """As over all edges."""
        return self.blocks.whole.largest_sum(size_OH)

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """The matrices of all steps."""
        return self.blocks.prepare(weight_OH)

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`Neighbourhood`, from the columns before to those after the step."""
        varying, constant_Ck = self.before.split(values_CM)
        channels, _, batch = varying.shape
        reached = len(self.after.varying_n)
        sum_CaB = values_CM.new_zeros(channels, reached, batch)
        if self.varying is not None:
            values_JHnB = varying.unflatten(0, (-1, self.heads))
            sum_CaB = (prepared[self.varying] @ values_JHnB).flatten(0, 1)
        rest_Cl = values_CM.new_zeros(channels, len(self.after.constant_k))
        if self.hears_constant:
            from_constant = self.blocks.sum_constant(
                constant_Ck, self.before.constant_k, self.target, prepared
            )
            sum_CaB = sum_CaB + from_constant[:, :reached, None]
            rest_Cl = from_constant[:, reached:]
        return torch.cat([sum_CaB.flatten(1), rest_Cl], dim=1)


class ConeSelf(SelfNeighbourhood):
    """Every cell is its own only neighbour: no matrix is needed.

    Args:
        whole: the same, of all cells.
        step: selects the columns of the targets.
    """

    def __init__(self, whole: SelfNeighbourhood, step: ConeStep) -> None:
        super().__init__(whole.edge_attr_O4, whole.num_cells, whole.heads)
        self.step = step

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """The values of the target cells, weighted."""
        return super().sum(self.step.own(values_CM), prepared)


class LightCone:
    """The cells of every step that the input has reached or that can still reach the output.

    A cell matters after step t only if some output cell can hear it in the steps that are left. Of
    those, a cell that the input has not reached has the same state for all samples. All others are
    left out. The output cells get exactly the states that the whole lattice would give them.

    Args:
        graph: the lattice.
        neighbourhoods: all edges of every expert.
        layout: order of the columns of the whole lattice.
        offsets: of :func:`offset_matrix`, of every expert.
        steps: T.
        varying_N: cells whose first states differ between samples.

    Attributes:
        first: cells before the first step.
        blocks: edges of every expert.
        steps: of the lattice.
        last: cells after the last step, among them all output cells.
        share: cells computed, of the cells that T steps of the whole lattice compute.
        largest: entries of the largest matrix of one head.
    """

    def __init__(
        self,
        graph: LatticeGraph,
        neighbourhoods: Sequence[Neighbourhood],
        layout: Layout,
        offsets: Sequence[Tensor],
        steps: int,
        varying_N: Tensor,
    ) -> None:
        count = graph.num_cells
        joined_NN = torch.stack(
            [m < len(n.edge_attr_O4) for m, n in _pairs(offsets, neighbourhoods)]
        )
        hears_NN = joined_NN.any(0).float()
        wanted_N = torch.zeros(count).index_fill(0, graph.output_cells, 1.0)
        wanted = [wanted_N]
        for _ in range(steps):
            wanted.insert(0, ((wanted[0] + wanted[0] @ hears_NN) > 0).float())
        reached_N, cells = varying_N.float(), list[ConeCells]()
        for t in range(steps + 1):
            if t:
                reached_N = ((reached_N + hears_NN @ reached_N) > 0).float()
            cells.append(_cells(wanted[t], reached_N, cells[-1] if t else None))
        self.first, self.last = cells[0], cells[-1]
        self.blocks = [ConeBlocks(whole, layout, m) for m, whole in _pairs(offsets, neighbourhoods)]
        self.steps = [_cone_step(before, after, self.blocks) for before, after in pairwise(cells)]
        computed = sum(len(c.varying_n) for c in cells[1:])
        self.share = computed / (steps * count)
        self.largest = max(len(b.varying_n) * len(a.varying_n) for b, a in pairwise(cells))

    def to(self, device: torch.device) -> None:
        """Move index tensors to ``device`` (in place)."""
        holders: list[object] = [self.first]
        for step in self.steps:
            picks = (step.was_varying, step.was_constant, step.still_constant)
            holders += [step.after, *picks, *step.neighbourhoods]
        for block in self.blocks:
            block.offsets = [offset.to(device) for offset in block.offsets]
        for holder in holders:
            for name, value in vars(holder).items():
                if isinstance(value, Tensor):
                    object.__setattr__(holder, name, value.to(device))


def _pairs(
    offsets: Sequence[Tensor], neighbourhoods: Sequence[Neighbourhood]
) -> list[tuple[Tensor, Neighbourhood]]:
    return list(zip(offsets, neighbourhoods, strict=True))


def _cells(wanted_N: Tensor, reached_N: Tensor, before: ConeCells | None) -> ConeCells:
    """Cells after a step: of the varying ones, first those that varied before."""
    varying = (wanted_N * reached_N).nonzero().flatten()
    if before is not None:
        known = torch.isin(varying, before.varying_n)
        varying = torch.cat([varying[known], varying[~known]])
    return ConeCells(varying, (wanted_N * (1 - reached_N)).nonzero().flatten())


def _cone_step(before: ConeCells, after: ConeCells, blocks: Sequence[ConeBlocks]) -> ConeStep:
    step = ConeStep(before, after, [])
    step.neighbourhoods = [
        ConeSelf(block.whole, step)
        if isinstance(block.whole, SelfNeighbourhood)
        else ConeNeighbourhood(block, before, after)
        for block in blocks
    ]
    return step


def offset_matrix(graph: LatticeGraph, types: Sequence[int]) -> Tensor:
    """Row of an expert's weights for every pair of cells, target by source; O where no edge is.

    Args:
        graph: the lattice.
        types: edge types of the expert.
    """
    chosen_O = torch.isin(graph.offset_type_O, torch.tensor([int(kind) for kind in types]))
    offsets_O3 = graph.offsets_O3[chosen_O]
    sides_3 = torch.tensor(graph.settings.dimensions)
    source_NO3 = graph.coordinates_N3[:, None] + offsets_O3
    if graph.settings.boundary == "periodic":
        source_NO3 %= sides_3
    target_E, row_E = ((source_NO3 >= 0) & (source_NO3 < sides_3)).all(2).nonzero().unbind(1)
    place_E3 = source_NO3[target_E, row_E]
    source_E = graph.number_N[
        (place_E3[:, 0] * sides_3[1] + place_E3[:, 1]) * sides_3[2] + place_E3[:, 2]
    ]
    offset_NN = torch.full((graph.num_cells, graph.num_cells), len(offsets_O3))
    offset_NN[target_E, source_E] = row_E
    return offset_NN
