"""Reading .txt and .jsonl files, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import tracemalloc
from pathlib import Path

import pytest

from latticegraph.config import load_config
from latticegraph.data import lines
from latticegraph.data.load import load_file, load_source
from latticegraph.data.rows import Task
from latticegraph.data.sample import Sample
from latticegraph.errors import ConfigError, DataError


def jsonl(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_load_file_txt_takes_each_line_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffFirst line. 🙂\r\n\r\n  Second line.\nfirst  line. 🙂\n".encode())
    assert load_file(path, "reconstruction") == [
        Sample("First line. 🙂", "First line. 🙂", "text:first line. 🙂"),
        Sample("Second line.", "Second line.", "text:second line."),
    ]


@pytest.mark.parametrize(
    ("extra", "group"),
    [
        ({}, "text:hello there"),
        ({"group": "g"}, "group:g"),
        ({"conversation": 7}, "conversation:7"),
        ({"dialogue": "d", "turn": 3}, "dialogue:d"),
    ],
)
def test_load_file_text_rows_have_a_group(
    tmp_path: Path, extra: dict[str, object], group: str
) -> None:
    path = jsonl(tmp_path, {"text": "Hello there"} | extra)
    assert load_file(path, "reconstruction") == [Sample("Hello there", "Hello there", group)]


def test_load_file_question_rows_serve_both_tasks(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"question": "Why?", "answer": "Because.", "conversation": "c"},
        {"question": "Because.", "answer": "Oh.", "conversation": "c"},
        {"question": "Alone?", "answer": "Yes."},
    )
    assert load_file(path, "question_answer") == [
        Sample("Why?", "Because.", "conversation:c"),
        Sample("Because.", "Oh.", "conversation:c"),
        Sample("Alone?", "Yes.", "text:alone?"),
    ]
    assert [(s.source, s.group) for s in load_file(path, "reconstruction")] == [
        ("Why?", "conversation:c"),
        ("Because.", "conversation:c"),
        ("Oh.", "conversation:c"),
        ("Alone?", "text:alone?"),
        ("Yes.", "text:alone?"),
    ]


def test_load_file_snli_keeps_both_sentences_in_the_group_of_the_premise(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"sentence1": "A dog runs.", "sentence2": "It moves.", "gold_label": "entailment"},
        {"sentence1": "A dog runs.", "sentence2": "It sleeps.", "gold_label": "-"},
    )
    assert [(s.source, s.group) for s in load_file(path, "reconstruction")] == [
        ("A dog runs.", "text:a dog runs."),
        ("It moves.", "text:a dog runs."),
        ("It sleeps.", "text:a dog runs."),
    ]


def test_load_file_rows_of_different_kinds_may_be_mixed(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path, {"text": "One."}, "", {"question": "Two?", "answer": "Three."}, {"text": "Four."}
    )
    sources = [sample.source for sample in load_file(path, "reconstruction")]
    assert sources == ["One.", "Two?", "Three.", "Four."]


@pytest.mark.parametrize(
    ("line", "task", "message"),
    [
        ('{"text": ', "reconstruction", r"got malformed JSON at column 9"),
        ('["a"]', "reconstruction", r"expected a JSON object with text, or .*, got list"),
        ("{}", "reconstruction", r"expected the fields text, or question and answer.*got no field"),
        ('{"b": 1, "a": 2}', "reconstruction", r"sentence1 and sentence2, got a, b"),
        ('{"text": "A."}', "question_answer", r"fields question and answer for task .*, got text"),
        (
            '{"sentence1": "A.", "sentence2": "B.", "gold_label": "-"}',
            "question_answer",
            r"expected the fields question and answer .*, got gold_label, sentence1, sentence2",
        ),
        ('{"text": 5}', "reconstruction", r"expected a string in the field text, got int"),
        ('{"text": " "}', "reconstruction", r"expected text in the field text, got an empty"),
        (
            '{"question": "A", "answer": ""}',
            "question_answer",
            r"field answer, got an empty",
        ),
        (r'{"text": "\ud83d"}', "reconstruction", r"got half of a surrogate pair"),
        ('{"text": "A", "group": [1]}', "reconstruction", r"in the field group, got \[1\]"),
    ],
)
def test_load_file_names_the_line_of_a_wrong_row(
    tmp_path: Path, line: str, task: Task, message: str
) -> None:
    path = jsonl(tmp_path, {"question": "Q", "answer": "A"}, line)
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{message}"):
        load_file(path, task)


def test_load_file_names_the_byte_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("Good line.\nCafé here.\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"latin\.txt:2: expected UTF-8 text, got byte 0xe9 at byte 14 of the file"
    ):
        load_file(path, "reconstruction")


def test_load_file_without_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text(" \n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.txt: expected lines with text, got an empty file"):
        load_file(path, "reconstruction")


def test_load_file_suggests_near_names(tmp_path: Path) -> None:
    (tmp_path / "talks.jsonl").write_text('{"text": "Hi."}', encoding="utf-8")
    with pytest.raises(DataError, match=r"a path that is not there\..*did you mean talks\.jsonl"):
        load_file(tmp_path / "talk.jsonl", "reconstruction")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("stdlb", r"did you mean stdlib"), ("qqqqqqq", r"built in: stdlib, dialogues")],
)
def test_load_source_names_the_built_in_corpora(name: str, hint: str) -> None:
    with pytest.raises(DataError, match=rf"expected a file or a built-in name.*{hint}"):
        load_source(name, "reconstruction")


def test_load_file_reads_every_file_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"folder with \.txt, \.jsonl, \.csv or \.tsv files, got one"
    ):
        load_file(tmp_path, "reconstruction")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "B.TXT").write_text("Second.", encoding="utf-8")
    (tmp_path / "a.txt").write_text("First.\n\nSecond.", encoding="utf-8")
    (tmp_path / "notes.md").write_text("Third.", encoding="utf-8")
    samples = load_file(tmp_path, "reconstruction")
    assert [sample.source for sample in samples] == ["First.", "Second."]


def test_load_file_refuses_other_suffixes(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_text("a,b", encoding="utf-8")
    wanted = (
        r"expected the suffix \.txt, \.jsonl, \.csv or \.tsv, or one of them and \.gz, got '\.pdf'"
    )
    with pytest.raises(DataError, match=wanted):
        load_file(path, "reconstruction")


def test_load_file_reports_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Text.", encoding="utf-8")

    def refuse(self: Path, mode: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"expected a readable file, got: Permission denied"):
        load_file(path, "reconstruction")


def test_load_file_txt_has_no_questions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Text.", encoding="utf-8")
    with pytest.raises(DataError, match=r"for task question_answer, got a \.txt file"):
        load_file(path, "question_answer")


def test_load_source_stdlib_has_no_questions() -> None:
    with pytest.raises(DataError, match=r"data\.task: expected text with questions .* 'stdlib'"):
        load_source("stdlib", "question_answer")


def test_load_source_reads_the_built_in_dialogues_and_files(tmp_path: Path) -> None:
    assert load_source("dialogues", "question_answer")[0].group.startswith("dialogue:")
    path = jsonl(tmp_path, {"text": "One."})
    assert load_source(str(path), "reconstruction") == [Sample("One.", "One.", "text:one.")]


def test_load_file_unpacks_gz_and_reads_csv_and_tsv(tmp_path: Path) -> None:
    path = tmp_path / "a.CSV.gz"
    path.write_bytes(gzip.compress(b'text,group\n"One, two.",x\n"Two\nlines",x\n'))
    samples = load_file(path, "reconstruction")
    assert [(s.source, s.group) for s in samples] == [
        ("One, two.", "group:x"),
        ("Two\nlines", "group:x"),
    ]
    table = tmp_path / "a.tsv"
    table.write_text('question\tanswer\nIs "this it?\tYes.\n', encoding="utf-8")
    assert [(s.source, s.target) for s in load_file(table, "question_answer")] == [
        ('Is "this it?', "Yes.")
    ]


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.csv", b'text\n"open', r"a\.csv:2: expected rows of a table, got: unexpected end"),
        ("a.csv", b"text,group\na\n", r"a\.csv:2: expected 2 columns \(text, group\), got 1"),
        ("a.csv", b"words\na\n", r"a\.csv:2: expected the fields text, .* got words"),
        ("a.csv", b"", r"a\.csv: expected a header and rows, got an empty file"),
        ("a.csv", b"text\na\xff\n", r"a\.csv:2: expected UTF-8 text, got byte 0xff"),
        ("a.txt.gz", b"no gzip", r"expected a readable file, got: Not a gzipped file .*Pack it"),
        (
            "a.txt.gz",
            gzip.compress(b"abc" * 99, mtime=0)[:-9],
            r"expected a readable file, got: .*Pack it",
        ),
        ("a.txt", b"one\rtwo\rthree", r"got lines that end in CR alone\. Convert the line ends"),
        ("a.jsonl", b'{"text": ' + b"[" * 9999, r"a\.jsonl:1: .* malformed JSON values too deep"),
        ("a.jsonl", b'{"text": "a", "x": ' + b"1" * 5000 + b"}", r":1: .* Exceeds the limit"),
    ],
)
def test_load_file_says_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, wanted: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=wanted):
        load_file(path, "reconstruction")


def test_standard_input_is_lines_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO("Café.\n\nTwo.\n".encode()))
    monkeypatch.setattr("sys.stdin", stream)
    assert [s.source for s in load_source("-", "reconstruction")] == ["Café.", "Two."]
    with pytest.raises(ConfigError, match=r"data\.train: expected text that can be read again"):
        load_config(None, ["data.train=a.txt,-"])


def test_text_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LARGEST_BYTES", 5)
    for name, content in (("a.txt", b"123456"), ("a.txt.gz", gzip.compress(b"123456"))):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match="expected at most 5 bytes of text, got more"):
            load_file(path, "reconstruction")


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_file_shows_progress_and_is_never_held_as_a_whole(
    packed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("a.txt.gz" if packed else "a.txt")
    rows = b"".join(random.Random(i).randbytes(7_500).hex().encode() + b"\n" for i in range(1200))
    path.write_bytes(gzip.compress(rows, 1) if packed else rows)
    del rows
    tracemalloc.start()
    count = sum(1 for _ in lines.numbered_lines(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1200
    assert peak < 6_000_000  # of 18 MB, and what draws the progress
    said = capsys.readouterr().err.splitlines()
    assert len(said) >= 5
    assert re.fullmatch(rf"reading {path.name}: (\d+) of \1 MB", said[-1])
