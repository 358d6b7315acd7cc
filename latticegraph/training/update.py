"""One update of the student: forward, backward, clip, check, step.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from latticegraph.config import TrainingSettings
from latticegraph.distributed import ALONE, Processes, sum_in_place
from latticegraph.errors import TrainingError
from latticegraph.hub import autocast
from latticegraph.losses import Objective
from latticegraph.model import Student
from latticegraph.training.batches import Batch
from latticegraph.training.loss_scale import LossScale, loss_scale
from latticegraph.training.optimizer import StudentOptimizer, gradient_norm
from latticegraph.training.plan import PlannedUpdate
from latticegraph.training.run_folder import RunFolder
from latticegraph.training.running_means import RunningMeans
from latticegraph.training.whole_batch import own_rows, whole_output


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
        scale: of the loss; None: a new one, as the precision asks for.
    """

    def __init__(
        self,
        student: Student,
        objective: Objective,
        optimizer: StudentOptimizer,
        settings: TrainingSettings,
        folder: RunFolder,
        processes: Processes = ALONE,
        scale: LossScale | None = None,
    ) -> None:
        self.student = student
        self.objective = objective
        self.optimizer = optimizer
        self.settings = settings
        self.folder = folder
        self.processes = processes
        self.scale = loss_scale(settings.precision) if scale is None else scale

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
        sums: dict[str, Tensor] = {}
        # Every process has the loss of the whole batch; their gradients are summed below.
        parts = self.settings.accumulate * self.processes.size
        weights = self.objective.weights_at(planned.phase, planned.phase_update)
        gathered = self.objective.gathered_fields(weights)
        device = self.student.std.device
        for batch in batches:
            source_BD, target_BD = batch.source_BD.to(device), batch.target_BD.to(device)
            with autocast(device, self.settings.precision):
                own = self.student(own_rows(self.student, source_BD, self.processes))
                output = whole_output(self.student, own, len(batch), self.processes, gathered)
                total, terms = self.objective(output, target_BD, weights, own)
            (total * (self.scale.value / parts)).backward()
            means.add(terms, output, target_BD)
            sums = {name: sums[name] + v if name in sums else v for name, v in terms.items()}
        gradients = (p.grad for p in self.optimizer.trained if p.grad is not None)
        sum_in_place(gradients, self.processes)
        if self.scale.is_used:
            for parameter in self.optimizer.trained:
                if parameter.grad is not None:
                    parameter.grad.div_(self.scale.value)
        norm = gradient_norm(self.optimizer.trained)
        assert norm is not None, "a trained part without any gradient"
        # The one wait for the device per update: no weight may move on numbers that are not finite.
        if not is_finite(norm + sums["total"]):
            if is_finite(sums["total"]) and self.scale.is_used and self.scale.overflowed():
                # Left out: nothing moves, and the log counts a gradient of 0.
                means.add_norm(torch.zeros_like(norm))
                return {}
            raise self._not_finite(planned, sums)
        self.scale.went_well()
        norms = self._norms() if measure else {}
        trained = self.optimizer.trained
        torch.nn.utils.clip_grads_with_norm_(trained, self.settings.clip_norm, norm)
        means.add_norm(norm)
        self.optimizer.step(planned.learning_rate)
        return norms

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
