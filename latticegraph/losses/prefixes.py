"""The first numbers of the code are the most important ones.

Legend: B batch, D teacher width, S surface width, K prefixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from latticegraph.errors import ConfigError
from latticegraph.losses.term import LossTerm
from latticegraph.model.output import StudentOutput


class PrefixLoss(LossTerm):
    r"""Squared error of the embedding decoded from the first numbers of the code alone.

    With s the S numbers that the projection writes into the lattice, :math:`s^{(k)}` the first k of
    them followed by zeros, and g the projection's way back:

    .. math::
        L = \frac{1}{K} \sum_k \frac{1}{B D \sigma^2} \sum_{b,d} (g(s^{(k)}_b)_d - t_{bd})^2

    1 in expectation for the mean predictor; the linear projection of rank k cannot fall below what
    the first k principal components leave unexplained. (Nested prefixes: Kusupati et al. 2022,
    Matryoshka representations.)

    What it guarantees: 1 - L_k is the share of variance that ``Student.project_back`` explains
    from k numbers. It says nothing about the lattice, whose rollout would cost as much again for
    every prefix: a prefix written into the lattice, zeros behind it, is not trained. Zero is the
    mean of a code at the start (embeddings are centred); later it is the value that was trained.
    All prefixes are decoded in one pass of K B rows.

    Args:
        decode: from codes (B, S) to embeddings (B, D), in the teacher's units.
        width: S.
        lengths: of the prefixes, 1 to S - 1.
        teacher_variance: mean over dimensions of the variance of the training embeddings, > 0.

    Raises:
        ConfigError: when a prefix is not shorter than the code.
    """

    reads: ClassVar = ("code_BS",)
    stays_positive: ClassVar = True

    kept_KS: Tensor

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        width: int,
        lengths: Sequence[int],
        teacher_variance: float,
    ) -> None:
        super().__init__()
        if max(lengths) >= width:
            raise ConfigError(
                "losses.prefix_lengths",
                f"expected prefixes shorter than the code of {width} numbers, got {max(lengths)}",
                f"Name lengths below {width}, or set losses.prefixes to 0",
            )
        self.decode = decode
        self.teacher_variance = float(teacher_variance)
        kept_KS = torch.arange(width) < torch.tensor(lengths)[:, None]
        self.register_buffer("kept_KS", kept_KS, persistent=False)

    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch.

        Shapes:
            output.code_BS: [B, S]; target_BD: [B, D]; result: scalar.
        """
        code_BS = output.code_BS.to(target_BD.dtype)
        prefix_KBS = code_BS * self.kept_KS[:, None]
        decoded_KBD = self.decode(prefix_KBS.flatten(0, 1)).unflatten(0, prefix_KBS.shape[:2])
        error: Tensor = (decoded_KBD - target_BD).square().mean()
        return error / self.teacher_variance
