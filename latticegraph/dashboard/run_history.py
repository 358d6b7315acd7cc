"""What the log of a run holds, also of one that was killed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latticegraph.errors import CheckpointError
from latticegraph.files import parse_json

LOG = "metrics.jsonl"
Record = Mapping[str, Any]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class RunHistory:
    """The records of one run, in their order.

    Attributes:
        name: of the run, for legends.
        records: every line of its log.
        going: whether it is being trained now.
        report: its ``report.json``; None before there is one.
    """

    name: str
    records: Sequence[Record]
    going: bool = False
    report: Record | None = None
    _by_kind: dict[str, list[Record]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for record in self.records:
            self._by_kind.setdefault(record["kind"], []).append(record)

    def of(self, kind: str) -> Sequence[Record]:
        """All records of a kind, such as ``train`` or ``validation``."""
        return self._by_kind.get(kind, [])

    def last(self, kind: str) -> Record | None:
        """The latest record of a kind."""
        found = self.of(kind)
        return found[-1] if found else None

    @property
    def update(self) -> int:
        """Updates done, as far as the log tells."""
        return int(self.records[-1]["update"]) if self.records else 0

    @property
    def total(self) -> int | None:
        """Updates of the whole run."""
        start = self.last("start")
        return None if start is None else int(start["total_updates"])

    @property
    def state(self) -> str:
        """``training``, ``finished``, ``stopped early``, or ``interrupted`` also where killed."""
        end = self.last("end")
        if end is not None:
            return "finished" if end["reason"] == "finished" else "stopped early"
        return "training" if self.going else "interrupted"

    def curve(self, kind: str, *path: str) -> Points:
        """A number of every record of a kind by its update; records without it are left out.

        Args:
            kind: of the records.
            path: keys from the record to the number.
        """
        points = []
        for record in self.of(kind):
            value: Any = record
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and math.isfinite(value):
                points.append((float(record["update"]), float(value)))
        return points


def read_history(folder: Path, *, going: bool, name: str | None = None) -> RunHistory:
    """Read the log of a run, and its report where there is one.

    A last line without its end, as a kill leaves it, is left out.

    Args:
        folder: of the run.
        going: whether it is being trained now.
        name: shown; None: that of the folder.

    Raises:
        CheckpointError: there is no log, or it is damaged.
    """
    path = folder / LOG
    if not path.is_file():
        raise CheckpointError(
            str(folder),
            f"expected the folder of a run with a {LOG}, got none",
            "Name the folder of a run, for instance runs/8cube",
        )
    lines = path.read_bytes().split(b"\n")
    # What follows the last line end is nothing, or the part of a record that a kill left.
    records = [_record(line, path, number) for number, line in enumerate(lines[:-1], start=1)]
    return RunHistory(name or folder.resolve().name, records, going, _report(folder))


def _record(line: bytes, path: Path, number: int) -> Record:
    try:
        record: dict[str, Any] = parse_json(line.decode("utf-8"))
        return record | {"kind": str(record["kind"]), "update": int(record["update"])}
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(
            f"{path}, line {number}",
            f"expected a record of a run, an object with kind and update, got: {error!r}",
            "Put the log of the run back, or train again",
        ) from error


def _report(folder: Path) -> Record | None:
    path = folder / "report.json"
    if not path.is_file():
        return None
    try:
        report = parse_json(path.read_text(encoding="utf-8"))
        float(report["student"]["explained_variance"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            str(path),
            f"expected the report of a run, got: {error!r}",
            "Put the report back, or delete it: latticegraph evaluate measures the run again",
        ) from error
    found: Record = report
    return found
