from __future__ import annotations

import math

import pytest
import torch

from latticegraph.errors import CheckpointError, ConfigError, DataError, TrainingError
from latticegraph.training import EmbeddingPairs, load_checkpoint_model


def test_fit_raises_the_explained_variance_above_the_start(configure, make, records):
    trainer = make(configure(training={"phases": [{"name": "main", "epochs": 8}]}))
    result = trainer.fit()
    rows = [row for row in records(trainer) if row["kind"] == "validation"]
    assert (result.reason, result.updates, result.epochs, result.signal) == (
        "finished",
        40,
        8,
        None,
    )
    assert [row["update"] for row in rows] == list(range(0, 41, 5))
    assert result.best_explained_variance > rows[0]["explained_variance"] + 0.02
    assert result.best_explained_variance == max(row["explained_variance"] for row in rows)
    assert result.samples_per_second > 0


def test_validation_before_the_first_update_sees_the_data_driven_start(configure, make, records):
    trainer = make(configure())
    trainer.fit()
    start, first = records(trainer)[:2]
    assert (start["kind"], start["total_updates"], start["updates_per_epoch"]) == ("start", 10, 5)
    assert (start["dimensions"], start["steps"]) == ([3, 4, 5], 3)
    assert (first["kind"], first["update"], first["epoch"]) == ("validation", 0, 0)
    # 0 is what the training mean explains.
    assert first["explained_variance"] > 0.1


def test_train_lines_name_every_measure(configure, make, records):
    trainer = make(configure())
    trainer.fit()
    line = next(row for row in records(trainer, timed=True) if row["kind"] == "train")
    assert (line["update"], line["epoch"], line["phase"]) == (2, 1, "main")
    assert set(line["losses"]) >= {"reconstruction", "similarity", "diversity", "total"}
    assert set(line["grad_norm"]) == {
        "total",
        "transformer",
        "mapper",
        "volume",
        "experts.local",
        "experts.functional",
        "experts.distant",
        "gating",
        "extractor",
    }
    assert min(line["grad_norm"].values()) > 0
    parts = [value for name, value in line["grad_norm"].items() if name != "total"]
    assert line["grad_norm"]["total"] > 0
    assert max(parts) <= math.hypot(*parts)
    assert sum(line["usage"].values()) == pytest.approx(1)
    assert 0 < line["usage_entropy"] <= 1
    assert line["steps_used"] == 3
    assert len(line["change"]) == 3
    assert line["embedding_norm"] == pytest.approx(1, abs=0.5)
    assert line["prediction_std_ratio"] == pytest.approx(1, abs=0.5)
    assert line["cache_hit_rate"] == 0.25
    assert line["ms_per_step_ratio"] == pytest.approx(line["ms_per_step"] / 50)
    assert line["samples_per_second"] > 0
    assert line["peak_memory_mb"] > 10


def test_weighted_terms_add_up_to_the_total(configure, make, records):
    config = configure()
    trainer = make(config)
    trainer.fit()
    for row in (row for row in records(trainer) if "losses" in row):
        terms = {n: v for n, v in row["losses"].items() if n != "total"}
        wanted = sum(getattr(config.losses, name) * value for name, value in terms.items())
        assert row["losses"]["total"] == pytest.approx(wanted, rel=1e-5)


def test_two_runs_with_the_same_seed_are_equal_bit_for_bit(configure, make, records, tensors):
    config = configure(model={"transformer": {"kind": "autoencoder", "dropout": 0.2}})
    first, second = make(config, "first"), make(config, "second")
    first.fit()
    torch.rand(7)
    second.fit()
    assert records(first) == records(second)
    one, two = tensors(first), tensors(second)
    assert all(torch.equal(one[name], two[name]) for name in one | two)


def test_another_seed_gives_another_run(configure, make, records):
    first, second = make(configure(), "first"), make(configure(run={"seed": 1}), "second")
    first.fit()
    second.fit()
    assert records(first)[1]["losses"] != records(second)[1]["losses"]


