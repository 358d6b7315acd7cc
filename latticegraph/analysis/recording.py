"""States and gates of all steps for many texts, as the other files of this room read them.

Legend: S samples, N cells, n kept cells, C channels, X experts, T steps, B samples of a batch,
D teacher width, F surface width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latticegraph.dynamics import Recorder, StepRecord
from latticegraph.errors import DataError
from latticegraph.evaluation.arrays import Floats
from latticegraph.hub import LatticeModel

Singles = NDArray[np.float32]

MOST_NUMBERS = 150_000_000  # kept in float32: 600 MB
USUAL_CELLS = 4096  # up to which samples need not be saved
FEWEST_SAMPLES = 24


def affordable(most: int, cells: int) -> int:
    """Samples to compute at once: ``most``, and fewer of a large lattice, at least 24.

    Args:
        most: wanted.
        cells: of the lattice.

    >>> affordable(300, 512), affordable(300, 19_683)
    (300, 62)
    """
    return min(most, max(FEWEST_SAMPLES, most * USUAL_CELLS // cells))


@dataclass(frozen=True)
class Recording:
    """What a lattice did with S texts.

    Attributes:
        states_TSnC: states before the first step and after every step.
        gates_TSnX: shares of the experts in every step.
        code_SF: numbers that entered the lattice.
        output_SD: predicted embeddings.
        cells_n: numbers of the kept cells.
        coordinates_n3: their places, in cells.
        depth_n: planes between each of them and the front.
        experts: names.
    """

    states_TSnC: Singles
    gates_TSnX: Singles
    code_SF: Floats
    output_SD: Floats
    cells_n: NDArray[np.int64]
    coordinates_n3: NDArray[np.int64]
    depth_n: NDArray[np.int64]
    experts: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return len(self.gates_TSnX)

    @property
    def depths(self) -> list[int]:
        """Depths of all planes, from the front."""
        return sorted(set(self.depth_n.tolist()))

    def layer(self, step: int, depth: int) -> Singles:
        """States of one plane after a step (0: before the first).

        Shapes:
            result: [S, cells of the plane * C].
        """
        states_SnC = self.states_TSnC[step][:, self.depth_n == depth]
        layer: Singles = states_SnC.reshape(len(states_SnC), -1)
        return layer

    def face(self) -> Singles:
        """Final states of the deepest plane, the back face. Shapes: [S, cells * C]."""
        return self.layer(self.steps, self.depths[-1])


class _Everything(Recorder):
    """Keeps states and gates of some cells, batch after batch."""

    def __init__(self, cells_n: Tensor) -> None:
        self._cells_n = cells_n
        self.states: list[list[Tensor]] = []
        self.gates: list[list[Tensor]] = []

    def record(self, record: StepRecord) -> None:
        """Keep one step; step 1 begins the next samples."""
        if record.step == 1:
            self.states.append([self._kept(record.before_CNb)])
            self.gates.append([])
        self.states[-1].append(self._kept(record.after_CNb))
        self.gates[-1].append(self._kept(record.gates_XNb))

    def _kept(self, value_CNb: Tensor) -> Tensor:
        """(b, n, C) on the CPU, in single precision."""
        kept = value_CNb.index_select(1, self._cells_n.to(value_CNb.device))
        return kept.permute(2, 1, 0).to("cpu", torch.float32).contiguous()


def kept_cells(depth_N: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Numbers of at most about ``most`` cells, evenly spaced within every plane.

    Args:
        depth_N: plane of every cell.
        most: wanted number; at least one cell of every plane is kept.
    """
    every = -(-len(depth_N) // most)
    planes = [np.flatnonzero(depth_N == depth)[::every] for depth in np.unique(depth_N)]
    return np.sort(np.concatenate(planes))


def record_model(
    model: LatticeModel,
    source_SD: Tensor,
    batch_size: int | None = None,
    most_numbers: int = MOST_NUMBERS,
) -> Recording:
    """Run a model over embeddings and keep states and gates.

    Of lattices whose states would be more than ``most_numbers`` numbers, evenly spaced cells of
    every plane are kept. Samples that converge early keep their last state.

    Args:
        model: with a lattice.
        source_SD: teacher embeddings.
        batch_size: samples per forward pass; None: as many as are affordable.
        most_numbers: kept at most, about.

    Raises:
        DataError: the model has no lattice, or there are no rows.
    """
    student, graph = model.student, model.graph
    steps = student.settings.dynamics.steps
    batch_size = batch_size or affordable(250, graph.num_cells)
    depth_N = graph.depth_N.numpy()
    per_cell = len(source_SD) * (steps + 1) * student.settings.state_channels
    cells_n = kept_cells(depth_N, max(1, most_numbers // max(per_cell, 1)))
    recorder = _Everything(torch.from_numpy(cells_n))
    output_SD = model.run(source_SD, batch_size, recorder=recorder).embedding_ND
    if not recorder.states:
        raise DataError(
            "model.dynamics.mode",
            "expected a model with a lattice, got one without steps",
            "Analyse a run with model.dynamics.mode lattice",
        )
    return Recording(
        states_TSnC=_joined(recorder.states),
        gates_TSnX=_joined(recorder.gates),
        code_SF=model.to_codes(source_SD, batch_size).double().numpy(),
        output_SD=output_SD.double().numpy(),
        cells_n=cells_n,
        coordinates_n3=graph.coordinates_N3.numpy()[cells_n],
        depth_n=depth_N[cells_n],
        experts=student.dynamics.names,
    )


def _joined(batches: Sequence[Sequence[Tensor]]) -> Singles:
    """All batches, each padded with its last step to the longest. Shapes: [T, S, n, C]."""
    longest = max(len(steps) for steps in batches)
    joined: Singles = np.stack(
        [
            torch.cat([steps[min(step, len(steps) - 1)] for steps in batches]).numpy()
            for step in range(longest)
        ]
    )
    return joined
