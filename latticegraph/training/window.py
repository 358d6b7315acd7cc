"""Running sums between two log lines, kept on the device.

Legend: B batch, D teacher width, N cells, X experts, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from latticegraph.losses.emergence import entropy
from latticegraph.model import StudentOutput

EXPERTS = ("local", "functional", "distant")


class Window:
    """Means over the forward passes since the last log line; only reading them waits.

    Args:
        steps: T, the configured number of lattice steps; a rollout that converged earlier counts as
            unchanged in the steps it left out.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.sums: dict[str, Tensor] = {}

    def add(self, terms: Mapping[str, Tensor], output: StudentOutput, target_BD: Tensor) -> None:
        """Count one forward pass.

        Args:
            terms: detached loss terms, before weighting.
            output: what the student returned.
            target_BD: the teacher's embeddings.
        """
        prediction_BD = output.embedding_BD.detach()
        change_T = output.change_T.detach()
        values = {f"losses.{name}": value for name, value in terms.items()} | {
            "usage_NX": output.usage_NX.detach(),
            "change_T": pad(change_T, (0, max(0, self.steps - len(change_T)))),
            "steps": output.steps_B.to(torch.float64).mean(),
            "embedding_norm": torch.linalg.vector_norm(prediction_BD, dim=1).mean(),
            "std_ratio": std_ratio(prediction_BD, target_BD),
            "passes": torch.ones((), device=target_BD.device),
        }
        for name, value in values.items():
            self._add(name, value)

    def add_norm(self, norm: Tensor) -> None:
        """Count the gradient norm of one update."""
        self._add("grad_norm", norm.detach())
        self._add("updates", torch.ones((), device=norm.device))

    def clear(self) -> None:
        """Begin the next window."""
        self.sums = {}

    def restore(self, sums: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on with the sums of a checkpoint."""
        self.sums = {name: value.to(device, copy=True) for name, value in sums.items()}

    def means(self) -> dict[str, Any]:
        """Everything that a log line says about the window, as plain numbers."""
        passes = float(self.sums["passes"])
        mean = {name: value / passes for name, value in self.sums.items()}
        usage_NX = mean["usage_NX"]
        prefix = "losses."
        values: dict[str, Any] = {
            "losses": {n.removeprefix(prefix): float(v) for n, v in mean.items() if prefix in n},
            "usage": dict(zip(EXPERTS, usage_NX.mean(0).tolist(), strict=True)),
            "usage_entropy": float(entropy(usage_NX).mean()),
            "embedding_norm": float(mean["embedding_norm"]),
            "prediction_std_ratio": float(mean["std_ratio"]),
            "change": mean["change_T"].tolist(),
            "steps_used": float(mean["steps"]),
        }
        if "updates" in self.sums:
            total = float(self.sums["grad_norm"]) / float(self.sums["updates"])
            values["grad_norm"] = {"total": total}
        return values

    def passes(self) -> float:
        """Forward passes counted; waits for the device."""
        return float(self.sums["passes"]) if self.sums else 0.0

    def _add(self, name: str, value: Tensor) -> None:
        # Contiguous, as a checkpoint gives it back: the order of later sums depends on the layout.
        value = value.to(torch.float64).contiguous()
        # Out of place: a checkpoint may still hold the old sums.
        self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()


def std_ratio(prediction_BD: Tensor, target_BD: Tensor) -> Tensor:
    r"""Spread of the predictions over that of their targets: 1 alike, near 0 collapsed.

    .. math:: \sqrt{\operatorname{mean}_d \operatorname{var}_b p
                / \operatorname{mean}_d \operatorname{var}_b t}

    Shapes:
        prediction_BD, target_BD: [B, D]; result: scalar.
    """
    own = prediction_BD.var(0, correction=0).mean()
    wanted = target_BD.var(0, correction=0).mean()
    return (own / wanted.clamp_min(torch.finfo(wanted.dtype).tiny)).sqrt()
