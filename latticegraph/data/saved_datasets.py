"""Folders that ``save_to_disk`` of Hugging Face's ``datasets`` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latticegraph.errors import DataError
from latticegraph.progress import show_progress

_SAID_FROM_ROWS = 100_000
_TOGETHER = 1_000


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder holds a dataset, or several of them by split.

    Args:
        path: any path.
    """
    one = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    return one or (path / "dataset_dict.json").is_file()


def dataset_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of all splits, with the place it comes from; numbers count from 1.

    Nothing is downloaded, and the columns are memory-mapped.

    Args:
        path: folder for which :func:`is_saved_dataset` holds.

    Raises:
        DataError: the package ``datasets`` is not installed, or the folder is damaged.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            str(path),
            "expected the package datasets for a folder that its save_to_disk wrote, got none",
            "Install it with: pip install 'latticegraph[datasets]'",
        ) from error
    try:
        found: Any = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            str(path),
            f"expected a folder that save_to_disk of datasets wrote, got: {error}",
            "Save the dataset again",
        ) from error
    splits = found if isinstance(found, dict) else {"": found}
    for name, split in splits.items():
        where = str(path / name) if name else str(path)
        title, total = f"reading {where}", len(split)
        number = 0
        with show_progress(title, total, unit="rows", quiet_below=_SAID_FROM_ROWS) as progress:
            for start in range(0, total, _TOGETHER):
                columns = split[start : start + _TOGETHER]
                for values in zip(*columns.values(), strict=True):
                    number += 1
                    yield f"{where}:{number}", dict(zip(columns, values, strict=True))
                progress(min(_TOGETHER, total - start))
