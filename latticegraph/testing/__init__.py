"""Tests that any expert has to pass, for users to inherit."""

from latticegraph.testing.expert_tests import ExpertTests

__all__ = ["ExpertTests"]
