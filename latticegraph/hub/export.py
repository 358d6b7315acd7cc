"""A model as one file for torch.export or ONNX.

Legend: B batch, D teacher width, S surface width.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from latticegraph.aggregation import (
    MOST_CELLS,
    ConvolutionNeighbourhood,
    PairNeighbourhood,
)
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics import Lattice3D
from latticegraph.dynamics.controls import Identity
from latticegraph.dynamics.static_steps import StaticSteps
from latticegraph.errors import ConfigError, DataError
from latticegraph.files import check_writable, write_bytes
from latticegraph.hub.stored_model import StoredModel
from latticegraph.model import Student, build_student

Format = Literal["onnx", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
INPUT, OUTPUTS = "embedding", ("prediction", "code")
# Every step of every expert is written out: about a second of export and 40 operators each.
MOST_UPDATES = 256
# Per sample: about a second on one CPU core, which multiplied 3e9 pairs a second.
MOST_PRODUCTS = 2**32
# One ONNX file is one message of Protocol Buffers.
MOST_BYTES = 2**31 - 2**20


class StaticStudent(nn.Module):
    """A student of plain operators: no graph, no sparse sum, no decision at run time.

    Args:
        student: with the backend ``conv3d``, or without a lattice.

    Shapes:
        embedding (B, D) -> prediction (B, D), code (B, S)
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        dynamics = student.dynamics
        self.steps = StaticSteps(dynamics) if isinstance(dynamics, Lattice3D) else None

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and code; names are those of the exported input and outputs."""
        dynamics = self.student.dynamics
        if self.steps is not None:
            return self.student.static(embedding, self.steps)
        assert isinstance(dynamics, Identity)  # the only other kind
        return self.student.static(embedding, dynamics.final_states)


def export_model(model: StoredModel, path: str | Path, kind: Format) -> None:
    """Write ``model`` as one file, in its precision and with a free number of samples.

    Args:
        model: what to write; it is not changed.
        path: ``.onnx``, or ``.pt2`` for torch; replaced where it exists.
        kind: ``onnx`` or ``torch``.

    Raises:
        DataError: the name does not fit the format, or the packages of ONNX are missing.
        ConfigError: samples may stop early, the lattice is too large to be written out, or the disk
            refuses.
    """
    path = Path(path).expanduser()
    _check_format(path, kind)
    check_writable(path.parent, str(path))
    student = static_student(model)
    student_bytes = sum(t.nbytes for t in student.state_dict().values())
    if kind == "onnx" and student_bytes > MOST_BYTES:
        raise _too_large("2 GB of weights, the limit of one ONNX file", f"{student_bytes:,} bytes")
    with _quiet():
        program = _traced(student)
        data = _torch_file(program) if kind == "torch" else _onnx_file(program, model)
    write_bytes(path, data, str(path))


def static_student(model: StoredModel) -> StaticStudent:
    """The student rebuilt for export, with its weights, on the CPU.

    Raises:
        ConfigError: as for :func:`export_model`.
    """
    settings = model.config.model
    _check_steps(settings)
    plain = settings.model_copy(update={"kernel": "plain", "compile": False})
    width = model.student.teacher_dimension
    student = build_student(plain, model.graph, width, backend="conv3d")
    student.load_state_dict({n: t.cpu() for n, t in model.student.state_dict().items()})
    student.to(model.student.std.dtype)
    if isinstance(student.dynamics, Lattice3D):
        _check_products(student.dynamics)
    return StaticStudent(student).eval().requires_grad_(False)


def _check_format(path: Path, kind: Format) -> None:
    if kind not in SUFFIXES:
        raise DataError("format", f"expected 'onnx' or 'torch', got {kind!r}", "Choose one")
    if path.suffix != SUFFIXES[kind]:
        raise DataError(
            str(path),
            f"expected a name that ends in {SUFFIXES[kind]} for format '{kind}', got '{path.name}'",
            "Name it .onnx, or .pt2 with format 'torch'",
        )
    missing = [n for n in ("onnx", "onnxscript") if kind == "onnx" and find_spec(n) is None]
    if missing:
        raise DataError(
            "format",
            f"expected the package {missing[0]} for format 'onnx', got an environment without it",
            "Run: pip install 'latticegraph[onnx]'",
        )


def _check_steps(settings: ModelSettings) -> None:
    dynamics = settings.dynamics
    if dynamics.mode != "lattice":
        return
    if dynamics.tolerance > 0:
        raise ConfigError(
            "model.dynamics.tolerance",
            f"expected 0 for export, got {dynamics.tolerance}: samples would stop at different "
            "steps, and an exported file takes the same steps for all",
            "Use LatticeModel.predict, or train with tolerance 0",
        )
    updates = dynamics.steps * len(settings.experts)
    if updates > MOST_UPDATES:
        raise ConfigError(
            "model.dynamics.steps",
            f"expected at most {MOST_UPDATES} steps x experts for export, which writes each of "
            f"them out, got {dynamics.steps} x {len(settings.experts)} = {updates}",
            "Use LatticeModel.predict, or train with fewer steps",
        )


def _check_products(lattice: Lattice3D) -> None:
    sums = lattice.aggregation.neighbourhoods
    if lattice.total_cells > MOST_CELLS and any(isinstance(s, PairNeighbourhood) for s in sums):
        raise _too_large(
            f"{MOST_CELLS:,} cells for edges with weights of their own, which export writes as a "
            "matrix of all pairs of cells",
            f"{lattice.total_cells:,}",
        )
    dense = (ConvolutionNeighbourhood, PairNeighbourhood)  # all but self-edges
    places = sum(one.products for one in sums if isinstance(one, dense))
    settings = lattice.settings
    numbers = lattice.total_cells * settings.state_channels
    products = places * numbers * settings.dynamics.steps
    if products > MOST_PRODUCTS:
        raise _too_large(
            f"{MOST_PRODUCTS:.1e} products per sample: export multiplies every place of a dense "
            "kernel or matrix",
            f"{products:.1e} ({settings.dynamics.steps} steps, {lattice.total_cells:,} cells, "
            f"{settings.state_channels} channels, kernels of {places:,} places)",
        )


def _too_large(limit: str, found: str) -> ConfigError:
    return ConfigError(
        "lattice.dimensions",
        f"expected at most {limit}, got {found}",
        "Use LatticeModel.predict, whose sums need no dense kernel, or train a smaller lattice or "
        "radius",
    )


def _traced(student: StaticStudent) -> torch.export.ExportedProgram:
    # Two samples: with one the number of samples would be taken for a constant.
    example_2D = torch.zeros(2, student.student.teacher_dimension, dtype=student.student.std.dtype)
    shapes = {INPUT: {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(student, (example_2D,), dynamic_shapes=shapes)
    # Where each operator was called: paths of this machine, which are nobody else's business.
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    return program


def _torch_file(program: torch.export.ExportedProgram) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _onnx_file(program: torch.export.ExportedProgram, model: StoredModel) -> bytes:
    made: Any = torch.onnx.export(
        program,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes={INPUT: {0: "batch"}},
    )
    for node in made.model.graph.all_nodes():
        node.metadata_props.clear()  # the source of every operator, larger than the operators
    identity = model.config.identity
    made.model.metadata_props.update(
        {
            "latticegraph.sha256": model.digest(),
            "latticegraph.teacher": "unknown" if identity is None else identity.name,
        }
    )
    data: bytes = made.model_proto.SerializeToString()
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say about their own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
