"""Read a YAML file and dotted overrides into a checked Config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from latticegraph.config.decoder import DecoderConfig
from latticegraph.config.keys import all_keys
from latticegraph.config.messages import config_error
from latticegraph.config.overrides import apply_override
from latticegraph.config.root import Config
from latticegraph.config.yaml_file import read_yaml

__all__ = ["all_keys", "dump_config", "load_config", "load_decoder_config"]


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read ``path`` (defaults where None), apply ``overrides`` and check the result.

    Args:
        path: YAML file in UTF-8; its keys are those of :class:`Config`.
        overrides: ``dotted.key=value`` strings; a value is read as YAML, and a comma-separated
            value fills a list. They win over the file, and the last one over those before it.

    Raises:
        ConfigError: naming the dotted key, the value, and what to do next.
    """
    tree: dict[str, Any] = {} if path is None else read_yaml(Path(path))
    for override in overrides:
        apply_override(tree, override)
    if path is not None:
        run = tree.get("run")
        if run is None:
            run = tree["run"] = {}
        if isinstance(run, dict) and run.get("name") is None:
            run["name"] = Path(path).stem
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise config_error(error) from None


def load_decoder_config(
    path: str | Path | None = None, overrides: Sequence[str] = ()
) -> DecoderConfig:
    """The settings of a decoder and its training; see :func:`load_config`.

    Args:
        path: YAML file in UTF-8; its keys are those of :class:`DecoderConfig`.
        overrides: ``dotted.key=value`` strings, which win over the file.

    Raises:
        ConfigError: naming the dotted key, the value, and what to do next.
    """
    tree: dict[str, Any] = {} if path is None else read_yaml(Path(path))
    for override in overrides:
        apply_override(tree, override, DecoderConfig)
    try:
        return DecoderConfig.model_validate(tree)
    except ValidationError as error:
        raise config_error(error, DecoderConfig) from None


def dump_config(config: Config | DecoderConfig) -> str:
    """The configuration as YAML text; reading it back gives an equal Config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
