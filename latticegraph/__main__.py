"""``python -m latticegraph`` is the command ``latticegraph``."""

from __future__ import annotations

import sys

from latticegraph.cli import main

if __name__ == "__main__":
    sys.exit(main())
