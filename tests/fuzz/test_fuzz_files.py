"""Whatever bytes a file holds, it is read as it was written or refused in one line."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latticegraph.config import TeacherSettings, load_config
from latticegraph.data.load import load_file
from latticegraph.errors import LatticeGraphError
from latticegraph.evaluation import read_sts
from latticegraph.hub import LatticeModel
from latticegraph.pipeline import fit
from latticegraph.progress import ProgressCallback
from latticegraph.teachers.cache import EmbeddingCache
from latticegraph.teachers.protocol import Embeddings, Teacher
from latticegraph.training.checkpoint import read_checkpoint
from tests.fuzz.conftest import cases, damaged, outcome

JSONL = (
    b'{"text": "A caf\\u00e9.", "group": 3}\n{"question": "Why?", "answer": "So."}\n'
    b'{"sentence1": "One.", "sentence2": "Two.", "x": [1, {"y": 1e400}]}\n'
)
CSV = b'question,answer,group\r\n"Why, then?",So.,1\r\n"Two\nlines",Yes,2\r\n'
TSV = b'sentence1\tsentence2\tscore\nA cat.\tA "dog.\t2.5\nOne.\tTwo.\t1\n'
GOOD = {".jsonl": JSONL, ".csv": CSV, ".tsv": TSV, ".txt": "Café.\n\nTwo 🙂\r\n".encode()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(
    file=st.sampled_from(sorted(GOOD)).flatmap(
        lambda suffix: st.tuples(st.just(suffix), damaged(GOOD[suffix]), st.booleans())
    ),
    task=st.sampled_from(["reconstruction", "question_answer"]),
)
@cases(250)
def test_any_bytes_as_text_are_read_or_refused(
    place: Path, file: tuple[str, bytes, bool], task: str
) -> None:
    suffix, content, packed = file
    path = place / f"text{suffix}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    try:
        samples = load_file(path, task)  # type: ignore[arg-type]
    except LatticeGraphError:
        return
    for sample in samples:
        assert sample.source.strip() == sample.source != ""
        sample.source.encode("utf-8")


@given(content=damaged(gzip.compress(JSONL, mtime=0)))
@cases(60)
def test_any_bytes_as_gzip_are_unpacked_or_refused(place: Path, content: bytes) -> None:
    path = place / "text.jsonl.gz"
    path.write_bytes(content)
    with contextlib.suppress(LatticeGraphError):
        load_file(path, "reconstruction")


@given(content=damaged(TSV), suffix=st.sampled_from([".tsv", ".jsonl"]))
@cases(60)
def test_any_bytes_as_sts_are_read_or_refused(place: Path, content: bytes, suffix: str) -> None:
    path = place / f"sts{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(LatticeGraphError):
        assert all(np.isfinite(pair.score) for pair in read_sts(path))


@given(content=damaged(GOOD[".txt"]), name=st.sampled_from(["t.txt", "t.jsonl", "t.csv", "t.npy"]))
@cases(15)
def test_any_text_ends_a_command_in_one_line(small: Path, content: bytes, name: str) -> None:
    path = small / name
    path.write_bytes(content)
    wanted = [f"data.train={path}", "data.min_sentences=4"]
    if name == "t.npy":
        wanted = [f"teacher.name={path}"]
    status, _ = outcome(
        ["train", "--config", str(small / "small.yaml"), "--dry-run", "--set", *wanted]
    )
    assert status == 2


@pytest.fixture(scope="module")
def run(small: Path) -> Path:
    """A run folder with a checkpoint and a saved model."""
    return fit(load_config(small / "small.yaml", ["run.name=fuzzed"])).folder


def contents(run: Path) -> dict[str, bytes]:
    names = ("checkpoints/last.safetensors", "model/model.safetensors", "model/config.json")
    return {name: (run / name).read_bytes() for name in names}


@given(data=st.data())
@cases(80)
def test_any_bytes_as_checkpoint_are_refused_or_the_same(run: Path, data: st.DataObject) -> None:
    path = run / "checkpoints" / "last.safetensors"
    good = contents(run)["checkpoints/last.safetensors"]
    wanted = read_checkpoint(path)
    content = data.draw(damaged(good))
    copy = run / "copy.safetensors"
    copy.write_bytes(content)
    try:
        found = read_checkpoint(copy)
    except LatticeGraphError:
        return
    assert found.config == wanted.config
    for name, tensor in wanted.student.items():
        assert torch.equal(tensor, found.student[name])


@given(data=st.data())
@cases(60)
def test_any_bytes_as_model_are_refused_or_the_same(run: Path, data: st.DataObject) -> None:
    good = contents(run)
    folder = run / "copy"
    folder.mkdir(exist_ok=True)
    name = data.draw(st.sampled_from(["model.safetensors", "config.json"]))
    for other in ("model.safetensors", "config.json"):
        (folder / other).write_bytes(good[f"model/{other}"])
    (folder / name).write_bytes(data.draw(damaged(good[f"model/{name}"])))
    try:
        model = LatticeModel.from_pretrained(folder)
    except LatticeGraphError:
        return
    wanted = LatticeModel.from_pretrained(run / "model").student.state_dict()
    for key, tensor in model.student.state_dict().items():
        assert torch.equal(tensor, wanted[key])


class LengthTeacher(Teacher):
    """Embeds a text as its number of characters and of spaces."""

    name, dimension = "length", 2
    fingerprint = "a" * 64

    def encode(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> Embeddings:
        return np.array([(len(text), text.count(" ")) for text in texts], dtype=np.float32)


TEXTS = [f"a text of number {number}" + "!" * (number % 5) for number in range(70)]


@given(data=st.data())
@cases(50)
def test_any_bytes_in_the_cache_never_give_a_wrong_row(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    own = TeacherSettings(dimension=2, cache_dir=str(folder), batch_size=8)
    EmbeddingCache(own, LengthTeacher()).embed(TEXTS)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path = data.draw(st.sampled_from(files))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        found = EmbeddingCache(own, LengthTeacher()).embed(TEXTS)
    except LatticeGraphError:
        return
    assert np.array_equal(found, LengthTeacher().encode(TEXTS))
