"""The edges of a lattice as every builder returns them.

Shapes: E edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class EdgeList:
    """Edges sorted by target, then by source.

    Args:
        edge_index_2E: cell numbers, int64; row 0 the source, row 1 the target.
        edge_offset_E: row of the offset (source minus target) in
            :func:`~latticegraph.lattice.offsets.lattice_offsets`, int64.
    """

    edge_index_2E: torch.Tensor
    edge_offset_E: torch.Tensor
