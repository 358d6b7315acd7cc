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
from latticegraph.losses.term import DeclaredFields, LossTerm, check_positive, check_term
from latticegraph.losses.weighting import FixedWeighting, Weighting
from latticegraph.model.output import StudentOutput

Weight = float | Callable[[int, int], float]
"""A constant, or a function of the phase and of the update within it, both counted from 0."""

# Fields that hold one value per cell and sample, or per number of the surface and sample. All
# others are the same in every process.
GATHERED = frozenset({"states_CNB", "code_BS", "surface_BS"})
# Fields that describe all cells, and not only those that the output depends on.
WHOLE_LATTICE = frozenset({"states_CNB", "usage_NX", "change_T", "gate_balance", "gate_z"})


class Objective(nn.Module):
    r"""Weighted sum of loss terms.

    .. math:: L = \sum_k w_k(\text{phase}, \text{update}) \, L_k

    A term whose weight is 0 at the moment is not computed. While a student trains,
    ``weighting.total`` of :meth:`values` is minimised; :meth:`forward` keeps the configured
    weights, so that totals of different moments can be compared.

    Args:
        terms: by name, in the order in which they are added and logged.
        weights: of every term.
        weighting: factors on the weights while a student trains; None: none.

    Raises:
        ConfigError: when a term does not declare the fields it reads, has parameters, or can become
            0 under a weighting that divides by it.
    """

    def __init__(
        self,
        terms: Mapping[str, LossTerm],
        weights: Mapping[str, Weight],
        weighting: Weighting | None = None,
    ) -> None:
        super().__init__()
        assert terms.keys() == weights.keys(), "one weight per term"
        for name, term in terms.items():
            check_term(name, term)
        # A ModuleDict refuses names of its own methods; the list registers the modules.
        self.modules_in_order = nn.ModuleList(terms.values())
        self.terms = dict(terms)
        self.weights = dict(weights)
        self.weighting = FixedWeighting() if weighting is None else weighting
        if self.weighting.needs_positive:
            check_positive(terms)

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

    def needs_whole_lattice(self, weights: Mapping[str, float]) -> bool:
        """Whether a term with a weight reads more of the lattice than the face that is read out.

        Args:
            weights: result of :meth:`weights_at`.
        """
        return any(WHOLE_LATTICE & set(self.terms[name].reads) for name in weights)

    def set_processes(self, processes: Processes) -> None:
        """Tell the terms that sum over processes themselves which processes there are.

        Args:
            processes: those that share the batch or the lattice.
        """
        for term in self.terms.values():
            if term.sums_over_processes:
                term.set_processes(processes)

    def set_progress(self, progress: float) -> None:
        """Tell all terms how far the training has come.

        Args:
            progress: share of all updates that are done, 0 to 1.
        """
        for term in self.terms.values():
            term.set_progress(progress)

    def values(
        self,
        output: StudentOutput,
        target_BD: Tensor,
        weights: Mapping[str, float],
        own: StudentOutput | None = None,
    ) -> dict[str, Tensor]:
        """Every term with a weight, before its weight, to be differentiated.

        Args:
            output: what the student returned.
            target_BD: the teacher's embeddings.
            weights: result of :meth:`weights_at`.
            own: output of this process alone, whose states and surface the terms with
                ``sums_over_processes`` read; None: there is one process.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; values: scalars.
        """
        values: dict[str, Tensor] = {}
        held = output
        if own is not None:
            held = replace(output, **{name: getattr(own, name) for name in GATHERED})
        # Cosines and energies lose their meaning in bfloat16.
        with torch.autocast(target_BD.device.type, enabled=False):
            for name in weights:
                term = self.terms[name]
                seen = held if term.sums_over_processes else output
                declared = cast(StudentOutput, DeclaredFields(seen, name, term))
                values[name] = term(declared, target_BD)
                if values[name].ndim:
                    raise ValueError(
                        f"losses.{name}: expected a scalar from {type(term).__name__}.forward, got "
                        f"the shape {list(values[name].shape)}. Return its mean or sum."
                    )
        return values

    def forward(
        self,
        output: StudentOutput,
        target_BD: Tensor,
        weights: Mapping[str, float] | None = None,
        own: StudentOutput | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum with the configured weights, and every computed term before weighting.

        Args:
            output: what the student returned.
            target_BD: the teacher's embeddings.
            weights: result of :meth:`weights_at`; None: those of the first update.
            own: as in :meth:`values`.

        Returns:
            The total to differentiate, and detached scalars by term name together with ``total``.

        Shapes:
            output.embedding_BD, target_BD: [B, D]; total and terms: scalars.
        """
        weights = self.weights_at() if weights is None else weights
        values = self.values(output, target_BD, weights, own)
        total = FixedWeighting().total(values, weights).total
        return total, {name: value.detach() for name, value in (values | {"total": total}).items()}
