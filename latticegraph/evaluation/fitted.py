"""Fitted rows of a report in one file, so that they are measured on other text as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from latticegraph.digests import tensors_sha256
from latticegraph.errors import CheckpointError
from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.decoder_network import CodeAndDecoder
from latticegraph.evaluation.linear_baselines import PcaBaseline
from latticegraph.evaluation.mlp_autoencoder import ResidualCoder
from latticegraph.files import advice, replace_file
from latticegraph.tensor_files import read_tensors

_BY_COLUMNS = "|T"
_PCA = ("components_", "mean_", "explained_variance_")


def save_rows(path: Path, rows: Sequence[Any], key: str) -> None:
    """Write what ``rows`` were fitted to.

    Args:
        path: the file to make or replace.
        rows: fitted baselines, random features and decoder networks, of different names.
        key: what decides the result of their fit: text, teacher and settings.

    Raises:
        CheckpointError: the disk is full or refuses.
    """
    tensors = {
        f"{row.name}/{name}": value.contiguous().clone()
        for row in rows
        for name, value in _tensors(row)
    }
    metadata = {"key": key, "sha256": tensors_sha256(tensors, key)}
    try:
        replace_file(path, lambda temporary: save_file(tensors, temporary, metadata))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            str(path), f"expected to write fitted baselines, got: {error}", advice(error)
        ) from error


def load_rows(path: Path, rows: Sequence[Any], key: str) -> bool:
    """Put back what :func:`save_rows` wrote.

    Args:
        path: the file.
        rows: as made, not fitted; complete afterwards.
        key: as given to :func:`save_rows`.

    Returns:
        False where there is no such file or it belongs to another key; the rows are then as before.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.is_file():
        return False
    try:
        metadata, tensors = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    if metadata.get("key") != key:
        return False
    if metadata.get("sha256") != tensors_sha256(tensors, key):
        raise _damaged(path, "its checksum does not match")
    for row in rows:
        start = f"{row.name}/"
        _fill(row, {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
    return True


def _tensors(row: Any) -> Iterator[tuple[str, Tensor]]:
    """What a row was fitted to; each name ends in how the value is put back."""
    for name, value in vars(row).items():
        if isinstance(value, np.ndarray):
            yield _array(f"{name}:array", value)
        elif isinstance(value, Tensor):
            yield f"{name}:tensor", value.detach()
        elif isinstance(value, float):
            yield f"{name}:float", torch.tensor(value, dtype=torch.float64)
        elif isinstance(value, nn.Module):
            for inner, tensor in value.state_dict().items():
                yield f"{name}:module:{inner}", tensor
        elif isinstance(value, PcaBaseline):
            for inner, tensor in _tensors(value):
                yield f"{name}:row:{inner}", tensor
        elif name == "pca":
            for inner in _PCA:
                yield _array(f"{name}:pca:{inner}", getattr(value, inner))


def _array(name: str, value: Floats) -> tuple[str, Tensor]:
    """An array by its name, transposed where its columns lie together.

    Products round differently by the order of numbers in memory, so that is kept too.
    """
    if value.ndim == 2 and value.flags.f_contiguous and not value.flags.c_contiguous:
        return f"{name}{_BY_COLUMNS}", torch.from_numpy(value.T)
    return name, torch.from_numpy(value)


def _fill(row: Any, tensors: Mapping[str, Tensor]) -> None:
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for place, tensor in tensors.items():
        name, kind, *inner = place.split(":", 2)
        value = tensor
        if kind != "row" and place.endswith(_BY_COLUMNS):
            kind = kind.removesuffix(_BY_COLUMNS)
            inner = [part.removesuffix(_BY_COLUMNS) for part in inner]
            value = tensor.T
        parts.setdefault((name, kind), {})["".join(inner)] = value
    for (name, kind), found in parts.items():
        setattr(row, name, _value(row, kind, found))


def _value(row: Any, kind: str, found: Mapping[str, Tensor]) -> Any:
    if kind == "array":
        return found[""].numpy()
    if kind == "float":
        return float(found[""])
    if kind == "row":
        inner = PcaBaseline(row.bottleneck)
        _fill(inner, found)
        return inner
    if kind == "pca":
        from sklearn.decomposition import PCA

        pca = PCA(len(found["components_"]), svd_solver="full")
        for name, tensor in found.items():
            setattr(pca, name, tensor.numpy())
        return pca
    if kind == "module":
        module = _decoder(found) if "encode.weight" in found else _coders(found)
        module.load_state_dict(dict(found))
        return module.eval()
    return found[""]


def _decoder(found: Mapping[str, Tensor]) -> nn.Module:
    encoder_SD, decoder_DS = found["encode.weight"], found["linear.weight"]
    return CodeAndDecoder(encoder_SD, decoder_DS, len(found["hidden.weight"]), 0.0)


def _coders(found: Mapping[str, Tensor]) -> nn.Module:
    return nn.Sequential(
        *(
            ResidualCoder(found[f"{index}.linear.weight"], len(found[f"{index}.mlp.0.weight"]))
            for index in range(2)
        )
    )


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        f"expected intact baselines, got a damaged file ({reason})",
        "Delete it: they are then fitted again",
    )
