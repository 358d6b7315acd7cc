"""The command ``latticegraph describe`` as a script."""

from __future__ import annotations

import sys

from latticegraph.cli import main

if __name__ == "__main__":
    sys.exit(main(["describe", *sys.argv[1:]]))
