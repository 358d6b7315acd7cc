"""The command ``latticegraph train`` as a script."""

from __future__ import annotations

import sys

from latticegraph.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
