from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from latticegraph.evaluation import console_table, render_markdown, verdicts


def test_verdicts_are_honest(report: dict[str, Any]) -> None:
    assert verdicts(report) == [
        "The student beats PCA: 0.700 against 0.600 explained variance.",
        "The student does not beat the MLP autoencoder: 0.700 against 0.750 explained variance.",
        "The student beats the same model retrained without the lattice: 0.700 against 0.650 "
        "explained variance.",
    ]


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (0.604, "does not beat PCA, the two are level"),
        (0.596, "does not beat PCA, the two are level"),
        (0.606, "beats PCA:"),
        (0.594, "does not beat PCA:"),
    ],
)
def test_verdicts_call_small_differences_level(
    report: dict[str, Any], own: float, says: str
) -> None:
    report["student"]["explained_variance"] = own
    assert f"The student {says}" in verdicts(report)[0]


def test_markdown_shows_verdicts_rows_and_facts(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    assert all(verdict in text for verdict in verdicts(report))
    assert "| student (the cube) | 0.700 | 0.800 | 0.700 | 0.00123 | 0.900 |" in text
    assert "| lattice switched off | -0.200 |" in text
    assert "| MLP autoencoder | 0.750 |" in text
    for fact in ("1234.5 samples/s", "98,765", "8.00", "self 512, functional 2,688", "50.0%"):
        assert fact in text
    assert "MRR" not in text


def test_markdown_makes_sentences_harmless(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    assert r"- source: a \| \*b\* 🙂 c" in text
    assert "target:" not in text
    report["examples"][0]["target"] = "answer"
    assert "  - target: answer" in render_markdown(report)


def test_markdown_without_examples_has_no_such_section(report: dict[str, Any]) -> None:
    report["examples"] = []
    assert "Decoded" not in render_markdown(report)


def test_console_table_shows_every_row(report: dict[str, Any]) -> None:
    file = io.StringIO()
    console = Console(file=file, width=140)
    console.print(console_table(report))
    shown = file.getvalue()
    for part in (
        "student (the cube)",
        "PCA",
        "MLP autoencoder",
        "0.00123",
        "does not beat the MLP",
    ):
        assert part in shown
