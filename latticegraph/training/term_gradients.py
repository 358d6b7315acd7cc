"""The gradient of every term of the loss by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from latticegraph.distributed import ALONE, Processes, sum_in_place


def term_gradient_norms(
    values: Mapping[str, Tensor],
    parameters: Sequence[nn.Parameter],
    processes: Processes = ALONE,
    scale: float = 1.0,
) -> dict[str, Tensor]:
    """Euclidean norm of the gradient of every term, by a backward pass for each.

    The graph is kept, no gradient is added to ``parameters``, and no random number is drawn.

    Args:
        values: terms before their weights, with their graph; the same in every process.
        parameters: with respect to which; those that need no gradient are left out.
        processes: of the run, whose gradients are summed first.
        scale: on the loss in the backward pass, divided out again.

    Shapes:
        values and result: scalars.
    """
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    norms: dict[str, Tensor] = {}
    for name, value in values.items():
        if not (wanted and value.requires_grad):
            norms[name] = torch.zeros_like(value.detach())
            continue
        # Every process has the value of the whole batch, and its gradient in the own rows.
        grads = torch.autograd.grad(
            value * (scale / processes.size), wanted, retain_graph=True, allow_unused=True
        )
        pairs = zip(wanted, grads, strict=True)
        flat = torch.cat(
            [torch.zeros_like(p).ravel() if g is None else g.ravel() for p, g in pairs]
        )
        sum_in_place([flat], processes)
        norms[name] = torch.linalg.vector_norm(flat) / scale
    return norms


def gradient_shares(
    norms: Mapping[str, Tensor], weights: Mapping[str, float | Tensor]
) -> dict[str, Tensor]:
    r"""Which share of the gradient every term has.

    .. math:: \text{share}_k = \frac{w_k |\nabla L_k|}{\sum_j w_j |\nabla L_j|}

    Shares add up to 1, although gradients that point apart partly cancel each other. All are 0
    where no term has a gradient.

    Args:
        norms: of the terms before their weights.
        weights: of every term.

    Shapes:
        norms and result: scalars.
    """
    weighted = {name: norm * weights[name] for name, norm in norms.items()}
    total = torch.stack(list(weighted.values())).sum()
    total = torch.where(total > 0, total, 1)
    return {name: norm / total for name, norm in weighted.items()}
