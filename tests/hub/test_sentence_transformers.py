"""The lattice as a module of sentence-transformers gives what LatticeModel gives."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

from latticegraph.errors import CheckpointError, DataError
from latticegraph.evaluation.sts import read_sts, sts_spearman
from latticegraph.hub import LatticeModel, LatticeModelConfig, TeacherIdentity
from latticegraph.hub.sentence_transformers import LatticeModule
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student
from latticegraph.teachers import build_teacher
from tests.hub.small import small_config
from tests.teachers.conftest import encoder_folder

__all__ = ["encoder_folder"]

TEXTS = [
    "a cat sat",
    "a dog ran far",
    "dog",
    "a Cat ran far a dog sat a cat sat far a dog ran",
    "far far a",
]
STS = [
    ("a cat sat", "a cat ran", 4.0),
    ("a dog ran far", "a dog", 3.0),
    ("far", "cat", 0.5),
    ("dog dog", "a dog sat", 2.5),
    ("a cat ran far", "far ran cat a", 3.5),
    ("sat", "a dog ran far", 1.0),
]


def made(teacher: dict[str, object]) -> LatticeModel:
    """A 3 x 4 x 5 lattice behind a teacher, started from the teacher's own embeddings."""
    config = small_config(teacher)
    width = config.teacher.dimension
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, width, seed=3)
    built = build_teacher(config.teacher)
    rows = torch.from_numpy(built.encode(TEXTS)) + 0.1 * torch.randn(5, width)
    student.start_from_data(rows, rows)
    identity = TeacherIdentity.of(built, config.teacher)
    return LatticeModel(student, graph, LatticeModelConfig.of(config, identity))


@pytest.fixture
def settings(encoder_folder):
    return {
        "kind": "huggingface",
        "name": str(encoder_folder),
        "dimension": 32,
        "max_length": 12,
    }


@pytest.fixture
def model(settings):
    return made(settings)


@pytest.fixture
def sts_file(tmp_path):
    rows = ["sentence1\tsentence2\tscore", *(f"{a}\t{b}\t{score}" for a, b, score in STS)]
    path = tmp_path / "sts.tsv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def again(folder):
    return SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")


@pytest.mark.parametrize("output", ["embedding", "code"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False], ids=["unit", "raw"])
def test_encode_equals_that_of_the_model(settings, output, pooling, normalize):
    model = made(settings | {"pooling": pooling, "normalize": normalize})
    other = model.as_sentence_transformer(output)
    found, wanted = other.encode(TEXTS, batch_size=2), model.encode(TEXTS, output=output)
    assert found.shape == wanted.shape == (5, 20 if output == "code" else 32)
    assert other.get_embedding_dimension() == found.shape[1]
    assert np.ptp(wanted, axis=0).max() > 1e-3  # texts differ
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_texts_are_cut_where_the_teacher_cuts_them(settings):
    long, short = TEXTS[3], " ".join(TEXTS[3].split()[:10])
    other = made(settings).as_sentence_transformer()
    assert other.max_seq_length == 12
    first, second = other.encode([long, short])
    assert np.array_equal(first, second)  # ten words and two that frame them
    whole = made(settings | {"max_length": 24})
    found = whole.as_sentence_transformer().encode([long, short])
    np.testing.assert_allclose(found, whole.encode([long, short]), atol=1e-5)
    assert not np.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize("output", ["embedding", "code"])
def test_saved_folder_gives_bit_for_bit_the_same(model, tmp_path, output):
    first = model.as_sentence_transformer(output)
    first.save(str(tmp_path / "st"))
    loaded = again(tmp_path / "st")
    assert np.array_equal(loaded.encode(TEXTS), first.encode(TEXTS))
    assert loaded.max_seq_length == 12
    assert loaded.get_embedding_dimension() == first.get_embedding_dimension()
    # The folder of the module is that of a saved model.
    inner = LatticeModel.from_pretrained(tmp_path / "st" / "3_LatticeModule")
    assert inner.digest() == model.digest()
    # What was loaded can be saved again.
    loaded.save(str(tmp_path / "again"))
    assert np.array_equal(again(tmp_path / "again").encode(TEXTS), first.encode(TEXTS))


