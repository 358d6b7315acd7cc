"""Time of a student with and without the light cone, in turn, and the largest difference.

Run ``python benchmarks/light_cone.py --config configs/8cube_near.yaml --json FILE`` for an
untrained student, with ``--model runs/8cube/model`` for a trained one. Inputs are normal, with the
mean and the deviation of the embeddings that a model was trained on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticegraph.startup import tune_process

if TYPE_CHECKING:
    from torch import Tensor

    from latticegraph.model import Student


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Time with and without the light cone.")
    parser.add_argument("--config", default="configs/8cube.yaml", metavar="FILE")
    parser.add_argument("--model", metavar="DIR", help="a saved model in place of an untrained one")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128, 256], metavar="B")
    parser.add_argument("--repeats", type=int, default=9, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    options = parser.parse_args()
    tune_process()
    rows = []
    for batch in options.batches:
        student = stored(options.model) if options.model else untrained(options, batch)
        rows += measure(student, batch, options.repeats)
    sys.stdout.write("batch  pass      whole ms  cone ms  ratio  largest difference\n")
    for row in rows:
        sys.stdout.write(
            "{batch:5d}  {what:8s}  {whole_ms:8.1f}  {cone_ms:7.1f}  {ratio:5.2f}  "
            "{difference:.1e}\n".format(**row)
        )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return 0


def untrained(options: argparse.Namespace, batch: int) -> Student:
    """A student with random weights, its readout included."""
    import torch

    from latticegraph.aggregation import resolve_backend
    from latticegraph.config import load_config
    from latticegraph.lattice import LatticeGraph
    from latticegraph.model import build_student

    config = load_config(options.config, options.set)
    graph = LatticeGraph.build(config.lattice)
    torch.manual_seed(0)
    backend = resolve_backend(config.model, graph, batch, "cpu")
    student = build_student(config.model, graph, config.teacher.dimension, backend=backend)
    if student.extractor.correction is not None:
        torch.nn.init.normal_(student.extractor.correction.weight, std=0.03)
    return student


def stored(folder: str) -> Student:
    """The student of a saved model."""
    from latticegraph import LatticeModel

    return LatticeModel.from_pretrained(folder).student


def measure(student: Student, batch: int, repeats: int) -> list[dict[str, Any]]:
    """One row per kind of pass; medians over passes made in turn."""
    import torch

    torch.manual_seed(0)
    source_BD = student.mean_D + student.std * torch.randn(batch, student.teacher_dimension)
    return _rows(student, source_BD, repeats)


def _rows(student: Student, source_BD: Tensor, repeats: int) -> list[dict[str, Any]]:
    import torch

    def forward(whole: bool) -> Tensor:
        with torch.no_grad():
            return student(source_BD, whole=whole).embedding_BD

    def update(whole: bool) -> None:
        student.zero_grad()
        student(source_BD, whole=whole).embedding_BD.square().mean().backward()

    student.eval()  # without dropout, which would differ from pass to pass
    difference = float((forward(True) - forward(False)).abs().max())
    rows = []
    for what, function in (("forward", forward), ("update", update)):
        whole_ms, cone_ms = _in_turn(function, repeats)
        ratio = whole_ms / cone_ms
        found = {"whole_ms": whole_ms, "cone_ms": cone_ms, "ratio": ratio}
        rows.append({"batch": len(source_BD), "what": what, **found, "difference": difference})
    return rows


def _in_turn(function: Callable[[bool], Any], repeats: int) -> tuple[float, float]:
    times: dict[bool, list[float]] = {True: [], False: []}
    for whole in (True, False):
        function(whole)
    for _ in range(repeats):
        for whole, found in times.items():
            start = time.perf_counter()
            function(whole)
            found.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[True]), statistics.median(times[False])


if __name__ == "__main__":
    sys.exit(main())
