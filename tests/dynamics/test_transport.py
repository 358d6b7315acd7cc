"""Which neighbours carry the signal at the start."""

from __future__ import annotations

import pytest

from latticegraph.dynamics.transport import _pair
from latticegraph.errors import GraphError

LOCAL, FUNCTIONAL, DISTANT = range(3)


@pytest.mark.parametrize(
    ("types", "pair"),
    [
        # 10 cells in 4 steps: 2.5 a step, by 2 and 3 or by 1 and 3.
        ({1: LOCAL, 2: FUNCTIONAL, 3: DISTANT, 5: DISTANT}, (2, 3)),
        ({1: DISTANT, 2: DISTANT, 3: DISTANT, 5: DISTANT}, (2, 3)),
        ({1: DISTANT, 2: FUNCTIONAL, 3: DISTANT, 5: DISTANT}, (1, 3)),
    ],
    ids=["closest", "closest of one type", "of one type"],
)
def test_two_strides_are_of_one_type_and_then_the_closest(
    types: dict[int, int], pair: tuple[int, int]
) -> None:
    assert _pair([1, 2, 3, 5], types, 10, 4) == pair


def test_strides_that_never_arrive_are_an_error() -> None:
    with pytest.raises(GraphError, match=r"^model\.init\.init_method: .* 10 cells in 4 steps for"):
        _pair([1, 2], {1: LOCAL, 2: LOCAL}, 10, 4)
