"""A recorder that writes states to disk, for trajectories that memory does not hold.

Legend: C channels, N cells, B batch, b samples of a chunk, T steps.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from latticegraph.dynamics.recorder import Recorder, StepRecord
from latticegraph.errors import ConfigError, DataError
from latticegraph.files import advice, replace_file


class DiskRecorder(Recorder):
    """Writes the states before the first step and after every step into one ``.npy`` file.

    Used in a ``with`` block, at whose end the file appears, whole or, after an error, not at all.
    At no time does it hold more than the states of one chunk of samples. The batches of a run, one
    after the other, become one trajectory::

        with DiskRecorder("states.npy", samples=512) as recorder:
            model.run(source_ND, 8, "float32", recorder=recorder)
        states_TCNB = read_trajectory("states.npy")

    On disk the array has the axes (T + 1, B, C, N), so that a chunk of samples is one stretch of
    the file. Samples that converged earlier repeat their last state.

    Args:
        path: the file; the folder is made where it is missing.
        samples: B, of the whole run, at least 1.

    Raises:
        ConfigError: the disk refuses.
        DataError: at the end of the block, when another number of samples was recorded.
    """

    def __init__(self, path: str | Path, samples: int) -> None:
        if samples < 1:
            raise DataError("samples", f"expected at least 1 sample, got {samples}", "Pass them")
        self.path = Path(path)
        self.samples = samples
        self._begun = 0
        self._place = 0
        # Steps that each chunk took, by the place of its first sample.
        self._steps: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._shape: tuple[int, int] = (0, 0)
        self._type: np.dtype[Any] = np.dtype(np.float32)

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._part = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.partial")
            self._file: IO[bytes] = self._part.open("w+b")
        except OSError as error:
            raise self._refused(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._finish()
            if kind is None:
                replace_file(self.path, lambda temporary: os.replace(self._part, temporary))
        except OSError as refusal:
            raise self._refused(refusal) from refusal
        finally:
            self._part.unlink(missing_ok=True)

    def record(self, record: StepRecord) -> None:
        """Write the states; step 1 begins the next samples."""
        count = record.after_CNb.shape[2]
        if record.step == 1:
            if self._begun + count > self.samples:
                raise self._wrong(self._begun + count)
            self._place, self._begun = self._begun, self._begun + count
            self._sizes[self._place] = count
            self._write(0, record.before_CNb)
        self._write(record.step, record.after_CNb)
        self._steps[self._place] = record.step

    def _write(self, step: int, x_CNb: Any) -> None:
        # Contiguous for the file, whatever the layout of the rollout.
        rows_bCN = x_CNb.detach().permute(2, 0, 1).cpu().contiguous().numpy()
        if not self._shape[0]:
            self._shape, self._type = rows_bCN.shape[1:], rows_bCN.dtype
            self._header(1)
            self._start = self._file.tell()
        self._file.seek(self._offset(step, self._place))
        self._file.write(rows_bCN.data)

    def _offset(self, step: int, sample: int) -> int:
        row = self._shape[0] * self._shape[1] * self._type.itemsize
        return self._start + (step * self.samples + sample) * row

    def _header(self, states: int) -> None:
        """The header of the file; its length does not depend on the number of states."""
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._type),
                "fortran_order": False,
                "shape": (states, self.samples, *self._shape),
            },
        )

    def _finish(self) -> None:
        """Repeat the last states of chunks that took fewer steps, and complete the header."""
        if self._begun != self.samples:
            raise self._wrong(self._begun)
        longest = max(self._steps.values())
        for place, taken in self._steps.items():
            if taken < longest:
                length = self._offset(0, self._sizes[place]) - self._start
                self._file.seek(self._offset(taken, place))
                last = self._file.read(length)
                for step in range(taken + 1, longest + 1):
                    self._file.seek(self._offset(step, place))
                    self._file.write(last)
        self._header(longest + 1)
        assert self._file.tell() == self._start, "numpy leaves room for the number of states"

    def _wrong(self, found: int) -> DataError:
        return DataError(
            "samples",
            f"expected {self.samples} samples in {self.path.name}, got {found}",
            "Pass the number of samples of the run to the recorder",
        )

    def _refused(self, error: OSError) -> ConfigError:
        reason = error.strerror or str(error)
        return ConfigError("path", f"expected to write '{self.path}', got: {reason}", advice(error))


def read_trajectory(path: str | Path) -> NDArray[Any]:
    """The trajectory of a :class:`DiskRecorder`; only what is looked at is read from disk.

    Args:
        path: the file.

    Returns:
        Shapes: (T + 1, C, N, B), a read-only view, equal to ``trajectory_TCNB`` of
        :class:`~latticegraph.dynamics.recorder.TrajectoryRecorder`.

    Raises:
        DataError: it is no such file.
    """
    try:
        stored_TBCN: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        if stored_TBCN.ndim != 4:
            raise ValueError(f"an array of shape {stored_TBCN.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            str(path), f"expected a trajectory of a DiskRecorder, got: {error}", "Record it again"
        ) from error
    return stored_TBCN.transpose(0, 2, 3, 1)
