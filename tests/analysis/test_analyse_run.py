"""The command on a small run: every number, every picture, errors in words."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.processes import run

ROOT = Path(__file__).parents[2]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="no chromium and chromedriver on this machine"
)
WIDTH = 16


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a 3 x 4 x 5 lattice on 240 sentences of two kinds."""
    folder = tmp_path_factory.mktemp("analyse")
    who = ("cat", "dog", "crow", "child", "judge", "baker", "sailor", "robot", "moth", "queen")
    does = ("sees", "paints", "drops", "hides", "buys", "greets", "follows", "mends")
    lines = [
        f"The {a} {b} the {c} today" for a in who for b in does for c in ("café", "hat", "map")
    ]
    halves = [" ".join(part) for line in lines for part in (line.split()[:3], line.split()[3:])]
    known = list(dict.fromkeys([*lines, *halves]))
    random = np.random.default_rng(0)
    vectors = {word: random.normal(size=WIDTH) for line in lines for word in line.split()}
    rows = np.array([sum(vectors[word] for word in line.split()) for line in known])
    rows = rows + 0.2 * random.normal(size=rows.shape)
    np.save(folder / "rows.npy", rows.astype(np.float32))
    (folder / "known.txt").write_text("\n".join(known), encoding="utf-8")
    (folder / "corpus.txt").write_text("\n".join(lines[:140]), encoding="utf-8")
    labelled = [
        {"text": line, "label": "a & </script>" if "hat" in line or "map" in line else "place"}
        for line in lines[140:]
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in labelled)
    (folder / "labelled.jsonl").write_text(text, encoding="utf-8")
    (folder / "small.yaml").write_text(
        f"""
run: {{name: small, device: cpu, threads: 1}}
lattice: {{dimensions: [3, 4, 5], axis: 2, adaptive_radius_min: 1.6}}
model: {{state_channels: 4, messages: {{heads: 2}}, dynamics: {{steps: 4, min_steps: 4}}}}
teacher: {{kind: array, name: rows.npy, texts: known.txt, dimension: {WIDTH}, cache_dir: cache}}
data: {{train: [corpus.txt], min_sentences: 10}}
training: {{batch_size: 16, phases: [{{name: main, updates: 6}}]}}
evaluation: {{mlp_hidden: 8, baseline_epochs: 2, off_epochs: 1, decoded_examples: 2}}
report: {{attribution: none}}
""",
        encoding="utf-8",
    )
    done = run(["-m", "latticegraph", "train", "--config", "small.yaml"], folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def analysed(project: Path) -> tuple[Path, str]:
    words = ["analyse", "runs/small", "--data", "labelled.jsonl", "--out", "out"]
    done = run(["-m", "latticegraph", *words], project)
    assert done.returncode == 0, done.stderr
    return project / "out", done.stdout


@pytest.mark.slow
def test_analysis_holds_value_null_and_interval_of_every_statistic(analysed):
    folder, printed = analysed
    result = json.loads((folder / "analysis.json").read_text("utf-8"))
    names = ("experts", "cells", "training", "lesions", "use", "layers", "flow", "probes")
    assert tuple(result["sections"]) == (*names, "composition", "damage")
    for section in result["sections"].values():
        for found in section["findings"].values():
            assert set(found) == {"title", "value", "interval", "nulls"}
            assert np.isfinite(found["value"])
            for null in found["nulls"]:
                assert 0 < null["p_value"] <= 1
                assert null["low"] <= null["high"]
    assert result["text"]["classes"].keys() == {"place", "a & </script>"}
    assert result["text"]["own_labels"] is True
    assert len(result["sections"]["training"]["data"]["twins"]) == 19
    assert printed.splitlines()[:-1] == result["summary"]
    assert printed.splitlines()[-1] == f"analysis: {Path('out') / 'analysis.html'}"


@pytest.mark.slow
def test_page_has_one_copy_of_the_library_and_asks_nobody(analysed):
    folder, _ = analysed
    page = (folder / "analysis.html").read_text("utf-8")
    assert page.count("<script src=") == 1
    assert page.count("</script>") == 3  # the label that ends one is escaped
    assert (folder / "plotly.min.js").stat().st_size > 1_000_000
    assert len(page) < 3_000_000
    linked = set(re.findall(r"(?:src|href)=\"([^\"]+)\"", page))
    assert {name for name in linked if not name.startswith(("#", "data:"))} == {"plotly.min.js"}
    figures = json.loads(re.search(r'id="panels">(.*?)</script>', page, re.S)[1])
    assert len(figures) == page.count('class="plot"') >= 6
    assert {len(figure["data"]) for figure in figures} == {1}
    charts = {path.stem for path in (folder / "charts").iterdir()}
    assert len(charts) == 8
    assert {path.suffix for path in (folder / "charts").iterdir()} == {".png", ".svg"}


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        "allow-file-access-from-files",
    ):
        options.add_argument(f"--{switch}")
    for switch in ("use-gl=angle", "use-angle=swiftshader", "enable-unsafe-swiftshader"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


def look(browser, width: int, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@needs_browser
@pytest.mark.slow
def test_every_panel_is_drawn_and_fits(browser, analysed):
    """Loaded narrow and dark; then the window grows, and the scheme changes."""
    from selenium.webdriver.support.ui import WebDriverWait

    look(browser, 390, "dark")
    browser.get((analysed[0] / "analysis.html").resolve().as_uri())
    ready = "return document.body.dataset.ready"
    WebDriverWait(browser, 120, 0.1).until(lambda b: b.execute_script(ready))
    plots = browser.find_elements("css selector", ".plot")
    assert all(plot.find_elements("css selector", "canvas") for plot in plots)
    for width, scheme in ((390, "dark"), (1280, "light")):
        look(browser, width, scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert back == {"dark": "rgb(22, 24, 27)", "light": "rgb(255, 255, 255)"}[scheme]
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


@pytest.mark.slow
def test_what_cannot_be_analysed_is_refused_in_words(project):
    def fails(*words: str) -> str:
        done = run(["-m", "latticegraph", "analyse", *words], project)
        assert done.returncode == 2
        return done.stderr

    assert "expected the folder of a finished run" in fails("nowhere")
    assert "got a path that is not there" in fails("runs/small", "--data", "missing.jsonl")
    rows = [{"text": "The cat sees a hat now", "label": "a"}, {"text": "The dog hides it well"}]
    (project / "some.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert "expected a label in every row or in none, got 1 of 2" in fails(
        "runs/small", "--data", "some.jsonl"
    )
