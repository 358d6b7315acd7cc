"""Load a transformers encoder from a local folder, without unpickling and without the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from latticegraph.errors import TeacherError
from latticegraph.teachers.model_folder import read_json, require_safetensors

# Heads that no embedding uses; a checkpoint may lack them.
UNUSED_HEADS = ("pooler.",)


def encoder_width(folder: Path, max_length: int) -> int:
    """The width of the hidden states, read from the configuration alone.

    Args:
        folder: model folder.
        max_length: tokens a text may have; checked against the positions the model knows.

    Raises:
        TeacherError: the folder holds no encoder, or texts of ``max_length`` tokens do not fit.
    """
    from transformers import AutoConfig

    read_json(folder / "config.json")
    require_safetensors(folder)
    try:
        config: Any = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(folder, error) from error
    width = getattr(config, "hidden_size", None)
    if config.is_encoder_decoder or not isinstance(width, int):
        raise TeacherError(
            "teacher.name",
            f"expected an encoder with a hidden_size, got model type '{config.model_type}' in "
            f"'{folder}'",
            "Choose an encoder such as BERT, DistilBERT, RoBERTa or MPNet",
        )
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and max_length > positions:
        raise _too_long(max_length, positions)
    return width


def load_tokenizer(folder: Path, max_length: int) -> Any:
    """The tokenizer of the model folder.

    Raises:
        TeacherError: it is missing, cannot pad, or takes fewer than ``max_length`` tokens.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(folder, error) from error
    if tokenizer.pad_token_id is None:
        raise TeacherError(
            "teacher.name",
            f"expected a tokenizer with a padding token in '{folder}', got one without",
            "Choose an encoder: decoder-only language models are no teachers",
        )
    if max_length > tokenizer.model_max_length:
        raise _too_long(max_length, tokenizer.model_max_length)
    return tokenizer


def load_model(folder: Path) -> torch.nn.Module:
    """The encoder in float32 and evaluation mode, every weight read from safetensors.

    Raises:
        TeacherError: the files do not fit each other, or weights are missing.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        with _without_loading_bar():
            loaded: Any = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unloadable(folder, error) from error
    model, info = loaded
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(UNUSED_HEADS))
    if missing:
        raise TeacherError(
            "teacher.name",
            f"expected weights for the whole encoder in '{folder}', got none for {len(missing)} "
            f"tensors, first '{missing[0]}'",
            "Use the folder of a complete checkpoint: missing weights would be random",
        )
    module: torch.nn.Module = model
    return module.eval().requires_grad_(False)


@contextmanager
def _without_loading_bar() -> Iterator[None]:
    # The bar has no per-call switch, and it would tear our own display.
    import transformers.utils.logging

    logging: Any = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _unloadable(folder: Path, error: Exception) -> TeacherError:
    reason = " ".join(str(error).split())[:300]
    return TeacherError(
        "teacher.name",
        f"expected a transformers encoder in '{folder}', got: {reason}",
        "Set teacher.name to a folder written by save_pretrained",
    )


def _too_long(max_length: int, positions: int) -> TeacherError:
    return TeacherError(
        "teacher.max_length",
        f"expected at most {positions} tokens for this teacher, got {max_length}",
        f"Set teacher.max_length to {positions} or less",
    )
