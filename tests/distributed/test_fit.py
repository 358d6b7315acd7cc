"""Whole trainings by two processes: the result of one, one set of files, stops and resumes."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from latticegraph.training import MACHINE_FIELDS, read_checkpoint

pytestmark = pytest.mark.slow

ROUNDING = {"rtol": 1e-9, "atol": 1e-9}  # float64


def _records(folder, run):
    lines = (folder / run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k not in MACHINE_FIELDS} for row in rows]


def _flat(record, prefix=""):
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_training_of_two_processes_agrees_with_one_up_to_rounding(results):
    one_folder, (one,) = results(1)
    two_folder, two = results(2)
    for own in two:
        for name, value in one["straight"].items():
            torch.testing.assert_close(own["straight"][name], value, **ROUNDING)
    ones, twos = _records(one_folder, "straight"), _records(two_folder, "straight")
    assert len(ones) == len(twos) > 4
    for first, second in zip(ones, twos, strict=True):
        wanted, found = dict(_flat(first)), dict(_flat(second))
        assert wanted.keys() == found.keys()
        for key, value in wanted.items():
            numbers = isinstance(value, list) and not any(isinstance(one, str) for one in value)
            approximate = isinstance(value, float) or numbers
            expected = pytest.approx(value, rel=1e-9, abs=1e-12) if approximate else value
            assert found[key] == expected, key


def test_weights_are_the_same_bit_for_bit_in_every_process(results):
    for job in ("straight", "dropout"):
        first, second = (own[job] for own in results(2)[1])
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_write_one_set_of_files(results):
    (one_folder, _), (two_folder, _) = results(1), results(2)

    def names(folder):
        return sorted(path.name for path in (folder / "straight").rglob("*") if path.is_file())

    one, two = names(one_folder), names(two_folder)
    assert len(one) == len(two)
    assert [n for n in one if "events" not in n] == [n for n in two if "events" not in n]


@pytest.mark.parametrize("kind", ["", "dropout "])
def test_signal_to_one_process_stops_all_and_the_resume_is_exact(results, kind):
    folder, two = results(2)
    for own in two:
        # Pass 9 belongs to update 5.
        assert own[f"{kind}stopped"]["result"].tolist()[:2] == [5, signal.SIGTERM]
        straight, resumed = own[kind.strip() or "straight"], own[f"{kind}resumed"]
        assert straight["result"].tolist()[:2] == [8, 0]
        assert straight.keys() == resumed.keys()
        assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    runs = ("dropout", "again") if kind else ("straight", "stopped")
    first, second = (_records(folder, run) for run in runs)
    assert first == second
    last = [read_checkpoint(folder / run / "checkpoints" / "last.safetensors") for run in runs]
    assert all(torch.equal(last[0].random[n], last[1].random[n]) for n in last[0].random)


def test_failure_of_one_process_ends_the_other(run_jobs, tmp_path):
    """It would else wait for a gradient that never comes."""
    jobs = {"fails": {"task": "fit", "run": "run", "fail": 1}}
    (first, first_error), (second, second_error) = run_jobs(2, tmp_path, jobs)
    assert (first, second) == (1, 1)
    assert second_error.rstrip().endswith("OSError: the disk of this process")
    assert "AnotherFailed" in first_error
