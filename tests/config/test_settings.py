"""Settings: every key is described, bounded, and every contradiction has its message."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from latticegraph.config import Config, PhaseSettings, load_config
from latticegraph.config.keys import all_keys, section_of
from latticegraph.errors import ConfigError


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting below ``model`` with its dotted key."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            yield prefix + name, field
        else:
            yield from fields(section, f"{prefix}{name}.")


SETTINGS = [*fields(Config), *fields(PhaseSettings, "training.phases.0.")]


@pytest.mark.parametrize(("key", "field"), SETTINGS, ids=lambda x: x if isinstance(x, str) else "")
def test_setting_is_described_and_its_default_obeys_its_range(key: str, field: FieldInfo) -> None:
    assert field.description
    assert field.description.strip() == field.description
    if field.is_required():
        assert key == "training.phases.0.name"
        return
    checked: Any = Annotated[field.annotation, *field.metadata] if field.metadata else None
    adapter = TypeAdapter(checked or field.annotation)
    assert adapter.validate_python(field.default) == field.default


@pytest.mark.parametrize(
    ("key", "field"),
    [(k, f) for k, f in SETTINGS if f.annotation in (int, float)],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_number_has_a_lower_bound_that_is_enforced(key: str, field: FieldInfo) -> None:
    bounds = {name for m in field.metadata for name in ("gt", "ge") if hasattr(m, name)}
    assert bounds, f"{key} takes any number"
    adapter = TypeAdapter(Annotated[field.annotation, *field.metadata])
    with pytest.raises(ValidationError, match="greater than"):
        adapter.validate_python(-1)


def test_every_section_is_described() -> None:
    for key in ["", *all_keys()]:
        section = type(reduce(getattr, key.split(".") if key else [], Config()))
        if issubclass(section, BaseModel):
            assert section.__doc__, key


def test_all_keys_are_those_of_a_dumped_configuration() -> None:
    def walk(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for name, value in tree.items():
            yield prefix + name
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")

    assert all_keys() == list(walk(Config().model_dump()))


def test_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().run.seed = 3


WRONG = [
    ("training.batch_size=abc", "expected a whole number, got 'abc'"),
    ("training.batch_size=1.5", r"expected a whole number, got 1\.5"),
    ("training.batch_size=null", "expected a whole number, got null"),
    ("training.batch_size=[64]", r"expected a whole number, got \[64\]"),
    ("training.batch_size=1", "expected at least 2, got 1"),
    ("training.clip_norm=abc", "expected a number, got 'abc'"),
    ("training.clip_norm=.inf", "expected a finite number, got inf"),
    ("training.clip_norm=0", "expected a number above 0, got 0"),
    ("training.weight_decay=-1", "expected at least 0, got -1"),
    ("training.projection_weight_decay=-1", "expected at least 0, got -1"),
    ("training.average_decay=1", "expected a number below 1, got 1"),
    ("training.average_decay=-0.1", r"expected at least 0, got -0\.1"),
    ("training.betas=[0.9]", r"expected 2 values, got 1 \(\[0\.9\]\)"),
    ("model.mapper.readout_dropout=1", "expected a number below 1, got 1"),
    ("model.mapper.input_noise=-1", "expected at least 0, got -1"),
    ("model.transformer.dropout=1", "expected a number below 1, got 1"),
    ("lattice.adaptive_radius_ratio=1.5", r"expected at most 1, got 1\.5"),
    ("lattice.axis=3", "expected at most 2, got 3"),
    ("lattice.self_edges=3", "expected true or false, got 3"),
    ("lattice.boundary=closed", "expected 'open' or 'periodic', got 'closed'"),
    ("lattice.dimensions=3,4", r"expected 3 values, got 2 \(\[3, 4\]\)"),
    ("lattice.dimensions=3", r"expected 3 values, got 1 \(\[3\]\)"),
    ("lattice.dimensions=3,4,5,6", r"expected 3 values, got 4 \(\[3, 4, 5, 6\]\)"),
    ("lattice.dimensions=", "expected a list, got null"),
    ("teacher.cache_dir=null", "expected text, got null"),
    ("data.train=[]", r"expected at least 1 value, got \[\]"),
    ("data.heldout={a: true}", r"expected a number or a list, got \{a: true\}"),
]


@pytest.mark.parametrize(("override", "problem"), WRONG)
def test_wrong_value_names_key_expectation_value_and_meaning(override: str, problem: str) -> None:
    key = override.partition("=")[0]
    description = dict(SETTINGS)[key].description
    with pytest.raises(ConfigError, match=problem) as e:
        load_config(None, [override])
    assert e.value.where == key
    assert str(e.value).endswith(f". Correct the value ({description}).")


@pytest.mark.parametrize(
    ("override", "where", "problem"),
    [
        ("lattice.dimensions=3,a,5", "lattice.dimensions.1", "expected a whole number, got 'a'"),
        ("data.heldout=[1, 2]", "data.heldout.0", "expected text, got 1"),
        ("training.phases=[{epochs: 1}]", "training.phases.0.name", "expected a value, got noth"),
        ("training.betas=[0.9, 1]", "training.betas.1", "expected a number below 1, got 1"),
        ("training.phases=[3]", "training.phases.0", "expected a section with keys, got 3"),
        (
            "training.phases=[{name: a, epochs: 1, warmup: 1}]",
            "training.phases.0.warmup",
            "expected a number below 1, got 1",
        ),
    ],
)
def test_wrong_item_of_a_list_names_its_position(override: str, where: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as e:
        load_config(None, [override])
    assert e.value.where == where


def test_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ConfigError, match=r"got 'x{78}…\. Correct"):
        load_config(None, [f"lattice.boundary={'x' * 500}"])


CONTRADICTIONS = [
    (
        "lattice.dimensions=8,1,8",
        r"^lattice\.dimensions: expected three sizes of at least 2 cells, got \[8, 1, 8\]\.",
    ),
    (
        "lattice.adaptive_radius_min=60",
        r"^lattice\.adaptive_radius_min: expected at most adaptive_radius_max \(50\.0\), got 60",
    ),
    (
        "lattice.functional_distance_ratio=0.05",
        r"^lattice\.functional_distance_ratio: expected local < functional < distant ratios, got "
        r"0\.1 / 0\.05 / 1\.0\. Order them",
    ),
    (
        "lattice.distant_distance_ratio=0.65",
        r"expected local < functional < distant ratios, got 0\.1 / 0\.65 / 0\.65\.",
    ),
    (
        "lattice.boundary=periodic lattice.builder=torch_cluster",
        r"^lattice\.builder: expected 'offsets' for a periodic boundary, got 'torch_cluster'\. Set",
    ),
    (
        "model.dynamics.min_steps=9",
        r"^model\.dynamics\.min_steps: expected at most steps \(8\), got 9\. Lower it",
    ),
    (
        "model.gating.top_k=1",
        r"^model\.gating\.top_k: expected at least 2 or null, got 1, .* neither the gate nor "
        r"the other experts get a gradient\. Set it to 2 or to null",
    ),
    (
        "model.gating.top_k=3",
        r"^model\.gating\.top_k: expected null, or less than the number of experts \(3\), got 3\. "
        r"Set it to null",
    ),
    (
        "model.experts=[{name:\\ a,\\ kind:\\ local,\\ edges:\\ [local]},{name:\\ b,\\ kind:\\ "
        "distant,\\ edges:\\ [distant]}] model.gating.top_k=2",
        r"^model\.gating\.top_k: expected null, .* experts \(2\), got 2\. Set it to null",
    ),
    (
        "model.messages.heads=3",
        r"^model\.messages\.heads: expected a divisor of state_channels \(16\), got 3\. Choose",
    ),
    (
        "model.messages.weights=table model.messages.bumps=2",
        r"^model\.messages\.bumps: expected 0 with weights table or edge, which have no "
        r"network, got 2\. Leave it out, or set weights to network",
    ),
    (
        "model.messages.weights=table model.messages.edge_hidden=8",
        r"^model\.messages\.edge_hidden: expected 16 with weights table or edge, .* got 8\. Leave",
    ),
    (
        "model.experts=[{name:\\ a,\\ kind:\\ local,\\ edges:\\ [local]},{name:\\ b,\\ kind:\\ "
        "distant,\\ edges:\\ [distant],\\ weights:\\ table,\\ edge_hidden:\\ 8}]",
        r"^model\.experts\.1\.edge_hidden: expected 16 with weights table .* got 8\. Leave",
    ),
    (
        "model.surface_channels=17",
        r"^model\.surface_channels: expected at most state_channels \(16\), got 17\. Lower it",
    ),
    (
        "lattice.surface=volume",
        r"^lattice\.dimensions: expected 384 cells \(teacher\.dimension\) for surface 'volume', "
        r"got 512\. Change lattice\.dimensions",
    ),
    (
        "lattice.surface=volume lattice.dimensions=8,6,8 model.surface_channels=2",
        r"^model\.surface_channels: expected 1 for surface 'volume', got 2\. Set it to 1",
    ),
    (
        "training.phases=[{name:\\ a}]",
        r"^training\.phases\.0\.epochs: expected exactly one of epochs and updates above 0, got "
        r"epochs=0, updates=0\. Set",
    ),
    (
        "training.phases=[{name:\\ a,\\ epochs:\\ 1,\\ updates:\\ 2}]",
        r"^training\.phases\.0\.epochs: expected exactly one .* got epochs=1, updates=2\. Set one",
    ),
    (
        "teacher.kind=huggingface",
        r"^teacher\.name: expected a hub name or a path for kind 'huggingface', got null\. Set",
    ),
    (
        "teacher.kind=sentence_transformers",
        r"^teacher\.name: expected a hub name or a path for kind 'sentence_transformers', got null",
    ),
    (
        "teacher.name=bert;\\ x",
        r"^teacher\.name: expected null for kind 'packaged', got 'bert; x'\. Set teacher\.kind",
    ),
    (
        "teacher.kind=array teacher.name=rows.npy",
        r"^teacher\.texts: expected the text file that owns the rows of teacher\.name, got null\.",
    ),
    (
        "data.heldout=0.9",
        r"^data\.heldout: expected a share between 0 and 0\.9 or file names, got 0\.9\. Choose",
    ),
    ("data.heldout=0", r"^data\.heldout: expected a share between 0 and 0\.9 .*, got 0\.0\."),
    (
        "data.heldout=[]",
        r"^data\.heldout: expected a share or at least one file, got an empty list\. Choose",
    ),
    (
        "run.name=a/b",
        r"^run\.name: expected letters, digits, '_', '\.' and '-' with a letter, digit or '_' "
        r"first, got 'a/b'\. Set run\.name to another name",
    ),
    ("run.name=..", r"^run\.name: expected letters, .* got '\.\.'\."),
]


@pytest.mark.parametrize(("overrides", "message"), CONTRADICTIONS)
def test_contradiction_is_named_where_it_is_solved(overrides: str, message: str) -> None:
    # A space separates overrides; one that belongs to a value has a backslash before it.
    parts = overrides.replace("\\ ", "\0").split(" ")
    with pytest.raises(ConfigError, match=message):
        load_config(None, [part.replace("\0", " ") for part in parts])


@pytest.mark.parametrize(
    "overrides",
    [
        ["lattice.dimensions=2,2,2"],
        ["lattice.adaptive_radius_min=50"],
        ["lattice.builder=torch_cluster"],
        ["model.dynamics.steps=3", "model.dynamics.min_steps=3"],
        ["model.surface_channels=16"],
        ["model.gating.top_k=2"],
        ["model.experts=[{name: a, kind: local, edges: [local]}]"],
        ["lattice.surface=volume", "lattice.dimensions=8,6,8"],
        # Of two experts one has the network that these are for.
        [
            "model.experts=[{name: a, kind: local, edges: [local], weights: table},"
            "{name: b, kind: distant, edges: [distant]}]",
            "model.messages.bumps=2",
            "model.messages.edge_hidden=8",
        ],
        ["teacher.kind=array", "teacher.name=rows.npy", "teacher.texts=rows.txt"],
        ["data.heldout=0.89"],
        ["run.name=_a.b-1"],
    ],
)
def test_settings_at_the_edge_of_a_rule_are_accepted(overrides: list[str]) -> None:
    assert load_config(None, overrides) != Config()
