from __future__ import annotations

from pathlib import Path

import pytest

from latticegraph.config import Config
from latticegraph.distributed import Processes
from latticegraph.errors import CheckpointError, ConfigError
from latticegraph.training.checks import (
    check_processes,
    check_same_config,
    config_fingerprint,
)

PATH = Path("last.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": {"seed": 5}}, r"run\.seed is 0 in the checkpoint and 5 in the configuration"),
        ({"lattice": {"axis": 1}}, r"lattice\.axis is 0 in the checkpoint and 1 in"),
        ({"losses": {"similarity": 0.9}}, r"losses\.similarity is 0\.5 in .* and 0\.9 in"),
        ({"teacher": {"pooling": "cls"}}, r'teacher\.pooling is "mean" in .* and "cls" in'),
        ({"evaluation": {"validation_samples": 9}}, r"evaluation\.validation_samples is 2048 in"),
        ({"evaluation": {"batch_size": 9}}, r"evaluation\.batch_size is 256 in .* and 9"),
        ({"data": {"train": ["b.txt"]}}, r'data\.train is \["stdlib", "dialogues"\] in .*"b\.txt"'),
        (
            {"training": {"phases": [{"name": "main", "epochs": 9, "learning_rate": 0.005}]}},
            r"training\.phases\.0\.epochs is 2 in the checkpoint and 9 .*phases cannot change",
        ),
        (
            {"model": {"messages": {"heads": 1}, "surface_channels": 2, "state_channels": 8},
             "lattice": {"axis": 2}},
            r"lattice\.axis .*; model\.state_channels .*; model\.surface_channels .*; 1 more keys",
        ),
    ],
)  # fmt: skip
def test_differing_keys_are_named_with_both_values(configure, changes, message):
    with pytest.raises(CheckpointError, match=message):
        check_same_config(PATH, configure(), configure(**changes))
    assert config_fingerprint(configure()) != config_fingerprint(configure(**changes))


def test_an_added_phase_is_absent_in_the_checkpoint(configure):
    phases = [{"name": "main", "epochs": 2, "learning_rate": 0.005}, {"name": "z", "updates": 1}]
    with pytest.raises(
        CheckpointError, match=r"training\.phases\.1\.name is absent in the checkpoint and \"z\""
    ):
        check_same_config(PATH, configure(), configure(training={"phases": phases}))


def test_place_memory_logs_and_files_may_change(configure):
    changed = configure(
        run={"name": "other", "output_dir": "elsewhere", "threads": 3, "device": "auto"},
        lattice={"cache_dir": "graphs"},
        model={"max_memory_gb": 1.0, "target_performance_ms": 9.0},
        teacher={"cache_dir": "cache", "batch_size": 3, "max_cache_size_gb": 1.0},
        training={
            "activation_checkpointing": True,
            "checkpoint_every": 2,
            "keep_checkpoints": 7,
            "log_every": 99,
        },
        evaluation={"mlp_hidden": 17, "off_epochs": 3, "decoded_examples": 1},
    )
    check_same_config(PATH, configure(), changed)
    assert config_fingerprint(configure()) == config_fingerprint(changed)


def test_batch_that_cannot_be_divided_names_what_can():
    config = Config.model_validate({"training": {"batch_size": 64}})
    wanted = (
        r"^training\.batch_size: expected a multiple of 3, .* got 64\. "
        r"Set training\.batch_size to 63 or 66, or start another number"
    )
    with pytest.raises(ConfigError, match=wanted):
        check_processes(config, Processes(0, 3))
    check_processes(config, Processes(0, 4))


def test_slabs_need_no_batch_that_can_be_divided():
    config = Config.model_validate({"run": {"parallel": "slabs"}, "training": {"batch_size": 5}})
    check_processes(config, Processes(0, 3))
