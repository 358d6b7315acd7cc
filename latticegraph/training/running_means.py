"""Running means between two log lines, kept on the device.

Legend: B batch, D teacher width, N cells, X experts, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from latticegraph.losses.emergence import entropy
from latticegraph.model import StudentOutput

COUNTS = "counts."  # prefix of names
# Prefixes of the names of single numbers, and their names in a log line.
GROUPS = {"losses": "losses", "weights": "loss_weights", "shares": "gradient_shares"}


class RunningMeans:
    """Means over the forward passes since the last log line; only reading them synchronises.

    A loss term counts the passes in which it was computed.

    Args:
        experts: their names, in the order of the columns of ``usage_NX``.
        steps: T, the configured number of lattice steps; a rollout that converged earlier counts as
            unchanged in the steps it left out.
    """

    def __init__(self, experts: Sequence[str], steps: int) -> None:
        self.experts = tuple(experts)
        self.steps = steps
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, Tensor], output: StudentOutput, target_BD: Tensor) -> None:
        """Count one forward pass.

        Args:
            terms: detached loss terms, before weighting.
            output: what the student returned.
            target_BD: the teacher's embeddings.
        """
        prediction_BD = output.embedding_BD.detach()
        change_T = output.change_T.detach()
        self.add_group("losses", terms)
        values = {
            "usage_NX": output.usage_NX.detach(),
            "change_T": pad(change_T, (0, max(0, self.steps - len(change_T)))),
            "steps": output.steps_B.to(torch.float64).mean(),
            "embedding_norm": torch.linalg.vector_norm(prediction_BD, dim=1).mean(),
            "std_ratio": std_ratio(prediction_BD, target_BD),
        }
        for name, value in values.items():
            self._add(name, value)

    def add_norm(self, norm: Tensor) -> None:
        """Count the gradient norm of one update."""
        self._add("grad_norm", norm.detach())

    def add_group(self, group: str, values: Mapping[str, float | Tensor]) -> None:
        """Count one number of every term.

        Args:
            group: ``losses``, ``weights`` or ``shares``.
            values: by the name of the term.
        """
        for name, value in values.items():
            self._add(f"{group}.{name}", torch.as_tensor(value))

    def clear(self) -> None:
        """Reset all means."""
        self.sums, self.counts = {}, {}

    def tensors(self) -> dict[str, Tensor]:
        """Sums and counts, for a checkpoint."""
        counts = {COUNTS + name: torch.tensor(count) for name, count in self.counts.items()}
        return self.sums | counts

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """The opposite of :meth:`tensors`."""
        self.clear()
        for name, value in tensors.items():
            if name.startswith(COUNTS):
                self.counts[name.removeprefix(COUNTS)] = int(value)
            else:
                self.sums[name] = value.to(device, copy=True)

    def means(self) -> dict[str, Any]:
        """The means as plain numbers, in the form of a log line."""
        mean = {name: value / self.counts[name] for name, value in self.sums.items()}
        usage_NX = mean["usage_NX"]
        groups: dict[str, Any] = {
            shown: {
                name.removeprefix(f"{group}."): float(value)
                for name, value in mean.items()
                if name.startswith(f"{group}.")
            }
            for group, shown in GROUPS.items()
        }
        values: dict[str, Any] = {shown: found for shown, found in groups.items() if found} | {
            "usage": dict(zip(self.experts, usage_NX.mean(0).tolist(), strict=True)),
            "usage_entropy": float(entropy(usage_NX).mean()),
            "embedding_norm": float(mean["embedding_norm"]),
            "prediction_std_ratio": float(mean["std_ratio"]),
            "change": mean["change_T"].tolist(),
            "steps_used": float(mean["steps"]),
        }
        if "grad_norm" in mean:
            values["grad_norm"] = {"total": float(mean["grad_norm"])}
        return values

    def passes(self) -> int:
        """Forward passes counted."""
        return self.counts.get("usage_NX", 0)

    def _add(self, name: str, value: Tensor) -> None:
        # Contiguous, as a checkpoint gives it back: the order of later sums depends on the layout.
        value = value.to(torch.float64).contiguous()
        # Out of place: a checkpoint may still hold the old sums.
        self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
        self.counts[name] = self.counts.get(name, 0) + 1


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
