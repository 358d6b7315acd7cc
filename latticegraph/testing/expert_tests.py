"""What every expert must fulfil, as a class of tests to inherit.

Legend: C channels, N cells, B batch.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latticegraph.aggregation import BACKENDS, Backend
from latticegraph.config import LatticeSettings
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics import Lattice3D
from latticegraph.dynamics.kernel import kernel_of
from latticegraph.lattice import LatticeGraph

Results = dict[str, Tensor]


class ExpertTests:
    """Inherit from this class in a test file and set :attr:`kind`.

    All comparisons are between different ways to compute the same rollout, in double precision.

    Attributes:
        kind: as in ``model.experts``: a built-in kind, or ``file.py:Class``.
        edges: edge types that it aggregates over.
        options: of its class.
        messages: as ``model.messages``.
        backends: ways of summing to compare; weights ``edge`` have no ``fft``.

    Example::

        class TestMine(ExpertTests):
            kind = "my_expert.py:MyExpert"
    """

    kind: ClassVar[str]
    edges: ClassVar[tuple[str, ...]] = ("functional",)
    options: ClassVar[dict[str, Any]] = {}
    messages: ClassVar[dict[str, Any]] = {"heads": 2, "edge_hidden": 4}
    backends: ClassVar[tuple[Backend, ...]] = BACKENDS
    within: ClassVar[float] = 1e-9

    def test_backends_agree(self) -> None:
        """Sums by gather and scatter, sparse products and transforms give the same gradients."""
        reference = self._outcome(self._lattice("scatter"))
        for backend in self.backends:
            _assert_same(self._outcome(self._lattice(backend)), reference, self.within, backend)

    def test_kernel_equals_plain_step(self) -> None:
        """Where there is a kernel it gives the values and all gradients of the plain step."""
        for backend in (way for way in self.backends if way != "scatter"):
            plain = self._lattice(backend, kernel="plain")
            reference = self._outcome(plain)
            automatic = self._lattice(backend)
            has_kernel = all(kernel_of(expert) for expert in plain._experts())
            assert bool(automatic.kernels()) == has_kernel
            _assert_same(self._outcome(automatic), reference, self.within, backend)

    def test_chunks_and_recomputation_agree(self) -> None:
        """Neither chunks of samples nor recomputed steps change a value or a gradient."""
        lattice = self._lattice("spmm")
        reference = self._outcome(lattice)
        lattice.checkpoint_steps = 1
        _assert_same(self._outcome(lattice), reference, self.within, "recomputed")
        one = lattice.plan(1, 3, 8).gb * 1.5
        lattice.settings = lattice.settings.model_copy(update={"max_memory_gb": one})
        assert lattice.plan(3, 3, 8).samples < 3
        _assert_same(self._outcome(lattice), reference, self.within, "chunks")

    def test_every_parameter_has_a_gradient(self) -> None:
        """No parameter is without effect on the result."""
        found = self._outcome(self._lattice("spmm"))
        still = [n for n, g in found.items() if n.startswith("gradient") and not bool(g.any())]
        assert not still, f"expected a gradient for every parameter, got none for {still}"

    def test_gradients_equal_numeric_ones(self) -> None:
        """Two steps on 3 x 3 x 4 cells, by the states."""
        lattice = self._lattice("spmm", steps=2, dimensions=(3, 3, 4))
        x_CNB = torch.randn(4, 36, 1, dtype=torch.float64, requires_grad=True)

        def function(x_CNB: Tensor) -> Tensor:
            rollout = lattice.rollout(x_CNB)
            return rollout.states_CNB.sin().sum() + rollout.change_T.sum()

        assert torch.autograd.gradcheck(function, (x_CNB,))

    def _lattice(
        self,
        backend: Backend,
        kernel: str = "auto",
        steps: int = 3,
        dimensions: tuple[int, int, int] = (3, 4, 5),
    ) -> Lattice3D:
        own = {"kind": self.kind, "edges": list(self.edges), "options": dict(self.options)}
        settings = ModelSettings.model_validate(
            {
                "state_channels": 4,
                "messages": dict(self.messages),
                "experts": [
                    {"name": "own", **own},
                    {"name": "local", "kind": "local", "edges": ["local"]},
                ],
                "dynamics": {"steps": steps, "min_steps": steps},
                "kernel": kernel,
            }
        )
        near = {"adaptive_radius_min": 2.3, "local_distance_ratio": 0.5}
        graph = LatticeGraph.build(
            LatticeSettings.model_validate({"dimensions": dimensions, **near})
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            lattice = Lattice3D(settings, graph, backend).double()
            _move(lattice)
        return lattice

    def _outcome(self, lattice: Lattice3D) -> Results:
        """Everything a rollout returns, and the gradients of a mixture of it."""
        generator = torch.Generator().manual_seed(1)

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        lattice.zero_grad()
        x_CNB = random(4, lattice.cells.num_cells, 3).requires_grad_()
        rollout = lattice.rollout(x_CNB)
        mixed = [rollout.states_CNB, rollout.usage_XN, rollout.change_T]
        torch.stack([(value * random(*value.shape)).sum() for value in mixed]).sum().backward()
        found = {name: value.detach() for name, value in vars(rollout).items()}
        found["input gradient"] = _gradient(x_CNB)
        named = lattice.named_parameters()
        return found | {f"gradient of {name}": _gradient(p).clone() for name, p in named}


def _gradient(value: Tensor) -> Tensor:
    return torch.zeros_like(value) if value.grad is None else value.grad


def _move(module: nn.Module) -> None:
    """Move every parameter off its special start, so that no path is blocked by a zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


def _assert_same(found: Results, wanted: Results, within: float, what: str) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        scale = max(1.0, float(value.abs().max()))
        gap = float((found[name] - value).abs().max())
        assert gap <= within * scale, f"{what}: {name} differs by {gap:.2g}"
