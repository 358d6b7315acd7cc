"""A tiny random DistilBERT as teacher, compared with a forward pass by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    is_progress_bar_enabled,
)

from latticegraph.errors import TeacherError
from latticegraph.teachers.encoder import (
    OPERATIONS_PER_SECOND,
    EncoderChoices,
    EncoderTeacher,
)
from latticegraph.teachers.load_encoder import load_model
from latticegraph.teachers.model_folder import folder_fingerprint
from latticegraph.teachers.pooling import Pooling
from tests.teachers.conftest import LengthTeacher, edit

TEXTS = ["a cat sat", "dog", "a dog ran far", "", "A CAT sat", "cat cat cat cat cat cat"]


def make(folder: Path, **choices: Any) -> EncoderTeacher:
    return EncoderTeacher("tiny", folder, EncoderChoices(**({"max_length": 16} | choices)))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [False, True])
def test_encode_equals_a_forward_pass_by_hand(
    encoder_folder: Path, pooling: Pooling, normalize: bool
) -> None:
    from transformers import DistilBertModel

    model: Any = DistilBertModel.from_pretrained(encoder_folder)
    # [CLS] a cat sat [SEP] by the vocabulary of the fixture.
    with torch.inference_mode():
        states_LD = model(torch.tensor([[2, 5, 6, 8, 3]])).last_hidden_state[0]
    by_hand = states_LD.mean(dim=0) if pooling == "mean" else states_LD[0]
    by_hand = by_hand / by_hand.norm() if normalize else by_hand
    teacher = make(encoder_folder, pooling=pooling, normalize=normalize)
    np.testing.assert_allclose(teacher.encode(TEXTS)[0], by_hand.numpy(), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_embedding_depends_on_its_text_alone_bit_for_bit(
    encoder_folder: Path, batch_size: int
) -> None:
    teacher = make(encoder_folder)
    teacher.batch_size = batch_size
    together = teacher.encode(TEXTS)
    one_by_one = np.concatenate([teacher.encode([text]) for text in TEXTS])
    assert together.dtype == np.float32
    assert together.shape == (6, 32)
    np.testing.assert_array_equal(together, one_by_one)
    np.testing.assert_array_equal(teacher.encode(TEXTS[::-1])[::-1], together)
    np.testing.assert_array_equal(teacher.encode(TEXTS[2:] * 3)[-4:], together[2:])
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_every_forward_pass_has_one_of_few_shapes(encoder_folder: Path) -> None:
    teacher = make(encoder_folder, max_length=20)
    teacher.batch_size = 4
    shapes: list[tuple[int, ...]] = []
    teacher._model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    teacher.encode(["cat " * length for length in range(1, 31)])
    # 2 tokens belong to the tokenizer: 6 texts of up to 8 tokens, 8 of up to 16, the rest is cut.
    assert sorted(shapes) == [(4, 8)] * 2 + [(4, 16)] * 2 + [(4, 20)] * 4


def test_number_of_threads_does_not_matter_and_is_kept(encoder_folder: Path) -> None:
    teacher = make(encoder_folder)
    teacher.batch_size = 2
    texts = ["cat " * length + "dog" for length in range(14)]
    one = teacher.encode(texts)
    torch.set_num_threads(3)
    counted = []
    teacher._model.register_forward_pre_hook(lambda *_: counted.append(torch.get_num_threads()))
    np.testing.assert_array_equal(teacher.encode(texts), one)
    assert set(counted) == {1}
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as pool:  # a new thread begins with what was set last
        assert pool.submit(torch.get_num_threads).result() == 3


def test_arithmetic_names_device_precision_and_shape(encoder_folder: Path) -> None:
    teacher = make(encoder_folder)
    before = teacher.arithmetic
    assert before.startswith("cpu ")
    assert "float32" in before
    teacher.batch_size += 1
    assert teacher.arithmetic != before


def test_encode_of_no_text_is_empty(encoder_folder: Path) -> None:
    assert make(encoder_folder).encode([]).shape == (0, 32)


def test_encode_reports_progress_in_texts(encoder_folder: Path) -> None:
    counts: list[int] = []
    teacher = make(encoder_folder)
    teacher.batch_size = 4
    teacher.encode(TEXTS, counts.append)
    assert counts == [4, 2]  # all have up to 8 tokens


def test_encode_cuts_texts_at_max_length(encoder_folder: Path) -> None:
    teacher = make(encoder_folder, max_length=8)
    long, longer = "cat " * 6, "cat " * 12
    limited = teacher.encode([long, longer])
    np.testing.assert_allclose(limited[0], limited[1], atol=1e-6)
    longer_limit = make(encoder_folder, max_length=16).encode([long, longer])
    assert np.abs(longer_limit[0] - longer_limit[1]).max() > 1e-3


def test_encode_refuses_embeddings_that_are_not_finite(encoder_folder: Path) -> None:
    teacher = make(encoder_folder)
    weight: Any = teacher._model.get_parameter("embeddings.word_embeddings.weight")
    weight.data[7] = float("nan")
    with pytest.raises(
        TeacherError, match=r"finite embeddings from 'tiny', got NaN .* 2 of 6 texts, first 'dog'"
    ):
        teacher.encode(TEXTS)


def test_fingerprint_follows_files_and_choices_but_not_the_place(
    encoder_folder: Path, tmp_path: Path
) -> None:
    import shutil

    base = make(encoder_folder).fingerprint
    moved = Path(shutil.copytree(encoder_folder, tmp_path / "moved"))
    assert len(base) == 64
    assert make(moved).fingerprint == base
    changed = [
        make(moved, pooling="cls").fingerprint,
        make(moved, normalize=False).fingerprint,
        make(moved, max_length=17).fingerprint,
        make(moved, lower_case=True).fingerprint,
    ]
    weights = moved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    changed.append(make(moved).fingerprint)
    (moved / "tokenizer_config.json").rename(moved / "other_config.json")
    changed.append(folder_fingerprint(moved))
    (moved / "other_config.json").rename(moved / "others_config.json")
    changed.append(folder_fingerprint(moved))
    assert len({base, *changed}) == 8


def test_encoder_refuses_pickled_weights(encoder_folder: Path) -> None:
    (encoder_folder / "model.safetensors").rename(encoder_folder / "pytorch_model.bin")
    with pytest.raises(
        TeacherError,
        match=r"teacher\.name: expected weights in model\.safetensors .*, got pytorch_model\.bin\. "
        r"Convert them .* can run code",
    ):
        make(encoder_folder)


def test_encoder_refuses_a_folder_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"expected the file 'config\.json' in .*, got nothing"):
        make(tmp_path)


def test_encoder_refuses_a_damaged_configuration(encoder_folder: Path) -> None:
    (encoder_folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(TeacherError, match=r"config\.json: expected JSON in UTF-8, got: "):
        make(encoder_folder)


def test_encoder_refuses_an_unknown_model_type(encoder_folder: Path) -> None:
    edit(encoder_folder / "config.json", model_type="no-such-model")
    with pytest.raises(TeacherError, match=r"expected a transformers encoder in .*no-such-model"):
        make(encoder_folder)


def test_encoder_refuses_encoder_decoder_models(encoder_folder: Path) -> None:
    (encoder_folder / "config.json").write_text('{"model_type": "t5"}', encoding="utf-8")
    with pytest.raises(TeacherError, match=r"expected an encoder with a hidden_size, got .* 't5'"):
        make(encoder_folder)


def test_encoder_takes_as_many_tokens_as_positions(encoder_folder: Path) -> None:
    text = ["cat " * 30]
    whole, shorter = (make(encoder_folder, max_length=length) for length in (24, 23))
    assert not np.allclose(whole.encode(text), shorter.encode(text), atol=1e-4)


def test_encoder_refuses_more_tokens_than_positions(encoder_folder: Path) -> None:
    with pytest.raises(
        TeacherError, match=r"teacher\.max_length: expected at most 24 tokens .*, got 25"
    ):
        make(encoder_folder, max_length=25)


def test_encoder_refuses_more_tokens_than_the_tokenizer_takes(encoder_folder: Path) -> None:
    edit(encoder_folder / "tokenizer_config.json", model_max_length=10)
    with pytest.raises(TeacherError, match=r"expected at most 10 tokens .*, got 16"):
        make(encoder_folder).encode(TEXTS)


def test_encoder_refuses_a_tokenizer_without_padding(encoder_folder: Path) -> None:
    edit(encoder_folder / "tokenizer_config.json", pad_token=None)
    with pytest.raises(TeacherError, match=r"expected a tokenizer with a padding token"):
        make(encoder_folder).encode(TEXTS)


def test_encoder_refuses_missing_weights(encoder_folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(encoder_folder / "model.safetensors")
    name = "transformer.layer.1.ffn.lin1.weight"
    del weights[name]
    save_file(weights, encoder_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TeacherError, match=rf"got none for 1 tensors, first '{name}'"):
        make(encoder_folder).encode(TEXTS)


def test_encoder_refuses_damaged_weights(encoder_folder: Path) -> None:
    (encoder_folder / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(TeacherError, match=r"expected a transformers encoder in"):
        make(encoder_folder).encode(TEXTS)


def test_cut_texts_are_counted(encoder_folder: Path) -> None:
    """With the two tokens that frame a text, six words need eight tokens."""
    words = ["cat " * n for n in (1, 5, 6, 7, 30)]
    teacher = make(encoder_folder, max_length=8)
    assert teacher.count_cut(words) == 2
    assert teacher.count_cut(["", "cat"]) == 0
    whole, cut = teacher.encode([words[2], words[4]])
    np.testing.assert_allclose(whole, cut, atol=1e-6)


def test_tokens_are_counted_before_any_cut_and_beside_encode(encoder_folder: Path) -> None:
    teacher = make(encoder_folder, max_length=8)
    count = teacher.token_counter()
    texts = ["cat", "a cat sat", "dog " * 30]
    assert count(texts) == [3, 5, 32]  # with [CLS] and [SEP]
    assert teacher.max_tokens == 8
    before = teacher.encode(texts)
    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(lambda: [count(texts) for _ in range(200)])
        for _ in range(20):
            np.testing.assert_array_equal(teacher.encode(texts), before)
        assert counting.result() == [[3, 5, 32]] * 200


def test_token_counter_lower_cases_where_the_teacher_does(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def tokenizer(texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        assert options == {"truncation": False, "padding": False, "verbose": False}
        seen.extend(texts)
        return {"input_ids": [[1, 2, 3]] * len(texts)}

    monkeypatch.setattr("latticegraph.teachers.encoder.load_tokenizer", lambda *_: tokenizer)
    assert make(encoder_folder, lower_case=True).token_counter()(["CAT"]) == [3]
    make(encoder_folder).token_counter()(["DOG"])
    assert seen == ["cat", "DOG"]


def test_load_reads_the_weights_before_the_first_text(encoder_folder: Path) -> None:
    teacher = make(encoder_folder)
    assert "_model" not in vars(teacher)
    teacher.load()
    assert {"_model", "_tokenizer"} <= vars(teacher).keys()


def test_teacher_without_tokens_counts_texts() -> None:
    teacher = LengthTeacher()
    teacher.load()
    assert teacher.max_tokens is None
    assert teacher.token_counter()(["one", "two words"]) == [1, 1]


def test_expected_time_counts_the_weights_that_are_multiplied(encoder_folder: Path) -> None:
    teacher = make(encoder_folder)
    attention, feed_forward = 4 * (32 * 32 + 32), 32 * 64 + 64 + 64 * 32 + 32
    weights = 2 * (attention + feed_forward + 2 * 2 * 32) + 2 * 32  # norms, one behind the tables
    tokens = 8 + 16  # 2 + 3 // 4 and 2 + 28 // 4, in steps of 8
    seconds = 2 * weights * tokens / (OPERATIONS_PER_SECOND * torch.get_num_threads())
    assert teacher.expected_seconds(["dog", "x" * 28]) == pytest.approx(seconds)
    teacher.device = torch.device("cuda")
    assert teacher.expected_seconds(["dog"]) is None
    assert LengthTeacher().expected_seconds(["dog"]) is None


@pytest.mark.parametrize("shown", [True, False])
def test_loading_bar_of_transformers_is_hidden_and_then_as_it_was(
    encoder_folder: Path, capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    switches = {True: enable_progress_bar, False: disable_progress_bar}
    before = is_progress_bar_enabled()
    switches[shown]()
    try:
        load_model(encoder_folder)
        assert is_progress_bar_enabled() == shown
    finally:
        switches[before]()
    assert "Loading" not in capsys.readouterr().err
