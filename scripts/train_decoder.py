"""The command ``latticegraph train-decoder`` as a script."""

from __future__ import annotations

import sys

from latticegraph.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-decoder", *sys.argv[1:]]))
