"""A model as a row of the report.

Legend: N samples, D teacher width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel, Prediction


class ModelRow:
    """Runs a model over embeddings and keeps what it predicted last.

    Args:
        name: key in ``report.json``.
        title: label in ``report.md``.
        model: on any device.
        batch_size: samples per forward pass.
        precision: of matrix products, as ``training.precision``.
    """

    prediction: Prediction

    def __init__(
        self, name: str, title: str, model: LatticeModel, batch_size: int, precision: str
    ) -> None:
        self.name = name
        self.title = title
        self.model = model
        self.batch_size = batch_size
        self.precision = precision

    @property
    def parameters(self) -> int:
        """Number of trained values of the model."""
        return self.model.parameters

    def predict(self, source_ND: Floats, /) -> Tensor:
        """Predicted targets; the prediction with its cost is kept in ``prediction``.

        Shapes:
            source_ND: [N, D]; result: [N, D].
        """
        embeddings = torch.from_numpy(source_ND)
        self.model.predict(embeddings[:1])  # what the first call alone costs is no throughput
        self.prediction = self.model.run(embeddings, self.batch_size, self.precision)
        return self.prediction.embedding_ND
