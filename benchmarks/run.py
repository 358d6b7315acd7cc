"""Time and memory of sums over neighbours, of lattice steps and of training steps.

Run ``python benchmarks/run.py --cubes 8,15``; docs/benchmarks.md says what is measured and how to
read it. Nothing here imports torch: the process is tuned first.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from latticegraph.errors import LatticeGraphError
from latticegraph.startup import tune_process

WHATS = ("aggregation", "step", "train_step")
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Measure, show tables, and write what the options name.

    Args:
        arguments: the options; None takes those of the process.

    Returns:
        The exit status: 0, 2 for an error of the user's, 130 after an interruption.
    """
    options = parser().parse_args(arguments)
    try:
        if options.allocator == "tuned":
            tune_process()
        # Read once, when torch is imported: the profiler says nothing of its starts and stops.
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from measure import measure_all

        measure_all(options)
    except LatticeGraphError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was measured is in the files named by the options\n")
        return INTERRUPTED
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        description="Time and memory of sums over neighbours, lattice steps and training steps."
    )
    made.add_argument(
        "--cubes",
        type=_cubes,
        default=[8, 15, 27, 37],
        metavar="N,N",
        help="sides of the cubes (default: 8,15,27,37)",
    )
    made.add_argument(
        "--what",
        type=_whats,
        default=list(WHATS),
        metavar="W,W",
        help=f"of {', '.join(WHATS)} (default: all)",
    )
    made.add_argument("--quick", action="store_true", help="seconds: few repeats, 2 samples")
    made.add_argument("--batch", type=_positive, help="samples (default: depends on the cube)")
    made.add_argument("--threads", type=_positive, help="CPU threads (default: torch's choice)")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    made.add_argument(
        "--allocator",
        choices=("system", "tuned"),
        default="system",
        help="system (default): memory as every PyTorch program gets it; tuned: as the commands of "
        "latticegraph ask for it, which helps the slow ways most",
    )
    made.add_argument(
        "--max-gb",
        type=_size,
        default=12.0,
        metavar="G",
        help="leave out what would need more memory than this (default: 12)",
    )
    made.add_argument("--json", type=Path, metavar="OUT", help="write the numbers here")
    made.add_argument(
        "--add",
        action="store_true",
        help="keep the rows of other cubes and kinds that the file of --json already holds",
    )
    made.add_argument("--markdown", type=Path, metavar="OUT.md", help="write the tables here")
    made.add_argument("--plot", type=Path, metavar="OUT.png", help="draw cost against cube side")
    return made


def _cubes(text: str) -> list[int]:
    sides = text.split(",")
    if not all(side.isdecimal() and int(side) >= 2 for side in sides):
        raise argparse.ArgumentTypeError(f"expected sides >= 2 such as 8,15, got '{text}'")
    return [int(side) for side in sides]


def _whats(text: str) -> list[str]:
    wanted = text.split(",")
    if not set(wanted) <= set(WHATS):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(WHATS)}, got '{text}'")
    return [what for what in WHATS if what in wanted]


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    return int(text)


def _size(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got '{text}'")
    return value


if __name__ == "__main__":
    sys.exit(main())
