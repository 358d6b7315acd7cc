"""How well the student does on held-back pairs, and the sentences nearest to what it says.

Legend: B batch, D teacher width, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from latticegraph.config import Config
from latticegraph.decoding import TextDecoder
from latticegraph.distributed import ALONE, Processes
from latticegraph.errors import DataError, TrainingError
from latticegraph.evaluation import compute_metrics, validation_metrics
from latticegraph.hub import autocast
from latticegraph.losses import CombinedLoss
from latticegraph.model import Student
from latticegraph.training.pairs import EmbeddingPairs
from latticegraph.training.plan import mixed_seed
from latticegraph.training.whole_batch import run_whole_batch
from latticegraph.training.window import Window, std_ratio


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

    @torch.no_grad()
    def measure(self, student: Student, loss: CombinedLoss, update: int) -> dict[str, Any]:
        """Metrics, unweighted loss terms, expert usage and spread; examples where there are texts.

        Args:
            student: left in evaluation mode.
            loss: its terms are averaged over the batches.
            update: updates done, for errors.

        Raises:
            TrainingError: when a prediction is not finite.
        """
        student.eval()
        device = student.std.device
        window = Window(self.config.model.dynamics.steps)
        predictions = []
        for index_B in self.index_N.split(self.config.evaluation.batch_size):
            source_BD, target_BD = self.pairs.rows(index_B, device)
            with autocast(device, self.config.training.precision):
                output = run_whole_batch(student, source_BD, self.processes)
                _, terms = loss(output, target_BD)
            window.add(terms, output, target_BD)
            predictions.append(output.embedding_BD.float().cpu())
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
        values = window.means() | compute_metrics(
            self._metrics, prediction_ND, target_ND, self.train_mean_D, source_ND
        )
        values["prediction_std_ratio"] = float(std_ratio(prediction_ND, target_ND))
        if self._decoder is not None:
            values["examples"] = self._examples(prediction_ND)
        return values

    def _examples(self, prediction_ND: Tensor) -> list[dict[str, Any]]:
        count = self.config.evaluation.decoded_examples
        if self._decoder is None or self.texts is None or not count:
            return []
        nearest = self._decoder.decode(prediction_ND[:count])
        return [
            {"target": self.texts[index], "decoded": best.text, "cosine": best.cosine}
            for index, (best, *_) in zip(self.index_N[:count].tolist(), nearest, strict=True)
        ]
