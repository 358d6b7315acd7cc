"""A model as a row of the codec table.

Legend: N samples, D teacher width, S surface width.
"""

from __future__ import annotations

import numpy as np
import torch

from latticegraph.evaluation.arrays import Floats, as_float64
from latticegraph.hub import LatticeModel


class StudentCodec:
    """Encodes to the numbers that enter the lattice and decodes through it.

    The codes of the last two sets of embeddings are kept: they are asked for at every size, and
    refining takes many passes through the lattice.

    Args:
        model: on any device.
        batch_size: samples per pass.
        refine_steps: gradient steps on each code; with any, the row has a name of its own.
    """

    def __init__(self, model: LatticeModel, batch_size: int, refine_steps: int = 0) -> None:
        self.name = "student_refined" if refine_steps else "student"
        self.title = "student, refined codes" if refine_steps else "student (the cube)"
        self.model = model
        self.batch_size = batch_size
        self.refine_steps = refine_steps
        self._known: list[tuple[Floats, Floats]] = []

    def encode(self, source_ND: Floats, /) -> Floats:
        """Codes. Shapes: [N, D] to [N, S]."""
        for known_ND, codes_NS in self._known:
            if np.array_equal(known_ND, source_ND):
                return codes_NS
        rows = torch.from_numpy(source_ND)
        codes = self.model.to_codes(rows, self.batch_size, self.refine_steps)
        codes_NS = as_float64("codes", codes)
        self._known = [*self._known[-1:], (source_ND, codes_NS)]
        return codes_NS

    def decode(self, codes_NS: Floats, /) -> Floats:
        """Embeddings. Shapes: [N, S] to [N, D]."""
        decoded_ND = self.model.from_codes(torch.from_numpy(codes_NS), self.batch_size)
        return as_float64("decoded", decoded_ND)
