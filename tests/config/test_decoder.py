"""The settings of a decoder: a tree of its own, read as strictly as the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from latticegraph.cli import main
from latticegraph.config import DecoderConfig, load_decoder_config
from latticegraph.config.keys import all_keys
from latticegraph.errors import ConfigError

FILE = Path(__file__).parents[2] / "configs" / "decoder.yaml"
SHARED = ("teacher", "data")


def test_the_shipped_file_shows_every_key_at_its_default() -> None:
    tree = yaml.safe_load(FILE.read_text("utf-8"))
    shown = {f"{section}.{key}" for section, keys in tree.items() for key in keys}
    known = {key for key in all_keys(DecoderConfig) if "." in key}
    assert shown == {key for key in known if not key.startswith(SHARED)}
    assert load_decoder_config(FILE) == DecoderConfig()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.widht=3", r"network\.widht: unknown key\. Did you mean network\.width"),
        ("network.width=30", r"network\.width: expected a multiple of heads \(4\), got 30"),
        ("network.layers=0", r"network\.layers: expected at least 1, got 0.*blocks of attention"),
        ("training.noise=true", r"training\.noise: expected a number, not true"),
        ("writing.method=fast", r"writing\.method: expected 'best', 'greedy', 'beam' or 'sample'"),
        ("model.dynamics.steps=3", r"model: unknown key\. Known in the file: run, teacher"),
        ("run.seed.more=3", r"run\.seed\.more: expected the key of a value"),
        ("network=3", r"network: expected a section.*Set one of its keys: width, layers"),
    ],
)
def test_wrong_settings_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_decoder_config(FILE, [override])


def test_overrides_win_over_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", "network.layers=2", "data.train=a.txt,b.txt", "--print-config"]
    assert main(["train-decoder", "--config", str(FILE), *words]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["network"]["layers"] == 2
    assert shown["data"]["train"] == ["a.txt", "b.txt"]
    assert DecoderConfig.model_validate(shown).network.width == 256
