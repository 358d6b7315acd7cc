"""``evaluate --codec`` on a tiny trained run, offline."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from latticegraph.cli import main

DATA = ("corpus.txt", "new.txt")
VALUES = {"explained_variance", "recall_at_10", "cosine_spearman"}


@pytest.fixture(scope="module")
def trained(project: Path) -> Path:
    """The project, with a finished run ``codec``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert main(["train", "--config", "small.yaml", "--experiment-name", "codec"]) == 0
    return project


@pytest.fixture(autouse=True)
def _inside(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)


def evaluate(*options: str) -> int:
    return main(["evaluate", "--run", "runs/codec", *options])


def test_codec_table_json_and_picture(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faiss")
    refine = ("--set", "evaluation.refine_steps=3")
    assert evaluate("--data", *DATA, "--json", "out.json", *refine, "--codec") == 0
    said = capsys.readouterr().out
    folder = Path("runs/codec/codec")
    assert {path.name for path in folder.iterdir()} == {"codec.json", "codec.svg", "codec.png"}
    result = json.loads((folder / "codec.json").read_text("utf-8"))
    report = json.loads(Path("out.json").read_text("utf-8"))
    assert report["codec"] == result
    assert {key: type(value).__name__ for key, value in result.items()} == {
        "format": "int",
        "width": "int",
        "numbers": "int",
        "refine_steps": "int",
        "counts": "dict",
        "rows": "list",
        "verdicts": "list",
    }
    assert (result["width"], result["numbers"], result["refine_steps"]) == (12, 9, 3)
    assert result["counts"] == {"texts": 18, "queries": 18, "pairs": 153}
    for row in result["rows"]:
        assert set(row) == {"codec", "title", "form", "bytes"} | VALUES
        assert all(math.isfinite(row[key]) for key in VALUES)
        assert 0 <= row["recall_at_10"] <= 1
    sizes: dict[str, list[int]] = {}
    for row in result["rows"]:
        sizes.setdefault(row["codec"], []).append(row["bytes"])
    three = ("student", "student_refined", "pca", "mlp_autoencoder", "random_projection")
    assert sizes == {name: [36, 9, 5] for name in three} | {"opq": [9, 5, 3], "one_bit": [2]}
    rows = {(row["codec"], row["bytes"]): row["explained_variance"] for row in result["rows"]}
    # What the report says of the same text, through the bytes.
    assert rows["student", 36] == pytest.approx(report["student"]["explained_variance"], abs=1e-4)
    pca = report["baselines"]["pca"]["explained_variance"]
    assert rows["pca", 36] == pytest.approx(pca, abs=1e-4)
    assert rows["student_refined", 36] > rows["student", 36]
    assert len(result["verdicts"]) == 6
    assert "student (the cube) at 36 bytes: explained variance" in " ".join(said.split())
    assert f"codec: {folder / 'codec.svg'}" in said


def test_rows_are_those_named_and_the_similarity_is_of_what_was_stored(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (trained / "known.txt").read_text(encoding="utf-8").split("\n")
    pairs = [f"{lines[i]}\t{lines[i + 1]}\t{i % 6}" for i in range(20)]
    text = "\n".join(["sentence1\tsentence2\tscore", *pairs])
    (trained / "sts.tsv").write_text(text, encoding="utf-8")
    options = ("--data", *DATA, "--sts", "sts.tsv", "--codec-dir", "elsewhere", "--codec", "pca")
    assert evaluate(*options, "--json", "out.json") == 0
    assert "STS Spearman" in capsys.readouterr().out
    result = json.loads(Path("elsewhere/codec.json").read_text("utf-8"))
    assert [row["codec"] for row in result["rows"]] == ["student"] * 3 + ["pca"] * 3
    report = json.loads(Path("out.json").read_text("utf-8"))
    found = result["rows"][0]["sts_spearman"]
    assert found == pytest.approx(report["sts"]["student"], abs=1e-6)


def test_without_data_the_run_s_own_heldout_text_is_measured() -> None:
    assert evaluate("--json", "own.json") == 0
    own = json.loads(Path("own.json").read_text("utf-8"))
    trained = json.loads(Path("runs/codec/report.json").read_text("utf-8"))
    assert own["student"] == pytest.approx(trained["student"])
    assert own["data"]["seen_in_training"] == 0
    assert "codec" not in own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--codec",), "--data: expected at least 12 unseen texts"),
        (("--codec", "pq"), "--codec: expected some of pca, mlp_autoencoder, random_projection"),
        (
            ("--codec", "--set", "data.task=question_answer"),
            "--codec: expected a run of data.task 'reconstruction', got 'question_answer'",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*options) == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_opq_without_faiss_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "latticegraph.evaluation.codec.product_quantisation.has_faiss", lambda: False
    )
    assert evaluate("--codec", "opq") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --codec: expected faiss for the row opq")
    assert "pip install 'latticegraph[codec]'" in line
