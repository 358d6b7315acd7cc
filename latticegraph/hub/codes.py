"""Codes of embeddings: what enters the lattice, on its own.

Legend: B batch, N samples, D teacher width, S surface width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latticegraph.hub.inference import check_rows
from latticegraph.hub.refine import refine_codes
from latticegraph.model import Student


@torch.no_grad()
def encode_rows(
    student: Student, source_ND: Tensor, batch_size: int, refine_steps: int = 0
) -> Tensor:
    """The codes of embeddings, in batches; the student is left in evaluation mode.

    Args:
        student: on any device.
        source_ND: teacher embeddings, at least one row.
        batch_size: samples per pass, at least 1.
        refine_steps: see :func:`~latticegraph.hub.refine.refine_codes`.

    Shapes:
        source_ND: [N, D]; result: [N, S] on the CPU.

    Raises:
        DataError: for no rows, rows of another width, or settings below their least value.
    """
    check_rows("embeddings", source_ND, student.teacher_dimension, batch_size)
    student.eval()
    device, dtype = student.std.device, student.std.dtype
    parts = []
    for part_BD in source_ND.split(batch_size):
        source_BD = part_BD.to(device, dtype)
        codes_BS = student.encode(source_BD)
        parts.append(refine_codes(student, codes_BS, source_BD, refine_steps).cpu())
    return torch.cat(parts)


@torch.no_grad()
def decode_rows(student: Student, codes_NS: Tensor, batch_size: int) -> Tensor:
    """Predicted embeddings of codes, in batches; the student is left in evaluation mode.

    Args:
        student: on any device.
        codes_NS: of :func:`encode_rows`, perhaps stored in fewer bits since.
        batch_size: samples per pass, at least 1.

    Shapes:
        codes_NS: [N, S]; result: [N, D] on the CPU.

    Raises:
        DataError: for no rows, or rows of another width.
    """
    check_rows("codes", codes_NS, student.surface_width, batch_size)
    student.eval()
    device, dtype = student.std.device, student.std.dtype
    parts = [
        student.decode(part_BS.to(device, dtype)).embedding_BD.cpu()
        for part_BS in codes_NS.split(batch_size)
    ]
    return torch.cat(parts)
