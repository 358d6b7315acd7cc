"""Kernels: equal to the plain step, and used for exactly the code they were derived from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import latticegraph.dynamics.step as step_module
from latticegraph.config.model import ModelSettings
from latticegraph.dynamics import DistantExpert, FunctionalExpert, LocalExpert
from latticegraph.dynamics.kernel import kept_states, kernel_of, registered, source_digest
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Lattice3D
from latticegraph.testing import ExpertTests
from tests.model.conftest import small_lattice, small_model


class TestLocal(ExpertTests):
    kind, edges = "local", ("local",)


class TestFunctional(ExpertTests):
    kind = "functional"


class TestDistant(ExpertTests):
    kind, edges, options = "distant", ("distant",), {"substeps": 3}


class TestFunctionalOnTwoTypes(ExpertTests):
    kind, edges = "functional", ("local", "distant")


def test_every_built_in_expert_has_a_tested_kernel() -> None:
    assert set(registered()) == {LocalExpert, FunctionalExpert, DistantExpert}
    assert all(kernel_of(expert(4)) is not None for expert in registered())


def final_states(settings: ModelSettings | None = None) -> Tensor:
    torch.manual_seed(0)
    lattice = Lattice3D(settings or small_model(), LatticeGraph.build(small_lattice()))
    states: Tensor = lattice.rollout(torch.ones(4, 80, 1)).states_CNB
    return states


def test_editing_an_update_changes_what_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    before = final_states()

    def update(self: FunctionalExpert, m_CM: Tensor, x_CM: Tensor) -> Tensor:
        return m_CM - x_CM

    monkeypatch.setattr(FunctionalExpert, "update", update)
    assert kernel_of(FunctionalExpert(4)) is None
    after = final_states()
    assert not torch.allclose(before, after)
    assert torch.equal(after, final_states(small_model(kernel="plain")))


def test_editing_the_step_changes_what_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """All kernels were derived from one step."""
    monkeypatch.setattr("latticegraph.dynamics.kernel._STEP", (step_module.relative_change,))
    assert kernel_of(LocalExpert(4)) is None


def test_source_digest_ignores_comments_and_sees_code() -> None:
    class Documented(FunctionalExpert):
        def update(self, m_CM: Tensor, x_CM: Tensor) -> Tensor:
            """``z * (m + W h - x)``."""
            # The same code with a comment.
            gate, hidden = self.from_sum(m_CM, plus_KM=self.from_state(x_CM)).chunk(2)
            target_CM: Tensor = self.candidate(nn.functional.silu(hidden), plus_KM=m_CM)
            return torch.sigmoid(gate) * (target_CM - x_CM)

    class Bare(FunctionalExpert):
        def update(self, m_CM: Tensor, x_CM: Tensor) -> Tensor:
            gate, hidden = self.from_sum(m_CM, plus_KM=self.from_state(x_CM)).chunk(2)
            target_CM: Tensor = self.candidate(nn.functional.silu(hidden), plus_KM=m_CM)
            return torch.sigmoid(gate) * (target_CM - x_CM)

    assert source_digest(Documented) == source_digest(Bare)
    assert source_digest(Bare) != source_digest(FunctionalExpert)


def test_subclass_replaced_module_and_hook_have_no_kernel() -> None:
    class Same(FunctionalExpert):
        pass

    assert kernel_of(Same(4)) is None
    replaced, hooked, patched = FunctionalExpert(4), FunctionalExpert(4), FunctionalExpert(4)
    replaced.candidate = nn.Identity()  # type: ignore[assignment]
    hooked.from_sum.register_forward_hook(lambda *_: None)
    patched.update = lambda m_CM, x_CM: m_CM  # type: ignore[method-assign]
    assert [kernel_of(expert) for expert in (replaced, hooked, patched)] == [None] * 3


def test_fused_is_refused_where_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = LatticeGraph.build(small_lattice())
    with pytest.raises(ConfigError, match=r"^model\.kernel: .* scatter has no kernel\. Set model"):
        Lattice3D(small_model(kernel="fused"), graph, "scatter")
    with pytest.raises(ConfigError, match=r"expert 'local' has no kernel"):
        Lattice3D(small_model(kernel="fused", messages={"heads": 2, "norm": True}), graph)
    with pytest.raises(ValueError, match="expected auto or plain with compile true"):
        small_model(kernel="fused", compile=True)
    assert Lattice3D(small_model(kernel="fused"), graph).why_plain() is None
    with torch.autocast("cpu"):
        assert Lattice3D(small_model(), graph).why_plain() == "reduced precision"


def test_states_kept_by_a_step_are_those_that_its_kernels_name() -> None:
    """Two besides the experts' updates; a linear expert keeps no message and no values."""
    local, functional, distant = (
        kind(4, heads=2) for kind in (LocalExpert, FunctionalExpert, DistantExpert)
    )
    own = {expert: kernel_of(expert) for expert in (local, functional, distant)}
    for alone, further in ((True, 0), (False, 1 + 1)):
        assert own[local] is not None
        assert own[functional] is not None
        found = kept_states([local, functional], [alone, False], plain=False)
        assert found == 2 + 2 + further + (5 + 1)
    assert kept_states([distant], [False], plain=False) == 2 + 1 + 2 * distant.substeps + 1
    assert kept_states([local, distant], [True, False], plain=True) == 2 + 6 * 2
