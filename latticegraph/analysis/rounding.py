"""Numbers for JSON: short, and finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def rounded(values: ArrayLike, digits: int = 4) -> Any:
    """Nested lists of numbers of ``digits`` decimals.

    >>> rounded([[0.123456, 1.0]])
    [[0.1235, 1.0]]
    """
    return np.asarray(values, dtype=np.float64).round(digits).tolist()
