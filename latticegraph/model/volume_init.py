"""States of the cells that no surface number is written into.

Legend: C channels, N cells, B batch, S surface width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latticegraph.aggregation import Cells
from latticegraph.config.model import MapperSettings
from latticegraph.lattice import LatticeGraph


class VolumeStateInitializer(nn.Module):
    """First state of every cell, before the surface is written.

    ``zeros``; ``learned``: a free vector per cell, the same for every sample; ``noise``: a fixed
    random vector per cell; ``depth_decay``: ``decay^depth_i * W u``, which hands the input u to
    all cells at once and so bypasses the lattice. Written cells start at zero.

    Args:
        settings: kind, noise_std and depth_decay.
        graph: the lattice.
        channels: C.
        surface_width: S.
        gain: scale of the initial learned states.
        cells: which cells this process holds; None: all.

    Shapes:
        surface (B, S) -> (C, N, B)
    """

    def __init__(
        self,
        settings: MapperSettings,
        graph: LatticeGraph,
        channels: int,
        surface_width: int,
        gain: float = 1.0,
        cells: Cells | None = None,
    ) -> None:
        super().__init__()
        self.kind = settings.volume_init
        self.channels = channels
        cells = Cells(graph) if cells is None else cells
        self.num_cells = cells.num_cells
        free = torch.ones(graph.num_cells, dtype=torch.bool)
        free[graph.input_cells] = False
        free_cells = free.nonzero().squeeze(1)
        self.free = cells.select(free_cells)
        self.state: Tensor
        self.decay: Tensor
        shape = (channels, int(free.sum()))
        if self.kind == "learned" and shape[1]:
            self.state = nn.Parameter(torch.randn(shape) * 0.5 * gain)
        elif self.kind == "noise":
            self.register_buffer("state", torch.randn(shape) * settings.noise_std)
        elif self.kind == "depth_decay" and shape[1]:
            depth_N = graph.depth_N[free_cells]
            self.register_buffer("decay", settings.depth_decay ** depth_N.float(), persistent=False)
            self.project = nn.Linear(surface_width, channels)

    def forward(self, surface_BS: Tensor) -> Tensor:
        """States of all cells; written cells are zero."""
        batch = surface_BS.shape[0]
        x_CNB = surface_BS.new_zeros(self.channels, self.num_cells, batch)
        if self.kind == "zeros" or not self.free.count:
            return x_CNB
        if self.kind == "depth_decay":
            projected_CB = self.project(surface_BS).t().to(x_CNB.dtype)
            states = projected_CB[:, None, :] * self.decay[None, :, None]
        else:
            states = self.state[:, :, None].expand(-1, -1, batch)
        return self.free.write(x_CNB, states.to(x_CNB.dtype))
