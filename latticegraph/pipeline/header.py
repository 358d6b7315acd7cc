"""What a run is about to do, said before it starts: size, way of summing, memory."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from latticegraph.aggregation.aggregation import edge_sets, summed_stencils
from latticegraph.aggregation.cost import expected_ms, expected_update_ms
from latticegraph.aggregation.memory import GIB, MemoryPlan
from latticegraph.config import Config
from latticegraph.dynamics import Lattice3D
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student
from latticegraph.model.student import start_batch

# Python, torch and a teacher of the size of MiniLM, resident after training began; measured.
PROGRAM_GB = 0.8
# Values, gradients and two moments of every parameter, and one copy while a checkpoint is written.
COPIES_OF_PARAMETERS = 5
# Their mean, and what it stands in for while it is validated.
COPIES_OF_AVERAGE = 2
CGROUP = Path("/sys/fs/cgroup")
# Loss terms that read states, gates or changes of all cells, beside those of the gates.
OF_STATES = ("emergence", "dynamics", "spatial", "sparsity")


def expected_memory(
    config: Config, student: Student, graph: LatticeGraph
) -> tuple[MemoryPlan, float]:
    """How training fits into memory.

    Args:
        config: batch size and budget.
        student: as built; its parameters decide.
        graph: its lattice.

    Returns:
        The plan of one forward and backward pass, and the peak of the whole process in 2^30 bytes.

    Raises:
        ConfigError: when one sample does not fit into ``model.max_memory_gb``.
    """
    settings, steps = config.model, config.model.dynamics.steps
    batch = config.training.batch_size
    with torch.enable_grad():
        plan = student.dynamics.plan(batch, steps, 4)
    with torch.no_grad():
        start = min(start_batch(graph.num_cells), settings.mapper.start_samples)
        others = [student.dynamics.plan(b, steps, 4) for b in (start, config.evaluation.batch_size)]
    parameters = sum(parameter.numel() for parameter in student.parameters())
    features = 0
    if settings.mapper.readout == "states":
        features = graph.output_cells.numel() * settings.state_channels
    # Features of the samples, and the matrices of the regression in float64.
    readout = features * (3 * settings.mapper.start_samples * 4 + 4 * features * 8) / GIB
    copies = COPIES_OF_PARAMETERS + COPIES_OF_AVERAGE * (config.training.average_decay > 0)
    fixed = PROGRAM_GB + copies * parameters * 4 / GIB
    largest = max([plan.gb, readout, *(other.gb for other in others)])
    return plan, fixed + largest


def check_memory(peak_gb: float, device: torch.device) -> None:
    """Refuse a run that the machine has no room for.

    Args:
        peak_gb: what it will need, in 2^30 bytes.
        device: where it computes.

    Raises:
        ConfigError: naming what is needed and what there is.
    """
    available = available_gb(device)
    if available is None or peak_gb <= available:
        return
    raise ConfigError(
        "model.max_memory_gb",
        f"expected a run that fits into the {available:.1f} GB free on {device}, got one that "
        f"needs about {peak_gb:.1f} GB",
        "Lower model.max_memory_gb (work is then split, with the same result), "
        "training.batch_size or lattice.dimensions",
    )


def available_gb(device: torch.device) -> float | None:
    """Memory that is free now, in 2^30 bytes; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / GIB
    if sys.platform != "linux":
        return None
    free = [_cgroup_bytes(CGROUP)]
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    known = [number for number in free if number is not None]
    return min(known) / GIB if known else None


