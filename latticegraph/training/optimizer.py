"""AdamW over two parts of the student, and which part a phase trains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from latticegraph.config import TrainingSettings
from latticegraph.config.training import Part
from latticegraph.model import Student

BETAS = (0.9, 0.99)


class StudentOptimizer:
    """AdamW (Loshchilov and Hutter, 2019) with a rate per part and no decay on biases and vectors.

    The ``experts`` are all parameters of the lattice, its gating included; the ``projections`` are
    all others. A frozen part receives no gradient and does not move; its moments stay as they are.

    Args:
        student: the model; its parameters are updated in place.
        settings: weight decay and the scale of each part's rate.

    Attributes:
        trained: parameters of the part that :meth:`select` chose.
    """

    def __init__(self, student: Student, settings: TrainingSettings) -> None:
        self._names: dict[Tensor, str] = {
            parameter: name for name, parameter in student.named_parameters()
        }
        experts = set(student.dynamics.parameters())
        self._parts = {
            "experts": [p for p in student.parameters() if p in experts],
            "projections": [p for p in student.parameters() if p not in experts],
        }
        scale_of = dict.fromkeys(student.parameters(), settings.projection_lr_scale)
        scale_of |= dict.fromkeys(experts, settings.expert_lr_scale)
        own = {expert.name: expert.lr_scale for expert in student.settings.experts}
        for name, expert in student.dynamics.experts.items():
            scale = settings.expert_lr_scale * own[name]
            scale_of |= dict.fromkeys(expert.parameters(), scale)
        groups = []
        for parameters in self._parts.values():
            for decayed in (True, False):
                chosen = [p for p in parameters if (p.ndim > 1) == decayed]
                decay = settings.weight_decay if decayed else 0.0
                for scale in dict.fromkeys(scale_of[p] for p in chosen):
                    same = [p for p in chosen if scale_of[p] == scale]
                    groups.append({"params": same, "weight_decay": decay, "scale": scale})
        self._adamw = torch.optim.AdamW(groups, lr=0.0, betas=BETAS)
        self.trained: list[nn.Parameter] = []
        self.select("all")

    def select(self, part: Part) -> None:
        """Train one part, or all, and freeze the rest."""
        self.trained = []
        for name, parameters in self._parts.items():
            chosen = part in ("all", name)
            for parameter in parameters:
                parameter.requires_grad_(chosen)
            if chosen:
                self.trained += parameters

    def clear(self) -> None:
        """Drop all gradients, so that frozen parameters have none."""
        self._adamw.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient.

        Args:
            rate: learning rate before the scale of each part.
        """
        for group in self._adamw.param_groups:
            group["lr"] = rate * group["scale"]
        self._adamw.step()

    def tensors(self) -> dict[str, Tensor]:
        """Moments and step counts as ``<moment>.<parameter>``; none for what was never trained."""
        return {
            f"{moment}.{self._names[parameter]}": value
            for parameter, state in self._adamw.state.items()
            for moment, value in state.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The opposite of :meth:`tensors`."""
        parameters = {name: parameter for parameter, name in self._names.items()}
        self._adamw.state.clear()
        for key, value in tensors.items():
            moment, _, name = key.partition(".")
            parameter = parameters[name]
            # AdamW counts its steps on the CPU.
            place = value.device if moment == "step" else parameter.device
            self._adamw.state[parameter][moment] = value.to(place, copy=True)


def gradient_norm(parameters: list[nn.Parameter]) -> Tensor | None:
    """Euclidean norm of all gradients together; None where there is none."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else None
