"""What a metric is, and how metrics are computed together.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from latticegraph.errors import ConfigError, DataError
from latticegraph.evaluation.arrays import ArrayOrTensor, as_float64, checked_prediction
from latticegraph.evaluation.ranking import own_target_ranks

NEEDS = ("prediction_ND", "target_ND", "source_ND", "train_mean_D", "ranks_N")

# Keys that a validation record of the log has besides metrics.
RESERVED = frozenset(
    {
        "change",
        "embedding_norm",
        "epoch",
        "kind",
        "losses",
        "phase",
        "prediction_std_ratio",
        "seconds",
        "spread",
        "steps_used",
        "update",
        "usage",
        "usage_entropy",
    }
)


class Metric(ABC):
    """One number that says how good predictions are.

    Subclass it, set the attributes and write :meth:`compute`.

    Attributes:
        name: key in ``report.json`` and the log; an identifier.
        title: head of its column in ``report.md`` and on the console.
        format: how its column shows a value, as in ``format(value, ".3f")``.
        needs: what :meth:`compute` is called with, by keyword: ``prediction_ND``, ``target_ND``,
            ``source_ND`` (embeddings that went in), ``train_mean_D`` (mean of the training
            targets), and ``ranks_N`` (see
            :func:`~latticegraph.evaluation.ranking.own_target_ranks`). All are arrays of float64,
            the ranks of int64.
    """

    name: str
    title: str
    format: str = ".3f"
    needs: tuple[str, ...] = ("prediction_ND", "target_ND")

    @abstractmethod
    def compute(self, *args: Any, **needed: Any) -> float:
        """The value for some samples, a finite number.

        Args:
            args: none.
            needed: arrays, as named by :attr:`needs`.
        """


def compute_metrics(
    metrics: Sequence[Metric],
    prediction_ND: ArrayOrTensor,
    target_ND: ArrayOrTensor,
    train_mean_D: ArrayOrTensor,
    source_ND: ArrayOrTensor,
) -> dict[str, float]:
    """All metrics of some predictions, by name. What several of them need is computed once.

    Args:
        metrics: which.
        prediction_ND: predicted embeddings.
        target_ND: the teacher's embeddings, row i belongs to prediction i.
        train_mean_D: mean of the training targets.
        source_ND: embeddings that the predictions were made from.

    Shapes:
        prediction_ND, target_ND, source_ND: [N, D]; train_mean_D: [D].

    Raises:
        DataError: for shapes that do not match, empty arrays, NaN, or a metric that returns no
            finite number.
    """
    prediction, target, mean = checked_prediction(prediction_ND, target_ND, train_mean_D)
    makers: dict[str, Callable[[], Any]] = {
        "prediction_ND": lambda: prediction,
        "target_ND": lambda: target,
        "source_ND": lambda: as_float64("source", source_ND),
        "train_mean_D": lambda: mean,
        "ranks_N": lambda: own_target_ranks(prediction, target, mean),
    }
    wanted = {name for metric in metrics for name in metric.needs}
    found = {name: make() for name, make in makers.items() if name in wanted}
    return {metric.name: _value(metric, found) for metric in metrics}


def check_metrics(metrics: Sequence[Metric], where: str) -> None:
    """Refuse metrics with a missing, reserved or repeated name, or needs that do not exist.

    Raises:
        ConfigError: naming the metric.
    """
    names: set[str] = set()
    for metric in metrics:
        label = type(metric).__name__
        name, title = getattr(metric, "name", None), getattr(metric, "title", None)
        if not isinstance(name, str) or not name.isidentifier() or not isinstance(title, str):
            raise ConfigError(
                where,
                f"expected {label}.name to be an identifier and {label}.title a text, got {name!r} "
                f"and {title!r}",
                "Set both as attributes of the class",
            )
        if name in RESERVED or name in names:
            raise ConfigError(
                where,
                f"expected a name of its own for {label}, got '{name}', which is taken",
                f"Set {label}.name to another name",
            )
        names.add(name)
        unknown = [need for need in metric.needs if need not in NEEDS]
        if unknown:
            raise ConfigError(
                where,
                f"expected {label}.needs to name some of {', '.join(NEEDS)}, got {unknown}",
                "Correct it",
            )


def _value(metric: Metric, found: dict[str, Any]) -> float:
    value = float(metric.compute(**{name: found[name] for name in metric.needs}))
    if not math.isfinite(value):
        raise DataError(
            f"metric {metric.name}",
            f"expected a finite number, got {value}",
            "Correct its compute, or leave it out of evaluation.metrics",
        )
    return value
