"""A page that shows how runs go, from their logs alone."""

from latticegraph.dashboard.health import Finding, findings
from latticegraph.dashboard.page import render_page
from latticegraph.dashboard.run_history import RunHistory, read_history
from latticegraph.dashboard.write import DASHBOARD, MOST_RUNS, write_dashboard

__all__ = [
    "DASHBOARD",
    "MOST_RUNS",
    "Finding",
    "RunHistory",
    "findings",
    "read_history",
    "render_page",
    "write_dashboard",
]
