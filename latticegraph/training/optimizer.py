"""AdamW over two parts of the student, and which part a phase trains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from latticegraph.config import TrainingSettings
from latticegraph.config.training import Part
from latticegraph.model import Student
from latticegraph.model.positional import PositionalEncoding
from latticegraph.training.adamw import AdamW
from latticegraph.training.weight_average import WeightAverage


class StudentOptimizer:
    """AdamW (Loshchilov and Hutter, 2019) with a rate per part and no decay on biases and vectors.

    The ``experts`` are all parameters of the lattice, its gating included; the ``projections`` are
    all others. A frozen part receives no gradient and does not move; its moments stay as they are.
    The matrices of :func:`projection_matrices` decay by ``projection_weight_decay``, all others
    (experts, gating, first states of cells) by ``weight_decay``.

    Args:
        student: the model; its parameters are updated in place.
        settings: weight decays, betas, the scale of each part's rate and the decay of the mean.

    Attributes:
        trained: parameters of the part that :meth:`select` chose.
        average: exponential mean of the parameters over the steps.
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
        decay_of = {p: settings.weight_decay if p.ndim > 1 else 0.0 for p in student.parameters()}
        if settings.projection_weight_decay is not None:
            matrices = projection_matrices(student)
            decay_of |= dict.fromkeys(matrices, settings.projection_weight_decay)
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in (p for part in self._parts.values() for p in part):
            key = (scale_of[parameter], decay_of[parameter])
            groups.setdefault(key, []).append(parameter)
        self._adamw = AdamW(
            [
                {"params": same, "weight_decay": decay, "scale": scale}
                for (scale, decay), same in groups.items()
            ],
            settings.betas,
        )
        self.average = WeightAverage(student, settings.average_decay)
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
        self._adamw.zero_grad()

    def unscale(self, scaler: GradScaler) -> None:
        """Divide all gradients by the scale of the loss, once per update."""
        scaler.unscale_(self._adamw)  # type: ignore[arg-type]  # it reads param_groups alone

    def step(self, rate: float, scaler: GradScaler) -> None:
        """Move every parameter that has a gradient, and the mean of all of them.

        Args:
            rate: learning rate before the scale of each part.
            scaler: that :meth:`unscale` was called with.
        """
        for group in self._adamw.param_groups:
            group["lr"] = rate * group["scale"]
        self.average.begin()
        scaler.step(self._adamw)  # type: ignore[arg-type]  # it calls step alone
        self.average.add()

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
            moments = self._adamw.state.setdefault(parameter, {})
            moments[moment] = value.to(place, copy=True)


def projection_matrices(student: Student) -> list[nn.Parameter]:
    """Weights of the linear maps of transformer, mapper and extractor.

    Biases and gains are vectors. The positional encoding is no map of the surface either: it is
    added to the states of cells, as a bias is.
    """
    owners = (student.transformer, student.mapper, student.extractor)
    modules = [module for owner in owners if owner is not None for module in owner.modules()]
    added = {p for m in modules if isinstance(m, PositionalEncoding) for p in m.parameters()}
    return [
        parameter
        for module in modules
        for parameter in module.parameters(recurse=False)
        if parameter.ndim > 1 and parameter not in added
    ]


def gradient_norm(parameters: list[nn.Parameter]) -> Tensor | None:
    """Euclidean norm of all gradients together; None where there is none."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else None
