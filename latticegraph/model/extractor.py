"""Cells back into surface numbers and embeddings.

Legend: B batch, S surface width, M face cells, P surface channels (S = M * P), C channels, N cells,
F features (C * M), D teacher width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latticegraph.aggregation import Cells
from latticegraph.config.model import ModelSettings
from latticegraph.lattice import LatticeGraph

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Of the mean power of all numbers: the least that one is divided by when scales are fitted.
LEAST = 0.1


class LatticeToEmbeddingExtractor(nn.Module):
    """Reads the surface, and with ``states`` a linear correction, from the output face.

    Equation::

        s[m, p] = gain * x[p, m] + offset
        correction = R d((f - mean) / std)     f: all channels of all cells read

    In training d sets a share of the numbers to zero and scales the others up (dropout, Srivastava
    et al. 2014); else it changes nothing. The surface is never dropped.

    Args:
        settings: state and surface channels, readout and its dropout.
        graph: the lattice.
        teacher_dimension: D.
        cells: which cells this process holds; None: all.

    Shapes:
        (C, N, B) -> surface (B, S), correction (B, D) or None
    """

    def __init__(
        self,
        settings: ModelSettings,
        graph: LatticeGraph,
        teacher_dimension: int,
        cells: Cells | None = None,
    ) -> None:
        super().__init__()
        count = graph.output_cells.numel()
        self.per_cell = settings.surface_channels
        self.face = (cells or Cells(graph)).select(graph.output_cells)
        self.gain = nn.Parameter(torch.ones(count * self.per_cell))
        self.offset = nn.Parameter(torch.zeros(count * self.per_cell))
        self.dropout = nn.Dropout(settings.mapper.readout_dropout)
        self.correction: nn.Linear | None = None
        if settings.mapper.readout == "states":
            width = count * settings.state_channels
            self.correction = nn.Linear(width, teacher_dimension, bias=False)
            nn.init.zeros_(self.correction.weight)
            self.register_buffer("feature_mean_F", torch.zeros(width))
            self.register_buffer("feature_std_F", torch.ones(width))
        self.feature_mean_F: Tensor
        self.feature_std_F: Tensor

    def raw_surface(self, x_CNB: Tensor) -> Tensor:
        """Surface numbers before gain and offset, (B, S)."""
        face_PMB = self.face.read(x_CNB[: self.per_cell])
        return face_PMB.permute(2, 1, 0).flatten(1)

    def raw_features(self, x_CNB: Tensor) -> Tensor:
        """All channels of the cells read, (B, F)."""
        # Rows of samples: through the columns of a view the gradient takes eight times as long.
        return self.face.read(x_CNB).permute(2, 0, 1).flatten(1).contiguous()

    @torch.no_grad()
    def calibrate(self, raw_BS: Tensor, wanted_BS: Tensor) -> None:
        """Least-squares gain and offset of every surface number.

        A number that varies far less than the others, since the input hardly reaches its cell, is
        divided by :data:`LEAST` of their power in place of its own: a large gain would blow up
        whatever the cell learns. Numbers that all stand still keep gain 1.
        """
        raw, wanted = raw_BS - raw_BS.mean(0), wanted_BS - wanted_BS.mean(0)
        power = raw.square().sum(0)
        least = LEAST * power.mean()
        gain = torch.where(least > 0, (raw * wanted).sum(0) / power.clamp_min(least), 1.0)
        self.gain.copy_(gain)
        self.offset.copy_(wanted_BS.mean(0) - gain * raw_BS.mean(0))

    @torch.no_grad()
    def standardise(self, features_BF: Tensor) -> Tensor:
        """Keep mean and deviation of raw features, and return the features standardised.

        A deviation far below that of the others counts as :data:`LEAST` of their mean power.
        """
        self.feature_mean_F.copy_(features_BF.mean(0))
        deviation_F = features_BF.std(0, correction=0)
        least = (LEAST * deviation_F.square().mean()).sqrt()
        self.feature_std_F.copy_(torch.where(least > 1e-6, deviation_F.clamp_min(least), 1.0))
        return (features_BF - self.feature_mean_F) / self.feature_std_F

    @torch.no_grad()
    def fit_correction(self, features_BF: Tensor, residual_BD: Tensor) -> float:
        """Start R as the ridge regression of what the surface leaves unexplained.

        The penalty, relative to the features' variance, is the one of a fixed list that does best
        on every eighth sample after a fit on the others (Hoerl and Kennard 1970).

        Args:
            features_BF: standardised features.
            residual_BD: target minus decoded surface, in standardised units.

        Returns:
            The penalty chosen.
        """
        assert self.correction is not None  # only called where there is one
        features, residual = features_BF.double(), residual_BD.double()
        checked_B = torch.arange(len(features), device=features.device) % 8 == 0
        checked, wanted = features[checked_B], residual[checked_B]
        gram_FF, cross_FD = features.T @ features, features.T @ residual
        fitted = (gram_FF - checked.T @ checked, cross_FD - checked.T @ wanted)
        rows, errors = len(features) - len(checked), []
        for penalty in PENALTIES:
            missed = checked @ _ridge(*fitted, penalty * rows) - wanted
            errors.append(float(missed.square().sum()))
        best = PENALTIES[errors.index(min(errors))]
        self.correction.weight.copy_(_ridge(gram_FF, cross_FD, best * len(features)).T)
        return best

    def forward(self, x_CNB: Tensor) -> tuple[Tensor, Tensor | None]:
        """Surface numbers, and the correction in teacher space."""
        surface_BS = self.raw_surface(x_CNB) * self.gain + self.offset
        if self.correction is None:
            return surface_BS, None
        features_BF = (self.raw_features(x_CNB) - self.feature_mean_F) / self.feature_std_F
        return surface_BS, self.correction(self.dropout(features_BF))


def _ridge(gram_FF: Tensor, cross_FD: Tensor, penalty: float) -> Tensor:
    """``argmin_W |F W - Y|^2 + penalty * |W|^2`` from ``F^T F`` and ``F^T Y``."""
    weight_FD: Tensor = torch.linalg.solve(
        gram_FF + penalty * torch.eye(len(gram_FF)).to(gram_FF), cross_FD
    )
    return weight_FD
