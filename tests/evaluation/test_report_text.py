from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from latticegraph.evaluation import best_update, console_table, render_markdown, verdicts


def test_markdown_shows_verdicts_rows_and_facts(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    assert all(f"\n- {verdict}\n" in text for verdict in verdicts(report))
    assert f"\n- {best_update(report)}\n" in text
    assert "| student (the cube) | 0.700 | 0.800 | 0.700 | 0.00123 | 0.900 |" in text
    assert "| MLP autoencoder | 0.750 |" in text
    assert "| decoder network | 0.760 |" in text
    assert "| lattice switched off | -0.200 |" in text
    for fact in (
        "of these in the lattice: 46,480, outside it 52,285",
        "held out: 1,344 samples in 44 groups",
        "parameters of decoder network: 98,700",
        "command: `train.py --config configs/8cube.yaml`",
        "date: 2026-01-02T03:04:05+00:00",
    ):
        assert f"- {fact}\n" in text
    for fact in ("1234.5 samples/s", "98,765", "8.00", "self 512, functional 2,688", "50.0%"):
        assert fact in text
    assert "MRR" not in text


def test_markdown_makes_sentences_harmless(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    assert r"- source: a \| \*b\* 🙂 c" in text
    assert "- target:" not in text
    report["examples"][0]["target"] = "answer"
    assert "  - target: answer" in render_markdown(report)


def test_markdown_says_when_the_target_itself_was_found(report: dict[str, Any]) -> None:
    assert "nearest of 12,783 sentences (0.910), not the target: d" in render_markdown(report)
    report["examples"][0] |= {
        "is_target": True,
        "decoded": report["examples"][0]["target"],
        "nearest_other": "e",
        "other_cosine": 0.5,
    }
    text = render_markdown(report)
    assert "sentences (0.910): the target itself, which is among them" in text
    assert "nearest without the target (0.500): e" in text


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
        "frozen lattice",
        "update 1,068 of 2,400",
    ):
        assert part in shown


def test_experts_have_a_table_of_their_own(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    assert "| local | 0.250 | 0.600 | +0.100 [+0.090, +0.110] |" in text
    assert "| distant | 0.750 | 0.699 | +0.001 [-0.009, +0.011] |" in text
    report["roles"] = {}
    assert "## Experts" not in render_markdown(report)
