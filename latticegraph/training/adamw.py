"""AdamW without the compiler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

EPSILON = 1e-8


class AdamW:
    """AdamW (Loshchilov and Hutter, 2019), computed by the function behind ``torch.optim.AdamW``.

    The class of torch imports the compiler, which takes longer than torch itself, although it
    compiles nothing. Groups, moments and results are the same, bit for bit. A parameter without a
    gradient stays as it is, and so do its moments.

    Args:
        groups: ``params``, a list, and ``weight_decay`` of each group.
        betas: decays of both moments, each in [0, 1).

    Attributes:
        param_groups: the groups, each with its learning rate ``lr``, at first 0.
        state: ``step``, ``exp_avg`` and ``exp_avg_sq`` of every parameter that was moved.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], betas: tuple[float, float]) -> None:
        self.param_groups = [{"lr": 0.0, **group} for group in groups]
        self.betas = betas
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            moments = [self._moments(parameter) for parameter in moved]
            adamw(
                moved,
                [parameter.grad for parameter in moved],
                [own["exp_avg"] for own in moments],
                [own["exp_avg_sq"] for own in moments],
                [],
                [own["step"] for own in moments],
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=EPSILON,
                maximize=False,
            )

    def _moments(self, parameter: Tensor) -> dict[str, Tensor]:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self.state[parameter]
