"""All baselines at the cube's own bottleneck, measured on the same held-out pairs.

Legend: B samples, D teacher width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from latticegraph.config.evaluation import EvaluationSettings
from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import ArrayOrTensor, Floats, as_float64, check_same_shape
from latticegraph.evaluation.linear_autoencoder import LinearAutoencoder
from latticegraph.evaluation.linear_baselines import (
    Baseline,
    IdentityBaseline,
    MeanBaseline,
    PcaBaseline,
)
from latticegraph.evaluation.metrics import task_metrics
from latticegraph.evaluation.mlp_autoencoder import MlpAutoencoder, Progress


@dataclass(frozen=True)
class EmbeddingPairs:
    """Embeddings of the sources of a split and of their targets (the same array where they agree).

    Args:
        source_BD: embeddings of the sources.
        target_BD: embeddings of the targets, row i belongs to source i.

    Shapes:
        source_BD, target_BD: [B, D].
    """

    source_BD: ArrayOrTensor
    target_BD: ArrayOrTensor

    def checked(self, split: str) -> tuple[Floats, Floats]:
        """Both as float64 arrays.

        Raises:
            DataError: naming ``split``, for shapes that do not match, empty arrays, or NaN.
        """
        source = as_float64(f"{split}.source", self.source_BD)
        if self.target_BD is self.source_BD:
            return source, source
        target = as_float64(f"{split}.target", self.target_BD)
        check_same_shape(f"{split}.source", source, f"{split}.target", target)
        return source, target


def fit_baselines(
    train: EmbeddingPairs,
    validation: EmbeddingPairs,
    heldout: EmbeddingPairs,
    bottleneck: int,
    settings: EvaluationSettings,
    *,
    seed: int,
    task: str,
    progress: Progress | None = None,
) -> dict[str, dict[str, float]]:
    """Fit every baseline on ``train`` and measure it on ``heldout``.

    Args:
        train: what all baselines learn from.
        validation: chooses when both autoencoders stop, as it chooses the student's checkpoint.
        heldout: measured only.
        bottleneck: S, numbers per sample between encoder and decoder, >= 1.
        settings: width and length of the MLP autoencoder.
        seed: of both autoencoders.
        task: ``reconstruction``, or ``question_answer`` which adds the baseline ``identity`` and
            the metrics mrr and recall_at_10.
        progress: called with a baseline's name and the share of its training done.

    Returns:
        Metrics by name: mean, (identity,) pca, linear_autoencoder, mlp_autoencoder.

    Raises:
        DataError: for a bottleneck below 1, fewer than 2 training pairs, or malformed arrays.
    """
    train_pair, held_pair = train.checked("train"), heldout.checked("heldout")
    validation_pair = validation.checked("validation")
    if bottleneck < 1:
        raise DataError(
            "bottleneck", f"expected at least 1 number, got {bottleneck}", "Enlarge the surface"
        )
    if len(train_pair[0]) < 2:
        raise DataError("train", "expected at least 2 pairs, got 1", "Give more training text")
    mean_D = train_pair[1].mean(axis=0)

    def measure(name: str, baseline: Baseline) -> dict[str, float]:
        if progress is not None:
            progress(name, 1.0)
        return task_metrics(baseline.predict(held_pair[0]), held_pair[1], mean_D, task)

    results: dict[str, dict[str, float]] = {}
    for name, baseline in _plain_baselines(bottleneck, task).items():
        baseline.fit(*train_pair)
        results[name] = measure(name, baseline)
    linear = LinearAutoencoder(bottleneck, seed)
    linear.fit(*train_pair, validation=validation_pair)
    results["linear_autoencoder"] = measure("linear_autoencoder", linear)
    mlp = MlpAutoencoder(bottleneck, settings.mlp_hidden, settings.baseline_epochs, seed)
    mlp.fit(*train_pair, validation=validation_pair, progress=progress)
    results["mlp_autoencoder"] = measure("mlp_autoencoder", mlp)
    return results


def _plain_baselines(bottleneck: int, task: str) -> Mapping[str, Baseline]:
    baselines: dict[str, Baseline] = {"mean": MeanBaseline()}
    if task == "question_answer":
        baselines["identity"] = IdentityBaseline()
    baselines["pca"] = PcaBaseline(bottleneck)
    return baselines
