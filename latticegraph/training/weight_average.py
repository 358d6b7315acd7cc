"""The exponential mean of the weights, with which a trained model predicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_WEIGHTS, _UPDATES = "weights.", "updates"


class WeightAverage:
    r"""Exponential mean of all parameters over the updates (Polyak and Juditsky, 1992).

    With :math:`w_n` the weights after the n-th update, :math:`w_0` those before the first, and the
    decay d:

    .. math::
        m_0 = w_0, \qquad m_n = d_n m_{n-1} + (1 - d_n)\, w_n, \qquad
        d_n = \min\left(d, \frac{1 + n}{10 + n}\right)

    The rising decay forgets the start, which a constant one would keep for about 1 / (1 - d)
    updates. A parameter that does not move is its own mean, bit for bit. Buffers have no mean: they
    are used as they are.

    Args:
        module: whose parameters are averaged; they stay as they are.
        decay: d, at least 0 and below 1; 0: no mean is kept, and the weights themselves are used.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = dict(module.named_parameters())
        self._means: dict[str, Tensor] = {}
        self._updates = 0

    @torch.no_grad()
    def begin(self) -> None:
        """Take the weights before the first update as the mean; later calls do nothing."""
        if self.decay and not self._means:
            self._means = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def add(self) -> None:
        """Count one update, whose result the parameters hold now."""
        if not self.decay:
            return
        self._updates += 1
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        weights = [parameter.detach() for parameter in self._parameters.values()]
        torch._foreach_lerp_(list(self._means.values()), weights, 1 - decay)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The parameters hold the mean inside, and afterwards what they held, bit for bit."""
        with torch.no_grad():
            kept = {name: self._parameters[name].detach().clone() for name in self._means}
            self._write(self._means)
        try:
            yield
        finally:
            with torch.no_grad():
                self._write(kept)

    def tensors(self) -> dict[str, Tensor]:
        """Mean of every parameter and the number of updates; nothing before the first update."""
        if not self._means:
            return {}
        means = {_WEIGHTS + name: mean for name, mean in self._means.items()}
        return means | {_UPDATES: torch.tensor(self._updates)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The opposite of :meth:`tensors`."""
        found = averaged_weights(tensors)
        self._means = {
            name: found[name].to(parameter.device, copy=True)
            for name, parameter in self._parameters.items()
            if found
        }
        self._updates = int(tensors[_UPDATES]) if found else 0

    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._parameters[name].copy_(value)


def averaged_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean of every parameter by its name, from :meth:`WeightAverage.tensors`."""
    start = len(_WEIGHTS)
    return {key[start:]: value for key, value in tensors.items() if key.startswith(_WEIGHTS)}
