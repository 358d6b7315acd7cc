"""The output for a whole batch from that of each process, without the processes.

Two processes with the same rows stand for two with halves of a batch: a sum over them is twice the
own one, and what is gathered are two copies. Real ones are in tests/distributed.
"""

from __future__ import annotations

import pytest
import torch

from latticegraph.distributed import Processes
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student
from latticegraph.training import whole_batch
from latticegraph.training.whole_batch import own_rows, whole_output
from tests.model.conftest import WIDTH, embeddings, excite, small_lattice, small_model

STOPS = {"steps": 9, "min_steps": 3, "tolerance": 0.75, "patience": 1}
TWO = Processes(1, 2)
ROWS = 3


@pytest.fixture(autouse=True)
def _same_rows_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(value, processes, dim=0, sizes=None):
        assert sizes == [ROWS, ROWS]
        return torch.cat([value, value], dim)

    monkeypatch.setattr(whole_batch, "all_sum", lambda value, processes: 2 * value)
    monkeypatch.setattr(whole_batch, "all_gather", gather)
    monkeypatch.setattr(Processes, "largest", lambda self, number: number + 2)


def student(**changes) -> Student:
    settings = small_model(gating={"z_weight": 0.1}, **changes)
    made = build_student(settings, LatticeGraph.build(small_lattice()), WIDTH, seed=1).double()
    excite(made)
    return made


@pytest.mark.parametrize(
    "dynamics",
    [{"steps": 4, "min_steps": 4}, STOPS, {"mode": "wire"}],
    ids=["all steps", "early stop", "no lattice"],
)
def test_whole_output_is_that_of_one_process(dynamics) -> None:
    made = student(dynamics=dynamics)
    half_BD = embeddings(ROWS) * torch.tensor([[0.1], [1.0], [30.0]])
    batch_BD = torch.cat([half_BD, half_BD])
    rows_BD = own_rows(made, batch_BD, TWO)
    assert torch.equal(rows_BD, half_BD)
    wanted = made(batch_BD)
    large = ("code_BS", "surface_BS", "states_CNB")
    found = whole_output(made, made(rows_BD), 2 * ROWS, TWO, large)
    if dynamics == STOPS:
        assert len(wanted.steps_B.unique()) > 1
        # The other one took two steps more, in which nothing moved here.
        assert torch.equal(found.change_T[-2:], torch.zeros(2, dtype=torch.float64))
        found = whole_batch.replace(found, change_T=found.change_T[:-2])
    for name, value in vars(wanted).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-10, atol=1e-12)


def test_large_fields_are_gathered_only_where_they_are_read() -> None:
    made, batch_BD = student(), embeddings(2 * ROWS)
    own = made(own_rows(made, batch_BD, TWO))
    found = whole_output(made, own, 2 * ROWS, TWO, ["surface_BS"])
    assert torch.equal(found.surface_BS, torch.cat([own.surface_BS] * 2))
    assert found.states_CNB is own.states_CNB
    assert found.code_BS is own.code_BS


def test_batch_smaller_than_the_number_of_processes_is_run_by_each() -> None:
    made, batch_BD = student(), embeddings(1)
    assert own_rows(made, batch_BD, TWO) is batch_BD
    own = made(batch_BD)
    assert whole_output(made, own, 1, TWO) is own
