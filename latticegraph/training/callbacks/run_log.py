"""Metrics of a run as JSON lines and TensorBoard events."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from latticegraph.config import Config, dump_config
from latticegraph.training.run_folder import RunFolder

MACHINE_FIELDS = (
    "seconds",
    "samples_per_second",
    "ms_per_step",
    "ms_per_step_ratio",
    "peak_memory_mb",
)
"""Fields that depend on the machine and its load; all others repeat bit for bit on a CPU."""
CURVES = ("train", "validation", "cube")
"""Kinds of records whose numbers are curves in TensorBoard."""


class RunLog:
    """Appends records to ``metrics.jsonl``, one JSON object a line, and numbers to TensorBoard.

    Args:
        folder: of the run; its metrics file exists.
        first_step: TensorBoard events of an earlier attempt from this update on are hidden; None
            for a new run.
    """

    def __init__(self, folder: RunFolder, first_step: int | None = None) -> None:
        # Takes a second to import, which other commands need not wait for.
        from torch.utils.tensorboard import SummaryWriter

        self._file = folder.metrics.open("a", encoding="utf-8", newline="\n")
        self._writer = SummaryWriter(str(folder.events), purge_step=first_step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._writer.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; its ``kind`` and ``update`` name the curve and the place on it."""
        self._file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        kind, update = record["kind"], record["update"]
        if kind == "examples":
            self._writer.add_text("examples", examples_text(record["examples"]), update)
        if kind not in CURVES:
            return
        for tag, value in scalars(record):
            self._writer.add_scalar(f"{kind}/{tag}", value, update)

    def describe(self, config: Config) -> None:
        """Show TensorBoard the settings: as text, and each beside the validation's result."""
        from torch.utils.tensorboard.summary import hparams

        self._writer.add_text("config", f"```yaml\n{dump_config(config)}```", 0)
        result = {"validation/explained_variance": None}
        for summary in hparams(hyperparameters(config.model_dump(mode="json")), result):
            self._writer._get_file_writer().add_summary(summary)

    def sync(self) -> int:
        """Bring everything to disk; the length of the file in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._writer.flush()
        return os.fstat(self._file.fileno()).st_size


def examples_text(examples: Sequence[Mapping[str, Any]]) -> str:
    """Decoded examples as a table in Markdown.

    Args:
        examples: with ``target``, ``decoded`` and ``cosine``.
    """
    rows = ["| target | nearest to the prediction | cosine |", "|---|---|---|"]
    for one in examples:
        texts = (" ".join(one[key].split()).replace("|", "\\|") for key in ("target", "decoded"))
        rows.append(f"| {' | '.join(texts)} | {one['cosine']:.3f} |")
    return "\n".join(rows)


def hyperparameters(tree: Mapping[str, Any], prefix: str = "") -> dict[str, bool | float | str]:
    """Settings as TensorBoard takes them, by dotted key; lists as text, null left out."""
    found: dict[str, bool | float | str] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= hyperparameters(value, f"{path}.")
        elif isinstance(value, bool | int | float | str):
            found[path] = value
        elif value is not None:
            found[path] = json.dumps(value, ensure_ascii=False)
    return found


def scalars(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a record with its path: ``losses/total``, ``change/1`` for the first step."""
    for key, value in record.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from scalars(value, f"{path}/")
        elif isinstance(value, list):
            numbers = {str(place): item for place, item in enumerate(value, start=1)}
            yield from scalars(numbers, f"{path}/")
        elif isinstance(value, int | float) and key not in ("update", "kind"):
            yield path, float(value)
