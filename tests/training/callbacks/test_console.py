from __future__ import annotations

import io

from rich.console import Console

from latticegraph.training.callbacks.console import TrainingConsole

TRAIN = {
    "update": 10,
    "epoch": 1,
    "phase": "main",
    "losses": {"total": 0.5},
    "learning_rate": 0.002,
    "grad_norm": {"total": 0.25},
    "samples_per_second": 1234.4,
}
VALIDATION = {
    "update": 10,
    "epoch": 1,
    "phase": "a phase [bold]",
    "losses": {"total": 0.5},
    "explained_variance": 0.6123,
    "cosine": 0.7,
    "centred_cosine": 0.65,
    "recall_at_1": 0.25,
    "spread": {"effective_rank": 41.6},
    "usage": {"local": 0.2, "functional": 0.3, "distant": 0.5},
}


def test_plain_lines_without_a_terminal():
    file = io.StringIO()
    with TrainingConsole(40, console=Console(file=file, width=40)) as console:
        console.advance(10)
        console.train(TRAIN)
        console.validation(VALIDATION, best=True)
        console.validation(VALIDATION, best=False)
        console.warning("the local expert [x] is dead")
    lines = file.getvalue().splitlines()
    assert lines[0] == (
        "update 10/40  epoch 1  main  loss 0.5000  rate 2.00e-03  grad 0.250  1234 samples/s"
    )
    assert lines[1].split()[:5] == ["update", "epoch", "phase", "loss", "expl.var"]
    assert lines[2].split()[-1] == "*"
    assert lines[3] + " *" == lines[2]
    assert len(lines[1]) == len(lines[3])
    assert "a phase [bo" in lines[3]
    assert "0.6123" in lines[3]
    assert lines[3].split()[-4] == "42"
    assert lines[4] == "WARNING: the local expert [x] is dead"
    assert "\x1b" not in file.getvalue()


def test_a_terminal_shows_a_bar_that_starts_at_the_resumed_update():
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, width=120)
    with TrainingConsole(40, done=7, console=terminal) as console:
        console.train(TRAIN)
        console.validation(VALIDATION, best=True)
        console.advance(31)
    shown = file.getvalue()
    assert " 7/40" in shown
    assert "31/40" in shown
    assert "main loss 0.5000, 1234 samples/s" in shown
    assert "0.6123" in shown
    assert "update 10/40" not in shown


def test_training_shows_its_lines_and_a_row_per_validation(configure, make, records):
    file = io.StringIO()
    config = configure(training={"log_every": 5, "phases": [{"name": "main", "epochs": 2}]})
    trainer = make(config, console=Console(file=file, width=200))
    trainer.fit()
    rows, lines = records(trainer), file.getvalue().splitlines()
    trained = [row for row in rows if row["kind"] == "train"]
    measured = [row for row in rows if row["kind"] == "validation"]
    assert len(trained) > 1
    assert len(measured) == 3
    shown = [line.split("  ")[0] for line in lines if "samples/s" in line]
    total = trainer.state.plan.total
    assert shown == [f"update {row['update']}/{total}" for row in trained]
    table = [line.split() for line in lines if line.split()[0].isdigit()]
    assert [cells[0] for cells in table] == [str(row["update"]) for row in measured]
    assert [cells[4] for cells in table] == [f"{row['explained_variance']:.4f}" for row in measured]
    values = [row["explained_variance"] for row in measured]
    best = [value == max(values[: place + 1]) for place, value in enumerate(values)]
    assert [cells[-1] == "*" for cells in table] == best
