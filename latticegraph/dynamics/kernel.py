"""Kernels: faster forms of the plain step, each for the exact classes it was derived from.

Legend: C channels, M columns, K rows of a linear map.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import textwrap
import tokenize
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from latticegraph.aggregation import Aggregation, Neighbourhood, PreparedWeights
from latticegraph.dynamics.channel_linear import ChannelLinear
from latticegraph.dynamics.edge_weights import EdgeWeights
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.gating import GatingNetwork
from latticegraph.dynamics.offset_table import EdgeTable, OffsetTable
from latticegraph.dynamics.step import Step, plain_step, relative_change

LinearMap = tuple[Tensor, Tensor | None]
"""Weight (K, C) and bias (K)."""

AnyExpert = TypeVar("AnyExpert", bound=Expert)

# State-sized tensors kept for the backward pass, measured with torch's allocator on cubes from 8 to
# 27 cells a side: by a step besides its kernels, by a plain step, and by each of its experts.
KERNEL_STEP = 2
PLAIN_STEP = 2
PLAIN_EXPERT = 6

_PLAIN_MODULES = (ChannelLinear, EdgeWeights, OffsetTable, EdgeTable, nn.Linear)


@dataclass(frozen=True)
class OutputBuffers:
    """Output buffers of the manual backward pass.

    Attributes:
        x_CM: gradient of the states; added to what is there.
        m_CM: gradient of the messages; overwritten.
        rows: gradients of the mapped states; overwritten.
    """

    x_CM: Tensor
    m_CM: Tensor
    rows: Sequence[Tensor]


class ExpertKernel(ABC, Generic[AnyExpert]):
    """The update of one expert class with its gradient written by hand.

    Attributes:
        kept_states: state-sized tensors that the backward pass needs, messages included.
    """

    @abstractmethod
    def kept_states(self, expert: AnyExpert) -> int:
        """State-sized tensors kept for the backward pass, the messages included."""

    def maps(
        self, expert: AnyExpert, neighbourhood: Neighbourhood, weights: PreparedWeights
    ) -> list[LinearMap]:
        """Linear layers on x, which one matrix product computes for all experts.

        The first is that of the values where cells do not send their state itself.
        """
        value = expert.value_map
        return [] if value is None else [(value.weight, value.bias)]

    def is_linear(self, expert: AnyExpert, self_only: bool) -> bool:
        """Whether the first linear map of the state is the whole proposal x + u.

        Args:
            expert: the expert.
            self_only: every cell is its own and only neighbour.
        """
        return False

    @abstractmethod
    def parameters(self, expert: AnyExpert) -> list[Tensor]:
        """Parameters used besides the maps, in the order of their gradients."""

    @abstractmethod
    def forward(
        self, expert: AnyExpert, x_CM: Tensor, m_CM: Tensor, rows: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The proposal x + u, and what :meth:`backward` needs.

        Args:
            expert: whose parameters are used.
            x_CM: states.
            m_CM: messages.
            rows: the mapped states without the values; may be overwritten.
        """

    @abstractmethod
    def backward(
        self, expert: AnyExpert, grad_CM: Tensor, kept: list[Tensor], buffers: OutputBuffers
    ) -> list[Tensor]:
        """The gradient of :meth:`forward`.

        Args:
            expert: whose parameters are used.
            grad_CM: gradient of the proposal.
            kept: x, m and then what :meth:`forward` kept.
            buffers: where the gradients of x (added), m and the rows (overwritten) go.

        Returns:
            Gradients of :meth:`parameters`.
        """


class FusedStep(Protocol):
    """A whole step made of kernels."""

    def __call__(
        self,
        x_CM: Tensor,
        experts: Sequence[Expert],
        kernels: Sequence[ExpertKernel[Any]],
        gating: GatingNetwork,
        aggregation: Aggregation,
        weights: Sequence[PreparedWeights],
        prepared: Any,
        keep: bool = False,
    ) -> Step:
        """As :func:`~latticegraph.dynamics.step.plain_step`."""

    def prepare(
        self,
        experts: Sequence[Expert],
        kernels: Sequence[ExpertKernel[Any]],
        gating: GatingNetwork,
        aggregation: Aggregation,
        weights: Sequence[PreparedWeights],
    ) -> Any:
        """What all steps of a rollout share."""


