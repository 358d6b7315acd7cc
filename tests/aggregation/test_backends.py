"""Every backend against the edges one by one: values, gradients, hand-written gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from latticegraph.aggregation import Neighbourhood
from tests.aggregation.conftest import (
    HEADS,
    Case,
    cases,
    columns,
    make_case,
    states,
    transform_of,
)

# Name of a backend, and the transform that it is made to use.
DENSE = ("conv3d", "matrix")  # for export; its gradient is that of autograd
FAST = [("spmm", "matrix"), ("fft", "matrix"), ("fft", "fast")]
BOX = make_case((3, 4, 5), False, [(0, 0, 0), (1, 0, -2), (-2, 3, 1), (0, -1, 0)], (4, 2), 2)
RING = make_case((4, 3, 5), True, [(0, 0, 0), (2, 0, -2), (-1, 1, 1), (0, -1, 2)], (6, 3), 1)

thorough = settings(max_examples=60, deadline=None, derandomize=True)


def with_gradients(case: Case, neighbourhood: Neighbourhood) -> list[Tensor]:
    """The sums, dL/dvalues and dL/dweights for the same random values whatever the backend."""
    values, weight, grad = case.random()
    values, weight = values.requires_grad_(), weight.requires_grad_()
    summed = states(
        neighbourhood.sum(columns(values, neighbourhood), neighbourhood.prepare(weight)),
        neighbourhood,
    )
    (summed * grad).sum().backward()
    assert values.grad is not None
    assert weight.grad is not None
    return [summed.detach(), values.grad, weight.grad]


@pytest.mark.parametrize(("backend", "transform"), [*FAST, DENSE])
@thorough
@given(case=cases())
def test_fast_backend_equals_scatter(backend: str, transform: str, case: Case) -> None:
    expected = with_gradients(case, case.neighbourhood("scatter"))
    with transform_of(transform):
        got = with_gradients(case, case.neighbourhood(backend))
    for fast, reference in zip(got, expected, strict=True):
        torch.testing.assert_close(fast, reference, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("backend", "transform"), [("scatter", "matrix"), *FAST, DENSE])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(case=cases(longest=4, most_cells=30))
def test_sum_equals_loop_over_cells_and_offsets(backend: str, transform: str, case: Case) -> None:
    values, weight, _ = case.random()
    expected = torch.zeros_like(values)
    for e, (j, i) in enumerate(case.edge_index_2E.t().tolist()):
        for c in range(case.channels):
            expected[c, i] += weight[case.offset_E[e], c % case.heads] * values[c, j]
    with transform_of(transform):
        neighbourhood = case.neighbourhood(backend)
        got = states(
            neighbourhood.sum(columns(values, neighbourhood), neighbourhood.prepare(weight)),
            neighbourhood,
        )
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("backend", "transform"), FAST)
@thorough
@given(case=cases())
def test_sum_without_a_gradient_of_weights_keeps_nothing(
    backend: str, transform: str, case: Case
) -> None:
    with transform_of(transform):
        neighbourhood = case.neighbourhood(backend)
        values, weight, grad = (
            t if t.ndim == 2 else columns(t, neighbourhood).contiguous() for t in case.random()
        )
        prepared = neighbourhood.prepare(weight)
        wanted, kept = neighbourhood.run(values, prepared, True)
        assert kept.numel()
        found, nothing = neighbourhood.run(values, prepared, False)
        assert not nothing.numel()
        same, weights = neighbourhood.back(grad, prepared, nothing)
        assert weights is None
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
        torch.testing.assert_close(
            same, neighbourhood.back(grad, prepared, kept)[0], rtol=0, atol=1e-12
        )


@pytest.mark.parametrize(("backend", "transform"), FAST)
@pytest.mark.parametrize("case", [BOX, RING], ids=["open", "periodic"])
def test_sum_gradients_equal_numeric_ones(backend: str, transform: str, case: Case) -> None:
    with transform_of(transform):
        neighbourhood = case.neighbourhood(backend)
        values, weight, _ = case.random()
        inputs = (columns(values, neighbourhood).requires_grad_(), weight.requires_grad_())
        assert torch.autograd.gradcheck(
            lambda v, w: neighbourhood.sum(v, neighbourhood.prepare(w)), inputs
        )


@pytest.mark.parametrize(("backend", "transform"), FAST)
def test_values_alone_or_weights_alone_get_their_gradient(backend: str, transform: str) -> None:
    with transform_of(transform):
        neighbourhood = BOX.neighbourhood(backend)
        expected = with_gradients(BOX, neighbourhood)
        values, weight, grad = BOX.random()
        for values_learn in (False, True):
            values.requires_grad_(values_learn)
            weight.requires_grad_(not values_learn)
            values.grad = weight.grad = None
            summed = states(
                neighbourhood.sum(columns(values, neighbourhood), neighbourhood.prepare(weight)),
                neighbourhood,
            )
            (summed * grad).sum().backward()
            got = values.grad if values_learn else weight.grad
            wanted = expected[1 if values_learn else 2]
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["scatter", "spmm", "fft"])
def test_weights_scaled_to_the_same_largest_sum(backend: str) -> None:
    """What the scaling promises, on the sum itself: no value grows more than 2-fold."""
    neighbourhood = BOX.neighbourhood(backend)
    weight = neighbourhood.scaled(BOX.random()[1] * 10)
    ones = torch.ones(4, BOX.num_cells, dtype=torch.float64)
    summed = neighbourhood.sum(ones, neighbourhood.prepare(weight.abs()))
    torch.testing.assert_close(summed.amax(1), torch.full((4,), 2.0, dtype=torch.float64))


@pytest.mark.parametrize(("channels", "heads"), HEADS)
def test_fft_channels_use_the_weights_of_their_head(channels: int, heads: int) -> None:
    """The only weight of head h is h + 1, at no offset: channel c is multiplied by c mod H + 1."""
    case = make_case((3, 4, 2), False, [(0, 0, 0), (1, 1, 1)], (channels, heads), 2)
    neighbourhood = case.neighbourhood("fft")
    weight = torch.zeros(2, heads, dtype=torch.float64)
    weight[0] = torch.arange(heads) + 1.0
    values = columns(case.random()[0], neighbourhood)
    factor = torch.tensor([c % heads + 1.0 for c in range(channels)], dtype=torch.float64)
    summed = neighbourhood.sum(values, neighbourhood.prepare(weight))
    torch.testing.assert_close(summed, values * factor[:, None], rtol=0, atol=1e-12)


def test_fft_in_single_precision_stays_close_to_double() -> None:
    """Weights that add up to 2 at most, states of variance 1, 30 offsets in a box of 8 x 9 x 10."""
    near = [(x, y, z) for x in (-2, 0, 1) for y in (-1, 0, 3) for z in (-3, 0, 2)]
    case = make_case((8, 9, 10), False, near, (4, 2), 3)
    values, weight, _ = case.random()
    reference = case.neighbourhood("scatter")
    scaled = reference.scaled(weight)
    expected = states(
        reference.sum(columns(values, reference), reference.prepare(scaled)), reference
    )
    for transform in ("matrix", "fast"):
        with transform_of(transform):
            neighbourhood = case.neighbourhood("fft")
            summed = neighbourhood.sum(
                columns(values.float(), neighbourhood), neighbourhood.prepare(scaled.float())
            )
        assert summed.dtype == torch.float32
        error = (states(summed, neighbourhood) - expected).abs().max()
        assert 0 < float(error) < 2e-6


def test_fft_takes_short_numbers_and_sums_in_long_ones() -> None:
    neighbourhood = BOX.neighbourhood("fft")
    values, weight, _ = BOX.random()
    short = columns(values, neighbourhood).bfloat16()
    prepared = neighbourhood.prepare(weight.float())
    summed = neighbourhood.sum(short, prepared)
    assert summed.dtype == torch.float32
    torch.testing.assert_close(
        summed, neighbourhood.sum(short.float(), prepared), rtol=0, atol=1e-6
    )
