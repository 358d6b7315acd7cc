"""Decoders from the command line: trained, measured, and used behind a saved model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from latticegraph.cli import main
from latticegraph.config import Config
from latticegraph.decoding.generative import load_decoder
from latticegraph.errors import CheckpointError
from latticegraph.hub import LatticeModel, LatticeModelConfig, TeacherIdentity
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student
from latticegraph.pipeline import decoder_report, fit
from latticegraph.teachers import build_teacher
from tests.hub.small import small_config
from tests.words import write_teacher

WIDTH = 24


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text, a teacher, an untrained cube, settings of a decoder, and the decoder."""
    folder = tmp_path_factory.mktemp("decoder")
    kind = write_teacher(folder)
    teacher = {"kind": kind, "dimension": WIDTH, "cache_dir": str(folder / "cache")}
    who = ("the cat", "a dog", "the old crow", "every child", "the judge", "a baker")
    does = ("sees", "paints", "hides", "buys", "follows", "mends")
    what = ("the red door", "a small café", "two boats", "the lost key")
    lines = [f"{a} {b} {c}" for a in who for b in does for c in what]
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    config = small_config(teacher)
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, WIDTH, seed=3)
    made = build_teacher(config.teacher)
    rows = torch.from_numpy(made.encode(lines))
    student.start_from_data(rows, rows)
    identity = TeacherIdentity.of(made, config.teacher)
    LatticeModel(student, graph, LatticeModelConfig.of(config, identity)).save_pretrained(
        folder / "model"
    )
    settings = {
        "run": {"folder": str(folder / "decoder"), "threads": 1},
        "teacher": teacher,
        "data": {"train": [str(folder / "text.txt")], "min_sentences": 10},
        "network": {
            "width": 32,
            "layers": 1,
            "heads": 2,
            "vocabulary": 300,
            "max_tokens": 24,
            "dropout": 0.0,
        },
        "training": {"epochs": 10, "batch_tokens": 256, "learning_rate": 0.01, "fragments": 1},
    }
    (folder / "decoder.yaml").write_text(json.dumps(settings), encoding="utf-8")
    assert main(["train-decoder", "--config", str(folder / "decoder.yaml")]) == 0
    return folder


