"""How often the analysis finds something in untrained lattices with labels that mean nothing.

Run ``python benchmarks/false_positives.py --seeds 100 --json FILE``.

Every seed is a 3 x 4 x 5 lattice before its first update, with a text of its own whose labels are
drawn at random. Every test of the summary is applied to it. Its twins are drawn from lattices that
are made in the same way from other seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticegraph.startup import tune_process

if TYPE_CHECKING:
    from latticegraph.analysis.study import Study
    from latticegraph.hub import LatticeModel

WIDTH, SAMPLES, GROUPS, TWINS, STEPS = 24, 96, 24, 19, 4
LEVEL = 0.05


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="False positives of the analysis.")
    parser.add_argument("--seeds", type=int, default=100, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="also write the rates as JSON")
    options = parser.parse_args()
    tune_process()
    rates = measure(options.seeds)
    sys.stdout.write(f"share of {options.seeds} untrained lattices called significant at {LEVEL}\n")
    sys.stdout.write("".join(f"{name:32s} {rate:.3f}\n" for name, rate in rates.items()))
    if options.json:
        Path(options.json).write_text(json.dumps(rates, indent=2), encoding="utf-8")
    return 0


def measure(seeds: int) -> dict[str, float]:
    """Share of the lattices that each test calls significant, and that the summary would.

    Args:
        seeds: number of lattices tested.
    """
    import numpy as np

    found: dict[str, list[bool]] = {}
    for seed, twins in zip(range(seeds), _pools(seeds), strict=True):
        for name, significant in _tests(_study(seed), twins).items():
            found.setdefault(name, []).append(significant)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _pools(seeds: int) -> Iterator[list[LatticeModel]]:
    """Twins for every seed: 19 out of a pool that holds no tested lattice."""
    import numpy as np

    pool = [lattice(10_000 + number) for number in range(min(100, TWINS + seeds))]
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        yield [pool[number] for number in random.permutation(len(pool))[:TWINS]]


def lattice(seed: int) -> LatticeModel:
    """An untrained lattice with its start from data.

    Args:
        seed: of its weights.
    """
    import torch

    from latticegraph.config import Config, LatticeSettings, ModelSettings
    from latticegraph.hub import LatticeModel, LatticeModelConfig
    from latticegraph.lattice import LatticeGraph
    from latticegraph.model import build_student

    settings = ModelSettings.model_validate(
        {
            "state_channels": 4,
            "messages": {"heads": 2, "edge_hidden": 8},
            "dynamics": {"steps": STEPS, "min_steps": STEPS},
        }
    )
    places = LatticeSettings(dimensions=(3, 4, 5), axis=2, adaptive_radius_min=1.6)
    graph = LatticeGraph.build(places)
    student = build_student(settings, graph, WIDTH, seed=seed)
    data = _rows(256, 1)
    torch.manual_seed(seed)
    student.start_from_data(data, data)
    config = Config.model_validate(
        {"lattice": places, "model": settings, "teacher": {"dimension": WIDTH}}
    )
    return LatticeModel(student, graph, LatticeModelConfig.of(config, None))


def _rows(count: int, seed: int) -> Any:
    """Correlated random vectors; the correlations are those of all seeds."""
    import torch

    mixing = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0))
    data = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)) @ mixing
    return data / data.norm(dim=1, keepdim=True)


def _study(seed: int) -> Study:
    import numpy as np

    from latticegraph.analysis.study import Study, StudyText
    from latticegraph.evaluation import EmbeddingSplit

    random = np.random.default_rng(seed)
    rows = _rows(SAMPLES, 50_000 + seed)
    text = StudyText(
        texts=[f"text {number}" for number in range(SAMPLES)],
        split=EmbeddingSplit.of("text", rows, rows),
        labels=["ab"[one] for one in random.permutation(np.arange(SAMPLES) % 2)],
        groups=[f"group {number % GROUPS}" for number in range(SAMPLES)],
        types=(np.arange(SAMPLES) % 12).tolist(),
        origin="Labels are drawn at random.",
        own_labels=True,
    )
    known = _rows(256, 1)
    fit = EmbeddingSplit.of("train", known, known)
    mean_D = known.double().mean(0).numpy()
    return Study(lattice(seed), text, mean_D, fit, permutations=99, seed=seed)


def _tests(study: Study, twins: list[LatticeModel]) -> dict[str, bool]:
    """Which tests of the summary are significant for one lattice."""
    from latticegraph.analysis.section_causes import lesions_section, use_section
    from latticegraph.analysis.section_cells import cells_section, experts_section
    from latticegraph.analysis.section_twins import twins_section
    from latticegraph.analysis.summary import holm

    p_values: dict[str, float] = {}
    sections: tuple[tuple[Callable[[], Any], tuple[str, ...]], ...] = (
        (lambda: experts_section(study), ("gate_information",)),
        (lambda: cells_section(study), ("selectivity_largest", "cell_accuracy_largest")),
        (lambda: twins_section(study, twins), ("specialisation",)),
        (lambda: lesions_section(study), ("agreement_accuracy", "agreement_selectivity")),
    )
    for make, names in sections:
        found = {one.name: one for one in make().findings}
        p_values |= {name: found[name].nulls[0].p_value for name in names}
    labels = ("gate_information", "selectivity_largest", "cell_accuracy_largest")
    corrected = holm({name: p_values[name] for name in labels})
    result = {name: p <= LEVEL for name, p in p_values.items()}
    result["class of a text, corrected"] = min(corrected.values()) <= LEVEL
    use = {one.name: one for one in use_section(study, twins[0]).findings}["use_own_minus_others"]
    result["use_own_minus_others"] = use.low is not None and use.low > 0
    return result


if __name__ == "__main__":
    sys.exit(main())