def test_code_is_a_feature_of_its_own(model):
    other = model.as_sentence_transformer()
    codes = torch.stack(other.encode(TEXTS, output_value="surface_code"))
    np.testing.assert_allclose(codes.numpy(), model.encode(TEXTS, output="code"), atol=1e-5)
    decoded = model.decode_code(codes.numpy())
    np.testing.assert_allclose(decoded, other.encode(TEXTS), atol=1e-5)


def test_spearman_is_ours_on_both_ways_in(model, sts_file, tmp_path):
    pairs = read_sts(sts_file)
    evaluator = EmbeddingSimilarityEvaluator(
        [pair.first for pair in pairs],
        [pair.second for pair in pairs],
        [pair.score for pair in pairs],
        write_csv=False,
    )
    ours = sts_spearman(sts_file, model.encode)
    direct = model.as_sentence_transformer()
    direct.save(str(tmp_path / "st"))
    assert -1 < ours < 1
    for other in (direct, again(tmp_path / "st")):
        assert evaluator(other)["spearman_cosine"] == pytest.approx(ours, abs=1e-4)


def test_folder_names_the_flag_that_it_needs(model, tmp_path):
    model.as_sentence_transformer().save(str(tmp_path / "st"))
    modules = json.loads((tmp_path / "st" / "modules.json").read_text(encoding="utf-8"))
    assert modules[-1]["type"] == "latticegraph.hub.sentence_transformers.LatticeModule"
    assert not list((tmp_path / "st").rglob("*.py"))
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SentenceTransformer(str(tmp_path / "st"), device="cpu")


def test_damaged_lattice_is_noticed(model, tmp_path):
    model.as_sentence_transformer().save(str(tmp_path / "st"))
    path = tmp_path / "st" / "3_LatticeModule" / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="expected intact weights"):
        again(tmp_path / "st")


def test_sentence_folder_of_the_teacher_is_read(model, settings, tmp_path):
    """A folder that sentence-transformers wrote, with texts in lower case, as teacher."""
    plain = model.as_sentence_transformer()
    SentenceTransformer(modules=list(plain)[:3], device="cpu").save(str(tmp_path / "encoder"))
    own = tmp_path / "encoder" / "sentence_bert_config.json"
    own.write_text(
        json.dumps(json.loads(own.read_text(encoding="utf-8")) | {"do_lower_case": True}),
        encoding="utf-8",
    )
    name = str(tmp_path / "encoder")
    changed = settings | {"kind": "sentence_transformers", "name": name}
    folder = made(changed)
    found = folder.as_sentence_transformer().encode(TEXTS)
    np.testing.assert_allclose(found, folder.encode(TEXTS), atol=1e-5)
    folder.as_sentence_transformer().save(str(tmp_path / "st"))
    assert np.array_equal(again(tmp_path / "st").encode(TEXTS), found)


def test_array_has_no_modules(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(5, 32)).astype("float32"))
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    names = {"name": str(tmp_path / "rows.npy"), "texts": str(tmp_path / "texts.txt")}
    model = made({"kind": "array", "dimension": 32, **names})
    with pytest.raises(DataError, match=r"^teacher\.kind: expected packaged, huggingface or"):
        model.as_sentence_transformer()


def test_unknown_output_and_pickled_weights_are_refused(model, tmp_path):
    with pytest.raises(DataError, match=r"^output: expected 'embedding' or 'code', got 'codes'"):
        model.as_sentence_transformer("codes")
    with pytest.raises(DataError, match=r"^safe_serialization: expected true, got false"):
        LatticeModule(model).save(str(tmp_path), safe_serialization=False)


def test_package_is_imported_where_it_is_used_alone():
    program = "import sys, latticegraph.hub; print('sentence_transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_missing_package_says_what_to_install(model, monkeypatch):
    monkeypatch.delitem(sys.modules, "latticegraph.hub.sentence_transformers")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(DataError, match=r"6 or later, got version .*'latticegraph\[st\]'"):
        model.as_sentence_transformer()


def test_packaged_teacher_is_expressed():
    texts = ["The cat sat on the mat. 🙂", "A dog ran.", "x " * 300, "Größe"]
    model = made({"kind": "packaged", "name": None, "dimension": 384, "max_length": 128})
    found = model.as_sentence_transformer().encode(texts, batch_size=3)
    np.testing.assert_allclose(found, model.encode(texts), atol=1e-5)
