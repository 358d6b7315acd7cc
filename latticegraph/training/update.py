"""One update of the student: forward, backward, clip, check, step.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.amp import GradScaler

from latticegraph.config import TrainingSettings
from latticegraph.distributed import ALONE, Processes, sum_in_place
from latticegraph.errors import TrainingError
from latticegraph.hub import autocast
from latticegraph.losses import FixedWeighting, Objective
from latticegraph.model import Student
from latticegraph.training.batches import Batch
from latticegraph.training.machine import loss_scaler
from latticegraph.training.optimizer import StudentOptimizer, gradient_norm
from latticegraph.training.plan import PlannedUpdate
from latticegraph.training.run_folder import RunFolder
from latticegraph.training.running_means import RunningMeans
from latticegraph.training.term_gradients import gradient_shares, term_gradient_norms
from latticegraph.training.whole_batch import own_rows, whole_output


@dataclass
class Passes:
    """What the passes of one update found.

    Attributes:
        sums: of every term and of ``total`` over the passes.
        norms: gradient norm of every term where the weighting asked for it.
        shares: share of the gradient of every term where it was due.
    """

    sums: dict[str, Tensor] = field(default_factory=dict)
    norms: dict[str, Tensor] = field(default_factory=dict)
    shares: dict[str, Tensor] = field(default_factory=dict)

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Count one pass."""
        sums = self.sums
        self.sums = {name: sums[name] + v if name in sums else v for name, v in terms.items()}


