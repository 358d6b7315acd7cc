"""A mixed batch, and rows that do not depend on their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from latticegraph.config import DecoderConfig
from latticegraph.decoding import KnownTeacher
from latticegraph.decoding.bank_files import write_bank
from latticegraph.decoding.generative import (
    CausalTransformer,
    GenerativeDecoder,
    Vocabulary,
    save_decoder,
)
from latticegraph.errors import DataError
from latticegraph.serving.engine import ROWS, Engine, Job
from latticegraph.serving.server import read_bank
from latticegraph.serving.vector_routes import _cosine
from tests.serving.conftest import BANK

ALL = frozenset({"teacher", "code", "embedding"})


def test_every_kind_of_job_in_one_batch(model, bank):
    texts = ["one two", "three"]
    teacher = model.teacher.encode(texts)
    codes = model.encode(texts, output="code")
    jobs = [
        Job(codes[0], "code"),
        Job(texts[0], outputs=ALL),
        Job(teacher[1], "embedding", ALL),
        Job(texts[1], outputs=frozenset({"code"})),
    ]
    first, second, third, fourth = Engine(model, bank).run(jobs)
    embedding = model.encode(texts)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(first.arrays["embedding"], model.decode_code(codes)[0], **close)
    assert np.array_equal(second.arrays["teacher"], teacher[0])
    np.testing.assert_allclose(second.arrays["code"], codes[0], **close)
    np.testing.assert_allclose(second.arrays["embedding"], embedding[0], **close)
    np.testing.assert_allclose(third.arrays["embedding"], embedding[1], **close)
    np.testing.assert_allclose(fourth.arrays["code"], codes[1], **close)
    assert "embedding" not in fourth.arrays
    assert all(made.nearest == [] for made in (first, second, third, fourth))


@pytest.mark.parametrize("count", [1, ROWS - 1, ROWS, ROWS + 1])
def test_rows_are_the_same_bits_in_every_company(model, count):
    engine = Engine(model)
    target = Job("the one", outputs=ALL)
    (alone,) = engine.run([target])
    jobs = [Job(f"company {i}", outputs=ALL) for i in range(count)]
    for place in {0, count // 2, count}:
        made = engine.run([*jobs[:place], target, *jobs[place:]])[place]
        for name, row in alone.arrays.items():
            assert np.array_equal(made.arrays[name], row), (name, place)


def test_numbers_that_overflow_fail_alone(model):
    width = model.student.surface_width
    good, bad = np.zeros(width, np.float32), np.full(width, 3e38, np.float32)
    first, second = Engine(model).run([Job(good, "code"), Job(bad, "code")])
    assert np.isfinite(first.arrays["embedding"]).all()
    assert isinstance(second, DataError)
    assert "expected code that leads to finite numbers" in str(second)


def test_nearest_is_that_of_the_decoder(model, bank):
    jobs = [Job(text, nearest=2) for text in BANK]
    for text, made in zip(BANK, Engine(model, bank).run(jobs), strict=True):
        assert made.nearest == bank.decode(made.arrays["embedding"][None], 2)[0]
        assert made.nearest[0].text == text


def test_a_folder_takes_the_place_of_a_file_of_sentences(model, bank, tmp_path):
    """Of a bank, and of a decoder that writes, which then chooses by cosine."""
    teacher = model.teacher
    known = KnownTeacher(
        name=teacher.name, dimension=teacher.dimension, fingerprint=teacher.fingerprint
    )
    write_bank(tmp_path / "bank", [(BANK, teacher.encode(BANK))], known)
    config = DecoderConfig.model_validate(
        {
            "network": {"width": 16, "layers": 1, "heads": 2, "vocabulary": 300, "max_tokens": 8},
            "writing": {"method": "greedy", "candidates": 3},
        }
    )
    texts = [f"{a}{b} {c}" for a in "abcdefg" for b in "hijklmn" for c in "opqrstuv"]
    network = CausalTransformer(config.network, teacher.dimension)
    writer = GenerativeDecoder(network, Vocabulary.learn(texts, 300), known, config.writing)
    save_decoder(tmp_path / "writer", writer, config)
    jobs = [Job(text, nearest=2) for text in BANK]
    stored = Engine(model, read_bank(model, str(tmp_path / "bank")))
    for text, made in zip(BANK, stored.run(jobs), strict=True):
        assert made.nearest == bank.decode(made.arrays["embedding"][None], 2)[0]
        assert made.nearest[0].text == text
    opened = read_bank(model, str(tmp_path / "writer"))
    assert opened.most == 3
    for made in Engine(model, opened).run(jobs):
        for one in made.nearest:
            row = teacher.encode([one.text])[0]
            assert one.score == pytest.approx(_cosine(row, made.arrays["embedding"]), abs=1e-5)


def test_warm_up_loads_the_teacher_and_runs_the_student(model, monkeypatch):
    loaded = []
    monkeypatch.setattr(type(model.teacher), "load", lambda self: loaded.append(1), raising=False)
    ran = []
    monkeypatch.setattr(model, "predict", lambda rows, size: ran.append(size) or rows)
    Engine(model).warm_up()
    assert loaded == [1]
    assert ran == [ROWS]
