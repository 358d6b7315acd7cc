"""Surface numbers into cells.

Legend: B batch, S surface width, M face cells, P surface channels (S = M * P), C channels, N cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from latticegraph.aggregation import Cells
from latticegraph.config.model import ModelSettings
from latticegraph.lattice import LatticeGraph
from latticegraph.model.positional import PositionalEncoding


class EmbeddingToLatticeMapper(nn.Module):
    """Writes the surface into the states of the input face.

    Surface number (m, p) becomes channel p of face cell m. The other channels get a learned linear
    function of the surface: of the cell's own numbers (``cell``) or of all of them (``dense``). A
    positional encoding is added. Everything is linear in the surface.

    Args:
        settings: state and surface channels, lift, noise and positional encoding.
        graph: the lattice.
        cells: which cells this process holds; None: all.

    Shapes:
        surface (B, S), states (C, N, B) -> (C, N, B)
    """

    def __init__(
        self, settings: ModelSettings, graph: LatticeGraph, cells: Cells | None = None
    ) -> None:
        super().__init__()
        count, gain = graph.input_cells.numel(), settings.init.gain
        self.channels, self.per_cell = settings.state_channels, settings.surface_channels
        self.face = (cells or Cells(graph)).select(graph.input_cells)
        self.noise = settings.mapper.input_noise
        rest = self.channels - self.per_cell
        self.lift_kind = settings.mapper.lift
        self.lift: nn.Parameter | None = None
        if rest and self.lift_kind == "dense":
            width = count * self.per_cell
            self.lift = nn.Parameter(torch.randn(rest * count, width) * gain / math.sqrt(width))
        elif rest:
            shape = (rest, count, self.per_cell)
            self.lift = nn.Parameter(torch.randn(shape) * gain / math.sqrt(self.per_cell))
        kind = settings.mapper.positional
        self.position: PositionalEncoding | None = None
        if kind != "none":
            coordinates = graph.coordinates_N3[graph.input_cells]
            dimensions = graph.settings.dimensions
            self.position = PositionalEncoding(kind, coordinates, dimensions, self.channels, gain)

    def disturbed(self, surface_BS: Tensor) -> Tensor:
        r"""The surface with noise in training, and as it is otherwise (Bishop, 1995).

        :math:`s + \sigma\, \mathrm{rms}(s)\, \epsilon`, with :math:`\epsilon` normal and the root
        mean square over all numbers of the batch, without a gradient: a larger surface does not
        get away from the noise.

        Shapes:
            (B, S) -> (B, S)
        """
        if not self.training or not self.noise:
            return surface_BS
        size = surface_BS.detach().square().mean().sqrt()
        return surface_BS + self.noise * size * torch.randn_like(surface_BS)

    def forward(self, surface_BS: Tensor, x_CNB: Tensor) -> Tensor:
        """States with the surface written into the face cells."""
        batch = surface_BS.shape[0]
        own_PMB = surface_BS.t().reshape(-1, self.per_cell, batch).transpose(0, 1)
        parts = [own_PMB]
        if self.lift is not None and self.lift_kind == "dense":
            lifted = self.lift @ surface_BS.t()
            parts.append(lifted.view(self.channels - self.per_cell, -1, batch))
        elif self.lift is not None:
            parts.append(torch.einsum("rmp,pmb->rmb", self.lift, own_PMB))
        face_CMB = torch.cat([part.to(x_CNB.dtype) for part in parts])
        if self.position is not None:
            face_CMB = face_CMB + self.position()[:, :, None]
        return self.face.write(x_CNB, face_CMB)
