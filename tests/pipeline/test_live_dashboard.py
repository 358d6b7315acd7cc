"""The page that a run writes while it trains."""

from __future__ import annotations

import json
from pathlib import Path

from latticegraph.dashboard import write_dashboard
from latticegraph.pipeline import live_dashboard
from latticegraph.pipeline.fit_run import fit
from latticegraph.pipeline.train_run import train


def _watched(monkeypatch):
    """Pages that are written, as they are."""
    pages = []

    def write(folders, *arguments, **options):
        pages.append(write_dashboard(folders, *arguments, **options).read_text(encoding="utf-8"))

    monkeypatch.setattr(live_dashboard, "write_dashboard", write)
    return pages


def test_page_follows_the_run_and_then_rests(make_config, monkeypatch):
    pages = _watched(monkeypatch)
    phases = "training.phases=[{name: main, updates: 6}]"
    fit(make_config(phases, "training.log_every=2", "report.dashboard_every=1e-9"))
    assert len(pages) >= 2
    assert all('http-equiv="refresh"' in page for page in pages[:-1])
    assert "refresh" not in pages[-1]
    assert "<td>training</td><td>0 of 6</td>" in pages[0]
    assert "<td>finished</td><td>6 of 6</td>" in pages[-1]


def test_pages_are_rare_and_none_is_written_where_none_is_asked_for(make_config, monkeypatch):
    pages = _watched(monkeypatch)
    fit(make_config("run.name=rare", "report.dashboard_every=3600", "training.log_every=1"))
    assert len(pages) == 2  # at the start and at the end
    run = fit(make_config("run.name=none", "report.dashboard_every=0"))
    assert len(pages) == 2
    assert not (run.folder / "dashboard.html").exists()


def test_page_of_a_whole_run_shows_its_report(make_config):
    outcome = train(make_config())
    folder = Path(outcome["run_dir"])
    html = (folder / "dashboard.html").read_text(encoding="utf-8")
    assert f"<td>{outcome['report']['student']['explained_variance']:.3f}</td>" in html
    assert html.count("<img") == 3
    assert "The expert that each cell uses most" in html
    assert "Sample decodings" in html
    kinds = [json.loads(line)["kind"] for line in (folder / "metrics.jsonl").open("rb")]
    assert (kinds[0], kinds[-1]) == ("start", "end")
