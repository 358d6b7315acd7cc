"""Whatever stands in a configuration, a command succeeds or says in one line what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from latticegraph.config import load_config
from latticegraph.config.keys import all_keys, find, members, section_of
from tests.fuzz.conftest import cases, damaged, outcome

CONFIGS = Path(__file__).parents[2] / "configs"
KEYS = [
    *all_keys(),
    *(f"training.phases.0.{name}" for name in ("name", "epochs", "updates", "losses", "train")),
    *(f"model.experts.1.{name}" for name in ("kind", "edges", "heads", "options", "weights")),
    *("training.batchsize", "model", "", ".", "run.seed.x", "training.phases.7.updates"),
]
# Small or absurd: what lies between would be work, not an error.
NUMBERS = [0, 1, 2, 3, 5, 8, 16, -1, 2**31, 2**63, -(2**63), 10**40]
FLOATS = [0.0, 0.1, 0.5, 1.0, -0.5, 1e-300, 1e300, float("inf"), float("nan")]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([*NUMBERS, *FLOATS]),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["auto", "cell", "periodic", "volume", "all_faces", "table", "array", "1:30", "0b_"]
    ),
    st.dates(),
    st.binary(max_size=5),
)
NAMES = st.one_of(st.sampled_from(["name", "epochs", "kind"]), st.text(max_size=5))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)


def plausible(key: str) -> list[Any]:
    """Values of the right kind for a key: what it may name, its default, and numbers nearby."""
    setting, _ = find([int(part) if part.isdigit() else part for part in key.split(".")])
    if setting is None or section_of(setting.annotation) is not None:
        return []
    kinds = [kind for kind in members(setting.annotation) if get_origin(kind) is Literal]
    named = [value for kind in kinds for value in get_args(kind)]
    default = setting.default
    if isinstance(default, bool):
        return [True, False]
    if isinstance(default, int):
        return [default, 2 * default, 1, 2, 3, 4, 8, 0]
    if isinstance(default, float):
        return [default, default / 2, 0.0, 0.01, 0.3, 0.9, 1.0]
    return named or ([default] if isinstance(default, str) else [None])


PLAUSIBLE = {key: values for key in KEYS if (values := plausible(key))}
LIKELY = st.sampled_from(sorted(PLAUSIBLE)).flatmap(
    lambda key: st.tuples(st.just(key), st.sampled_from(PLAUSIBLE[key]))
)
ANY = st.tuples(st.sampled_from(KEYS), VALUES)
# Mostly trees that are right in all but one place, or in all.
PAIRS = st.tuples(
    st.lists(LIKELY, min_size=1, max_size=5), st.one_of(st.just([]), st.lists(ANY, max_size=1))
).map(lambda both: both[0] + both[1])


def tree_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in pairs:
        node: Any = tree
        *sections, last = key.split(".")
        for section in sections:
            child = node.setdefault(section, {})
            if not isinstance(child, dict):
                break
            node = child
        else:
            node[last] = value
    return tree


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    os.chdir(folder)
    return folder


@given(pairs=PAIRS)
@cases(100)
def test_any_tree_is_read_or_refused(place: Path, pairs: list[tuple[str, Any]]) -> None:
    path = place / "tree.yaml"
    path.write_text(yaml.safe_dump(tree_of(pairs), allow_unicode=True), encoding="utf-8")
    status, shown = outcome(["train", "--config", str(path), "--print-config"])
    if status == 0:
        copy = place / "copy.yaml"
        copy.write_text(shown, encoding="utf-8")
        assert load_config(copy) == load_config(path)


@given(pairs=PAIRS)
@cases(60)
def test_any_lattice_is_described_or_refused(place: Path, pairs: list[tuple[str, Any]]) -> None:
    path = place / "lattice.yaml"
    path.write_text(yaml.safe_dump(tree_of(pairs), allow_unicode=True), encoding="utf-8")
    outcome(["describe", "--config", str(path), "--json", "-"])


SIDES = st.one_of(st.integers(2, 9), st.sampled_from([2, 64, 1000, 2048, 2049]))
RATIOS = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.65, 0.9, 1.0]))


@given(
    sides=st.tuples(SIDES, SIDES, SIDES),
    ratios=st.tuples(RATIOS, RATIOS, RATIOS, RATIOS),
    radius=st.sampled_from([0.5, 1, 1.5, 2, 5, 64]),
    boundary=st.sampled_from(["open", "periodic"]),
    surface=st.sampled_from(["front_back", "all_faces", "volume"]),
    steps=st.sampled_from([1, 2, 4, 9, 10_000]),
)
@cases(40)
def test_any_size_is_described_or_refused(
    place: Path,
    sides: tuple[int, int, int],
    ratios: tuple[float, ...],
    radius: float,
    boundary: str,
    surface: str,
    steps: int,
) -> None:
    names = ("adaptive_radius", "local_distance", "functional_distance", "distant_distance")
    first, *others = ratios
    ordered = [first, *sorted(others)]
    given_ratios = [f"lattice.{n}_ratio={r!r}" for n, r in zip(names, ordered, strict=True)]
    outcome(
        [
            *("describe", "--config", str(CONFIGS / "tiny.yaml"), "--set", *given_ratios),
            f"lattice.dimensions={','.join(map(str, sides))}",
            *(f"lattice.adaptive_radius_max={radius}", f"lattice.adaptive_radius_min={radius / 2}"),
            *(f"lattice.boundary={boundary}", f"lattice.surface={surface}"),
            *(f"model.dynamics.steps={steps}", f"model.dynamics.min_steps={steps}"),
        ]
    )


@given(content=damaged((CONFIGS / "tiny.yaml").read_bytes()))
@cases(80)
def test_any_bytes_as_yaml_are_read_or_refused(place: Path, content: bytes) -> None:
    path = place / "bytes.yaml"
    path.write_bytes(content)
    outcome(["train", "--config", str(path), "--print-config"])


WORDS = ["auto", "cell", "table", "fft", "spmm", "periodic", "bfloat16", "noise", "wire"]
PLAIN = st.sampled_from([*NUMBERS, *FLOATS, *WORDS, None, True, []])
KEY = st.sampled_from(KEYS)
OVERRIDES = st.one_of(
    st.text(max_size=20),
    LIKELY.map(lambda pair: f"{pair[0]}={pair[1]}"),
    LIKELY.map(lambda pair: f"{pair[0]}={pair[1]}"),
    st.builds("{}={}".format, KEY, st.text(max_size=15)),
    st.builds("{}={}".format, KEY, SCALARS),
    st.builds("{}={}{}".format, KEY, st.sampled_from("[{"), st.text("[]{}:,*&a1 ", max_size=12)),
)


@given(overrides=st.lists(OVERRIDES, min_size=1, max_size=3))
@cases(100)
def test_any_override_is_applied_or_refused(place: Path, overrides: list[str]) -> None:
    words = ["train", "--config", str(CONFIGS / "tiny.yaml"), "--print-config", "--set"]
    outcome([*words, *overrides])


@given(pairs=st.lists(st.one_of(LIKELY, LIKELY, st.tuples(KEY, PLAIN)), min_size=1, max_size=3))
@cases(40)
def test_any_run_is_tried_or_refused(small: Path, pairs: list[tuple[str, Any]]) -> None:
    """A dry run builds everything and takes one step."""
    os.chdir(small)
    overrides = [f"{key}={yaml.safe_dump(value).split(chr(10))[0]}" for key, value in pairs]
    outcome(["train", "--config", "small.yaml", "--dry-run", "--set", *overrides])