def _cgroup_bytes(root: Path) -> int | None:
    """What the limit of a container leaves free; None without a limit.

    File pages that the kernel can drop count as free. Version 2 of control groups, then version 1.
    """
    ways = (
        (root, "memory.max", "memory.current", "inactive_file"),
        (
            root / "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    )
    for folder, limit, usage, droppable in ways:
        try:
            most = (folder / limit).read_text(encoding="ascii").strip()
            used = int((folder / usage).read_text(encoding="ascii"))
            stat = (folder / "memory.stat").read_text(encoding="ascii").split()
        except OSError:
            continue
        if most != "max":  # version 1 writes a number beyond any machine
            dropped = int(stat[stat.index(droppable) + 1]) if droppable in stat else 0
            return max(0, int(most) - used + dropped)
    return None


def header_lines(
    config: Config, student: Student, graph: LatticeGraph, device: torch.device
) -> list[str]:
    """Lines to show before a run starts.

    Args:
        config: the whole configuration.
        student: as built.
        graph: its lattice.
        device: where it computes.

    Raises:
        ConfigError: when the run does not fit into memory.
    """
    plan, peak_gb = expected_memory(config, student, graph)
    check_memory(peak_gb, device)
    sides = " x ".join(str(side) for side in config.lattice.dimensions)
    parameters = sum(parameter.numel() for parameter in student.parameters())
    available = available_gb(device)
    free = "" if available is None else f" of {available:.1f} GB free"
    return [
        f"cube: {sides}, {graph.num_cells:,} cells, {graph.num_edges:,} edges, "
        f"{config.model.dynamics.steps} steps, {parameters:,} parameters, on {device}, "
        f"{torch.get_num_threads()} thread(s)",
        f"sums over neighbours: {student.dynamics.backend}{_reason(config, graph, device)}",
        f"step: {_kernel(config, student)}",
        *_time(config, student, graph, device),
        f"memory: rollout {plan}; whole run about {peak_gb:.1f} GB{free}",
    ]


def _kernel(config: Config, student: Student) -> str:
    """Which form of the step is taken, and why."""
    dynamics = student.dynamics
    if not isinstance(dynamics, Lattice3D):
        return f"none (model.dynamics.mode {config.model.dynamics.mode})"
    if config.model.compile:
        return "plain, compiled (model.compile)"
    reason = dynamics.why_plain()
    if reason is None and config.training.precision != "float32":
        reason = f"training.precision {config.training.precision}"
    if reason is None:
        return f"fused kernels (model.kernel {config.model.kernel})"
    return f"plain ({reason})"


def _time(config: Config, student: Student, graph: LatticeGraph, device: torch.device) -> list[str]:
    """Expected time of training; nothing where there is no measured cost model."""
    backend = student.dynamics.backend
    if device.type != "cpu" or backend == "scatter" or not student.dynamics.experts:
        return []
    settings, training = config.model, config.training
    stencils = summed_stencils(graph, edge_sets(settings))
    channels, batch = settings.state_channels, training.batch_size
    sums = expected_ms(backend, stencils, channels, batch)
    one = expected_update_ms(sums, graph.num_cells, channels, batch, settings.dynamics.steps)
    seconds = training.accumulate * one / 1000
    if isinstance(student.dynamics, Lattice3D) and not reads_whole_lattice(config):
        cone = student.dynamics.cones.made(settings.dynamics.steps)
        seconds *= 1.0 if cone is None else cone.share
    line = f"time: about {seconds:.2g} s per update"
    if all(phase.updates for phase in training.phases):
        updates = sum(phase.updates for phase in training.phases)
        line += f", {seconds * updates / 60:.2g} min for {updates:,} updates"
        line += ", and as long for the frozen lattice" * (config.report.attribution == "full")
    return [f"{line} (cost model of two CPU cores)"]


def reads_whole_lattice(config: Config) -> bool:
    """Whether a loss term may read more of the lattice than the output face.

    Args:
        config: weights of the terms, those of all phases included; a term of another file may.
    """
    losses, gating = config.losses, config.model.gating
    weights = [losses.weights(), *(phase.losses for phase in config.training.phases)]
    asked = any(found.get(name, 0) > 0 for found in weights for name in OF_STATES)
    return asked or bool(losses.extra) or gating.balance_weight > 0 or gating.z_weight > 0


def _reason(config: Config, graph: LatticeGraph, device: torch.device) -> str:
    if config.model.aggregation != "auto":
        return " (model.aggregation)"
    batch, channels = config.training.batch_size, config.model.state_channels
    stencils = summed_stencils(graph, edge_sets(config.model))
    times = [
        f"{way} {expected_ms(way, stencils, channels, batch, device.type):.3g}"
        for way in ("spmm", "fft")
    ]
    return f" (auto; expected ms per step: {', '.join(times)})"
