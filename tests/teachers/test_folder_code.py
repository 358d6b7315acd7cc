"""Code that lies in an encoder's folder is never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from latticegraph.errors import TeacherError
from latticegraph.teachers.load_encoder import encoder_width, load_model, load_tokenizer
from tests.teachers.conftest import edit

OWN_CODE = """
from pathlib import Path
import transformers

Path(r"{mark}").write_text("ran")

class OwnConfig(transformers.DistilBertConfig):
    model_type = "own"

class OwnModel(transformers.DistilBertModel):
    pass

class OwnTokenizer(transformers.BertTokenizer):
    pass
"""


@pytest.fixture
def mark(encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the folder's code writes when it is run; transformers would copy that code first."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    path = tmp_path / "ran.txt"
    (encoder_folder / "own.py").write_text(OWN_CODE.format(mark=path), encoding="utf-8")
    names = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    edit(encoder_folder / "config.json", auto_map=names)
    edit(
        encoder_folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["own.OwnTokenizer", "own.OwnTokenizer"]},
    )
    return path


def test_known_classes_take_the_place_of_the_folders(encoder_folder: Path, mark: Path) -> None:
    assert encoder_width(encoder_folder, 24) == 32
    assert type(load_tokenizer(encoder_folder, 24)).__module__.startswith("transformers.")
    assert type(load_model(encoder_folder)).__module__.startswith("transformers.models")
    assert not mark.exists()


def test_a_model_type_of_the_folder_alone_is_refused(encoder_folder: Path, mark: Path) -> None:
    edit(encoder_folder / "config.json", model_type="own")
    with pytest.raises(TeacherError, match=r"^teacher\.name: "):
        encoder_width(encoder_folder, 24)
    with pytest.raises(TeacherError, match=r"^teacher\.name: "):
        load_model(encoder_folder)
    assert not mark.exists()