def test_fit_leaves_random_state_and_kernel_choice_alone(configure, make):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    make(configure()).fit()
    assert torch.equal(torch.rand(4), expected)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("part", ["experts", "projections"])
def test_frozen_part_does_not_move_and_keeps_its_moments(configure, make, part):
    phases = [
        {"name": "both", "updates": 3, "learning_rate": 0.01},
        {"name": "one", "updates": 4, "learning_rate": 0.01, "train": part},
    ]
    config = configure(training={"phases": phases, "weight_decay": 0.5})
    trainer = make(config)
    seen = {}

    def note(*_):
        if trainer.state.progress.update == 3 and not seen:
            seen.update(trainer.student.state_dict() | trainer.state.optimizer.tensors())
            seen.update({name: value.clone() for name, value in seen.items()})

    trainer.student.register_forward_pre_hook(note)
    trainer.fit()
    after = trainer.student.state_dict() | trainer.state.optimizer.tensors()
    parameters = {name for name, _ in trainer.student.named_parameters()}
    for name in parameters:
        trained = name.startswith("dynamics.") == (part == "experts")
        assert torch.equal(seen[name], after[name]) != trained, name
        assert torch.equal(seen[f"exp_avg.{name}"], after[f"exp_avg.{name}"]) != trained, name
    assert all(parameter.requires_grad for parameter in trainer.student.parameters())


def test_early_stopping_ends_the_run_and_a_resume_of_it(configure, make):
    early = {"patience": 2, "min_delta": 1.0}
    phases = [{"name": "main", "epochs": 4}]
    config = configure(training={"early_stopping": early, "phases": phases})
    result = make(config).fit()
    assert (result.reason, result.updates, result.epochs) == ("early", 10, 2)
    again = make(config).fit(result.last_checkpoint)
    assert (again.reason, again.updates) == ("early", 10)


def test_resume_of_a_finished_run_does_nothing(configure, make, records):
    trainer = make(configure())
    result = trainer.fit()
    before = records(trainer, timed=True)
    again = make(configure())
    resumed = again.fit(result.last_checkpoint)
    assert (resumed.reason, resumed.updates) == ("finished", 10)
    assert resumed.best_explained_variance == result.best_explained_variance
    assert resumed.samples_per_second == 0
    assert records(again, timed=True) == before


def test_activation_checkpointing_changes_no_result(configure, make, tensors):
    plain = make(configure(), "plain")
    plain.fit()
    lean = make(configure(training={"activation_checkpointing": True}), "lean")
    lean.fit()
    assert lean.student.dynamics.checkpoint_steps == 1
    one, two = tensors(plain), tensors(lean)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_bfloat16_trains_close_to_float32(configure, make):
    exact = make(configure(), "exact").fit()
    coarse = make(configure(training={"precision": "bfloat16"}), "coarse").fit()
    assert coarse.best_explained_variance == pytest.approx(exact.best_explained_variance, abs=0.05)
    assert coarse.best_explained_variance != exact.best_explained_variance


def test_periodic_checkpoints_are_bounded(configure, make):
    phases = [{"name": "main", "epochs": 4}]
    cadence = {"checkpoint_every": 1, "keep_checkpoints": 2}
    trainer = make(configure(training={"phases": phases} | cadence))
    trainer.fit()
    names = sorted(path.name for path in trainer.state.folder.checkpoints.iterdir())
    assert names == [
        "best.safetensors",
        "epoch-0003.safetensors",
        "epoch-0004.safetensors",
        "last.safetensors",
    ]


def test_load_checkpoint_model_predicts_what_the_trained_student_predicts(configure, make, pairs):
    config = configure()
    trainer = make(config)
    result = trainer.fit()
    model = load_checkpoint_model(str(result.last_checkpoint))
    source_BD = pairs(5, 3).source_ND
    trainer.student.eval()
    with torch.no_grad():
        assert torch.equal(
            model.predict(source_BD), trainer.student(source_BD, whole=False).embedding_BD
        )
    assert (model.config.model, model.config.lattice) == (config.model, config.lattice)
    assert model.config.identity is None
    assert model.graph.num_cells == 60
    assert not model.student.training


