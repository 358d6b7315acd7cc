"""The page in a real browser, and that it asks nobody else."""

from __future__ import annotations

import re

import httpx
import pytest

from latticegraph.serving.page import FILES, FOLDER
from tests.browser import browser, needs_browser, show, wait
from tests.serving.conftest import BANK, CODE, running

__all__ = ["browser"]

KEY = "secret-key"
MINUS = "\u2212"


@pytest.fixture(scope="module")
def address(make_app):
    with running(make_app(api_key=KEY)) as url:
        yield url


def look(browser, address, width, scheme):
    """Open the page in a window of this width and colour scheme."""
    show(browser, address, width, scheme)
    wait(browser, lambda: browser.find_element("tag name", "body").get_attribute("data-ready"))


def compare(browser, first, second, key=KEY):
    for name, text in (("first", first), ("second", second), ("key", key)):
        field = browser.find_element("id", name)
        field.clear()
        field.send_keys(text)
    browser.find_element("id", "go").click()
    wait(browser, lambda: browser.find_element("id", "go").is_enabled())
    return browser.find_element("id", "status")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_two_sentences_typed_and_compared(browser, address, width, scheme):
    look(browser, address, width, scheme)
    assert browser.find_element("id", "key").is_displayed()
    assert "tiny: 3 \u00d7 4 \u00d7 5 cells" in browser.find_element("id", "about").text
    status = compare(browser, BANK[0], "a crow & <b>bread</b>")
    assert re.fullmatch(r"8 tokens, \d+ ms", status.text)
    answer = httpx.post(
        f"{address}/compare",
        json={"texts": [BANK[0], "a crow & <b>bread</b>"]},
        headers={"authorization": f"Bearer {KEY}"},
    ).json()
    for name in ("teacher", "cube"):
        shown = browser.find_element("id", f"{name}-cosine").text.replace(MINUS, "-")
        assert float(shown) == pytest.approx(answer[f"{name}_cosine"], abs=5.1e-4)
    assert browser.find_element("id", "second-caption").text == "a crow & <b>bread</b>"
    check_codes(browser, answer["codes"])
    near = browser.find_elements("css selector", "#first-nearest li")
    assert [item.text for item in near] == [
        f"{one['text']} {one['cosine']:.3f}" for one in answer["nearest"][0]
    ]
    assert near[0].text == f"{BANK[0]} {answer['nearest'][0][0]['cosine']:.3f}"
    inside = browser.execute_script("return document.documentElement.scrollWidth")
    assert inside <= width
    assert browser.get_log("browser") == []


def check_codes(browser, codes):
    """Two pictures of 4 x 5 cells, in the place and colour of their numbers, with labelled axes."""
    fills = []
    for name, code in zip(("first", "second"), codes, strict=True):
        cells = browser.find_elements("css selector", f"#{name}-code rect.cell")
        assert len(cells) == CODE
        titles = [cell.find_element("css selector", "title") for cell in cells]
        told = [browser.execute_script("return arguments[0].textContent", one) for one in titles]
        places = [f"y {row}, z {column}" for row in range(4) for column in range(5)]
        assert [one.split(":")[0] for one in told] == places
        numbers = [float(one.split(": ")[1].replace(MINUS, "-")) for one in told]
        assert numbers == pytest.approx(code, rel=6e-3, abs=1e-12)
        fills += [cell.get_attribute("fill") for cell in cells]
        labels = [one.text for one in browser.find_elements("css selector", f"#{name}-code text")]
        assert {"cell along y", "cell along z"} <= set(labels)
    values = [number for code in codes for number in code]
    blue = [int(re.findall(r"\d+", fill)[2]) - int(re.findall(r"\d+", fill)[0]) for fill in fills]
    largest, smallest = values.index(max(values)), values.index(min(values))
    assert blue[largest] < 0 < blue[smallest]  # orange above zero, blue below
    scale = [one.text for one in browser.find_elements("css selector", "#scale text")]
    assert scale[-1] == "number of the code (no unit)"


@needs_browser
@pytest.mark.slow
def test_errors_are_shown_in_words(browser, address):
    look(browser, address, 1280, "light")
    status = compare(browser, "a", "b", key="wrong-key")
    assert "Authorization: Bearer KEY" in status.text
    assert "error" in status.get_attribute("class")
    assert not browser.find_element("id", "result").is_displayed()
    status = compare(browser, "a", "b " * 30)
    assert "input[1]: expected at most 20 tokens, got 30" in status.text
    status = compare(browser, "a", "b")
    assert status.text.startswith("2 tokens")
    assert "error" not in status.get_attribute("class")


@needs_browser
@pytest.mark.slow
def test_a_server_without_key_and_bank_shows_neither(browser, make_app):
    with running(make_app(with_bank=False)) as url:
        look(browser, url, 1280, "light")
        assert not browser.find_element("id", "key").is_displayed()
        browser.find_element("id", "go").click()
        wait(browser, lambda: browser.find_element("id", "result").is_displayed())
        assert browser.find_element("id", "first-nearest").text == ""


def test_page_is_made_of_the_package_s_own_files(address):
    for path, (name, kind) in FILES.items():
        answer = httpx.get(f"{address}{path}")
        assert answer.content == (FOLDER / name).read_bytes()
        assert answer.headers["content-type"].startswith(kind)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", answer.text)
        assert set(found) <= {"http://www.w3.org"}  # the name of SVG
    assert {path.name for path in FOLDER.iterdir()} == {name for name, _ in FILES.values()}
