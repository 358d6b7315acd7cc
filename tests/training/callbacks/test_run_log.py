from __future__ import annotations

import json

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from latticegraph.training import RunFolder
from latticegraph.training.callbacks.run_log import RunLog, scalars


def _record(update, loss):
    return {"kind": "train", "update": update, "phase": "main", "losses": {"total": loss}}


def test_records_are_lines_and_curves(tmp_path, curve):
    folder = RunFolder(tmp_path)
    folder.start()
    with RunLog(folder) as log:
        log.write(_record(1, 0.5))
        log.write({"kind": "warning", "update": 1, "message": "schön 🌍"})
        assert log.sync() == folder.metrics.stat().st_size
        log.write(_record(2, 0.25))
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["train", "warning", "train"]
    assert "schön 🌍" in lines[1]
    assert curve(folder) == [(1, 0.5), (2, 0.25)]


def test_resumed_curve_replaces_what_came_after_the_checkpoint(tmp_path, curve):
    folder = RunFolder(tmp_path)
    folder.start()
    with RunLog(folder) as log:
        for update in (1, 2, 3):
            log.write(_record(update, 1.0))
    with RunLog(folder, first_step=2) as log:
        log.write(_record(2, 0.5))
    assert curve(folder) == [(1, 1.0), (2, 0.5)]


def test_scalars_flatten_names_and_number_lists():
    record = {
        "kind": "train",
        "update": 3,
        "phase": "main",
        "grad_norm": {"total": 1, "experts.local": None},
        "change": [0.5, 0.25],
    }
    assert dict(scalars(record)) == {"grad_norm/total": 1.0, "change/1": 0.5, "change/2": 0.25}


def test_tensorboard_shows_examples_settings_and_the_cube(configure, tmp_path):
    folder = RunFolder(tmp_path)
    folder.start()
    example = {"target": "a | b\nc", "decoded": "schön 🌍", "cosine": 0.5}
    with RunLog(folder) as log:
        log.describe(configure(run={"name": "mine"}))
        log.write({"kind": "examples", "update": 3, "examples": [example]})
        log.write({"kind": "cube", "update": 3, "step_usage": {"local": [0.25, 0.5]}})
    events = EventAccumulator(str(folder.events))
    events.Reload()
    (shown,) = events.Tensors("examples/text_summary")
    assert "| a \\| b c | schön 🌍 | 0.500 |" in shown.tensor_proto.string_val[0].decode()
    (config,) = events.Tensors("config/text_summary")
    assert "name: mine" in config.tensor_proto.string_val[0].decode()
    assert [e.value for e in events.Scalars("cube/step_usage/local/2")] == [0.5]
    known = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"training.batch_size" in known
    assert b"lattice.dimensions" in known
