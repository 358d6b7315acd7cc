"""Docstring sentences of a small made-up library, and of the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from latticegraph.data.sample import text_key
from latticegraph.data.stdlib import sentences, stdlib_samples
from latticegraph.errors import DataError


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_stdlib_samples_come_from_module_class_and_function_docstrings(tmp_path: Path) -> None:
    source = '''"""This module does one small thing."""
class A:
    """A class that holds one value."""
    def f(self):
        """Return the value of this object."""
        "This string here is no docstring."
    async def g(self):
        """Wait for the value to arrive."""
'''
    write(tmp_path, "one.py", source)
    assert [sample.source for sample in stdlib_samples(tmp_path)] == [
        "A class that holds one value.",
        "Return the value of this object.",
        "This module does one small thing.",
        "Wait for the value to arrive.",
    ]


def test_stdlib_samples_are_grouped_by_top_level_module(tmp_path: Path) -> None:
    write(tmp_path, "alpha.py", '"""Alpha says this one sentence."""')
    write(tmp_path, "pack/__init__.py", '"""Pack says this one sentence."""')
    write(tmp_path, "pack/deep/inner.py", '"""Inner says this one sentence."""')
    groups = {sample.source.split()[0]: sample.group for sample in stdlib_samples(tmp_path)}
    assert groups == {"Alpha": "stdlib:alpha", "Pack": "stdlib:pack", "Inner": "stdlib:pack"}


def test_stdlib_samples_keep_the_first_of_equal_texts(tmp_path: Path) -> None:
    write(tmp_path, "a.py", '"""The same five words here."""')
    write(tmp_path, "b.py", '"""The  SAME five words here."""')
    samples = stdlib_samples(tmp_path)
    assert [(sample.source, sample.group) for sample in samples] == [
        ("The same five words here.", "stdlib:a")
    ]


@pytest.mark.parametrize("folder", ["test", "pack/tests", "idlelib", "site-packages"])
def test_stdlib_samples_pass_over_folders_of_tests_and_packages(
    tmp_path: Path, folder: str
) -> None:
    write(tmp_path, "kept.py", '"""This sentence is kept here."""')
    write(tmp_path, f"{folder}/x.py", "this is not even Python")
    assert [sample.group for sample in stdlib_samples(tmp_path)] == ["stdlib:kept"]


def test_stdlib_samples_never_import(tmp_path: Path) -> None:
    write(tmp_path, "a.py", '"""Importing this module would fail."""\nraise SystemExit(1)\n')
    assert len(stdlib_samples(tmp_path)) == 1


def test_stdlib_samples_read_declared_encodings(tmp_path: Path) -> None:
    text = '# -*- coding: latin-1 -*-\n"""Written by José some years ago."""\n'
    (tmp_path / "a.py").write_bytes(text.encode("latin-1"))
    assert stdlib_samples(tmp_path)[0].source == "Written by José some years ago."


def test_stdlib_samples_without_sources_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.train: expected Python sources with docstrings"):
        stdlib_samples(tmp_path)


def test_stdlib_samples_name_a_broken_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, "broken.py", "x = 1\ndef (:\n")
    with pytest.raises(DataError, match=r"broken\.py:2: expected Python source for 'stdlib', got"):
        stdlib_samples(tmp_path)


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Too few words.", []),
        ("It holds e.g. one value for each key.", ["It holds e.g. one value for each key."]),
        (
            "First comes this one sentence. (Then comes the other one.) And the last of all.",
            [
                "First comes this one sentence.",
                "(Then comes the other one.)",
                "And the last of all.",
            ],
        ),
        ("A title of five words\n=====================", []),
        ("- Every bullet is one item.\n- The next one is another.", 2),
        ("Say it like this in code::\n\n    Open the file and read.\n\nThat is all of it.", 1),
        ("Look at the example here.\n>>> f(1)\n2", []),
        ("starts with a lower case letter.", []),
        ("Lines are joined\ninto one sentence.", ["Lines are joined into one sentence."]),
        ("The _x_, {y}; [z]: <w> = 1.0 / 2.0 + 3.0.", []),
        (" ".join(["Word"] * 61) + ".", []),
    ],
)
def test_sentences_keep_prose_and_drop_the_rest(docstring: str, expected: list[str] | int) -> None:
    found = list(sentences(docstring))
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_stdlib_samples_of_the_running_python_are_many_sorted_and_different() -> None:
    samples = stdlib_samples()
    keys = [text_key(sample.source) for sample in samples]
    assert 8_000 < len(samples) < 25_000
    assert keys == sorted(set(keys))
    assert len({sample.group for sample in samples}) > 100
    assert all(5 <= len(sample.source.split()) <= 60 for sample in samples)
    assert all(sample.source == sample.target for sample in samples)
