"""Weightings with numbers that are learned beside the model.

The numbers are kept as Python floats, equal in every process and exact in a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from latticegraph.losses.weighting import Weighting

BETAS = (0.9, 0.999)
# Below this share of an untrained model's loss a first loss says nothing about progress.
LOWEST_REFERENCE = 1e-3


class LearnedNumbers:
    """One number per term, moved by Adam (Kingma and Ba 2015).

    Args:
        start: of every number.
        rate: learning rate.
    """

    def __init__(self, start: float, rate: float) -> None:
        self.start = start
        self.rate = rate
        # Value, first moment, second moment, steps.
        self._state: dict[str, tuple[float, float, float, float]] = {}

    def __getitem__(self, name: str) -> float:
        """The number of a term; that of a term never seen is the start."""
        return self._state[name][0] if name in self._state else self.start

    def step(self, gradients: Mapping[str, float]) -> None:
        """One step of Adam for the terms named."""
        for name, gradient in gradients.items():
            value, first, second, steps = self._state.get(name, (self.start, 0.0, 0.0, 0.0))
            steps += 1
            first += (1 - BETAS[0]) * (gradient - first)
            second += (1 - BETAS[1]) * (gradient**2 - second)
            mean = first / (1 - BETAS[0] ** steps)
            size = math.sqrt(second / (1 - BETAS[1] ** steps))
            value -= self.rate * mean / (size + 1e-8)
            self._state[name] = (value, first, second, steps)

    def tensors(self) -> dict[str, Tensor]:
        """The state of every term, in float64."""
        return {n: torch.tensor(state, dtype=torch.float64) for n, state in self._state.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The opposite of :meth:`tensors`."""
        self._state = {name: tuple(tensor.tolist()) for name, tensor in tensors.items()}


class UncertaintyWeighting(Weighting):
    r"""Homoscedastic uncertainty of every term, learned (Kendall et al. 2018).

    .. math:: L = \sum_k w_k \left( \frac{L_k}{2 e^{s_k}} + \frac{s_k}{2} \right), \qquad
              s_k \leftarrow s_k - \eta \, \mathrm{Adam}\!\left(
                  \frac12 - \frac{L_k}{2 e^{s_k}} \right)

    from s = -0.5. At rest :math:`e^{s_k} = L_k`, so a term counts by its relative change. A term
    that approached 0 would get a weight without limit; such terms are refused.

    Args:
        rate: learning rate :math:`\eta` of every s.
    """

    learns: ClassVar = True
    needs_positive: ClassVar = True

    def __init__(self, rate: float) -> None:
        self.logs = LearnedNumbers(-0.5, rate)

    def factors(self, values: Mapping[str, Tensor]) -> Mapping[str, float | Tensor]:
        """``1 / (2 exp s)`` for every term."""
        return {name: 0.5 * math.exp(-self.logs[name]) for name in values}

    def constant(self, name: str) -> float:
        """``s / 2``."""
        return 0.5 * self.logs[name]

    def learn(self, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        """One step of every s."""
        gradients = {
            name: 0.5 - 0.5 * loss * math.exp(-self.logs[name]) for name, loss in losses.items()
        }
        self.logs.step(gradients)

    def tensors(self) -> dict[str, Tensor]:
        """Every s and its moments."""
        return self.logs.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The opposite of :meth:`tensors`."""
        self.logs.restore(tensors)


class GradNormWeighting(Weighting):
    r"""Equal gradients, more for the terms that train slowly (Chen et al. 2018).

    With :math:`n_k` the gradient norm of term k before its weight, at the parameters of one layer,
    :math:`L_k^0` its loss when it was first measured, and K terms:

    .. math::
        f_k = K \operatorname{softmax}(s)_k, \qquad
        G_k = f_k n_k, \qquad
        r_k = \frac{L_k / L_k^0}{\operatorname{mean}_j L_j / L_j^0}, \qquad
        s \leftarrow s - \eta \, \mathrm{Adam}\!\left(
            \nabla_s \sum_k | G_k - \bar G\, r_k^\alpha | \right)

    with :math:`\bar G r_k^\alpha` held fixed in that gradient, from s = 0. The softmax keeps
    factors above 0 and their sum at K. At rest and with :math:`\alpha = 0` the gradient of a term
    is in proportion to its configured weight. A term without a gradient at the layer keeps its
    number. A first loss below 0.001 counts as 0.001.

    Args:
        layer: component of the student at whose parameters gradients are measured.
        rate: learning rate :math:`\eta`.
        alpha: :math:`\alpha`, >= 0.
        every: updates between two measurements.
    """

    learns: ClassVar = True

    def __init__(self, layer: str, rate: float, alpha: float, every: int) -> None:
        self.layer = layer
        self.logits = LearnedNumbers(0.0, rate)
        self.alpha = alpha
        self.every = every
        self.references: dict[str, float] = {}

    def factors(self, values: Mapping[str, Tensor]) -> Mapping[str, float | Tensor]:
        """K times the softmax over the terms that count at the moment."""
        return self._factors(values)

    def measured(self, update: int) -> str | None:
        """The layer, every ``every`` updates from the first one on."""
        return self.layer if (update - 1) % self.every == 0 else None

    def learn(self, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        """One step of every s, where norms were measured."""
        if not norms:
            return
        for name, loss in losses.items():
            self.references.setdefault(name, max(loss, LOWEST_REFERENCE))
        ratios = {n: max(loss, 0.0) / self.references[n] for n, loss in losses.items()}
        mean_ratio = sum(ratios.values()) / len(ratios)
        factors = self._factors(losses)
        mean_norm = sum(factors[name] * norms[name] for name in norms) / len(norms)
        pulls: dict[str, float] = {}  # the gradient with respect to every factor
        for name, norm in norms.items():
            relative = ratios[name] / mean_ratio if mean_ratio > 0 else 1.0
            excess = factors[name] * norm - mean_norm * relative**self.alpha
            pulls[name] = math.copysign(norm, excess) if excess else 0.0
        shared = sum(factors[name] * pull for name, pull in pulls.items()) / len(pulls)
        self.logits.step(
            {name: factors[name] * (pulls[name] - shared) for name, norm in norms.items() if norm}
        )

    def tensors(self) -> dict[str, Tensor]:
        """Every s and its moments, and the first losses."""
        first = {
            f"first.{name}": torch.tensor(loss, dtype=torch.float64)
            for name, loss in self.references.items()
        }
        return first | {f"logit.{name}": x for name, x in self.logits.tensors().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The opposite of :meth:`tensors`."""
        parts: dict[str, dict[str, Tensor]] = {"first": {}, "logit": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        self.references = {name: float(tensor) for name, tensor in parts["first"].items()}
        self.logits.restore(parts["logit"])

    def _factors(self, names: Iterable[str]) -> dict[str, float]:
        sizes = {name: math.exp(self.logits[name]) for name in names}
        scale = len(sizes) / sum(sizes.values())
        return {name: scale * size for name, size in sizes.items()}
