"""Files through a saved model: the rows of the library, in constant pieces, resumable."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from latticegraph.cli import main
from latticegraph.config import Config
from latticegraph.errors import ConfigError, DataError
from latticegraph.hub import LatticeModel
from latticegraph.pipeline import encode_run
from latticegraph.pipeline.attribution import untrained
from latticegraph.pipeline.encode_run import decode_file, encode_file
from latticegraph.pipeline.prepare import prepare


@pytest.fixture
def folder(make_config: Callable[..., Config], tmp_path: Path) -> Path:
    prepared = prepare(make_config(), torch.device("cpu"))
    untrained(prepared).save_pretrained(tmp_path / "model")
    texts = sorted({sample.source for sample in prepared.splits.train})[:10]
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def model(folder: Path) -> LatticeModel:
    return LatticeModel.from_pretrained(folder / "model")


@pytest.fixture
def texts(folder: Path) -> list[str]:
    return (folder / "in.txt").read_text("utf-8").splitlines()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_run, "BLOCK_ROWS", 4)


def test_rows_are_those_of_encode(model: LatticeModel, folder: Path, texts: list[str]) -> None:
    wanted = model.encode(texts)
    assert encode_file(model, str(folder / "in.txt"), folder / "out.npy") == 10
    np.testing.assert_allclose(np.load(folder / "out.npy"), wanted, atol=1e-5)
    assert not [path for path in folder.iterdir() if path.name.startswith(".out")]


def test_codes_come_back_as_embeddings(model: LatticeModel, folder: Path, texts: list[str]) -> None:
    codes = model.encode(texts, output="code")
    assert codes.shape == (10, model.student.surface_width)
    np.testing.assert_allclose(model.decode_code(codes), model.encode(texts), atol=1e-5)
    for suffix in (".npy", ".safetensors", ".jsonl"):
        stored = folder / f"codes{suffix}"
        encode_file(model, str(folder / "in.txt"), stored, codes=True)
        decode_file(model, stored, folder / "back.npy")
        np.testing.assert_allclose(np.load(folder / "back.npy"), model.encode(texts), atol=1e-5)


def test_one_text_and_length_1(model: LatticeModel, texts: list[str]) -> None:
    one = model.encode(texts[0], normalize=True)
    assert one.shape == (1, model.student.teacher_dimension)
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(DataError, match="'code' without normalize"):
        model.encode(texts, output="code", normalize=True)


def test_embeddings_take_the_place_of_texts(
    model: LatticeModel, folder: Path, texts: list[str]
) -> None:
    model.encode(texts[:1])
    teacher = model._teacher
    assert teacher is not None
    np.save(folder / "source.npy", teacher.encode(texts))
    encode_file(model, str(folder / "source.npy"), folder / "out.npy")
    np.testing.assert_allclose(np.load(folder / "out.npy"), model.encode(texts), atol=1e-5)


def test_a_killed_call_goes_on(
    model: LatticeModel,
    folder: Path,
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = model.encode(texts)
    calls: list[int] = []
    encode = LatticeModel.encode

    def stops(self: LatticeModel, texts: list[str], *rest: object, **more: object) -> object:
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, texts, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(LatticeModel, "encode", stops)
    source, output = str(folder / "in.txt"), folder / "out.npy"
    with pytest.raises(KeyboardInterrupt):
        encode_file(model, source, output)
    assert not output.exists()
    assert encode_file(model, source, output) == 10
    assert calls == [4, 4, 2, 2]  # the two finished blocks were not computed again
    np.testing.assert_allclose(np.load(output), whole, atol=1e-5)


@pytest.mark.parametrize("change", ["text", "shorter", "longer", "options"])
def test_going_on_with_something_else_is_refused(
    model: LatticeModel,
    folder: Path,
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    source, output = folder / "in.txt", folder / "out.npy"
    source.write_text("\n".join(texts[:6]), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(encode_run.RowWriter, "finish", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            encode_file(model, str(source), output)
    now = {
        "text": [texts[7], *texts[1:6]],
        "shorter": texts[:5],
        "longer": texts[:7],
        "options": texts[:6],
    }[change]
    source.write_text("\n".join(now), encoding="utf-8")
    with pytest.raises(ConfigError, match="expected to go on"):
        encode_file(model, str(source), output, codes=change == "options")
    assert not output.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"one\n\ntwo\n", "in.txt:2"), (b"one\n\xff\n", "in.txt:2"), (b"", "at least one row")],
)
def test_bad_text_is_named(model: LatticeModel, folder: Path, content: bytes, says: str) -> None:
    (folder / "in.txt").write_bytes(content)
    with pytest.raises(DataError) as error:
        encode_file(model, str(folder / "in.txt"), folder / "out.npy")
    assert says in str(error.value)


def test_commands(
    folder: Path,
    texts: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = str(folder / "model")
    typed = io.TextIOWrapper(io.BytesIO("\n".join(texts).encode("utf-8")), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", typed)
    codes, back = str(folder / "codes.safetensors"), str(folder / "back.jsonl")
    words = ["encode", "--model", saved, "--input", "-", "--output", codes, "--code"]
    assert main(words) == 0
    assert main(["decode", "--model", saved, "--input", codes, "--output", back]) == 0
    assert main(["info", saved]) == 0
    out = capsys.readouterr().out
    assert "10 rows: " in out
    assert "experts: local, functional, distant" in out
    assert main(["info", str(folder / "nowhere")]) == 2
    words = ["encode", "--model", saved, "--input", "-", "--output", "rows.pt"]
    assert main(words) == 2
    assert "--output" in capsys.readouterr().err
