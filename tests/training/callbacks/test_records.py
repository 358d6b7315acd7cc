from __future__ import annotations

import io

import pytest
from rich.console import Console

from latticegraph.training.callbacks.records import find_warnings

ALIVE = {"local": 0.02, "functional": 0.49, "distant": 0.49}


def test_warnings_name_dead_experts_and_collapse_and_nothing_else():
    fine = {"usage": ALIVE, "prediction_std_ratio": 0.1}
    assert find_warnings(fine, "lattice") == []
    bad = {"usage": ALIVE | {"local": 0.0199}, "prediction_std_ratio": 0.0999}
    dead, collapsed = find_warnings(bad, "lattice")
    assert (dead["about"], dead["expert"]) == ("dead_expert", "local")
    assert "raise model.gating.balance_weight" in dead["message"]
    assert collapsed["about"] == "collapse"
    assert "spread is 0.100 of the teacher's" in collapsed["message"]
    assert [w["about"] for w in find_warnings(bad, "wire")] == ["collapse"]


def test_warnings_reach_the_log_and_the_screen(configure, make, records):
    file = io.StringIO()
    trainer = make(configure(losses={"emergence": 0.0}), console=Console(file=file))

    def collapse(module, inputs, output):
        if not module.training and trainer.state.progress.update:
            mean = output.embedding_BD.mean(0)
            output.embedding_BD.copy_(mean + 0.01 * (output.embedding_BD - mean))
            output.usage_NX[:, 2] = 0.001

    trainer.student.register_forward_hook(collapse)
    trainer.fit()
    warned = [row for row in records(trainer) if row["kind"] == "warning"]
    collapsed = [row["update"] for row in warned if row["about"] == "collapse"]
    assert collapsed == [5, 10]
    assert "WARNING: the predictions have collapsed" in file.getvalue()
    dead = [row for row in warned if row["about"] == "dead_expert"]
    assert [(row["update"], row["expert"]) for row in dead] == [(5, "distant"), (10, "distant")]
    assert file.getvalue().count("is all but unused") == 2


def test_train_line_rates_follow_from_the_window(configure, make, records):
    trainer = make(configure(training={"batch_size": 4, "accumulate": 2}))
    trainer.fit()
    rows = [row for row in records(trainer, timed=True) if row["kind"] == "train"]
    for row in rows:
        # 2 updates of 2 passes of 4 samples, 3 lattice steps each.
        window_seconds = 16 / row["samples_per_second"]
        assert row["ms_per_step"] == pytest.approx(1000 * window_seconds / (4 * 3))
