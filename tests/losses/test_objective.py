from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latticegraph.config import LatticeSettings, LossSettings, PhaseSettings
from latticegraph.config.losses import ExtraLossSettings
from latticegraph.config.model import GatingSettings
from latticegraph.distributed import ALONE, Processes
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph
from latticegraph.losses import LossTerm, Objective, build_objective
from latticegraph.losses.reconstruction import ReconstructionLoss
from latticegraph.losses.similarity import SimilarityLoss
from latticegraph.model.output import StudentOutput

MakeOutput = Callable[..., StudentOutput]

ZERO = dict.fromkeys(
    (
        "reconstruction",
        "similarity",
        "structure",
        "diversity",
        "emergence",
        "dynamics",
        "spatial",
    ),
    0.0,
)


def build(gating: GatingSettings | None = None, **weights: float) -> Objective:
    graph = LatticeGraph.build(LatticeSettings(dimensions=(3, 3, 3), adaptive_radius_min=1.6))
    return build_objective(
        LossSettings(**(ZERO | weights)), gating or GatingSettings(), torch.zeros(2), 0.5, graph
    )


def leaves() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "embedding_BD": torch.randn(4, 2, generator=generator).requires_grad_(),
        "states_CNB": torch.randn(2, 27, 4, generator=generator).requires_grad_(),
        "usage_NX": torch.randn(27, 3, generator=generator).softmax(1).requires_grad_(),
        "change_T": torch.rand(5, generator=generator).requires_grad_(),
        "gate_balance": torch.tensor(0.25, requires_grad=True),
        "gate_z": torch.tensor(3.0, requires_grad=True),
    }


TARGET = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.3, -1.0]])


def test_objective_total_is_weighted_sum(make_output: MakeOutput) -> None:
    loss = build(GatingSettings(balance_weight=2.0, z_weight=0.5), reconstruction=1.0, similarity=3)
    output = make_output(**leaves())
    total, terms = loss(output, TARGET)
    reconstruction = ReconstructionLoss(0.5)(output, TARGET).item()
    similarity = SimilarityLoss(torch.zeros(2))(output, TARGET).item()
    assert terms["reconstruction"].item() == pytest.approx(reconstruction)
    assert terms["similarity"].item() == pytest.approx(similarity)
    expected = reconstruction + 3 * similarity + 2 * 0.25 + 0.5 * 3.0
    assert total.item() == pytest.approx(expected)
    assert terms["total"].item() == total.item()
    assert set(terms) == {"reconstruction", "similarity", "gate_balance", "gate_z", "total"}


def test_objective_terms_are_detached_and_total_is_not(make_output: MakeOutput) -> None:
    total, terms = build(reconstruction=1.0, spatial=0.1)(make_output(**leaves()), TARGET)
    assert total.requires_grad
    assert not any(value.requires_grad for value in terms.values())


def test_objective_every_term_reaches_its_input(make_output: MakeOutput) -> None:
    inputs = leaves()
    everything = dict.fromkeys(ZERO, 1.0)
    loss = build(GatingSettings(balance_weight=1.0, z_weight=1.0), **everything)
    loss(make_output(**inputs), TARGET)[0].backward()
    for name, value in inputs.items():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name


def test_objective_zero_weight_skips_computing(make_output: MakeOutput) -> None:
    inputs = leaves()
    loss = build(reconstruction=1.0)
    assert list(loss.terms) == ["reconstruction"]
    poisoned = inputs | {"states_CNB": torch.full((2, 27, 4), torch.nan), "gate_z": None}
    total, _ = loss(make_output(**poisoned), TARGET)
    assert torch.isfinite(total)


def test_objective_rejects_all_zero() -> None:
    with pytest.raises(ConfigError, match="losses: expected at least one weight above 0"):
        build()


def test_objective_perfect_reconstruction_costs_nothing(make_output: MakeOutput) -> None:
    loss = build(reconstruction=1.0, similarity=1.0, structure=1.0, diversity=1.0)
    total, terms = loss(make_output(embedding_BD=TARGET), TARGET)
    assert total.item() == pytest.approx(0.0, abs=1e-6)
    collapsed = make_output(embedding_BD=torch.full((4, 2), 1e-3))
    assert loss(collapsed, TARGET)[1]["diversity"].item() > 0.1
    assert len(terms) == 5


def test_objective_bfloat16_output_is_scored_in_float32(make_output: MakeOutput) -> None:
    everything = dict.fromkeys(ZERO, 1.0)
    rounded = {name: value.detach().bfloat16() for name, value in leaves().items()}
    exact = {name: value.float() for name, value in rounded.items()}
    loss = build(GatingSettings(), **everything)
    with torch.autocast("cpu", torch.bfloat16):
        total, terms = loss(make_output(**rounded), TARGET)
    expected, _ = loss(make_output(**exact), TARGET)
    assert total.dtype == torch.float32
    assert terms["emergence"].dtype == torch.float32
    torch.testing.assert_close(total, expected, rtol=1e-2, atol=0)


