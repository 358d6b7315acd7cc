"""A decoder's folder: weights, vocabulary, and what they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError

from latticegraph.config.decoder import DecoderConfig
from latticegraph.config.messages import config_error
from latticegraph.config.section import Section
from latticegraph.decoding.decoder import KnownTeacher
from latticegraph.decoding.generative.decoder import Encode, GenerativeDecoder
from latticegraph.decoding.generative.network import CausalTransformer
from latticegraph.decoding.generative.vocabulary import Vocabulary
from latticegraph.digests import tensors_sha256, text_sha256
from latticegraph.errors import CheckpointError
from latticegraph.files import advice, parse_json, replace_file, write_text
from latticegraph.tensor_files import read_tensors

SETTINGS, WEIGHTS, VOCABULARY = "decoder.json", "decoder.safetensors", "tokenizer.json"
FORMAT: Literal["latticegraph-decoder"] = "latticegraph-decoder"
AGAIN = "Copy the whole folder again, or train the decoder again"


class StoredDecoder(Section):
    """The content of ``decoder.json``.

    Args:
        teacher: whose embeddings the decoder reads.
        vocabulary_sha256: of ``tokenizer.json``.
        config: settings that it was trained with.
    """

    format: Literal["latticegraph-decoder"] = FORMAT
    version: Literal[1] = 1
    teacher: KnownTeacher
    vocabulary_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of tokenizer.json")
    config: DecoderConfig

    @classmethod
    def of(cls, decoder: GenerativeDecoder, config: DecoderConfig) -> Self:
        """What is to be stored beside the weights of ``decoder``."""
        digest = text_sha256(decoder.vocabulary.to_json())
        return cls(teacher=decoder.teacher, vocabulary_sha256=digest, config=config)

    def to_json(self) -> str:
        """Indented JSON."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def save_decoder(folder: Path, decoder: GenerativeDecoder, config: DecoderConfig) -> None:
    """Write the folder; a later call with the same vocabulary replaces the weights alone, at once.

    Args:
        folder: made where missing.
        decoder: what is written.
        config: settings that it was trained with.

    Raises:
        CheckpointError, ConfigError: the disk is full or refuses.
    """
    text = StoredDecoder.of(decoder, config).to_json()
    tensors = {name: value.contiguous() for name, value in decoder.network.state_dict().items()}
    metadata = {"format": FORMAT, "sha256": tensors_sha256(tensors, text)}
    from safetensors.torch import save_file

    write_text(folder / VOCABULARY, decoder.vocabulary.to_json(), "run.folder")
    write_text(folder / SETTINGS, text, "run.folder")
    try:
        replace_file(folder / WEIGHTS, lambda temporary: save_file(tensors, temporary, metadata))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            str(folder / WEIGHTS), f"expected to write the weights, got: {error}", advice(error)
        ) from error


def load_decoder(
    folder: Path, encode: Encode | None = None
) -> tuple[GenerativeDecoder, DecoderConfig]:
    """Read what :func:`save_decoder` wrote; nothing is unpickled.

    Args:
        folder: of a decoder.
        encode: of its teacher, for the method ``best``; the caller checks that it is the same.

    Returns:
        The decoder, and the settings that it was trained with.

    Raises:
        CheckpointError: a file is missing, damaged, of another version, or belongs to other files.
    """
    stored = _read_settings(folder)
    vocabulary_text = _read_text(folder / VOCABULARY)
    if text_sha256(vocabulary_text) != stored.vocabulary_sha256:
        raise _damaged(folder / VOCABULARY, "other bytes than decoder.json names")
    config, path = stored.config, folder / WEIGHTS
    vocabulary = Vocabulary.from_json(
        vocabulary_text, config.network.vocabulary, str(folder / VOCABULARY)
    )
    try:
        metadata, tensors = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    if metadata != {"format": FORMAT, "sha256": tensors_sha256(tensors, stored.to_json())}:
        raise _damaged(path, "a checksum that does not match weights and settings")
    with torch.device("meta"):
        network = CausalTransformer(config.network, stored.teacher.dimension)
    expected = {name: value.shape for name, value in network.state_dict().items()}
    if {name: value.shape for name, value in tensors.items()} != expected:
        raise _damaged(path, "tensors of other names or shapes")
    network.load_state_dict(tensors, assign=True)
    return GenerativeDecoder(network, vocabulary, stored.teacher, config.writing, encode), config


def _read_settings(folder: Path) -> StoredDecoder:
    path = folder / SETTINGS
    if not path.is_file():
        raise CheckpointError(
            str(folder),
            f"expected the folder of a trained decoder, got one without {SETTINGS}",
            "Name a folder that scripts/train_decoder.py wrote",
        )
    text = _read_text(path)
    try:
        tree = parse_json(text)
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            raise _damaged(path, "JSON of something else")
        stored = StoredDecoder.model_validate(tree)
    except ValidationError as error:
        raise _damaged(path, str(config_error(error, StoredDecoder))) from error
    except ValueError as error:
        if isinstance(error, CheckpointError):
            raise
        raise _damaged(path, f"no JSON ({error})") from error
    if stored.to_json() != text:
        raise _damaged(path, "keys that are missing or of another version")
    return stored


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, found: str) -> CheckpointError:
    return CheckpointError(str(path), f"expected a whole file of this decoder, got {found}", AGAIN)