def test_training_leaves_a_decoder_and_its_history(project: Path) -> None:
    names = {path.name for path in (project / "decoder").iterdir()}
    assert names == {"decoder.json", "decoder.safetensors", "tokenizer.json", "training.jsonl"}
    text = (project / "decoder" / "training.jsonl").read_text("utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    assert [record["epoch"] for record in records] == list(range(len(records)))
    shown = [[example["target"] for example in record["examples"]] for record in records]
    assert shown == [shown[0]] * len(records)  # the same fixed examples every time
    losses = [record["validation_loss"] for record in records]
    assert min(losses) < 0.3 * losses[0]
    loaded, config = load_decoder(project / "decoder")
    assert config.training.fragments == 1
    # The topic has started from the teacher.
    assert loaded.network.topic.weight.abs().max() > 0.1


def test_a_second_training_leaves_the_first_alone(project: Path, capsys) -> None:
    before = (project / "decoder" / "decoder.safetensors").read_bytes()
    assert main(["train-decoder", "--config", str(project / "decoder.yaml")]) == 2
    assert "run.folder: expected a folder that is empty or new" in capsys.readouterr().err
    assert (project / "decoder" / "decoder.safetensors").read_bytes() == before


def test_an_interrupted_training_keeps_its_best(project: Path, monkeypatch, capsys) -> None:
    from latticegraph.decoding.generative import fit

    loss, calls = fit.validation_loss, []

    def stops(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss(*arguments)

    monkeypatch.setattr(fit, "validation_loss", stops)
    folder = project / "stopped"
    words = ["train-decoder", "--config", str(project / "decoder.yaml")]
    assert main([*words, "--set", f"run.folder={folder}"]) == 130
    assert f"the best decoder so far is in {folder}" in capsys.readouterr().err
    load_decoder(folder)


def test_evaluation_shows_that_the_embedding_is_read(project: Path, capsys) -> None:
    words = ["evaluate-decoder", str(project / "decoder"), "--model", str(project / "model")]
    out = project / "result.json"
    trust = ["--trust", f"{project / 'words.py'}:Words"]
    assert main([*words, *trust, "--json", str(out)]) == 0
    assert "token F1" in capsys.readouterr().out
    result = json.loads(out.read_text("utf-8"))
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == list(decoder_report.TITLES)
    assert rows["best"]["token_f1"] > 1.5 * rows["shuffled"]["token_f1"]
    assert rows["best"]["cosine"] >= rows["greedy"]["cosine"] - 1e-9
    assert rows["best"]["cosine"] > rows["mean"]["cosine"]
    assert rows["nearest"]["exact"] == 0  # held-out text is no training text
    examples = result["examples"]
    assert set(examples[0]) == {"meant", "best", "student", "nearest"}
    assert len(examples) == min(10, result["samples"])
    best = {name: [one[name] for one in examples] for name in examples[0]}
    assert best["best"] != best["nearest"]
    assert (
        main(["evaluate-decoder", str(project / "decoder"), "--samples", "3", "--json", "-"]) == 0
    )
    short = json.loads(capsys.readouterr().out)
    assert short["samples"] == 3
    assert [one["best"] for one in short["examples"]] == best["best"]
    assert "student" not in {row["name"] for row in short["rows"]}


def test_codes_become_texts(project: Path, capsys) -> None:
    model = LatticeModel.from_pretrained(project / "model", [f"{project / 'words.py'}:Words"])
    lines = (project / "text.txt").read_text("utf-8").splitlines()
    common = ["--model", str(project / "model"), "--trust", f"{project / 'words.py'}:Words"]
    bank = ["bank", *common, "--input", str(project / "text.txt"), "--output"]
    assert main([*bank, str(project / "bank")]) == 0
    assert f"{len(lines)} sentences" in capsys.readouterr().out
    np.save(project / "codes.npy", model.encode(lines[:7], output="code"))
    decode = ["decode", *common, "--input", str(project / "codes.npy"), "--output"]
    for kind, texts in (("bank", 2), ("decoder", 3)):
        out = project / f"{kind}.jsonl"
        options = ["--decoder", str(project / kind), "--texts", str(texts)]
        assert main([*decode, str(out), *options]) == 0
        rows = [json.loads(line)["texts"] for line in out.read_text("utf-8").splitlines()]
        assert len(rows) == 7
        assert all(1 <= len(row) <= texts for row in rows)
        assert all(row[0]["score"] >= row[-1]["score"] for row in rows)
        if kind == "bank":
            assert {one["text"] for row in rows for one in row} <= set(lines)
            made = model.decode_code(np.load(project / "codes.npy")).astype(np.float64)
            known = model.teacher.encode(lines).astype(np.float64)
            made /= np.linalg.norm(made, axis=1, keepdims=True)
            known /= np.linalg.norm(known, axis=1, keepdims=True)
            assert [row[0]["text"] for row in rows] == [
                lines[i] for i in (made @ known.T).argmax(1)
            ]
    assert main([*decode, str(project / "rows.npy"), "--texts", "2"]) == 2
    assert "--texts: expected a --decoder" in capsys.readouterr().err
    assert main([*decode, str(project / "t.npy"), "--decoder", str(project / "bank")]) == 2
    assert "expected .jsonl for texts" in capsys.readouterr().err
    assert main([*bank, str(project / "bank")]) == 2
    assert "expected a new folder" in capsys.readouterr().err


def test_validations_show_the_texts_of_student_and_teacher(project: Path, capsys) -> None:
    tree = small_config(json.loads((project / "decoder.yaml").read_text("utf-8"))["teacher"])
    tree = tree.model_dump(mode="json") | {
        "run": {"name": "shown", "output_dir": str(project / "runs"), "device": "cpu"},
        "data": {"train": [str(project / "text.txt")], "min_sentences": 10},
        "training": {"batch_size": 16, "phases": [{"name": "main", "updates": 8}]},
        "evaluation": {"decoded_examples": 3, "decoder": str(project / "decoder")},
    }
    fit(Config.model_validate(tree))
    log = (project / "runs" / "shown" / "metrics.jsonl").read_text("utf-8")
    records = [json.loads(line) for line in log.splitlines()]
    shown = [record["examples"] for record in records if record["kind"] == "examples"]
    assert len(shown) > 1
    for examples in shown:
        assert [one["target"] for one in examples] == [one["target"] for one in shown[0]]
        teachers = [one["written_from_teacher"] for one in examples]
        assert teachers == [one["written_from_teacher"] for one in shown[0]]
        assert all(one["written"] for one in examples)
    writer, _ = load_decoder(project / "decoder")
    teacher = build_teacher(Config.model_validate(tree).teacher)
    rows = teacher.encode([one["target"] for one in shown[0]])
    wanted = [row[0].text for row in writer.using("greedy").decode(rows)]
    assert [one["written_from_teacher"] for one in shown[0]] == wanted
    tree["evaluation"]["decoder"] = str(project)
    tree["run"]["name"] = "other"
    with pytest.raises(CheckpointError, match="expected the folder of a decoder"):
        fit(Config.model_validate(tree))
    assert not (project / "runs" / "other").exists()
