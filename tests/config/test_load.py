"""Files of settings: what is read, and what every fault in one is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from latticegraph.config import Config, dump_config, load_config
from latticegraph.errors import ConfigError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_text(text: str) -> Path:
        path = tmp_path / "cube.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_load_without_a_file_gives_the_defaults() -> None:
    assert load_config() == Config()


def test_load_reads_values_and_keeps_the_other_defaults(write: Write) -> None:
    config = load_config(write("model:\n  dynamics:\n    steps: 12\n"))
    assert config.model.dynamics.steps == 12
    assert config.model.dynamics.min_steps == Config().model.dynamics.min_steps
    assert config.lattice == Config().lattice


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_load_empty_file_is_all_defaults(write: Write, text: str) -> None:
    config = load_config(write(text))
    assert config.run.name == "cube"
    assert config.model_copy(update={"run": Config().run}) == Config()


def test_load_sections_without_lines_are_all_defaults(write: Write) -> None:
    text = "run:\nlattice:\n  # dimensions: [3, 3, 3]\nmodel:\n  mapper:\n"
    assert load_config(write(text), ["model.mapper.lift=cell"]).model.mapper.lift == "cell"
    assert load_config(write(text)).lattice == Config().lattice


def test_load_takes_the_name_of_the_file_unless_one_is_given(write: Write) -> None:
    assert load_config(write("run: {seed: 3}")).run.name == "cube"
    assert load_config(write("run: {name: mine}")).run.name == "mine"


def test_load_accepts_a_byte_order_mark_and_names_beyond_ascii(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("run:\n  name: würfel\n", encoding="utf-8-sig")
    assert load_config(path).run.name == "würfel"


def test_load_merge_key_may_be_overridden(write: Write) -> None:
    phases = "[&a {name: a, epochs: 1}, {<<: *a, name: b}]"
    phases = load_config(write(f"training:\n  phases: {phases}\n")).training.phases
    assert [(p.name, p.epochs) for p in phases] == [("a", 1), ("b", 1)]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data.heldout=a.txt,b.txt", "lattice.cache_dir=~/graphs"],
        ["run.name=1e5", "data.train=2024,on,0x1F", "training.clip_norm=1e-7"],
        ["training.phases=[{name: 'été: 1', epochs: 3, train: experts}]"],
    ],
)
def test_dump_read_back_is_the_same_configuration(write: Write, overrides: list[str]) -> None:
    config = load_config(None, ["run.name=cube", *overrides])
    assert load_config(write(dump_config(config))) == config


def test_missing_file_names_similar_files(tmp_path: Path) -> None:
    for name in ("8cube.yaml", "15cube.yaml", "other.yaml", "notes.txt"):
        (tmp_path / name).write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"--config: expected a file, got '.*9cube\.yaml'") as e:
        load_config(tmp_path / "9cube.yaml")
    assert str(tmp_path / "8cube.yaml") in str(e.value)
    assert "other.yaml" not in str(e.value)
    assert "notes" not in str(e.value)


def test_missing_file_in_an_empty_or_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Choose another path; there is no YAML file\.$"):
        load_config(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match=r"There is no folder '.*nowhere'\.$"):
        load_config(tmp_path / "nowhere" / "a.yaml")


def test_folder_in_place_of_a_file_names_the_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"expected a file, got .*; there is .*tiny\.yaml"):
        load_config(tmp_path)


def test_unreadable_file_is_an_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("run: {seed: 1}")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    wanted = r"cube\.yaml: expected a readable file, got: Permission denied\. Check its perm"
    with pytest.raises(ConfigError, match=wanted):
        load_config(path)


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [("run:\n  name: würfel\n".encode("latin-1"), 2, "fc"), ("a: 1".encode("utf-16"), 1, "ff")],
)
def test_text_that_is_no_utf8_is_an_error_with_its_line(
    tmp_path: Path, content: bytes, line: int, byte: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    wanted = rf"c\.yaml:{line}: expected UTF-8 text, got the byte 0x{byte}\. Save the file as UTF-8"
    with pytest.raises(ConfigError, match=wanted):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("run:\n  seed: [1\nmodel: {}\n", 3, "expected ',' or '\\]'"),
        ("run:\n\tseed: 1\n", 2, "found character '\\\\t'"),
        ("run: {}\n---\nmodel: {}\n", 2, "but found another document"),
        ("run: *nowhere\n", 1, "found undefined alias"),
        ("run: !!python/object:os.system {}\n", 1, "the tag .* which no setting needs"),
    ],
)
def test_malformed_yaml_is_an_error_with_its_line(
    write: Write, text: str, line: int, reason: str
) -> None:
    with pytest.raises(
        ConfigError, match=rf"cube\.yaml:{line}: expected valid YAML, got: {reason}"
    ):
        load_config(write(text))


def test_control_character_is_an_error(write: Write) -> None:
    wanted = r"cube\.yaml: expected valid YAML, got: special characters are not allowed"
    with pytest.raises(ConfigError, match=wanted):
        load_config(write("run:\n  name: a\x07b\n"))


@pytest.mark.parametrize(
    ("text", "line", "key", "first"),
    [
        ("run: {}\nlattice: {}\nrun: {}\n", 3, "run", 1),
        ("model:\n  dynamics:\n    steps: 8\n    min_steps: 8\n    steps: 9\n", 5, "steps", 3),
        ("training:\n  phases:\n    - {name: a, epochs: 1, name: b}\n", 3, "name", 3),
    ],
)
def test_key_given_twice_is_an_error_with_both_lines(
    write: Write, text: str, line: int, key: str, first: int
) -> None:
    wanted = rf"cube\.yaml:{line}: .*got: the key '{key}' again, first on line {first}\. Correct"
    with pytest.raises(ConfigError, match=wanted):
        load_config(write(text))


@pytest.mark.parametrize("key", ["1", "on", "null", "[a, b]"])
def test_key_that_is_no_text_is_an_error(write: Write, key: str) -> None:
    with pytest.raises(ConfigError, match=r"cube\.yaml:2: .*got: a key that is no text"):
        load_config(write(f"run:\n  ? {key}\n  : 1\n"))


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "a list"), ("seed\n", "'seed'")])
def test_top_level_that_is_no_mapping_is_an_error(write: Write, text: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"cube\.yaml: expected sections with keys, got {kind}"):
        load_config(write(text))


def test_value_in_place_of_a_section_is_an_error(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"^lattice: expected a section with keys, got 3\."):
        load_config(write("lattice: 3"))
    with pytest.raises(ConfigError, match=r"^run: expected a section with keys, got 'x'\."):
        load_config(write("run: x"))


UNKNOWN = [
    ("lattise", "{}", "lattice"),
    ("modle", "{steps: 3}", "model"),
    ("batch_size", "3", "teacher.batch_size, training.batch_size or evaluation.batch_size"),
    ("training.batchsize", "3", "training.batch_size"),
    ("training.learning_rate", "1e-3", "training.phases.0.learning_rate"),
    ("model.stepz", "3", "model.dynamics.steps"),
    ("model.heads", "3", "model.messages.heads or model.experts.0.heads"),
    ("model.dynamics.min_step", "3", "model.dynamics.min_steps"),
    ("lattice.steps", "3", "model.dynamics.steps"),
    ("training.early_stopping.patiense", "3", "training.early_stopping.patience"),
]


def nested(key: str, value: str) -> str:
    """A dotted key as YAML flow mappings."""
    for part in reversed(key.split(".")):
        value = f"{{{part}: {value}}}"
    return value


@pytest.mark.parametrize(("key", "value", "meant"), UNKNOWN)
def test_unknown_key_in_a_file_names_the_likely_one(
    write: Write, key: str, value: str, meant: str
) -> None:
    with pytest.raises(ConfigError) as e:
        load_config(write(nested(key, value)))
    assert str(e.value) == f"{key}: unknown key. Did you mean {meant}? Correct the key."


@pytest.mark.parametrize(("key", "value", "meant"), UNKNOWN)
def test_unknown_key_in_an_override_names_the_likely_one(key: str, value: str, meant: str) -> None:
    with pytest.raises(ConfigError) as e:
        load_config(None, [f"{key}={value}"])
    assert str(e.value) == f"{key}: unknown key. Did you mean {meant}? Correct the key."


def test_unknown_key_in_a_list_item_names_its_neighbour(write: Write) -> None:
    phases = "[{name: a, epochs: 1}, {name: b, epohcs: 1}]"
    wanted = (
        r"^training\.phases\.1\.epohcs: unknown key\. Did you mean training\.phases\.1\.epochs\?"
    )
    with pytest.raises(ConfigError, match=wanted):
        load_config(write(f"training: {{phases: {phases}}}"))


def test_unknown_key_like_nothing_lists_its_section() -> None:
    with pytest.raises(ConfigError, match=r"^zzz: unknown key\. Known in the file: run, lattice,"):
        load_config(None, ["zzz=1"])
    wanted = r"^model\.gating\.zzz: unknown key\. Known in model\.gating: temperature, top_k, "
    with pytest.raises(ConfigError, match=wanted):
        load_config(None, ["model.gating.zzz=1"])


def test_every_message_ends_in_one_mark() -> None:
    for override in ("zzz=1", "model.stepz=3", "training.batch_size=0", "run.seed.x=1", "lattice"):
        with pytest.raises(ConfigError, match=r"[^.?]\.$"):
            load_config(None, [override])