class Updater:
    """Turns batches into updates.

    The loss of an update is the mean over its forward passes, so ``accumulate`` passes of size B
    have the gradient of one batch of ``accumulate * B`` in every term that is a mean over samples.
    Several processes divide the rows of each pass and make the same update as one.

    Args:
        student: the model.
        objective: the weighted sum of loss terms.
        optimizer: of the student.
        settings: accumulation, clipping and precision.
        folder: named in errors.
        processes: of the run.
        scaler: of the loss; None: a new one, as the precision asks for.
    """

    def __init__(
        self,
        student: Student,
        objective: Objective,
        optimizer: StudentOptimizer,
        settings: TrainingSettings,
        folder: RunFolder,
        processes: Processes = ALONE,
        scaler: GradScaler | None = None,
    ) -> None:
        self.student = student
        self.objective = objective
        self.optimizer = optimizer
        self.settings = settings
        self.folder = folder
        self.processes = processes
        if scaler is None:
            scaler = loss_scaler(settings.precision, student.std.device)
        self.scaler = scaler

    def update(
        self, batches: Iterable[Batch], planned: PlannedUpdate, means: RunningMeans, measure: bool
    ) -> dict[str, Tensor | None]:
        """Train on the batches of one update; the numbers are checked before any weight moves.

        Args:
            batches: one for each forward pass; the same in every process.
            planned: phase and learning rate.
            means: receives loss terms and statistics.
            measure: return gradient norms, else nothing.

        Returns:
            Gradient norm of every component before clipping; None for a frozen one.

        Raises:
            TrainingError: when a loss term or the gradient is no finite number.
        """
        self.student.train()
        self.optimizer.clear()
        objective, device = self.objective, self.student.std.device
        # Every process has the loss of the whole batch; their gradients are summed afterwards.
        parts = self.settings.accumulate * self.processes.size
        weights = objective.weights_at(planned.phase, planned.phase_update)
        gathered = objective.gathered_fields(weights)
        whole = objective.needs_whole_lattice(weights)
        objective.set_progress(planned.progress)
        passes = Passes()
        for batch in batches:
            source_BD, target_BD = batch.source_BD.to(device), batch.target_BD.to(device)
            with autocast(device, self.settings.precision):
                rows_BD = own_rows(self.student, source_BD, self.processes)
                own = self.student(rows_BD, whole=whole)
                output = whole_output(self.student, own, len(batch), self.processes, gathered)
                values = objective.values(output, target_BD, weights, own)
                found = objective.weighting.total(values, weights)
            if not passes.sums:
                self._measure(passes, values, found.weights, planned.number)
            self.scaler.scale(found.total * (1 / parts)).backward()
            terms = {n: v.detach() for n, v in (values | {"total": found.total}).items()}
            means.add(terms, output, target_BD)
            if not isinstance(objective.weighting, FixedWeighting):
                means.add_group("weights", found.weights)
            passes.add(terms)
        return self._step(passes, planned, means, measure)

    def _step(
        self, passes: Passes, planned: PlannedUpdate, means: RunningMeans, measure: bool
    ) -> dict[str, Tensor | None]:
        """Check, clip and take the gradients that the passes have added up."""
        gradients = (p.grad for p in self.optimizer.trained if p.grad is not None)
        sum_in_place(gradients, self.processes)
        self.optimizer.unscale(self.scaler)
        norm = gradient_norm(self.optimizer.trained)
        assert norm is not None, "a trained part without any gradient"
        # The one wait for the device per update: no weight may move on numbers that are not finite.
        if not is_finite(norm + passes.sums["total"]):
            if is_finite(passes.sums["total"]) and self._scale_fell():
                # Left out: nothing moves, and the log counts a gradient of 0.
                means.add_norm(torch.zeros_like(norm))
                return {}
            raise self._not_finite(planned, passes.sums)
        norms = self._norms() if measure else {}
        trained = self.optimizer.trained
        torch.nn.utils.clip_grads_with_norm_(trained, self.settings.clip_norm, norm)
        means.add_norm(norm)
        means.add_group("shares", passes.shares)
        self.optimizer.step(planned.learning_rate, self.scaler)
        self.scaler.update()
        self._learn_weights(passes)
        return norms

    def _scale_fell(self) -> bool:
        """Whether overflowing gradients lowered the scale of the loss, and it can fall further."""
        if not self.scaler.is_enabled():
            return False
        before = self.scaler.get_scale()
        self.scaler.update()
        return 1 < self.scaler.get_scale() < before

    def _measure(
        self,
        passes: Passes,
        values: Mapping[str, Tensor],
        weights: Mapping[str, float | Tensor],
        number: int,
    ) -> None:
        """Gradients of every term by itself, in the first pass of an update that asks for them."""
        if component := self.objective.weighting.measured(number):
            layer = list(self.student.components()[component].parameters())
            passes.norms = term_gradient_norms(
                values, layer, self.processes, self.scaler.get_scale()
            )
        every = self.settings.shares_every
        if every and number % every == 0:
            norms = term_gradient_norms(
                values, self.optimizer.trained, self.processes, self.scaler.get_scale()
            )
            shares = gradient_shares(norms, weights)
            # The scale of float16 may overflow in one term where the sum of all stays finite.
            passes.shares = shares if all(map(is_finite, shares.values())) else {}

    def _learn_weights(self, passes: Passes) -> None:
        """Let the weighting follow the losses and gradients of an update."""
        if not self.objective.weighting.learns:
            return
        count = self.settings.accumulate
        losses = {n: float(v) / count for n, v in passes.sums.items() if n != "total"}
        norms = {name: float(norm) for name, norm in passes.norms.items()}
        if not all(map(math.isfinite, norms.values())):  # as above
            norms = {}
        # Rounding must not let the processes drift apart.
        losses, norms = self.processes.from_writer([losses, norms])
        self.objective.weighting.learn(losses, norms)

    def _norms(self) -> dict[str, Tensor | None]:
        return {
            name: gradient_norm(list(module.parameters()))
            for name, module in self.student.components().items()
        }

    def _not_finite(self, planned: PlannedUpdate, terms: Mapping[str, Tensor]) -> TrainingError:
        values = {f"the loss term '{name}'": value for name, value in terms.items()}
        values |= {
            f"the gradient norm of {name}": value
            for name, value in self._norms().items()
            if value is not None
        }
        bad = [f"{name} is {float(v)}" for name, v in values.items() if not is_finite(v)]
        found = bad[0] if bad else "the gradient as a whole overflows"
        phase = self.settings.phases[planned.phase]
        key = f"training.phases.{planned.phase}.learning_rate"
        cure = "lengthen its warmup or lower training.clip_norm"
        if self.settings.precision != "float32":
            cure += " or set training.precision to float32"
        return TrainingError(
            key,
            f"expected finite numbers in update {planned.number} (phase '{phase.name}', rate "
            f"{planned.learning_rate:.3g}), but {found}",
            f"Lower {key} (now {phase.learning_rate:g}), {cure}, and start a new run; the last "
            f"checkpoint is intact: {self.folder.last}",
        )


def is_finite(value: Tensor) -> bool:
    """Whether a scalar is neither NaN nor infinite; waits for the device."""
    return bool(torch.isfinite(value))
