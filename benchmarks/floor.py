"""Floors: lower bounds on the time of an aggregation and of a step.

Legend: C channels, M columns, K rows of a linear map.
"""

from __future__ import annotations

import torch
from cases import Case, Problem
from torch import Tensor

from latticegraph.aggregation import SparseNeighbourhood
from latticegraph.model import Lattice3D


def aggregation_floor(problem: Problem) -> Case:
    """Read the state once and write it once; twice that with a backward pass."""
    x, out = problem.x_CNB.clone(), torch.empty_like(problem.x_CNB)

    def both() -> None:
        out.copy_(x)
        x.copy_(out)

    return Case("floor", lambda: out.copy_(x), both)


def map_shapes(lattice: Lattice3D) -> list[tuple[int, int]]:
    """Rows and columns of every matrix that a step multiplies columns with, in its own order."""
    _, _, stacked = lattice.weights().fused
    local, functional, distant = lattice.experts.values()
    matrices = [stacked.weight_KC]
    if not stacked.rows[0]:  # else the map of the local expert is one of those stacked
        matrices.append(local.mix.weight)
    matrices += [functional.from_sum.weight, functional.candidate.weight, distant.drive.weight]
    matrices += [distant.out.weight] * distant.substeps
    matrices += [distant.recur.weight] * (distant.substeps - 1)
    return [(m.shape[0], m.shape[1]) for m in matrices]


class _Products:
    """The products of some steps, forward and backward, into memory that is already there.

    A backward pass needs what every step computed, so every step has tensors of its own, out of the
    caches by the time it comes back to them. Steps without backward pass share theirs.

    Args:
        lattice: whose shapes and sums are used.
        batch: samples.
        steps: steps.
        sparse: also the sums over neighbours, as sparse products.
    """

    def __init__(self, lattice: Lattice3D, batch: int, steps: int, sparse: bool) -> None:
        like, columns = lattice.gating.logits.weight, lattice.cells.num_cells * batch
        self.steps = steps

        def filled(*shape: int) -> Tensor:
            return torch.randn(*shape).to(like)

        shapes = map_shapes(lattice)
        self.maps = [filled(k, c) for k, c in shapes]
        self.grads = [torch.empty_like(w_KC) for w_KC in self.maps]
        # Per step and map: the columns that go in, those that come out, the gradient of the former.
        self.columns = [
            [(filled(c, columns), filled(k, columns), filled(c, columns)) for k, c in shapes]
            for _ in range(steps)
        ]
        channels = lattice.settings.state_channels
        self.states = [filled(channels, columns) for _ in range(steps + 1)]
        with torch.no_grad():
            neighbourhoods = lattice.aggregation.neighbourhoods
            pairs = zip(neighbourhoods, lattice.weights().sums, strict=True)
            self.sums = [
                (neighbourhood, prepared)
                for neighbourhood, prepared in pairs
                if sparse and isinstance(neighbourhood, SparseNeighbourhood)
            ]

    @torch.no_grad()
    def forward(self, keep: bool = False) -> None:
        """All steps forward."""
        for step in range(self.steps):
            at = step if keep else 0
            for w_KC, (x_CM, out_KM, _) in zip(self.maps, self.columns[at], strict=True):
                torch.mm(w_KC, x_CM, out=out_KM)
            for neighbourhood, prepared in self.sums:
                neighbourhood.run(self.states[at], prepared, keep)
            self.states[at + 1].copy_(self.states[at])

    @torch.no_grad()
    def both(self) -> None:
        """All steps forward, then back."""
        self.forward(keep=True)
        for step in reversed(range(self.steps)):
            triples = zip(self.maps, self.grads, self.columns[step], strict=True)
            for w_KC, grad_KC, (x_CM, out_KM, grad_CM) in triples:
                torch.mm(w_KC.t(), out_KM, out=grad_CM)
                torch.mm(out_KM, x_CM.t(), out=grad_KC)
            state_CM = self.states[step]
            for neighbourhood, prepared in self.sums:
                neighbourhood.back(state_CM, prepared, state_CM)
            state_CM.copy_(self.states[step + 1])


def step_floor(lattice: Lattice3D, batch: int, steps: int, sparse: bool, name: str) -> Case:
    """The matrix products of some steps, and reading and writing their states once.

    Args:
        lattice: whose shapes and sums are used.
        batch: samples.
        steps: steps.
        sparse: also the sums over neighbours, as the sparse products they are.
        name: of the case.
    """
    products = _Products(lattice, batch, steps, sparse)
    return Case(name, products.forward, products.both)
