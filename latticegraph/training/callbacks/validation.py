"""Metrics of the student on validation pairs, and decoded examples.

Legend: B batch, D teacher width, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from latticegraph.config import Config
from latticegraph.decoding import Decoder, TextDecoder
from latticegraph.distributed import ALONE, Processes
from latticegraph.errors import DataError, TrainingError
from latticegraph.evaluation import compute_metrics, embedding_spread, validation_metrics
from latticegraph.hub import autocast
from latticegraph.losses import Objective
from latticegraph.model import Student
from latticegraph.training.batches import EmbeddingPairs
from latticegraph.training.cube_monitor import CubeMonitor
from latticegraph.training.plan import mixed_seed
from latticegraph.training.running_means import RunningMeans, std_ratio
from latticegraph.training.state import Callback, TrainingState, ValidationResult
from latticegraph.training.whole_batch import own_rows, whole_output


class Validator:
    """Measures a student on a fixed subset of the validation pairs.

    Args:
        config: batch size, precision and number of decoded examples.
        pairs: validation pairs; ``evaluation.validation_samples``, drawn by ``run.seed``, are used.
        train_mean_D: mean of the training targets.
        texts: target text of every validation pair, for the decoded examples.
        processes: of the run; they divide the rows of each batch and all get the same values.

    Raises:
        DataError: when there is not one text per pair.
    """

    def __init__(
        self,
        config: Config,
        pairs: EmbeddingPairs,
        train_mean_D: Tensor,
        texts: Sequence[str] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        if texts is not None and len(texts) != len(pairs):
            raise DataError(
                "validation_texts",
                f"expected one text per validation pair ({len(pairs)}), got {len(texts)}",
                "Pass the target text of every pair, in the same order",
            )
        generator = torch.Generator().manual_seed(mixed_seed(config.run.seed, -1))
        order_N = torch.randperm(len(pairs), generator=generator)
        self.index_N = order_N[: config.evaluation.validation_samples]
        self.config = config
        self.pairs = pairs
        self.train_mean_D = train_mean_D
        self.texts = texts
        self.processes = processes
        self._metrics = validation_metrics(config.evaluation.metrics)
        self._decoder = TextDecoder(texts, pairs.target_ND) if texts is not None else None
        self._writer: Decoder | None = None

    def show_written(self, writer: Decoder | None) -> None:
        """Let the examples show what a decoder makes of the student's and the teacher's embeddings.

        Args:
            writer: of the teacher of the pairs; None: they do not.
        """
        self._writer = writer
        if writer is not None:
            shown_N = self.index_N[: self.config.evaluation.decoded_examples]
            self._from_teacher = _first_texts(writer, self.pairs.target_ND[shown_N])

    @torch.no_grad()
    def measure(
        self,
        student: Student,
        objective: Objective,
        update: int,
        weights: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Metrics, unweighted loss terms, expert usage and spread; examples where there are texts.

        Args:
            student: left in evaluation mode.
            objective: its terms are averaged over the batches.
            update: updates done, for errors.
            weights: of the terms; None: those of the first update.

        Raises:
            TrainingError: when a prediction is not finite.
        """
        student.eval()
        device = student.std.device
        weights = objective.weights_at() if weights is None else weights
        gathered = objective.gathered_fields(weights)
        whole = objective.needs_whole_lattice(weights)
        means = RunningMeans(student.dynamics.names, self.config.model.dynamics.steps)
        predictions = []
        for index_B in self.index_N.split(self.config.evaluation.batch_size):
            batch = self.pairs.batch(index_B).to(device)
            with autocast(device, self.config.training.precision):
                rows_BD = own_rows(student, batch.source_BD, self.processes)
                own = student(rows_BD, whole=whole)
                output = whole_output(student, own, len(batch), self.processes, gathered)
                _, terms = objective(output, batch.target_BD, weights, own)
            means.add(terms, output, batch.target_BD)
            predictions.append(output.embedding_BD.to("cpu", self.pairs.target_ND.dtype))
        prediction_ND = torch.cat(predictions)
        target_ND = self.pairs.target_ND[self.index_N]
        if not bool(torch.isfinite(prediction_ND).all()):
            raise TrainingError(
                "training.phases",
                f"expected finite predictions on the validation pairs after update {update}, got "
                "NaN or infinity",
                "Lower the learning_rate of the phase and start a new run; the last checkpoint is "
                "intact",
            )
        source_ND = self.pairs.source_ND[self.index_N]
        values = means.means() | compute_metrics(
            self._metrics, prediction_ND, target_ND, self.train_mean_D, source_ND
        )
        values["prediction_std_ratio"] = float(std_ratio(prediction_ND, target_ND))
        values["spread"] = embedding_spread(prediction_ND, target_ND)
        if self._decoder is not None:
            values["examples"] = self._examples(prediction_ND)
        return values

    def _examples(self, prediction_ND: Tensor) -> list[dict[str, Any]]:
        count = self.config.evaluation.decoded_examples
        if self._decoder is None or self.texts is None or not count:
            return []
        nearest = self._decoder.decode(prediction_ND[:count])
        examples: list[dict[str, Any]] = [
            {"target": self.texts[index], "decoded": best.text, "cosine": best.cosine}
            for index, (best, *_) in zip(self.index_N[:count].tolist(), nearest, strict=True)
        ]
        if self._writer is not None:
            written = _first_texts(self._writer, prediction_ND[:count])
            for example, *texts in zip(examples, written, self._from_teacher, strict=True):
                example["written"], example["written_from_teacher"] = texts
        return examples


def _first_texts(decoder: Decoder, rows_ND: Tensor) -> list[str]:
    return [row[0].text for row in decoder.decode(rows_ND)]


class Validation(Callback):
    """Validates before the first update and every ``training.validate_every`` epochs.

    Where a mean of the weights is kept, it is the mean that is measured.

    Args:
        validator: measures the student.
        every: epochs between validations.
        monitor: looks into the cube after the first update, in the writer's process alone; None:
            nobody does.

    Attributes:
        best_value: best explained variance so far; None before the first validation.
        best_update: updates done when it was measured.
    """

    def __init__(
        self, validator: Validator, every: int, monitor: CubeMonitor | None = None
    ) -> None:
        self.validator = validator
        self.every = every
        self.monitor = monitor
        self.best_value: float | None = None
        self.best_update = 0

    def on_start(self, state: TrainingState) -> None:
        """Measure the data-driven start."""
        if not state.resumed:
            self._validate(state)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Validate where it is due."""
        if state.at_end or state.progress.epoch % self.every == 0:
            self._validate(state)

    def _validate(self, state: TrainingState) -> None:
        update = state.progress.update
        latest = state.plan.latest(update)
        weights = state.objective.weights_at(latest.phase, latest.phase_update)
        with state.optimizer.average.in_use():
            values = self.validator.measure(state.student, state.objective, update, weights)
            # Not before the first update: the sums over the whole lattice would delay the start.
            cube = self.monitor.measure(state.student) if self.monitor and update else {}
        examples = values.pop("examples", [])
        # Rounding must not let processes disagree about what is best.
        value = state.processes.from_writer(values["explained_variance"])
        values["explained_variance"] = value
        best = self.best_value is None or value > self.best_value
        if best:
            self.best_value, self.best_update = value, update
        result = ValidationResult(values, examples, best, cube)
        for callback in state.callbacks:
            callback.on_validation(state, result)

    def state_dict(self) -> dict[str, Any]:
        """The best value and when it was measured."""
        return {"best_value": self.best_value, "best_update": self.best_update}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Restore both."""
        self.best_value, self.best_update = values["best_value"], values["best_update"]
