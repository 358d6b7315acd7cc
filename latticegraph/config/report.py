"""Settings of the report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from latticegraph.config.section import Section


class ReportSettings(Section):
    """What the report of a run measures to say where its score comes from, and its page."""

    attribution: Literal["full", "quick", "none"] = Field(
        "quick",
        description="full: untrained and frozen lattice, random features and a decoder network; "
        "quick: all but the frozen lattice, which is a second training; none: none of them",
    )
    dashboard_every: float = Field(
        10.0,
        ge=0,
        le=86_400,
        description="seconds between two versions of dashboard.html in the run's folder while it "
        "trains, at least; 0: no page",
    )
