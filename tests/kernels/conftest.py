"""The small students of the model's tests."""

from tests.model.conftest import build

__all__ = ["build"]
