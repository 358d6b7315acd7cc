"""Weights and buffers: strict loading, and a file with a checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from latticegraph.digests import tensors_sha256
from latticegraph.errors import CheckpointError
from latticegraph.files import advice, replace_file
from latticegraph.tensor_files import read_tensors

FORMAT = "latticegraph-weights"
OTHER_VERSION = "Use the version of latticegraph that wrote the file, or train again"
TABLE = "edge_weights.weight_OH"
TABLE_ACTION = (
    "A table of edge weights (model.messages.weights) has a row for every offset of the lattice it "
    "was trained on: use the lattice and the experts' settings that the file was written with, or "
    "train again"
)


def write_weights(path: Path, weights: Mapping[str, Tensor], config: str) -> None:
    """Write a safetensors file that can be read with exactly this ``config`` only.

    Raises:
        CheckpointError: when the disk is full or refuses; the previous file is kept.
    """
    tensors = {name: value.detach().to("cpu").contiguous() for name, value in weights.items()}
    metadata = {"format": FORMAT, "sha256": tensors_sha256(tensors, config)}
    try:
        replace_file(path, lambda temporary: save_file(tensors, temporary, metadata))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            str(path),
            f"expected to write the weights, got: {error}",
            advice(error),
        ) from error


def read_weights(path: Path, config: str) -> dict[str, Tensor]:
    """Read and verify what :func:`write_weights` wrote; tensors are on the CPU.

    Args:
        path: the file.
        config: exact text of the settings that it was written with.

    Raises:
        CheckpointError: the file is missing, damaged, or belongs to other settings.
    """
    try:
        metadata, tensors = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    if metadata != {"format": FORMAT, "sha256": tensors_sha256(tensors, config)}:
        raise _damaged(path, "its checksum does not match weights and settings")
    return tensors


def load_weights(path: Path, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy stored weights and buffers into ``module``, all of them.

    Args:
        path: where they come from, for errors.
        module: its tensors decide which names, shapes and types are expected.
        weights: by name.

    Raises:
        CheckpointError: naming the first tensor that is missing, unknown, or of another shape or
            type.
    """
    expected = module.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        wanted = list(expected[name].shape) if name in expected else "no such tensor"
        found = list(weights[name].shape) if name in weights else "none"
        if wanted != found:
            action = TABLE_ACTION if name.endswith(TABLE) else OTHER_VERSION
            raise _unfitting(path, f"'{name}' of shape {wanted}", f"{found}", action)
        if expected[name].dtype != weights[name].dtype:
            raise _unfitting(path, f"'{name}' of {expected[name].dtype}", f"{weights[name].dtype}")
    module.load_state_dict(dict(weights))


def _unfitting(
    path: Path, expected: str, found: str, action: str = OTHER_VERSION
) -> CheckpointError:
    return CheckpointError(
        str(path),
        f"expected the tensor {expected}, got {found}",
        action,
    )


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        f"expected intact weights that belong to config.json, got a damaged or foreign file "
        f"({reason})",
        "Copy the whole folder again, or save the model again",
    )
