"""YAML that is too large, too deep or not what it looks like; names that no system takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from latticegraph.config import load_config
from latticegraph.config.yaml_text import DEEPEST, LARGEST_BYTES, parse_yaml
from latticegraph.errors import ConfigError

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (BOMB, 5, "more than 20,000 values, aliases written out"),
        ("run: {}\nlattice: " + "[" * 5000 + "]" * 5000, 2, "values more than 30 levels deep"),
        ("run: &a\n  name: *a\n", 2, "the alias '*a' of what it stands in"),
        ("run: {seed: " + "1" * 5000 + "}", 1, "a number of 5000 digits"),
        ("run:\n  seed: 0b_\n", 2, "'0b_', which is no number"),
        ("run: !!set {a, b}", 1, "the tag 'tag:yaml.org,2002:set', which no setting needs"),
    ],
    ids=["bomb", "nesting", "self", "digits", "number", "tag"],
)
def test_hostile_yaml_is_an_error_with_its_line(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as e:
        load_config(path)
    assert str(e.value) == f"{path}:{line}: expected valid YAML, got: {reason}. Correct that line."
    with pytest.raises(ConfigError, match="expected a YAML value, got"):
        load_config(None, [f"model.transformer.options={{x: {'[' * 50}{']' * 50}}}"])


def test_yaml_of_a_megabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# " + "x" * LARGEST_BYTES, encoding="utf-8")
    with pytest.raises(ConfigError, match="more than 262,144 bytes, far more than all settings"):
        load_config(path)


def test_anchors_are_read_as_long_as_they_stay_small() -> None:
    text = "base: &b {x: 1}\nother: {<<: *b, y: [*b, *b]}\n"
    assert parse_yaml(text) == {"base": {"x": 1}, "other": {"x": 1, "y": [{"x": 1}, {"x": 1}]}}
    inside = DEEPEST - 1
    deep: object = "x"
    for _ in range(inside):
        deep = [deep]
    assert parse_yaml("[" * inside + "x" + "]" * inside) == deep


def test_numbers_to_the_base_60_and_dates_are_text() -> None:
    text = "[1:30, 1:30.5, 2024-01-02, 2024-13-45, 017, 0x1f, 1_000, -2, 1.5e+3, .inf, =]"
    assert parse_yaml(text) == [
        *("1:30", "1:30.5", "2024-01-02", "2024-13-45"),
        *(15, 31, 1000, -2, 1500.0, float("inf"), "="),
    ]
    with pytest.raises(ConfigError, match=r"run\.seed: expected a whole number, got '1:30'"):
        load_config(None, ["run.seed=1:30"])


@pytest.mark.parametrize(
    "override",
    [
        "lattice.dimensions=true,8,8",
        "lattice.dimensions=[8, 8, false]",
        "run.seed=true",
        "training.phases=[{name: a, updates: true}]",
        "training.phases=[{name: a, updates: 1, losses: {spatial: true}}]",
        "losses.spatial=true",
        "model.dynamics.backprop_steps=true",
    ],
)
def test_true_is_no_number(override: str) -> None:
    with pytest.raises(ConfigError, match=r"expected (a number|numbers), not true or false"):
        load_config(None, [override])
    with pytest.raises(ConfigError, match=r"data\.heldout: expected a number, not true or false"):
        load_config(None, ["data={heldout: true}"])


@pytest.mark.parametrize("name", ["CON", "nul", "com1", "LPT9", "aux.txt", "Con.a.b"])
def test_name_of_a_windows_device_is_an_error(name: str) -> None:
    wanted = rf"run\.name: expected a name that Windows allows, got '{re.escape(name)}'"
    with pytest.raises(ConfigError, match=wanted):
        load_config(None, [f"run.name={name}"])


@pytest.mark.parametrize("name", ["console", "com", "nullable", "com10", "a.con"])
def test_name_that_only_looks_like_a_device_is_taken(name: str) -> None:
    assert load_config(None, [f"run.name={name}"]).run.name == name


@pytest.mark.parametrize(("name", "found"), [("a" * 300, 300), ("ä" * 101, 202)])
def test_name_too_long_for_a_folder_is_an_error(name: str, found: int) -> None:
    with pytest.raises(ConfigError, match=rf"run\.name: expected at most 200 bytes, got {found}\."):
        load_config(None, [f"run.name={name}"])
    with pytest.raises(ConfigError, match="with a dot at its end"):
        load_config(None, ["run.name=a."])


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("model.state_channels=100000", "at most 4096"),
        ("run.threads=100000", "at most 1024"),
        ("model.transformer.levels=[-5,3]", "at least 1"),
        ("model.transformer.levels=[0]", "at least 1"),
        ("model.transformer.levels=[]", "at least 1 value"),
        (f"run.seed={10**22}", "a number below 4294967296"),
        ("training.phases=[{name: a, updates: 100000000000000000000}]", "at most 1000000000"),
        ("model.dynamics.steps=1000000", "at most 10000"),
        ("lattice.dimensions=3000,8,8", "at most 2048"),
        ("lattice.adaptive_radius_max=1000", "at most 64"),
        ("training.phases=[{name: a}]", "exactly one of epochs and updates above 0"),
    ],
)
def test_values_far_outside_are_refused(override: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"expected {wanted}, got "):
        load_config(None, [override])


def test_phase_of_no_length_is_told_to_get_one() -> None:
    with pytest.raises(ConfigError, match=r"epochs=0, updates=0. Set one of them above 0."):
        load_config(None, ["training.phases=[{name: a}]"])
    with pytest.raises(ConfigError, match=r"epochs=1, updates=1. Set one of them to 0."):
        load_config(None, ["training.phases=[{name: a, epochs: 1, updates: 1}]"])
