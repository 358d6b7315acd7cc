"""Baselines of a run, kept in its folder once they are fitted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latticegraph.evaluation.fitted import load_rows, save_rows
from latticegraph.pipeline.prepare import Prepared, text_fingerprint

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptRows:
    """Where fitted rows are looked for, and whether new ones are written there.

    Attributes:
        folder: of the run; None: rows are fitted and not kept.
        write: keep rows that had to be fitted.
    """

    folder: Path | None = None
    write: bool = False

    def fill(
        self,
        name: str,
        rows: Sequence[Any],
        prepared: Prepared,
        bottleneck: int,
        fit: Callable[[], None],
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        """Read the rows where they were fitted to the same text, teacher and settings, else fit.

        Args:
            name: of the file in ``baselines/``, without suffix.
            rows: as made, not fitted.
            prepared: text and embeddings.
            bottleneck: S, numbers per sample.
            fit: fits all rows.
            sizes: what else decides the fit.

        Raises:
            CheckpointError: the file is damaged, or cannot be written.
        """
        settings = prepared.config.evaluation
        key = json.dumps(
            {
                "text": text_fingerprint(prepared.splits),
                "teacher": prepared.cache.teacher.fingerprint,
                "bottleneck": bottleneck,
                "seed": prepared.config.run.seed,
                "mlp_hidden": settings.mlp_hidden,
                "baseline_epochs": settings.baseline_epochs,
                "rows": [row.name for row in rows],
                **(sizes or {}),
            },
            sort_keys=True,
        )
        path = None if self.folder is None else self.folder / "baselines" / f"{name}.safetensors"
        if path is not None and load_rows(path, rows, key):
            _log.info("%s: as fitted with the run", name)
            return
        fit()
        if path is not None and self.write:
            save_rows(path, rows, key)
