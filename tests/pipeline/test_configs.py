"""Every shipped configuration parses, builds, trains, and reaches all of its parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from latticegraph.config import Config, load_config
from latticegraph.config.load import all_keys
from latticegraph.dynamics.transport import carrying_offsets
from latticegraph.lattice import LatticeGraph, describe_lattice
from latticegraph.pipeline.describe_run import describe
from latticegraph.pipeline.prepare import build_model
from latticegraph.training import EmbeddingPairs, EmbeddingTrainer

FOLDER = Path(__file__).parents[2] / "configs"
NAMES = (
    "8cube",
    "8cube_autoencoder",
    "8cube_dialogue",
    "8cube_distilbert",
    "8cube_light",
    "8cube_near",
    "8x8x12_volume",
    "15cube",
    "27cube",
    "37cube",
    "64cube",
    "tiny",
)
# Sides of cubes too large for a test; all else stays. The longest keeps three edge types, 6 steps
# cross, and no stride divides the depth, as in the large cube.
SMALLER = {"27cube": [8, 6, 7], "37cube": [8, 7, 6], "64cube": [9, 7, 7]}
# Big cubes wait for `make test-slow`.
CASES = [pytest.param(n, marks=pytest.mark.slow if n == "15cube" else ()) for n in NAMES]
REACH = "lattice.adaptive_radius_min=2.5"
BATCH = 4


def test_configs_holds_exactly_the_shipped_files() -> None:
    decoders = ("decoder",)  # read by another command
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted((*NAMES, *decoders))


def shortened(config: Config) -> Config:
    """The same model, trained for three updates of four samples."""
    longest = max(config.training.phases, key=lambda phase: phase.updates + phase.epochs)
    phase = longest.model_copy(update={"updates": 3, "epochs": 0, "train": "all"})
    training = config.training.model_copy(
        update={"batch_size": BATCH, "accumulate": 1, "phases": (phase,)}
    )
    run = config.run.model_copy(update={"device": "cpu"})
    return config.model_copy(update={"training": training, "run": run})


@pytest.mark.parametrize("name", CASES)
def test_config_trains_every_parameter(name: str, tmp_path: Path) -> None:
    overrides = [f"lattice.dimensions={SMALLER[name]}", REACH] if name in SMALLER else []
    config = shortened(load_config(FOLDER / f"{name}.yaml", overrides))
    source_ND = torch.randn(3 * BATCH, config.teacher.dimension)
    target_ND = source_ND
    if config.data.task == "question_answer":
        target_ND = source_ND.roll(1, 0)
    train = EmbeddingPairs(source_ND, target_ND)
    validation = EmbeddingPairs(source_ND[:4], target_ND[:4])
    graph, student = build_model(config, torch.device("cpu"))
    trainer = EmbeddingTrainer(config, student, graph, train, validation, tmp_path)
    before = {name: value.clone() for name, value in student.named_parameters()}
    assert trainer.fit().updates == 3

    # Layers that start at zero pass gradient on only after their first update.
    student.train()
    student.zero_grad()
    total, _ = trainer.state.objective(student(source_ND[:BATCH]), target_ND[:BATCH])
    total.backward()
    without = [n for n, p in student.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    still = [n for n, p in student.named_parameters() if torch.equal(p, before[n])]
    assert still == []


@pytest.mark.parametrize("name", NAMES)
def test_config_describes_a_lattice_that_a_signal_can_cross(name: str) -> None:
    config = load_config(FOLDER / f"{name}.yaml")
    description = describe_lattice(config.lattice, steps=config.model.dynamics.steps)
    assert description["crossing_steps"] <= config.model.dynamics.steps
    assert all("expected" not in warning for warning in description["warnings"])
    assert config.run.name == name


@pytest.mark.parametrize("name", sorted(SMALLER))
def test_large_config_plans_a_rollout_by_convolution_within_its_budget(name: str) -> None:
    config = load_config(FOLDER / f"{name}.yaml")
    description = describe(config)
    rollout = description["rollout"]
    assert rollout["aggregation"] == "fft"
    assert rollout["memory_gb"] <= config.model.max_memory_gb
    assert description["edges"]["distant"] > 10**6
    # The signal starts at two strides, or one, of the expert that then leads.
    graph = LatticeGraph.build(config.lattice)
    carrying_O = carrying_offsets(graph, config.model.dynamics.steps)
    kinds = graph.offset_type_O[carrying_O > 0].unique()
    assert len(kinds) == 1
    assert 1 <= int((carrying_O > 0).sum()) <= config.model.messages.bumps


def test_8cube_near_shows_every_key_and_keeps_the_defaults_of_the_task() -> None:
    text = (FOLDER / "8cube_near.yaml").read_text(encoding="utf-8")
    shown = set(keys(yaml.safe_load(text)))
    assert shown == {key for key in all_keys() if "." in key} - sections()


def test_8cube_near_is_the_default_of_the_code() -> None:
    """So that a file which lists only what it changes means the model a reader expects."""
    config = load_config(FOLDER / "8cube_near.yaml", ["run.name=null"])
    for section in Config.model_fields:
        if section != "run":
            assert getattr(config, section) == getattr(Config(), section), section


@pytest.mark.parametrize("name", [name for name in NAMES if name != "8cube_near"])
def test_other_configs_list_only_what_differs(name: str) -> None:
    config, default = load_config(FOLDER / f"{name}.yaml"), Config()
    for key in keys(yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))):
        own, usual = config, default
        for part in key.split("."):
            own, usual = getattr(own, part), getattr(usual, part)
        assert own != usual, key


def keys(tree: dict[str, object], prefix: str = "") -> list[str]:
    """Dotted keys of the leaves; a list is a leaf."""
    found = []
    for name, value in tree.items():
        key = f"{prefix}{name}"
        found += keys(value, f"{key}.") if isinstance(value, dict) and value else [key]
    return found


def sections() -> set[str]:
    """Dotted keys that hold other keys."""
    known = all_keys()
    return {key for key in known if any(other.startswith(f"{key}.") for other in known)}
