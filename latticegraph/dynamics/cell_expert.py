"""The cell expert: every cell has weights of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from latticegraph.aggregation import CellMaps
from latticegraph.dynamics.expert import Expert

BIAS = 0.5  # deviation of the biases: cells start as different features of what they hear


class CellExpert(Expert):
    """A hidden layer in every cell, with weights that no other cell shares.

    Equation::

        u_i = gelu(W_i [x_i; m_i] + b_i)

    as the units of a locally connected network (LeCun 1989). It belongs to the lattice it was made
    for: weights grow with the number of cells and transfer to no other size.

    Args:
        channels: C, numbers per cell.
        cells: N, of the lattice.
        shared: further arguments of :class:`Expert`.

    Shapes:
        m, x (C, M) -> u (C, M)
    """

    by_cell: ClassVar[bool] = True

    def __init__(self, channels: int, cells: int, **shared: Any) -> None:
        super().__init__(channels, **{"sends_state": True, **shared})
        self.weight_NCI = nn.Parameter(torch.empty(cells, channels, 2 * channels))
        self.bias_NC = nn.Parameter(torch.empty(cells, channels))
        self._start()

    def _start(self) -> None:
        nn.init.normal_(self.weight_NCI, std=self.gain / self.weight_NCI.shape[2] ** 0.5)
        nn.init.normal_(self.bias_NC, std=BIAS)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        self._start()

    def start_transport(
        self, edge_attr_O4: Tensor, wanted_O: Tensor, surface_channels: int, cell: float
    ) -> None:
        """Start as it is: a random feature of what the cell hears carries no copy of it."""

    def update(self, m_CM: Tensor, x_CM: Tensor, maps: CellMaps) -> Tensor:  # type: ignore[override]
        """``gelu(W_i [x_i; m_i] + b_i)``.

        Args:
            m_CM: aggregated messages.
            x_CM: states.
            maps: tells which columns belong to which cell.
        """
        both = torch.cat([x_CM, m_CM.to(x_CM.dtype)])
        return gelu(maps.map_cells(self.weight_NCI, self.bias_NC, both))