def test_best_checkpoint_holds_the_best_weights(configure, make, records, pairs):
    # A rate this high makes the model worse after its data-driven start.
    phase = {"name": "main", "epochs": 3, "learning_rate": 0.3, "schedule": "constant"}
    trainer = make(configure(training={"phases": [phase]}))
    result = trainer.fit()
    assert result.best_update == 0
    student = load_checkpoint_model(result.best_checkpoint).student
    measured = trainer.validator.measure(student, trainer.state.objective, 0)
    assert measured["explained_variance"] == result.best_explained_variance
    rows = [row for row in records(trainer) if row["kind"] == "validation"]
    assert rows[-1]["explained_variance"] < result.best_explained_variance


def test_non_finite_loss_stops_and_keeps_the_last_checkpoint(configure, make, tensors):
    trainer = make(configure())
    poisoned = []

    def poison(module, inputs, output):
        if module.training and trainer.state.progress.update == 7:
            poisoned.append(tensors(trainer))
            output.embedding_BD.data.fill_(float("nan"))

    trainer.student.register_forward_hook(poison)
    with pytest.raises(
        TrainingError,
        match=r"training\.phases\.0\.learning_rate: expected finite numbers in update 8 \(phase "
        r"'main', rate 0\.00\d+\), but the loss term 'reconstruction' is nan\. Lower training\."
        r"phases\.0\.learning_rate \(now 0\.005\).*the last checkpoint is intact",
    ):
        trainer.fit()
    after = tensors(trainer)
    assert all(torch.equal(value, after[name]) for name, value in poisoned[0].items())
    resumed = make(configure()).fit(trainer.state.folder.last)
    assert (resumed.reason, resumed.updates) == ("finished", 10)


def test_new_run_over_an_earlier_one_is_refused(configure, make):
    make(configure()).fit()
    with pytest.raises(CheckpointError, match=r"for a new run.*Continue it with --resume auto"):
        make(configure()).fit()


def test_resume_with_other_data_is_refused(configure, make, pairs):
    result = make(configure()).fit()
    rows = pairs(44, 1).source_ND.clone()
    rows[3] = -rows[3]
    changed = EmbeddingPairs(rows, rows)
    with pytest.raises(CheckpointError, match=r"got source embeddings whose mean differs by"):
        make(configure(), train=changed).fit(result.last_checkpoint)


def test_resume_with_other_settings_is_refused(configure, make):
    result = make(configure()).fit()
    with pytest.raises(CheckpointError, match=r"training\.batch_size is 8 in the checkpoint and 4"):
        make(configure(training={"batch_size": 4})).fit(result.last_checkpoint)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_pairs_of_another_width_are_refused(configure, make, name):
    narrow = EmbeddingPairs(torch.rand(40, 7), torch.rand(40, 7))
    with pytest.raises(DataError, match=rf"pairs\.{name}: expected .* width 16 .*got 7"):
        make(configure(), **{name: narrow})


def test_training_only_unused_experts_is_refused(configure, make):
    phase = {"name": "main", "epochs": 1, "train": "experts"}
    config = configure(training={"phases": [phase]}, model={"dynamics": {"mode": "identity"}})
    with pytest.raises(ConfigError, match=r"training\.phases\.0\.train: expected all or proj"):
        make(config)


@pytest.mark.parametrize("mode", ["identity", "wire"])
def test_controls_without_lattice_train_the_projections(configure, make, records, mode):
    trainer = make(configure(model={"dynamics": {"mode": mode}}))
    result = trainer.fit()
    line = next(row for row in records(trainer, timed=True) if row["kind"] == "train")
    assert result.reason == "finished"
    assert not [name for name in line["grad_norm"] if name.startswith(("experts", "gating"))]
    assert line["grad_norm"]["transformer"] > 0 or mode == "identity"
    assert line["ms_per_step"] is None
    assert not any(row.get("about") == "dead_expert" for row in records(trainer))
