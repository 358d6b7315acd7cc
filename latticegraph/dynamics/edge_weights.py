"""Edge weights as a learned function of where the neighbour lies.

Legend: O distinct offsets (or E edges), H heads, F features, K bumps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

DISTANCE_FREQUENCIES = 3
MANY = 16
BUMP_WIDTH = 0.35  # cells; a neighbour one cell away gets a fiftieth


class EdgeWeights(nn.Module):
    """``w = W2 silu(W1 phi(e) + b1) + b2``, one weight per edge and head.

    phi holds cosines ``cos(k pi d)``, k = 0..3, of the relative distance d = distance /
    max_radius, and the unit direction. It depends on nothing else, so the weights transfer between
    cube sizes. Bumps are further hidden features, each large around one place only::

        exp(-|d u - c_k|^2 / (2 s_k^2))        u: unit direction;  c_k, s_k: learned

    Among hundreds of neighbours no smooth function of few features can single out one. The smooth
    part of w is divided by the number of neighbours / 16 where there are more than 16. Dividing
    keeps the size of an update independent of the neighbour count.

    Args:
        heads: H.
        hidden: width of the hidden layer.
        gain: scale of the initial weights that come out.
        bumps: K.

    Shapes:
        edge attributes (O, 4) -> (O, H)
    """

    def __init__(self, heads: int, hidden: int, gain: float = 1.0, bumps: int = 0) -> None:
        super().__init__()
        self.lift = nn.Linear(DISTANCE_FREQUENCIES + 4, hidden)
        self.out = nn.Linear(hidden + bumps, heads)
        self.centre_K3: nn.Parameter | None = None
        self.log_width_K: nn.Parameter | None = None
        if bumps:
            self.centre_K3 = nn.Parameter(torch.empty(bumps, 3))
            self.log_width_K = nn.Parameter(torch.empty(bumps))
        self.reset_parameters(gain)

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draw new weights."""
        nn.init.normal_(self.lift.weight, std=1.0)
        nn.init.uniform_(self.lift.bias, -1.0, 1.0)
        nn.init.normal_(self.out.weight, std=0.15 * gain / self.out.in_features**0.5)
        nn.init.zeros_(self.out.bias)
        if self.centre_K3 is not None and self.log_width_K is not None:
            nn.init.uniform_(self.centre_K3, -0.5, 0.5)
            nn.init.constant_(self.log_width_K, -1.0)

    @torch.no_grad()
    def place_bumps(self, edge_attr_O4: Tensor, wanted_O: Tensor, cell: float) -> None:
        """Put the bumps on the offsets that are wanted most, each less than a cell wide.

        Args:
            edge_attr_O4: attributes of every distinct offset.
            wanted_O: weight that each should start with.
            cell: side of a cell / max_radius.
        """
        if self.centre_K3 is None or self.log_width_K is None:
            return
        order_O = torch.argsort(wanted_O, descending=True, stable=True)
        chosen_K = order_O[torch.arange(len(self.centre_K3)) % len(order_O)]
        # Beside the offset, since on top of it neither place nor width would have a gradient.
        beside = 0.1 * cell
        self.centre_K3.copy_(edge_attr_O4[chosen_K, :1] * edge_attr_O4[chosen_K, 1:] + beside)
        self.log_width_K.fill_(math.log(BUMP_WIDTH * cell))

    def _hidden(self, edge_attr_O4: Tensor, share: float) -> Tensor:
        k_F = torch.arange(DISTANCE_FREQUENCIES + 1, device=edge_attr_O4.device)
        waves_OF = torch.cos(torch.pi * k_F * edge_attr_O4[:, :1])
        features = torch.cat([waves_OF, edge_attr_O4[:, 1:]], dim=1)
        hidden = nn.functional.silu(self.lift(features)) * share
        if self.centre_K3 is None or self.log_width_K is None:
            return hidden
        place_O3 = edge_attr_O4[:, :1] * edge_attr_O4[:, 1:]
        squared_OK = (place_O3[:, None] - self.centre_K3).square().sum(-1)
        bumps_OK = torch.exp(-0.5 * squared_OK * torch.exp(-2 * self.log_width_K))
        return torch.cat([hidden, bumps_OK], dim=1)

    def _features(self, edge_attr_O4: Tensor, neighbours: int) -> tuple[Tensor, float]:
        """Hidden features, and what the bias is multiplied by."""
        share = min(1.0, MANY / max(neighbours, 1))
        hidden = self._hidden(edge_attr_O4, share)
        return hidden, share

    def forward(self, edge_attr_O4: Tensor, neighbours: int | None = None) -> Tensor:
        """Weight of each offset (or edge) and head.

        Args:
            edge_attr_O4: their attributes.
            neighbours: of a cell that has them all; None: as many as there are rows.
        """
        count = len(edge_attr_O4) if neighbours is None else neighbours
        hidden, share = self._features(edge_attr_O4, count)
        return nn.functional.linear(hidden, self.out.weight, share * self.out.bias)

    @torch.no_grad()
    def fit(self, edge_attr_O4: Tensor, wanted_OH: Tensor) -> None:
        """Choose the last layer so that the weights come as close to ``wanted_OH`` as they can.

        Args:
            edge_attr_O4: attributes of every distinct offset.
            wanted_OH: the weight each offset and head should start with.
        """
        hidden_OF, share = self._features(edge_attr_O4, len(edge_attr_O4))
        ones_O1 = torch.full((len(hidden_OF), 1), share, dtype=torch.float64)
        design = torch.cat([hidden_OF.double(), ones_O1], dim=1)
        target_OH = wanted_OH.double()
        ridge = 1e-4 * torch.eye(design.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(design.T @ design + ridge, design.T @ target_OH)
        self.out.weight.copy_(solution[:-1].T)
        self.out.bias.copy_(solution[-1])
