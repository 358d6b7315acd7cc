"""What a loss term is: the fields it reads, and a scalar made of them.

Legend: B batch, D teacher width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, cast

from torch import Tensor, nn

from latticegraph.distributed import ALONE, Processes, all_sum
from latticegraph.errors import ConfigError
from latticegraph.lattice.graph import LatticeGraph
from latticegraph.model.output import StudentOutput

# The trajectory is recorded for analyses only, never while a student trains.
READABLE = tuple(f.name for f in fields(StudentOutput) if f.name != "trajectory_TCNB")


@dataclass(frozen=True)
class LossContext:
    """What a term may need besides its options.

    Attributes:
        teacher_mean_D: mean of the training targets.
        teacher_variance: mean over dimensions of their variance, > 0.
        graph: the lattice.
    """

    teacher_mean_D: Tensor
    teacher_variance: float
    graph: LatticeGraph


class LossTerm(nn.Module, ABC):
    """Base class of every loss term.

    A subclass names the fields of :class:`~latticegraph.model.StudentOutput` that it reads and
    returns a scalar from :meth:`forward`. Several processes see the fields of the whole batch and
    of the whole lattice, so that a term is written as if there were one process. A term has no
    parameters; tensors that it needs are buffers.

    Attributes:
        reads: names of the fields that :meth:`forward` accesses.
        sums_over_processes: the term adds up its own sums over processes and gets the states of
            the process it runs in, which saves gathering them; see :meth:`reduce`.
        stays_positive: the term is never negative and no training brings it to 0, so that a
            weighting may divide by it; a distance from a target or from a threshold is none of
            these.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    sums_over_processes: ClassVar[bool] = False
    stays_positive: ClassVar[bool] = False
    processes: Processes = ALONE

    def setup(self, context: LossContext) -> None:
        """Prepare the term, once, before training; does nothing by default.

        Args:
            context: mean and variance of the targets, and the lattice.
        """

    def set_processes(self, processes: Processes) -> None:
        """Receive the processes of the run; only for terms with ``sums_over_processes``.

        Args:
            processes: those that share the batch or the lattice.
        """
        self.processes = processes

    def reduce(self, sums: Tensor) -> Tensor:
        """Sums of this process added to those of the others, in every process."""
        return all_sum(sums, self.processes)

    def set_progress(self, progress: float) -> None:
        """Learn how far the training has come, before every update; does nothing by default.

        Args:
            progress: share of all updates that are done, from 0 in the first one to below 1.
        """

    @abstractmethod
    def forward(self, output: StudentOutput, target_BD: Tensor) -> Tensor:
        """The loss of a batch, before its weight.

        Shapes:
            target_BD: [B, D]; result: scalar.
        """


class DeclaredFields:
    """The fields of an output that a term declares in ``reads``; any other one is an error.

    Args:
        output: what the student returned.
        name: of the term, for errors.
        term: its declaration.
    """

    def __init__(self, output: StudentOutput, name: str, term: LossTerm) -> None:
        self._output = output
        self._name = name
        self._term = term

    def __getattr__(self, field: str) -> Tensor:
        if field not in self._term.reads:
            kind = type(self._term).__name__
            raise ConfigError(
                f"losses.{self._name}",
                f"expected the term to access only the fields that {kind}.reads declares "
                f"({', '.join(self._term.reads)}), got '{field}'",
                f"Add '{field}' to {kind}.reads; it may name {', '.join(READABLE)}",
            )
        return cast(Tensor, getattr(self._output, field))


def check_term(name: str, term: LossTerm) -> None:
    """Refuse a term that could not be computed or trained as declared.

    Args:
        name: of the term, for errors.
        term: to be checked.

    Raises:
        ConfigError: when ``reads`` is not a tuple of fields, or the term has parameters.
    """
    where, kind = f"losses.{name}", type(term).__name__
    names = term.reads
    if not isinstance(names, tuple) or not names or not set(names) <= set(READABLE):
        raise ConfigError(
            where,
            f"expected {kind}.reads to be a tuple of fields of StudentOutput, got {names!r}",
            f"Name some of {', '.join(READABLE)}, for instance reads = ('embedding_BD',)",
        )
    parameters = [parameter_name for parameter_name, _ in term.named_parameters()]
    if parameters:
        raise ConfigError(
            where,
            f"expected a term without parameters, as only the student is trained, got {parameters}",
            f"Make them buffers (register_buffer) or options of {kind}",
        )


def check_positive(terms: Mapping[str, LossTerm]) -> None:
    """Refuse terms that a weighting would divide by although they can become 0 or negative.

    Args:
        terms: by name.

    Raises:
        ConfigError: naming all of them.
    """
    refused = [name for name, term in terms.items() if not term.stays_positive]
    if refused:
        raise ConfigError(
            "losses.weighting",
            "expected only terms that stay above 0 with uncertainty and softmax, which divide by "
            f"them, got weights above 0 for {', '.join(refused)}",
            f"Set the weight of {', '.join(refused)} to 0 (gate terms: in model.gating), or "
            "losses.weighting to fixed or gradnorm; a term of your own that is always above 0 "
            "declares stays_positive = True",
        )
