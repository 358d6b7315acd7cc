"""Build the edges from the integer offsets: exact, without a neighbour search.

Shapes: n targets of a chunk, N cells, O offsets, E edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from latticegraph.config import LatticeSettings
from latticegraph.lattice.counts import edges_per_offset
from latticegraph.lattice.edge_list import EdgeList
from latticegraph.lattice.numbering import Numbering, number_cells
from latticegraph.lattice.offsets import Offsets, lattice_offsets

# Target-offset pairs handled at once: some ten arrays of this many int64 stay below 50 MB.
_CHUNK_PAIRS = 2**19
_NO_EDGE = np.iinfo(np.int64).max


def build_by_offsets(settings: LatticeSettings) -> EdgeList:
    """Join every cell to the cells at the lattice's offsets.

    Args:
        settings: any boundary and numbering.

    Shapes: O(E) memory beside chunks of constant size.
    """
    offsets = lattice_offsets(settings)
    numbering = number_cells(settings)
    number_of_edges = int(edges_per_offset(settings, offsets).sum())
    edge_index_2E = np.empty((2, number_of_edges), dtype=np.int64)
    edge_offset_E = np.empty(number_of_edges, dtype=np.int64)
    width = max(len(offsets.offset_O3), 1)
    rows = max(_CHUNK_PAIRS // width, 1)
    filled = 0
    for start in range(0, len(numbering.number_N), rows):
        target_n3 = numbering.coordinates_N3[start : start + rows]
        key_nO = _sorted_keys(settings, offsets, numbering, target_n3)
        edge_nO = key_nO != _NO_EDGE
        degree_n = edge_nO.sum(axis=1)
        chunk = slice(filled, filled + int(degree_n.sum()))
        np.divmod(key_nO[edge_nO], width, out=(edge_index_2E[0, chunk], edge_offset_E[chunk]))
        target_n = np.arange(start, start + len(target_n3), dtype=np.int64)
        edge_index_2E[1, chunk] = np.repeat(target_n, degree_n)
        filled = chunk.stop
    assert filled == number_of_edges
    return EdgeList(torch.from_numpy(edge_index_2E), torch.from_numpy(edge_offset_E))


def _sorted_keys(
    settings: LatticeSettings,
    offsets: Offsets,
    numbering: Numbering,
    target_n3: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """``source * O + offset row`` of each target's edges, ascending, then ``_NO_EDGE``.

    Packing both into one integer lets a plain sort order the sources and carry the offsets along.
    """
    width = len(offsets.offset_O3)
    index_nO = np.zeros((len(target_n3), width), dtype=np.int64)
    inside_nO = np.ones(index_nO.shape, dtype=np.bool_)
    for axis, size in enumerate(settings.dimensions):
        source_nO = target_n3[:, axis, None] + offsets.offset_O3[None, :, axis]
        if settings.boundary == "periodic":
            source_nO %= size
        else:
            inside_nO &= (source_nO >= 0) & (source_nO < size)
        index_nO = index_nO * size + source_nO
    index_nO[~inside_nO] = 0
    key_nO = numbering.number_N[index_nO] * width + np.arange(width)
    key_nO[~inside_nO] = _NO_EDGE
    key_nO.sort(axis=1)
    return key_nO
