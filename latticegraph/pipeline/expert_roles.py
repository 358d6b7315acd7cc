"""What the experts of a trained lattice are for: gates that depend on the text, and lesions.

Legend: S samples, N cells, n kept cells, X experts, b samples of a chunk, D teacher width.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latticegraph.dynamics import Recorder, SilenceExpert, StepRecord
from latticegraph.evaluation import EmbeddingSplit, GroupBootstrap, gate_information
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel

_log = logging.getLogger(__name__)

MOST_CELLS = 1024  # whose gates are kept: 2,000 samples and 3 experts then take 25 MB


class GateRecorder(Recorder):
    """Keeps the gates of some cells, averaged over steps, for every sample of a run.

    Args:
        cells: how many cells the lattice has; of more than :data:`MOST_CELLS` only evenly spaced
            ones are kept.
    """

    def __init__(self, cells: int) -> None:
        self._cells_n = torch.linspace(0, cells - 1, min(cells, MOST_CELLS)).round().long()
        self._sums: list[Tensor] = []
        self._steps: list[int] = []

    def record(self, record: StepRecord) -> None:
        """Add up the gates; step 1 begins the next samples."""
        if record.step == 1:
            self._sums.append(torch.zeros((), device=record.gates_XNb.device))
            self._steps.append(0)
        gates_Xnb = record.gates_XNb.index_select(1, self._cells_n.to(record.gates_XNb.device))
        self._sums[-1] = self._sums[-1] + gates_Xnb.double()
        self._steps[-1] += 1

    @property
    def gates_SnX(self) -> Floats:
        """Mean gates of all samples, in their order. Shapes: [S, n, X]."""
        parts = [total.cpu() / steps for total, steps in zip(self._sums, self._steps, strict=True)]
        gates_SnX: Floats = torch.cat(parts, dim=2).permute(2, 1, 0).contiguous().numpy()
        return gates_SnX


def expert_roles(
    model: LatticeModel,
    heldout: EmbeddingSplit,
    groups: Sequence[str],
    train_mean_D: Floats,
    *,
    batch_size: int,
    precision: str,
) -> dict[str, Any]:
    """Measure gates and lesions on held-out text.

    Args:
        model: with a lattice.
        heldout: embeddings that nothing was fitted to.
        groups: the group of every held-out sample.
        train_mean_D: mean of the training targets.
        batch_size: samples per forward pass.
        precision: of matrix products, as ``training.precision``.

    Returns:
        ``gates``: information about the group in bits, its null and p-value; ``experts``: by name,
        ``share`` (mean gate) and ``silenced``: explained variance without its update, and the
        ``difference`` (whole minus silenced) with an interval over held-out groups.
    """
    _log.info("experts: information in the gates, and every expert silenced")
    source_SD = torch.from_numpy(heldout.source_ND)
    target_SD = heldout.target_ND
    spread_S = np.square(target_SD - train_mean_D).sum(axis=1)
    recorder = GateRecorder(model.graph.num_cells)
    whole_SD = model.run(source_SD, batch_size, precision, recorder=recorder).embedding_ND
    gates_SnX = recorder.gates_SnX
    names = model.student.dynamics.names
    errors = {
        name: _errors(
            model.run(
                source_SD, batch_size, precision, interventions=[SilenceExpert(name=name)]
            ).embedding_ND,
            target_SD,
        )
        for name in names
    }
    bootstrap = GroupBootstrap(groups, spread_S)
    found = bootstrap.differences(_errors(whole_SD, target_SD), errors)
    share_X = gates_SnX.mean(axis=(0, 1))
    return {
        "gates": gate_information(gates_SnX, groups).to_json(),
        "experts": {
            name: {
                "share": float(share),
                "silenced": {
                    "explained_variance": float(1 - errors[name].sum() / spread_S.sum()),
                    "difference": found[name].to_json(),
                },
            }
            for name, share in zip(names, share_X, strict=True)
        },
    }


def _errors(prediction_SD: Tensor, target_SD: Floats) -> Floats:
    errors_S: Floats = np.square(prediction_SD.double().numpy() - target_SD).sum(axis=1)
    return errors_S
