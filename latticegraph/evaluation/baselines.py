"""All baselines at the cube's own bottleneck, fitted on the same training pairs."""

from __future__ import annotations

from latticegraph.config.evaluation import EvaluationSettings
from latticegraph.errors import DataError
from latticegraph.evaluation.linear_autoencoder import LinearAutoencoder
from latticegraph.evaluation.linear_baselines import (
    Baseline,
    IdentityBaseline,
    MeanBaseline,
    PcaBaseline,
)
from latticegraph.evaluation.mlp_autoencoder import MlpAutoencoder, Progress
from latticegraph.evaluation.rows import EmbeddingSplit


def fit_baselines(
    train: EmbeddingSplit,
    validation: EmbeddingSplit,
    bottleneck: int,
    settings: EvaluationSettings,
    *,
    seed: int,
    task: str,
    progress: Progress | None = None,
) -> list[Baseline]:
    """Fit every baseline on ``train``.

    Args:
        train: what all baselines learn from.
        validation: chooses when both autoencoders stop, as it chooses the student's checkpoint.
        bottleneck: S, numbers per sample between encoder and decoder, >= 1.
        settings: width and length of the MLP autoencoder.
        seed: of both autoencoders.
        task: ``reconstruction``, or ``question_answer`` which adds the baseline ``identity``.
        progress: called with a baseline's name and the share of its training done.

    Returns:
        Rows of the report: mean, (identity,) pca, linear_autoencoder, mlp_autoencoder.

    Raises:
        DataError: for a bottleneck below 1, or fewer than 2 training pairs.
    """
    if bottleneck < 1:
        raise DataError(
            "bottleneck", f"expected at least 1 number, got {bottleneck}", "Enlarge the surface"
        )
    if len(train.source_ND) < 2:
        raise DataError("train", "expected at least 2 pairs, got 1", "Give more training text")
    pair = (train.source_ND, train.target_ND)
    held = (validation.source_ND, validation.target_ND)
    baselines: list[Baseline] = [MeanBaseline()]
    if task == "question_answer":
        baselines.append(IdentityBaseline())
    baselines.append(PcaBaseline(bottleneck))
    for baseline in baselines:
        baseline.fit(*pair)
    linear = LinearAutoencoder(bottleneck, seed)
    linear.fit(*pair, validation=held)
    mlp = MlpAutoencoder(bottleneck, settings.mlp_hidden, settings.baseline_epochs, seed)
    mlp.fit(*pair, validation=held, progress=progress)
    baselines += [linear, mlp]
    if progress is not None:
        for baseline in baselines:
            progress(baseline.name, 1.0)
    return baselines
