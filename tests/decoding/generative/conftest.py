"""A decoder of one layer, with a vocabulary of its own, trained on nothing."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from latticegraph.config import DecoderConfig
from latticegraph.decoding import KnownTeacher
from latticegraph.decoding.generative import CausalTransformer, GenerativeDecoder, Vocabulary

D = 12
TEACHER = KnownTeacher(name="words", dimension=D, fingerprint="a" * 64)


def sentences() -> list[str]:
    who = ("The cat", "A dog", "The old crow", "Every child", "The judge", "A baker")
    does = ("sees", "paints", "hides", "buys", "follows", "mends")
    what = ("the red door.", "a café.", "two boats!", "the key?", "no one.")
    return [f"{a} {b} {c}" for a in who for b in does for c in what]


def encode(texts) -> np.ndarray:
    """The sum of a random vector per word."""
    rows = np.zeros((len(texts), D), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().split():
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            row += np.random.default_rng(int.from_bytes(digest, "big")).normal(size=D)
    return rows


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.learn(sentences(), 300)


@pytest.fixture
def config() -> DecoderConfig:
    return DecoderConfig.model_validate(
        {
            "network": {
                "width": 16,
                "layers": 1,
                "heads": 2,
                "prefix_tokens": 2,
                "vocabulary": 300,
                "max_tokens": 16,
                "dropout": 0.0,
            },
            "training": {"epochs": 6, "batch_tokens": 128, "learning_rate": 0.02, "fragments": 0},
            "writing": {"candidates": 4},
        }
    )


@pytest.fixture
def decoder(config: DecoderConfig, vocabulary: Vocabulary) -> GenerativeDecoder:
    network = CausalTransformer(config.network, D)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return GenerativeDecoder(network, vocabulary, TEACHER, config.writing, encode)
