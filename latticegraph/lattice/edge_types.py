"""The three edge types of a lattice."""

from __future__ import annotations

from enum import IntEnum


class EdgeType(IntEnum):
    """Which expert an edge belongs to, by the distance it spans.

    ``LOCAL`` d <= local radius (self-edges included), ``FUNCTIONAL`` beyond that up to the
    functional radius, ``DISTANT`` beyond that up to the distant radius.
    """

    LOCAL = 0
    FUNCTIONAL = 1
    DISTANT = 2

    @property
    def label(self) -> str:
        """Lower-case name, as used in reports and messages."""
        return self.name.lower()
