"""Edge weights as a learned function of where the neighbour lies.

Legend: O distinct offsets (or E edges), H heads, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DISTANCE_FREQUENCIES = 3


class EdgeWeights(nn.Module):
    """``w = W2 silu(W1 phi(e) + b1) + b2``, one weight per edge and head.

    phi holds cosines ``cos(k pi d)``, k = 0..3, of the relative distance d = distance /
    max_radius, and the unit direction. It depends on nothing else, so the weights transfer between
    cube sizes.

    Args:
        heads: H.
        hidden: width of the hidden layer.
        gain: scale of the initial weights that come out.

    Shapes:
        edge attributes (O, 4) -> (O, H)
    """

    def __init__(self, heads: int, hidden: int, gain: float = 1.0) -> None:
        super().__init__()
        self.lift = nn.Linear(DISTANCE_FREQUENCIES + 4, hidden)
        self.out = nn.Linear(hidden, heads)
        self.reset_parameters(gain)

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draw new weights."""
        nn.init.normal_(self.lift.weight, std=1.0)
        nn.init.uniform_(self.lift.bias, -1.0, 1.0)
        nn.init.normal_(self.out.weight, std=0.15 * gain / self.out.in_features**0.5)
        nn.init.zeros_(self.out.bias)

    def _hidden(self, edge_attr_O4: Tensor) -> Tensor:
        k_F = torch.arange(DISTANCE_FREQUENCIES + 1, device=edge_attr_O4.device)
        waves_OF = torch.cos(torch.pi * k_F * edge_attr_O4[:, :1])
        features = torch.cat([waves_OF, edge_attr_O4[:, 1:]], dim=1)
        return nn.functional.silu(self.lift(features))

    def forward(self, edge_attr_O4: Tensor) -> Tensor:
        """Weight of each offset (or edge) and head."""
        weight_OH: Tensor = self.out(self._hidden(edge_attr_O4))
        return weight_OH

    @torch.no_grad()
    def fit(self, edge_attr_O4: Tensor, wanted_OH: Tensor) -> None:
        """Choose the last layer so that the weights come as close to ``wanted_OH`` as they can.

        Args:
            edge_attr_O4: attributes of every distinct offset.
            wanted_OH: the weight each offset and head should start with.
        """
        hidden_OF = self._hidden(edge_attr_O4).double()
        design = torch.cat([hidden_OF, torch.ones(len(hidden_OF), 1, dtype=torch.float64)], dim=1)
        target_OH = wanted_OH.double()
        ridge = 1e-4 * torch.eye(design.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(design.T @ design + ridge, design.T @ target_OH)
        self.out.weight.copy_(solution[:-1].T)
        self.out.bias.copy_(solution[-1])
