"""The cells that matter in each step between an input face and an output face.

Legend: C channels, H heads, J channels per head (C = J * H), N cells, B batch, O offsets; in a step
n varying and k constant sources, a varying and l constant targets, M = n B + k or a B + l columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from latticegraph.aggregation.aggregation import Aggregation, EdgeSet, weight_rows
from latticegraph.aggregation.cone_step import ConeCells, ConeStep, Pick, join
from latticegraph.aggregation.layout import Layout
from latticegraph.aggregation.neighbourhood import Neighbourhood, PreparedWeights, SelfNeighbourhood
from latticegraph.lattice import EdgeType, LatticeGraph


class ConeBlocks:
    """The edges of one expert between the varying cells of all steps, as small dense matrices.

    Steps that join the same offsets share a matrix, which is filled once per rollout. What constant
    cells send is summed over the whole lattice, for one sample.

    Args:
        whole: all edges of the expert.
        one_sample: the same edges, in the form that is fastest for a single sample.
        layout: order of the columns of ``one_sample``.

    Attributes:
        offsets: row of the weights of every entry of every matrix; O: no edge.
        hears_constant: some step sums over constant cells.
    """

    def __init__(self, whole: Neighbourhood, one_sample: Neighbourhood, layout: Layout) -> None:
        self.whole, self.one_sample, self.layout = whole, one_sample, layout
        self.offsets: list[Tensor] = []
        self.hears_constant = False

    def number(self, offset: Tensor) -> int:
        """Number of the matrix with these offsets, added where it is new."""
        for number, known in enumerate(self.offsets):
            if torch.equal(known, offset):
                return number
        self.offsets.append(offset)
        return len(self.offsets) - 1

    def prepare(self, weight_OH: Tensor) -> PreparedWeights:
        """Every matrix, by head, and behind them the weights of the whole lattice."""
        if isinstance(self.whole, SelfNeighbourhood):
            return self.whole.prepare(weight_OH)
        none_1H = weight_OH.new_zeros(1, weight_OH.shape[1])
        weight_HO = torch.cat([weight_OH, none_1H]).t().contiguous()
        matrices = [
            weight_HO.index_select(1, offset.flatten()).view(-1, *offset.shape)
            for offset in self.offsets
        ]
        return (*matrices, *(self.one_sample.prepare(weight_OH) if self.hears_constant else ()))

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
        sums_CN1 = self.layout.states(self.one_sample.sum(columns, prepared[len(self.offsets) :]))
        return sums_CN1[..., 0].index_select(1, target)


class ConeSums:
    """Sums over the edges of one expert between the cells of one step.

    Args:
        blocks: matrices of the expert; gets those of this step.
        offset_NN: of :func:`row_matrix`.
        before: cells whose values enter.
        after: cells whose sums leave.
    """

    def __init__(
        self, blocks: ConeBlocks, offset_NN: Tensor, before: ConeCells, after: ConeCells
    ) -> None:
        self.blocks, self.before, self.after = blocks, before, after
        none = len(blocks.whole.edge_attr_O4)
        self.target = torch.cat([after.varying_n, after.constant_k])
        varying_an = offset_NN[after.varying_n[:, None], before.varying_n]
        # Only those that are joined: edges that are short leave most rows and columns empty.
        joined_an = varying_an < none
        hearing, heard = (joined_an.any(axis).nonzero().flatten() for axis in (1, 0))
        self.heard, self.hearing = Pick(heard), hearing
        self.all_hear = len(hearing) == len(after.varying_n)
        self.varying = blocks.number(varying_an[hearing[:, None], heard]) if len(hearing) else None
        self.hears_constant = bool(
            (offset_NN[self.target[:, None], before.constant_k] < none).any()
        )
        blocks.hears_constant |= self.hears_constant

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """As in :class:`Neighbourhood`, from the columns before to those after the step."""
        varying, constant_Ck = self.before.split(values_CM)
        batch, reached = varying.shape[2], len(self.after.varying_n)
        from_constant = self._from_constant(constant_Ck, prepared)
        sum_CaB = from_constant[:, :reached, None].expand(-1, -1, batch)
        if self.varying is not None:
            values_JHnB = self.heard(varying).unflatten(0, (-1, self.blocks.whole.heads))
            from_varying = (prepared[self.varying] @ values_JHnB).flatten(0, 1)
            if not self.all_hear:
                sum_CaB = sum_CaB.index_add(1, self.hearing, from_varying)
            else:
                sum_CaB = sum_CaB + from_varying if self.hears_constant else from_varying
        return join([sum_CaB.flatten(1), from_constant[:, reached:]])

    def _from_constant(self, values_Ck: Tensor, prepared: PreparedWeights) -> Tensor:
        if self.hears_constant:
            return self.blocks.sum_constant(
                values_Ck, self.before.constant_k, self.target, prepared
            )
        return values_Ck.new_zeros(len(values_Ck), len(self.target))


class ConeSelf:
    """Every cell is its own only neighbour: no matrix is needed.

    Args:
        whole: the same, of all cells.
        step: selects the columns of the targets.
    """

    def __init__(self, whole: SelfNeighbourhood, step: ConeStep) -> None:
        self.whole, self.step = whole, step

    def sum(self, values_CM: Tensor, prepared: PreparedWeights) -> Tensor:
        """The values of the target cells, weighted."""
        return self.whole.sum(self.step.own(values_CM), prepared)


class LightCone:
    """The cells of every step that the input has reached or that can still reach the output.

    A cell matters after step t only if some output cell can hear it in the steps that are left. Of
    those, a cell that the input has not reached has the same state for all samples. All others are
    left out. The output cells get exactly the states that the whole lattice would give them.

    Args:
        graph: the lattice.
        aggregation: all edges of every expert.
        types: edge types of every expert.
        steps: T.
        varying_N: cells whose first states differ between samples.

    Attributes:
        first: cells before the first step.
        one_sample: sums over the whole lattice, for what constant cells send.
        blocks: edges of every expert.
        steps: of the lattice.
        last: cells after the last step, among them all output cells.
        visits_N: in how many steps a cell is computed for every sample.
        visited: number of cells that are.
        share: cells computed, of the cells that T steps of the whole lattice compute.
        largest: entries of the largest matrix of one head.
    """

    def __init__(
        self,
        graph: LatticeGraph,
        aggregation: Aggregation,
        types: Sequence[EdgeSet],
        steps: int,
        varying_N: Tensor,
    ) -> None:
        count = graph.num_cells
        offsets = [
            row_matrix(graph, kinds, by_edge)
            for kinds, by_edge in zip(types, aggregation.by_edge, strict=True)
        ]
        wholes = aggregation.neighbourhoods
        hears_NN = torch.zeros(count, count, dtype=torch.bool)
        for offset_NN, whole in zip(offsets, wholes, strict=True):
            hears_NN |= offset_NN < len(whole.edge_attr_O4)
        cells = _cells_by_step(hears_NN.float(), graph.output_cells, varying_N.float(), steps)
        self.first, self.last = cells[0], cells[-1]
        self.one_sample = one_sample = aggregation.for_one_sample(graph, types)
        self.blocks = [
            ConeBlocks(whole, one, one_sample.layout)
            for whole, one in zip(wholes, one_sample.neighbourhoods, strict=True)
        ]
        self.steps = []
        for before, after in pairwise(cells):
            step = ConeStep(before, after, aggregation.cells)
            step.neighbourhoods = [
                ConeSelf(block.whole, step)
                if isinstance(block.whole, SelfNeighbourhood)
                else ConeSums(block, offset_NN, before, after)
                for block, offset_NN in zip(self.blocks, offsets, strict=True)
            ]
            self.steps.append(step)
        self.visits_N = torch.zeros(count)
        for after in cells[1:]:
            self.visits_N[after.varying_n] += 1
        self.visited = int((self.visits_N > 0).sum())
        self.share = float(self.visits_N.sum()) / (steps * count)
        self.largest = max(len(b.varying_n) * len(a.varying_n) for b, a in pairwise(cells))

    def to(self, device: torch.device) -> None:
        """Move index tensors to ``device`` (in place)."""
        holders: list[object] = [self, self.first]
        for step in self.steps:
            picks = (step.was_varying, step.was_constant, step.still_constant)
            sums = [s for s in step.neighbourhoods if isinstance(s, ConeSums)]
            holders += [step.after, *picks, *sums, *(s.heard for s in sums)]
        for block in self.blocks:
            block.offsets = [offset.to(device) for offset in block.offsets]
        self.one_sample.to(device, self.blocks[0].whole.edge_attr_O4.dtype)
        for holder in holders:
            for name, value in vars(holder).items():
                if isinstance(value, Tensor):
                    setattr(holder, name, value.to(device))


def _cells_by_step(
    hears_NN: Tensor, output: Tensor, reached_N: Tensor, steps: int
) -> list[ConeCells]:
    """The cells kept before the first step and after each."""
    wanted = [torch.zeros(len(hears_NN)).index_fill(0, output, 1.0)]
    for _ in range(steps):
        wanted.insert(0, ((wanted[0] + wanted[0] @ hears_NN) > 0).float())
    cells: list[ConeCells] = []
    for wanted_N in wanted:
        if cells:
            reached_N = ((reached_N + hears_NN @ reached_N) > 0).float()
        varying = (wanted_N * reached_N).nonzero().flatten()
        if cells:  # first those that varied before: their states then lie side by side
            known = torch.isin(varying, cells[-1].varying_n)
            varying = torch.cat([varying[known], varying[~known]])
        cells.append(ConeCells(varying, (wanted_N * (1 - reached_N)).nonzero().flatten()))
    return cells


def row_matrix(graph: LatticeGraph, types: Sequence[EdgeType], by_edge: bool = False) -> Tensor:
    """Row of an expert's weights for every pair of cells, target by source; O where no edge is.

    Args:
        graph: the lattice.
        types: edge types of the expert.
        by_edge: every edge has weights of its own.
    """
    rows = weight_rows(graph, types, by_edge)
    if rows.edge_O is not None:
        source_O, target_O = graph.edge_index_2E[:, rows.edge_O]
        row_NN = torch.full((graph.num_cells, graph.num_cells), len(rows.edge_O))
        row_NN[target_O, source_O] = torch.arange(len(rows.edge_O))
        return row_NN
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
