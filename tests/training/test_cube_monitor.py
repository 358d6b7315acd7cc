"""What is said of the cube is what a recorder of all states and gates gives."""

from __future__ import annotations

import pytest
import torch

from latticegraph.dynamics import Recorder, TrajectoryRecorder
from latticegraph.losses.emergence import entropy
from latticegraph.training.cube_monitor import MOST_COLUMNS, SYMBOLS, CubeMonitor, cell_map

MAIN = {"training": {"log_every": 5, "phases": [{"name": "main", "epochs": 2}]}}


class Gates(Recorder):
    def __init__(self):
        self.gates = []

    def record(self, record):
        self.gates.append(record.gates_XNb)


@pytest.fixture
def student(configure, build, pairs):
    student = build(configure()).double()
    rows = pairs(44, 1).source_ND.double()
    student.start_from_data(rows, rows)
    return student.eval()


def test_measures_are_those_of_the_whole_trajectory(student, graph, pairs, tolerances):
    source_BD = pairs(12, 3).source_ND.double()
    found = CubeMonitor(graph, source_BD, 8).measure(student)
    states, gates = TrajectoryRecorder(), Gates()
    with torch.no_grad():
        student(source_BD[:8], recorder=states)
        student(source_BD[:8], recorder=gates)
    x_TCNB, g_TXNB = states.trajectory_TCNB, torch.stack(gates.gates)
    assert found["samples"] == 8

    def same(key, wanted):
        assert found[key] == pytest.approx(wanted.tolist(), rel=1e-5), key

    same("state_norm", x_TCNB.square().mean((1, 2)).sqrt().mean(1))
    moved = (x_TCNB[1:] - x_TCNB[:-1]).flatten(1, 2).norm(dim=1)
    same("change", (moved / x_TCNB[:-1].flatten(1, 2).norm(dim=1)).mean(1))
    same("gate_entropy", entropy(g_TXNB.movedim(1, -1)).mean((1, 2)))
    for place, name in enumerate(student.dynamics.names):
        mine_TNB = g_TXNB[:, place]
        assert found["step_usage"][name] == pytest.approx(mine_TNB.mean((1, 2)).tolist(), rel=1e-5)
        by_depth = [float(mine_TNB[:, graph.depth_N == layer].mean()) for layer in range(3)]
        assert found["depth_usage"][name] == pytest.approx(by_depth, rel=1e-5)
        unused = (mine_TNB.mean((0, 2)) < 0.02).double().mean()
        assert found["unused_cells"][name] == pytest.approx(float(unused))


def test_chunks_of_samples_give_the_same_measures(configure, build, graph, pairs):
    source_BD = pairs(12, 3).source_ND
    found = []
    for memory in (4.0, 1e-4):
        student = build(configure(model={"max_memory_gb": memory}))
        if memory < 1:
            with torch.no_grad():
                assert student.dynamics.plan(12, 3, 4).samples < 12
        found.append(CubeMonitor(graph, source_BD, 12).measure(student))
    assert found[0]["cells"] == found[1]["cells"]
    for key in ("state_norm", "change", "gate_entropy"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-4)


def test_map_names_the_dominant_expert_of_every_cell(graph):
    usage_XN = torch.full((3, graph.num_cells), 0.2)
    expert_N = (graph.coordinates_N3 * torch.tensor([1, 3, 5])).sum(1) % 3
    usage_XN[expert_N, torch.arange(graph.num_cells)] = 0.6
    found = cell_map(usage_XN, graph)
    assert (found["layers"], found["rows"], found["columns"]) == (
        [0, 1, 2],
        [*range(4)],
        [*range(5)],
    )
    for i in range(3):
        wanted = [str((i + 3 * j + 5 * k) % 3) for j in range(4) for k in range(5)]
        assert found["experts"][i] == "".join(wanted)
        assert set(found["shares"][i]) == {"4"}  # (0.6 - 1/3) / (2/3) = 0.4
    assert len(SYMBOLS) == 62


def test_nothing_is_measured_where_there_is_nothing(configure, build, graph, pairs):
    source_BD = pairs(4, 3).source_ND
    student = build(configure(model={"dynamics": {"mode": "wire"}}))
    assert CubeMonitor(graph, source_BD, 4).measure(student) == {}
    assert CubeMonitor(graph, source_BD, 0).measure(build(configure())) == {}
    most = MOST_COLUMNS // graph.num_cells
    assert len(CubeMonitor(graph, torch.zeros(most + 9, 16), most + 9).source_BD) == most


@pytest.mark.parametrize(("lattices", "wanted"), [(0.5, 1), (1, 1), (3.5, 3), (20, 9)])
def test_large_lattices_are_looked_at_with_fewer_samples(graph, monkeypatch, lattices, wanted):
    columns = int(lattices * graph.num_cells)
    monkeypatch.setattr("latticegraph.training.cube_monitor.MOST_COLUMNS", columns)
    assert len(CubeMonitor(graph, torch.zeros(30, 16), 9).source_BD) == wanted


def test_monitoring_changes_no_weight_and_no_number_of_the_log(configure, make, records, tensors):
    model = {"transformer": {"kind": "autoencoder", "dropout": 0.5}}
    with_, without = (
        make(configure(model=model, training={"monitor_samples": count}), str(count))
        for count in (6, 0)
    )
    for trainer in (with_, without):
        trainer.fit()
    for name, value in tensors(with_).items():
        assert torch.equal(value, tensors(without)[name]), name
    kinds = [row["kind"] for row in records(with_)]
    assert kinds.count("cube") + 1 == kinds.count("validation") == 3
    assert [row for row in records(with_) if row["kind"] != "cube"] == records(without)


def test_cube_is_measured_with_the_mean_of_the_weights(configure, make, records):
    trainer = make(configure(training={"average_decay": 0.9}))
    trainer.fit()
    last = [row for row in records(trainer) if row["kind"] == "cube"][-1]
    latest = trainer.validation.monitor.measure(trainer.student)
    assert last["step_usage"] != latest["step_usage"]
    with trainer.state.optimizer.average.in_use():
        mean = trainer.validation.monitor.measure(trainer.student)
    assert last["step_usage"] == mean["step_usage"]
