"""Overrides: how text becomes a value, and what cannot be overridden."""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path

import pytest

from latticegraph.config import Config, load_config
from latticegraph.errors import ConfigError


def overridden(override: str) -> object:
    """The value of the overridden key."""
    key = override.partition("=")[0]
    return reduce(getattr, key.split("."), load_config(None, [override]))


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("data.train=a.txt,b.jsonl", ("a.txt", "b.jsonl")),
        ("data.train=a.txt", ("a.txt",)),
        ("data.train=a b.txt, *.txt ,c:d.txt", ("a b.txt", "*.txt", "c:d.txt")),
        ("data.train=2024,on", ("2024", "on")),
        ("data.train=['a,b.txt', c.txt]", ("a,b.txt", "c.txt")),
        ("data.heldout=0.15", 0.15),
        ("data.heldout=1e-1", 0.1),
        ("data.heldout=a.txt", ("a.txt",)),
        ("data.heldout=2024.txt", ("2024.txt",)),
        ("data.heldout=a.txt,b.txt", ("a.txt", "b.txt")),
        ("lattice.dimensions=3,4,5", (3, 4, 5)),
        ("lattice.dimensions= 3, 4, 5,", (3, 4, 5)),
        ("lattice.dimensions=[3, 4, 5]", (3, 4, 5)),
        ("model.transformer.levels=512,1024", (512, 1024)),
        ("model.transformer.levels=512", (512,)),
        ("training.clip_norm=1e-3", 1e-3),
        ("lattice.self_edges=false", False),
        ("model.gating.top_k=2", 2),
        ("model.gating.top_k=null", None),
        ("run.name=2024", "2024"),
        ("run.name=null", None),
        ('run.name="null"', "null"),
        ("run.output_dir=a=b", "a=b"),
    ],
)
def test_override_value_has_the_type_of_its_key(override: str, value: object) -> None:
    result = overridden(override)
    assert result == value
    assert type(result) is type(value)


def test_override_beats_the_file_and_the_last_beats_the_first(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("run: {seed: 1, threads: 2}\nlattice: {axis: 1}\n", encoding="utf-8")
    config = load_config(path, ["run.seed=5", "run.seed=7", "run.name=mine"])
    assert (config.run.seed, config.run.name) == (7, "mine")
    assert (config.run.threads, config.lattice.axis) == (2, 1)


def test_override_of_a_list_of_sections() -> None:
    phases = load_config(None, ["training.phases=[{name: a, epochs: 3}]"]).training.phases
    assert [(p.name, p.epochs, p.updates) for p in phases] == [("a", 3, 0)]


@pytest.mark.parametrize("override", ["run.seed", "=3", "run..seed=3", ".seed=3", "run.=3", ""])
def test_override_that_is_no_key_and_value_is_an_error(override: str) -> None:
    wanted = r"^--set: expected dotted\.key=value, got '.*'\. Write for example run\.seed=1\.$"
    with pytest.raises(ConfigError, match=wanted):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("override", "value"),
    [("run.seed.x=1", "run.seed"), ("training.betas.0=0.5", "training.betas")],
)
def test_override_below_a_value_is_an_error(override: str, value: str) -> None:
    wanted = rf"expected the key of a value, got a key below '{value}'\. Set {value} as a whole\.$"
    with pytest.raises(ConfigError, match=wanted):
        load_config(None, [override])


def test_override_into_a_file_without_that_section_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model: 3\n", encoding="utf-8")
    wanted = r"^model: expected a section with keys, got 3\. Correct it in the file\.$"
    with pytest.raises(ConfigError, match=wanted):
        load_config(path, ["model.state_channels=8"])


@pytest.mark.parametrize("text", ["3", "", "[1]"])
def test_override_of_a_section_by_a_value_is_an_error(text: str) -> None:
    wanted = r"^model\.gating: expected a section with keys, got '.*'\. Set one of its keys: temper"
    with pytest.raises(ConfigError, match=wanted):
        load_config(None, [f"model.gating={text}"])


@pytest.mark.parametrize("override", ["run.seed=[1", "lattice.dimensions=3,{,5", "run.name='a"])
def test_override_that_is_no_yaml_is_an_error(override: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a YAML value, got '.*'\. Quote special char"):
        load_config(None, [override])


def test_override_of_one_phase_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("training: {phases: [{name: a, epochs: 3}, {name: b, epochs: 4}]}", "utf-8")
    a, b = load_config(path, ["training.phases.1.epochs=9"]).training.phases
    assert (a.name, a.epochs, b.name, b.epochs) == ("a", 3, "b", 9)
    # Where the file names none, the default is what is changed.
    default = Config().training.phases
    phases = load_config(None, ["training.phases.0.updates=5"]).training.phases
    assert phases == (default[0].model_copy(update={"updates": 5}), *default[1:])
    experts = load_config(None, ["model.experts.2.lr_scale=0.5"]).model.experts
    assert [expert.lr_scale for expert in experts] == [1, 1, 0.5]


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("training.phases.2.updates=5", "a position from 0 to 1 in training.phases, got '2'"),
        ("training.phases.x.updates=5", "a position from 0 to 1 in training.phases, got 'x'"),
        ("training.phases.0.updats=5", "training.phases.0.updats: unknown key. Did you mean"),
        ("training.phases.0.updates.x=5", "got a key below 'training.phases.0.updates'"),
    ],
)
def test_override_of_no_element_is_an_error(override: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        load_config(None, [override])
