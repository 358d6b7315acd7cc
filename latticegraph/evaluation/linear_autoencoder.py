"""A linear autoencoder found by gradient descent from a random start.

Legend: B samples, D teacher width, S bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latticegraph.evaluation.arrays import Floats

_ROUND = 10  # L-BFGS iterations between two looks at the validation set


class LinearAutoencoder:
    r"""Encoder and decoder matrices that minimise the squared error over the whole training set.

    .. math:: \min_{W, V} \; \sum_b |t_b - \bar t - V W (s_b - \bar s)|^2,
              \qquad W \in R^{S \times D},\; V \in R^{D \times S}

    With source = target the optimum is PCA (Baldi and Hornik, 1989), so this is a check on how far
    plain gradient descent gets; for question -> answer it is reduced-rank regression. The loss
    depends on the data only through D x D second moments, so L-BFGS sees the exact full-batch loss
    at a cost independent of the number of samples. With a validation set the best of the points
    passed on the way is kept: the exact optimum overfits where there are few pairs (question ->
    answer).

    Args:
        bottleneck: S, numbers per sample.
        seed: of the random start.
        iterations: most L-BFGS iterations, >= 1; it stops earlier where the loss is flat.
    """

    name = "linear_autoencoder"
    title = "linear autoencoder"

    def __init__(self, bottleneck: int, seed: int = 0, iterations: int = 300) -> None:
        self.bottleneck = bottleneck
        self.seed = seed
        self.iterations = iterations

    def fit(
        self,
        source_BD: Floats,
        target_BD: Floats,
        validation: tuple[Floats, Floats] | None = None,
    ) -> None:
        """Minimise the error.

        Args:
            source_BD: training sources.
            target_BD: training targets.
            validation: sources and targets that choose where to stop; None goes to the end.

        Shapes:
            source_BD, target_BD: [B, D].
        """
        source, target = torch.from_numpy(source_BD), torch.from_numpy(target_BD)
        self.source_mean_D, self.target_mean_D = source.mean(0), target.mean(0)
        source, target = source - self.source_mean_D, target - self.target_mean_D
        # In units of each side's variance one step size suits every data set.
        self.source_scale = source.square().mean().sqrt().clamp_min(1e-12)
        self.target_scale = target.square().mean().sqrt().clamp_min(1e-12)
        source, target = source / self.source_scale, target / self.target_scale
        source_DD = source.T @ source / len(source)
        cross_DD = target.T @ source / len(source)
        generator = torch.Generator().manual_seed(self.seed)
        width = source.shape[1]
        start = torch.randn(2, self.bottleneck, width, generator=generator, dtype=torch.float64)
        start = start / width**0.5
        self.encoder_SD = start[0].requires_grad_()
        self.decoder_DS = start[1].T[: target.shape[1]].contiguous().requires_grad_()
        self._descend(source_DD, cross_DD, validation)

    def predict(self, source_BD: Floats) -> Floats:
        """Through the bottleneck and back. Shapes: [B, D] to [B, D]."""
        with torch.no_grad():
            source = (torch.from_numpy(source_BD) - self.source_mean_D) / self.source_scale
            code_BS = source @ self.encoder_SD.T
            prediction = code_BS @ self.decoder_DS.T * self.target_scale + self.target_mean_D
        result: Floats = prediction.numpy()
        return result

    def _descend(
        self, source_DD: Tensor, cross_DD: Tensor, validation: tuple[Floats, Floats] | None
    ) -> None:
        parameters = [self.encoder_SD, self.decoder_DS]
        rounds, last = divmod(self.iterations, _ROUND)
        optimiser = torch.optim.LBFGS(
            parameters, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-7
        )
        step: Callable[[Callable[[], float]], object] = optimiser.step

        def loss() -> float:
            optimiser.zero_grad()
            encoded_SD = self.encoder_SD @ source_DD
            # |t - V W s|^2 summed over samples, without the constant |t|^2.
            fit = ((self.decoder_DS.T @ self.decoder_DS) * (encoded_SD @ self.encoder_SD.T)).sum()
            value = fit - 2 * (self.decoder_DS * (cross_DD @ self.encoder_SD.T)).sum()
            value.backward()
            return float(value.detach())

        best, kept = math.inf, [parameter.detach().clone() for parameter in parameters]
        for iterations in [_ROUND] * rounds + [last]:
            optimiser.param_groups[0]["max_iter"] = iterations
            if iterations:
                step(loss)
            if validation is not None and (error := self._error(*validation)) < best:
                best, kept = error, [parameter.detach().clone() for parameter in parameters]
        if validation is not None:
            self.encoder_SD, self.decoder_DS = kept

    def _error(self, source_BD: Floats, target_BD: Floats) -> float:
        return float(np.square(self.predict(source_BD) - target_BD).mean())
