"""Settings of the report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from latticegraph.config.section import Section


class ReportSettings(Section):
    """What the report of a run measures to say where its score comes from."""

    attribution: Literal["full", "quick", "none"] = Field(
        "quick",
        description="full: untrained and frozen lattice, random features and a decoder network; "
        "quick: all but the frozen lattice, which is a second training; none: none of them",
    )