_KERNELS: dict[type[Expert], tuple[ExpertKernel[Any], str]] = {}
_FUSED: list[FusedStep] = []


def register_kernel(
    expert: type[AnyExpert], derived_from: str
) -> Callable[[type[ExpertKernel[AnyExpert]]], type[ExpertKernel[AnyExpert]]]:
    """Class decorator: the kernel of exactly ``expert``.

    Args:
        expert: the class; its subclasses are computed by the plain step.
        derived_from: :func:`source_digest` of the code that the kernel was derived from. Where that
            code is changed the plain step is used, until the kernel follows and is tested again.
    """

    def register(kernel: type[ExpertKernel[AnyExpert]]) -> type[ExpertKernel[AnyExpert]]:
        _KERNELS[expert] = (kernel(), derived_from)
        return kernel

    return register


def register_step(step: FusedStep) -> None:
    """Make ``step`` the step that runs kernels."""
    _FUSED[:] = [step]


def fused_step() -> FusedStep | None:
    """The step that runs kernels; None where no kernels were imported."""
    return _FUSED[0] if _FUSED else None


def registered() -> dict[type[Expert], ExpertKernel[Any]]:
    """All kernels by expert class."""
    return {expert: kernel for expert, (kernel, _) in _KERNELS.items()}


def kernel_of(expert: Expert) -> ExpertKernel[Any] | None:
    """The kernel of an expert; None for another class, a changed update or a changed module."""
    found = _KERNELS.get(type(expert))
    if found is None or {"update", "value"} & vars(expert).keys() or expert.norm is not None:
        return None
    for module in expert.modules():
        hooked = module._forward_hooks or module._forward_pre_hooks
        if hooked or (module is not expert and not _is_plain(module)):
            return None
    kernel, derived_from = found
    return kernel if source_digest(type(expert)) == derived_from else None


def kept_states(experts: Sequence[Expert], self_only: Sequence[bool], plain: bool) -> int:
    """State-sized tensors that one step keeps for the backward pass, besides spectra.

    Args:
        experts: all experts.
        self_only: for each, whether every cell is its own and only neighbour.
        plain: the plain step is taken.
    """
    if plain:
        return PLAIN_STEP + PLAIN_EXPERT * len(experts)
    kept = KERNEL_STEP + len(experts)
    for expert, alone in zip(experts, self_only, strict=True):
        kernel = kernel_of(expert)
        if kernel is not None and not kernel.is_linear(expert, alone):
            kept += kernel.kept_states(expert) + 1  # the values, for the gradient of the weights
    return kept


def _is_plain(module: nn.Module) -> bool:
    return type(module) in _PLAIN_MODULES or type(module).__module__.startswith("torch_geometric")


def source_digest(expert: type[Expert]) -> str:
    """Digest of the code that a kernel of ``expert`` replaces: its update, and the whole step.

    Comments, docstrings and white space do not count.
    """
    return _digest(expert.update, expert.value, *_STEP)


_STEP: tuple[Callable[..., Any], ...] = (
    plain_step,
    relative_change,
    ChannelLinear.forward,
    GatingNetwork.forward,
    GatingNetwork.shares,
)


@cache
def _digest(*functions: Callable[..., Any]) -> str:
    digest = hashlib.sha256()
    for function in functions:
        try:
            source = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError):  # code without a file, such as typed at a prompt
            return "unknown"
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            is_text = token.type == tokenize.STRING and token.string.startswith('"""')
            if not is_text and token.string.strip() and token.type != tokenize.COMMENT:
                digest.update(token.string.encode() + b"\0")
    return digest.hexdigest()[:16]
