"""A resumed run meets the text, the teacher and the embeddings it began with."""

from __future__ import annotations

import logging

import pytest
import torch

from latticegraph.errors import CheckpointError
from latticegraph.hub import TeacherIdentity
from latticegraph.training import EmbeddingPairs
from latticegraph.training.origin import TextDigests

TEXTS = TextDigests(train="1" * 64, validation="2" * 64)


def _teacher(digit="a", kind="packaged"):
    return TeacherIdentity(kind=kind, name="mini", dimension=16, fingerprint=digit * 64)


def _same(pairs):
    return EmbeddingPairs(pairs.source_ND.clone(), pairs.source_ND.clone())


@pytest.fixture
def trained(configure, make):
    """Where the checkpoint of a short run lies, by what the run knew of its pairs."""
    phases = [{"name": "main", "updates": 1}]

    def train(**known):
        config = configure(training={"phases": phases})
        return config, make(config, **known).fit().last_checkpoint

    return train


def _resume(make, config, path, **known):
    return make(config, "again", **known).fit(path)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_pairs_in_another_order_are_refused(make, trained, pairs, name):
    config, path = trained()
    rows = pairs(44, 1) if name == "train" else pairs(20, 2)
    order = torch.arange(len(rows)).flip(0)
    turned = EmbeddingPairs(rows.source_ND[order], rows.source_ND[order])
    with pytest.raises(CheckpointError, match="in the same order, got others"):
        _resume(make, config, path, **{name: turned})
    assert _resume(make, config, path, **{name: _same(rows)}).reason == "finished"


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (
            TextDigests("9" * 64, "2" * 64),
            r"text of data\.train .* 1{12} in .* 9{12} now",
        ),
        (TextDigests("1" * 64, "9" * 64), r"text of data\.validation .* 2{12} in"),
    ],
)
def test_other_text_is_refused(make, trained, texts, says):
    config, path = trained(texts=TEXTS, teacher=_teacher())
    with pytest.raises(CheckpointError, match=says):
        _resume(make, config, path, texts=texts, teacher=_teacher())


def test_another_teacher_is_refused(make, trained):
    config, path = trained(texts=TEXTS, teacher=_teacher("a"))
    with pytest.raises(CheckpointError, match=r"teacher 'mini' with fingerprint aaaaaaaaaaaa, got"):
        _resume(make, config, path, texts=TEXTS, teacher=_teacher("b"))


def test_rounding_of_a_teacher_is_said_and_that_of_an_array_refused(make, trained, pairs, caplog):
    rows = pairs(44, 1).source_ND
    rounded = EmbeddingPairs(rows * (1 + 2.0**-22), rows * (1 + 2.0**-22))
    assert not torch.equal(rounded.source_ND, rows)
    for kind, fails in (("packaged", False), ("array", True)):
        known = {"texts": TEXTS, "teacher": _teacher(kind=kind)}
        config, path = trained(**known)
        _resume(make, config, path, **known)
        assert "rounding" not in caplog.text
        if fails:
            known["teacher"] = _teacher("b", kind)
            with pytest.raises(CheckpointError, match="expected the embeddings it was trained"):
                _resume(make, config, path, train=rounded, **known)
        else:
            _resume(make, config, path, train=rounded, **known)
            assert "other rounding than when the run began; it goes on, but not bit" in caplog.text
            caplog.clear()
        for file in path.parent.parent.rglob("*.safetensors"):
            file.unlink()


def test_other_threads_are_said(configure, make, trained, caplog):
    config, path = trained()
    other = config.model_copy(update={"run": config.run.model_copy(update={"threads": 2})})
    with caplog.at_level(logging.WARNING):
        _resume(make, other, path)
    assert "the run began on cpu, 1 thread(s), 1 process(es)" in caplog.text
    assert "goes on with cpu, 2 thread(s)" in caplog.text
