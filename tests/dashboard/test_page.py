"""The page of logs as text: what it shows, and how it is written."""

from __future__ import annotations

import json
import os
from html.parser import HTMLParser

import numpy as np
import pytest

from latticegraph.cli import main
from latticegraph.dashboard import MOST_RUNS, read_history, render_page, write_dashboard
from latticegraph.errors import CheckpointError, ConfigError
from latticegraph.run_lock import RunLock, is_held
from tests.dashboard.conftest import log_of

LIMIT = 300_000


class Checker(HTMLParser):
    """Fails for tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(html):
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    return checker.seen


def test_command_writes_a_page_of_its_own(write_log, capsys):
    folder = write_log("one")
    assert main(["dashboard", str(folder)]) == 0
    path = folder / "dashboard.html"
    assert capsys.readouterr().out == f"dashboard: {path}\n"
    html = path.read_text(encoding="utf-8")
    seen = checked(html)
    assert len(html.encode()) < LIMIT
    assert "script" not in seen
    assert seen.count("figure") == 21
    assert seen.count("img") == 3
    assert "http://" not in html
    assert "https://" not in html
    assert 'http-equiv="refresh"' not in html
    assert "A &lt;b&gt;cat&lt;/b&gt; &amp; a dog 🙂" in html
    assert "<td>finished</td><td>400 of 400</td><td>3 x 4 x 4</td><td>0.600</td>" in html
    assert "No sign of divergence" in html
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_several_runs_lie_over_each_other(write_log, tmp_path):
    folders = [write_log("one"), write_log("two", explained=lambda done: 0.2)]
    (folders[0] / "report.json").write_text(
        json.dumps(
            {
                "student": {"explained_variance": 0.61},
                "baselines": {"pca": {"explained_variance": 0.5}},
            }
        ),
        encoding="utf-8",
    )
    path = write_dashboard(folders, tmp_path / "out" / "both.html")
    html = path.read_text(encoding="utf-8")
    checked(html)
    assert "<td>0.610</td><td>0.500</td>" in html
    first = html[html.index("Explained variance, validation") :].split("</figure>")[0]
    assert first.count("<polyline") == 2
    assert "one <b>0.6</b>" in first
    assert "two <b>0.2</b>" in first
    assert "one: local" in html
    assert "<h3>two</h3>" in html


def test_largest_page_stays_small(write_log, tmp_path):
    options = {"validations": 300, "lines": 3000, "layers": 8, "across": 24}
    folders = [write_log(f"run-{number}", **options) for number in range(MOST_RUNS)]
    for count in (1, MOST_RUNS):
        path = write_dashboard(folders[:count], tmp_path / "page.html")
        assert 30_000 < path.stat().st_size < LIMIT


def test_killed_run_is_shown_as_far_as_its_log_goes(write_log):
    folder = write_log("killed", end=None)
    path = folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-400])
    run = read_history(folder, going=False)
    assert 0 < len(run.records) < len(log_of(end=None))
    html = render_page([run])
    checked(html)
    assert "note: unfinished" in html
    assert "<td>interrupted</td>" in html


def test_empty_log_makes_a_page(write_log):
    html = render_page([read_history(write_log("new", []), going=True)])
    checked(html)
    assert "<figure" not in html


def test_page_loads_itself_again_only_while_a_run_is_trained(write_log):
    folder = write_log("live", end=None)
    with RunLock() as lock:
        lock.take(folder)
        assert is_held(folder)
        html = write_dashboard([folder]).read_text(encoding="utf-8")
    assert '<meta http-equiv="refresh" content="10">' in html
    assert "<td>training</td>" in html
    assert not is_held(folder)
    assert "refresh" not in write_dashboard([folder]).read_text(encoding="utf-8")
    finished = write_log("done")
    with RunLock() as lock:
        lock.take(finished)
        assert "refresh" not in write_dashboard([finished]).read_text(encoding="utf-8")


def test_lock_of_a_killed_process_does_not_count(tmp_path):
    (tmp_path / ".holder.json").write_text(json.dumps({"process": os.getpid()}), encoding="utf-8")
    assert not is_held(tmp_path)


def test_runs_of_one_name_are_told_apart(write_log, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    folders = [write_log("a/run"), write_log("b/run")]
    html = write_dashboard(folders).read_text(encoding="utf-8")
    assert "<h3>a/run</h3>" in html
    assert "<h3>b/run</h3>" in html


def test_damaged_logs_make_a_page_or_one_line(write_log, capsys):
    folder = write_log("damaged")
    path = folder / "metrics.jsonl"
    whole = path.read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    random = np.random.default_rng(0)
    seen = set()
    for number in range(40):
        if number % 2:
            content = bytearray(whole)
            content[random.integers(len(content))] = random.integers(256)
        else:
            damaged = json.loads(json.dumps(rows))
            row = damaged[random.integers(len(rows))]
            key = random.choice(list(row))
            row[key] = [None, "x", -1e999, [], {}, {"a": "b"}][random.integers(6)]
            content = "".join(json.dumps(one) + "\n" for one in damaged).encode()
        path.write_bytes(content)
        status = main(["dashboard", str(folder)])
        seen.add(status)
        assert status in (0, 2)
        error = capsys.readouterr().err
        assert error.count("\n") == (status == 2)
        if status == 0:
            checked((folder / "dashboard.html").read_text(encoding="utf-8"))
    assert seen == {0, 2}


def test_wrong_folders_are_refused(write_log, tmp_path, capsys):
    with pytest.raises(CheckpointError, match=r"expected the folder of a run with a metrics.jsonl"):
        write_dashboard([tmp_path])
    folder = write_log("broken")
    log = folder / "metrics.jsonl"
    log.write_text("[1]\n", encoding="utf-8")
    assert main(["dashboard", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "metrics.jsonl, line 1: expected a record of a run" in error
    log.write_text("", encoding="utf-8")
    (folder / "report.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        CheckpointError, match=r"report.json: expected the report of a run, got: Key"
    ):
        write_dashboard([folder])
    with pytest.raises(ConfigError, match="expected 1 to 6 runs, got 7"):
        write_dashboard([folder] * 7)
