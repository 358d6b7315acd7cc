"""How well predicted embeddings match the teacher's, in float64.

Legend: B samples, D teacher width.
"""

from __future__ import annotations

import numpy as np

from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import ArrayOrTensor, checked_prediction
from latticegraph.evaluation.ranking import own_target_ranks, unit_rows


def embedding_metrics(
    prediction_BD: ArrayOrTensor, target_BD: ArrayOrTensor, train_mean_D: ArrayOrTensor
) -> dict[str, float]:
    r"""Squared error, direction and retrieval of held-out embeddings.

    With m the mean of the TRAINING targets (not of the held-out ones, which a model cannot know):

    - ``explained_variance`` :math:`1 - \sum |t - p|^2 / \sum |t - m|^2`: 1 perfect, 0 for
      predicting m, negative below that;
    - ``cosine``: mean cosine of p and t (high for many teachers even when p = m);
    - ``centred_cosine``: mean cosine of p - m and t - m, 0 for p = m;
    - ``mse``: mean squared error per dimension;
    - ``recall_at_1``: share of samples whose own target is nearest, see
      :func:`~latticegraph.evaluation.ranking.own_target_ranks`.

    Args:
        prediction_BD: predicted embeddings.
        target_BD: the teacher's embeddings, row i belongs to prediction i.
        train_mean_D: mean of the training targets.

    Shapes:
        prediction_BD, target_BD: [B, D]; train_mean_D: [D].

    Raises:
        DataError: for shapes that do not match, empty arrays, NaN, or targets that all equal the
            mean.
    """
    prediction, target, mean_D = checked_prediction(prediction_BD, target_BD, train_mean_D)
    error = float(np.square(target - prediction).sum())
    spread = float(np.square(target - mean_D).sum())
    if spread == 0:
        raise DataError(
            "target",
            "expected held-out embeddings that differ from the training mean, got none",
            "Hold out more than one text",
        )
    ranks_B = own_target_ranks(prediction, target, mean_D)
    centred = (unit_rows(prediction - mean_D) * unit_rows(target - mean_D)).sum(axis=1)
    return {
        "explained_variance": 1 - error / spread,
        "cosine": float((unit_rows(prediction) * unit_rows(target)).sum(axis=1).mean()),
        "centred_cosine": float(centred.mean()),
        "mse": error / target.size,
        "recall_at_1": float((ranks_B == 1).mean()),
    }


def retrieval_metrics(
    prediction_BD: ArrayOrTensor, target_BD: ArrayOrTensor, train_mean_D: ArrayOrTensor
) -> dict[str, float]:
    """How early the right answer comes among all held-out answers.

    ``mrr`` is the mean of 1 / rank and ``recall_at_10`` the share with rank <= 10, with ranks from
    :func:`~latticegraph.evaluation.ranking.own_target_ranks`.

    Shapes:
        prediction_BD, target_BD: [B, D]; train_mean_D: [D].

    Raises:
        DataError: for shapes that do not match, empty arrays, or NaN.
    """
    ranks_B = own_target_ranks(prediction_BD, target_BD, train_mean_D)
    return {"mrr": float((1 / ranks_B).mean()), "recall_at_10": float((ranks_B <= 10).mean())}


def task_metrics(
    prediction_BD: ArrayOrTensor,
    target_BD: ArrayOrTensor,
    train_mean_D: ArrayOrTensor,
    task: str,
) -> dict[str, float]:
    """All metrics that the report shows for ``task``.

    Args:
        prediction_BD: predicted embeddings.
        target_BD: the teacher's embeddings, row i belongs to prediction i.
        train_mean_D: mean of the training targets.
        task: ``reconstruction``, or ``question_answer`` which adds :func:`retrieval_metrics`.

    Shapes:
        prediction_BD, target_BD: [B, D]; train_mean_D: [D].
    """
    metrics = embedding_metrics(prediction_BD, target_BD, train_mean_D)
    if task == "question_answer":
        metrics |= retrieval_metrics(prediction_BD, target_BD, train_mean_D)
    return metrics
