"""What docs/write_a_teacher.md teaches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from latticegraph import LatticeModel
from latticegraph.config import TeacherSettings
from latticegraph.errors import ConfigError, LatticeGraphError, TeacherError
from latticegraph.teachers import build_teacher
from tests.extension.conftest import VARIANTS, write_page

PAGE = "write_a_teacher.md"
KIND = "my_teacher.py:Trigrams"


@pytest.mark.parametrize("variant", VARIANTS)
def test_teacher_of_the_page_trains(train_page, variant):
    _, outcome = train_page(PAGE, *VARIANTS[variant])
    assert outcome["updates"] == 2
    report = json.loads((Path(outcome["run_dir"]) / "report.json").read_text(encoding="utf-8"))
    assert report["teacher"]["name"] == "trigrams"
    # A teacher of letters: PCA explains much of it, unlike of the random rows of the other pages.
    assert report["baselines"]["pca"]["explained_variance"] > 0.9


def test_saved_model_loads_only_where_the_teacher_is_trusted(train_page):
    _, outcome = train_page(PAGE)
    folder = Path(outcome["run_dir"]) / "model"
    with pytest.raises(ConfigError, match=r"pass trust=\['my_teacher\.py:Trigrams'\]"):
        LatticeModel.from_pretrained(folder)
    model = LatticeModel.from_pretrained(folder, trust=[KIND])
    teacher = build_teacher(model.config.teacher)
    texts = ["Sentence number 3 of the text.", "Another one."]
    assert np.isfinite(model.encode(texts)).all()
    assert model.encode(texts).shape == teacher.encode(texts).shape


@pytest.mark.parametrize(
    ("changes", "error", "wanted"),
    [
        ({"kind": "gone.py:Trigrams"}, ConfigError, r"teacher\.kind: expected a Python file"),
        ({"kind": "my_teacher.py:Gone"}, ConfigError, r"teacher\.kind: .* got 'Gone'"),
        ({"kind": "my_teacher.py:Sequence"}, ConfigError, r"expected a subclass of .*Teacher"),
        (
            {"options": {"lowre": True}},
            ConfigError,
            r"teacher\.options: .* unexpected keyword argument 'lowre'",
        ),
        ({"kind": "halves.py:Halves"}, TeacherError, r"teacher\.dimension: expected 12, the wid"),
        ({"kind": "halves.py:Bare"}, TeacherError, r"teacher\.kind: .* without name\. Set self"),
        ({"kind": "halves.py:Nameless"}, ConfigError, r"abstract .*fingerprint"),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, changes, error, wanted):
    monkeypatch.chdir(write_page(tmp_path, PAGE))
    text = (
        "from my_teacher import Trigrams\n"
        "from latticegraph.teachers import Teacher\n\n\n"
        "class Halves(Trigrams):\n    def __init__(self, dimension):\n"
        "        super().__init__(dimension // 2)\n\n\n"
        "class Bare(Teacher):\n    fingerprint = 'x'\n    def __init__(self, dimension):\n"
        "        self.dimension = dimension\n    def encode(self, texts, progress=None):\n"
        "        return None\n\n\n"
        "class Nameless(Teacher):\n    def __init__(self, dimension):\n        pass\n"
    )
    (tmp_path / "halves.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"kind": KIND, "dimension": 24} | changes

    def build():
        return build_teacher(TeacherSettings.model_validate(settings))

    with pytest.raises(error, match=wanted):
        build()


def test_unknown_kind_lists_the_built_in_ones():
    with pytest.raises(ValueError, match=r"packaged, huggingface, .* did you mean packaged\?"):
        TeacherSettings(kind="pakaged")
    assert issubclass(TeacherError, LatticeGraphError)
