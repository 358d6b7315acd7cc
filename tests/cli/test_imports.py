"""Commands that need no torch do not import it, so that they answer at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "8cube.yaml")
PROGRAM = """
import sys
from latticegraph.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(sorted({"torch", "transformers", "torch_geometric", "sklearn", "scipy"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["train", "--config", CONFIG, "--print-config"],
        ["dashboard", "nowhere"],
        ["train", "--config", CONFIG, "--set", "model.dynamics.stepz=3", "--print-config"],
    ],
    ids=["help", "train help", "print config", "dashboard", "wrong key"],
)
def test_command_imports_no_torch(arguments: list[str]) -> None:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
