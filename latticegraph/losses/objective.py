"""The training objective: named loss terms and their weights.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from latticegraph.distributed import Processes
from latticegraph.losses.term import DeclaredFields, LossTerm, check_term
from latticegraph.model.output import StudentOutput

Weight = float | Callable[[int, int], float]
"""A constant, or a function of the phase and of the update within it, both counted from 0."""

# Fields that hold one value per cell and sample, or per output cell and sample. All others are
# the same in every process.
GATHERED = frozenset({"states_CNB", "surface_BS"})


class Objective(nn.Module):
    r"""Weighted sum of loss terms.

    .. math:: L = \sum_k w_k(\text{phase}, \text{update}) \, L_k

    A term whose weight is 0 at the moment is not computed.

    Args:
        terms: by name, in the order in which they are added and logged.
        weights: of every term.

    Raises:
        ConfigError: when a term does not declare the fields it reads, or has parameters.
    """

    def __init__(self, terms: Mapping[str, LossTerm], weights: Mapping[str, Weight]) -> None:
        super().__init__()
        assert terms.keys() == weights.keys(), "one weight per term"
        for name, term in terms.items():
            check_term(name, term)
        # A ModuleDict refuses names of its own methods; the list registers the modules.
        self.modules_in_order = nn.ModuleList(terms.values())
        self.terms = dict(terms)
        self.weights = dict(weights)

    def weights_at(self, phase: int = 0, update: int = 0) -> dict[str, float]:
        """Weights of the terms that count at one update; terms of weight 0 are left out.

        Args:
            phase: index of the phase.
            update: updates of that phase before it.
        """
        found = {name: w(phase, update) if callable(w) else w for name, w in self.weights.items()}
        return {name: weight for name, weight in found.items() if weight != 0}

    def gathered_fields(self, weights: Mapping[str, float]) -> frozenset[str]:
        """Fields that must be gathered from all processes for the terms with a weight.

        Args:
            weights: result of :meth:`weights_at`.
        """
        terms = (self.terms[name] for name in weights)
        reads = {field for term in terms if not term.sums_over_processes for field in term.reads}
        return GATHERED & reads

    def set_processes(self, processes: Processes) -> None:
        """Tell the terms that sum over processes themselves which processes there are.

        Args:
            processes: those that share the batch or the lattice.
        """
        for term in self.terms.values():
            if term.sums_over_processes:
                term.set_processes(processes)

    def forward(
        self,
        output: StudentOutput,
        target_BD: Tensor,
        weights: Mapping[str, float] | None = None,
        own: StudentOutput | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and every computed term before weighting.

        Args:
            output: what the student returned.
            target_BD: the teacher's embeddings.
            weights: result of :meth:`weights_at`; None: those of the first update.
            own: output of this process alone, whose states and surface the terms with
                ``sums_over_processes`` read; None: there is one process.

        Returns:
            The total to differentiate, and detached scalars by term name together with ``total``.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; total and terms: scalars.
        """
        values: dict[str, Tensor] = {}
        total = target_BD.new_zeros(())
        weights = self.weights_at() if weights is None else weights
        held = output
        if own is not None:
            held = replace(output, **{name: getattr(own, name) for name in GATHERED})
        # Cosines and energies lose their meaning in bfloat16.
        with torch.autocast(target_BD.device.type, enabled=False):
            for name, weight in weights.items():
                term = self.terms[name]
                seen = held if term.sums_over_processes else output
                declared = cast(StudentOutput, DeclaredFields(seen, name, term))
                values[name] = term(declared, target_BD)
                if values[name].ndim:
                    raise ValueError(
                        f"losses.{name}: expected a scalar from {type(term).__name__}.forward, got "
                        f"the shape {list(values[name].shape)}. Return its mean or sum."
                    )
                total = total + weight * values[name]
        values["total"] = total
        return total, {name: value.detach() for name, value in values.items()}