def test_objective_copies_and_moves_like_a_module(make_output: MakeOutput) -> None:
    loss = build(GatingSettings(), **dict.fromkeys(ZERO, 1.0))
    output = make_output(**{name: value.detach().double() for name, value in leaves().items()})
    total, _ = copy.deepcopy(loss).double()(output, TARGET.double())
    assert total.dtype == torch.float64
    assert loss.state_dict() == {}


class Reads(LossTerm):
    """Reads more than it declares."""

    reads = ("embedding_BD",)

    def forward(self, output, target_BD):
        return output.states_CNB.mean()


def test_field_that_is_not_declared_is_an_error(make_output: MakeOutput) -> None:
    objective = Objective({"mine": Reads()}, {"mine": 1.0})
    wanted = (
        r"^losses\.mine: expected the term to access only the fields that Reads\.reads declares "
        r"\(embedding_BD\), got 'states_CNB'\. Add 'states_CNB' to Reads\.reads"
    )
    with pytest.raises(ConfigError, match=wanted):
        objective(make_output(), TARGET)


@pytest.mark.parametrize("reads", ["embedding_BD", (), ("states",), ("trajectory_TCNB",)])
def test_declaration_that_names_no_field_is_an_error(reads, monkeypatch) -> None:
    monkeypatch.setattr(Reads, "reads", reads)
    with pytest.raises(ConfigError, match=r"^losses\.mine: expected Reads\.reads to be a tuple"):
        Objective({"mine": Reads()}, {"mine": 1.0})


def test_term_with_parameters_is_an_error() -> None:
    term = Reads()
    term.gain = torch.nn.Parameter(torch.ones(()))
    with pytest.raises(ConfigError, match=r"expected a term without parameters.*\['gain'\]"):
        Objective({"mine": term}, {"mine": 1.0})


def test_only_states_of_terms_that_need_them_are_gathered() -> None:
    assert build(reconstruction=1.0, spatial=1.0).gathered_fields({"spatial": 1.0}) == frozenset()
    term = Reads()
    object.__setattr__(term, "reads", ("states_CNB", "usage_NX"))
    objective = Objective({"mine": term}, {"mine": lambda phase, update: float(update)})
    assert objective.gathered_fields(objective.weights_at(0, 1)) == {"states_CNB"}
    assert objective.gathered_fields(objective.weights_at(0, 0)) == frozenset()


def test_phases_change_weights(make_output: MakeOutput) -> None:
    graph = LatticeGraph.build(LatticeSettings(dimensions=(3, 3, 3), adaptive_radius_min=1.6))
    phases = [
        PhaseSettings(name="a", updates=1),
        PhaseSettings(name="b", updates=1, losses={"reconstruction": 0.0, "similarity": 3.0}),
    ]
    settings = LossSettings(**(ZERO | {"reconstruction": 2.0}))
    arguments = (GatingSettings(), torch.zeros(2), 0.5, graph, "spmm")
    objective = build_objective(settings, *arguments, phases=phases)
    gates = {"gate_balance": GatingSettings().balance_weight}
    gates = {name: weight for name, weight in gates.items() if weight}
    assert objective.weights_at(0) == {"reconstruction": 2.0} | gates
    assert objective.weights_at(1) == {"similarity": 3.0} | gates
    terms = objective(make_output(**leaves()), TARGET, objective.weights_at(1))[1]
    assert set(terms) == {"similarity", "total", *gates}


def test_terms_that_sum_over_processes_are_told_of_them() -> None:
    objective = build(reconstruction=1.0, spatial=1.0, sparsity=1.0)
    two = Processes(1, 2)
    objective.set_processes(two)
    told = {name: term.processes for name, term in objective.terms.items()}
    assert told["spatial"] is told["sparsity"] is two
    assert told["reconstruction"] is ALONE


OWN_TERM = """
from latticegraph.losses import LossTerm

class FarFromTheMean(LossTerm):
    reads = ("embedding_BD",)

    def __init__(self, power):
        super().__init__()
        self.power = power

    def setup(self, context):
        self.mean_D, self.cells = context.teacher_mean_D, context.graph.num_cells

    def forward(self, output, target_BD):
        return (output.embedding_BD - self.mean_D).abs().pow(self.power).mean() * self.cells
"""


def test_a_term_of_another_file_is_set_up_and_weighed(
    make_output: MakeOutput, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN_TERM, encoding="utf-8")
    kind = f"{tmp_path}/own.py:FarFromTheMean"
    extra = [ExtraLossSettings(name="far", kind=kind, weight=0.5, options={"power": 3})]
    graph = LatticeGraph.build(LatticeSettings(dimensions=(3, 3, 3), adaptive_radius_min=1.6))
    mean_D = torch.tensor([1.0, -2.0])
    objective = build_objective(
        LossSettings(**ZERO, extra=extra), GatingSettings(balance_weight=0.0), mean_D, 0.5, graph
    )
    inputs = leaves()
    total, terms = objective(make_output(**inputs), TARGET)
    wanted = 27 * (inputs["embedding_BD"] - mean_D).abs().pow(3).mean()
    torch.testing.assert_close(terms["far"], wanted.detach())
    torch.testing.assert_close(total, 0.5 * wanted)
