"""What the trainer needs to know about the inside of a student, in one place."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from latticegraph.aggregation import Backend
from latticegraph.lattice.slab import Slab
from latticegraph.model import Student


def expert_names(student: Student) -> tuple[str, ...]:
    """Names of the experts, in the order of the columns of ``usage_NX``."""
    return student.dynamics.names


def dynamics_parameters(student: Student) -> set[nn.Parameter]:
    """All parameters of the dynamics: those of the experts and of the gating."""
    return set(student.dynamics.parameters())


def components(student: Student) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Groups of parameters whose gradient norms are logged; empty groups are left out."""
    experts = zip(expert_names(student), student.dynamics.experts.children(), strict=True)
    modules: dict[str, nn.Module | None] = {
        "transformer": student.transformer,
        "mapper": student.mapper,
        "volume": student.volume,
        **{f"experts.{name}": expert for name, expert in experts},
        "gating": student.dynamics.gating,
        "extractor": student.extractor,
    }
    for name, module in modules.items():
        parameters = [] if module is None else list(module.parameters())
        if parameters:
            yield name, parameters


def slab(student: Student) -> Slab | None:
    """The slab of the lattice that this process holds; None: it holds all of it."""
    return student.slab


def backend(student: Student) -> Backend:
    """How the student sums over neighbours."""
    return student.dynamics.backend


def recompute_steps(student: Student, steps: int) -> None:
    """Set how many steps are recomputed together in the backward pass; 0: none.

    Args:
        student: whose dynamics recompute them.
        steps: recomputed together.
    """
    student.dynamics.checkpoint_steps = steps
