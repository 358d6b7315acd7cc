"""How the weights of the terms change while a model trains.

Every kind multiplies the configured weight w of a term by a factor f of its own, and the factors
follow from the terms before their weights. So w says how much a term counts among terms that the
factors have made comparable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

SMALLEST = 1e-8
"""A loss below it counts as this large where it divides."""


@dataclass(frozen=True)
class WeightedSum:
    """The loss of a batch.

    Attributes:
        total: to be differentiated.
        weights: what every term was multiplied by, detached.
    """

    total: Tensor
    weights: Mapping[str, float | Tensor]


class Weighting(ABC):
    r"""Base class of every way to weigh.

    .. math:: L = \sum_k w_k \, (f_k L_k + c_k)

    with factors f and constants c that are fixed within an update and have no gradient.

    Attributes:
        learns: whether :meth:`learn` does anything.
        needs_positive: whether only terms with ``stays_positive`` can be weighed.
    """

    learns: ClassVar[bool] = False
    needs_positive: ClassVar[bool] = False

    @abstractmethod
    def factors(self, values: Mapping[str, Tensor]) -> Mapping[str, float | Tensor]:
        """Factor of every term, without a gradient.

        Args:
            values: the terms of one batch before their weights.
        """

    def constant(self, name: str) -> float:
        """What is added to a weighted term; 0 by default."""
        return 0.0

    def total(self, values: Mapping[str, Tensor], weights: Mapping[str, float]) -> WeightedSum:
        """The weighted sum of the terms of one batch.

        Args:
            values: terms before their weights.
            weights: the configured weight of each of them.
        """
        factors = self.factors(values)
        used = {name: weights[name] * factors[name] for name in values}
        device = next(iter(values.values())).device
        total = torch.zeros((), dtype=torch.float32, device=device)
        for name, value in values.items():
            total = total + used[name] * value
        constant = sum(weights[name] * self.constant(name) for name in values)
        return WeightedSum(total + constant if constant else total, used)

    def measured(self, update: int) -> str | None:
        """Component of the student whose gradient norms :meth:`learn` wants; None: of none.

        Args:
            update: number of the update, from 1.
        """
        return None

    def learn(self, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:  # noqa: B027
        """Change the factors after an update; does nothing by default.

        Args:
            losses: mean of every term over the passes of the update, before its weight.
            norms: gradient norm of every term before its weight, where :meth:`measured` asked.
        """

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed run needs; nothing by default."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:  # noqa: B027
        """The opposite of :meth:`tensors`."""


class FixedWeighting(Weighting):
    """The configured weights as they are: every factor is 1."""

    def factors(self, values: Mapping[str, Tensor]) -> Mapping[str, float | Tensor]:
        """1 for every term."""
        return dict.fromkeys(values, 1.0)


class SoftmaxWeighting(Weighting):
    r"""Factors from the losses of the batch itself, with nothing to learn.

    .. math:: f_k = K \frac{e^{1 / (T L_k)}}{\sum_j e^{1 / (T L_j)}}

    for K terms: UW-SO of Kirchdorfer et al. (2024, arXiv 2408.07985), which puts the minimiser
    of the uncertainty weighting, 1 / L, through a softmax; times K, so that equal losses give the
    configured weights. The factors have no gradient. With accumulation every pass has its own.

    Args:
        temperature: T, > 0.
    """

    needs_positive: ClassVar = True

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def factors(self, values: Mapping[str, Tensor]) -> Mapping[str, float | Tensor]:
        """K times the softmax."""
        losses_K = torch.stack([value.detach().float() for value in values.values()])
        shares_K = (1 / (losses_K.clamp_min(SMALLEST) * self.temperature)).softmax(0)
        return dict(zip(values, (len(losses_K) * shares_K).unbind(), strict=True))
