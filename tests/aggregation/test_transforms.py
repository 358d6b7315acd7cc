"""Transforms of padded boxes: against torch.fft, against each other, and in blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latticegraph.aggregation import fourier
from latticegraph.aggregation.transforms import (
    LONGEST_MATRIX,
    FastTransform,
    MatrixTransform,
    Sides,
    Transform,
    make_transform,
    padded_side,
)
from tests.aggregation.conftest import Case, cases, columns, make_case, transform_of

CPU = torch.device("cpu")
SHAPES: list[tuple[Sides, Sides]] = [
    ((3, 4, 5), (5, 6, 8)),
    ((1, 2, 3), (1, 2, 3)),
    ((2, 5, 1), (4, 7, 4)),
    ((6, 1, 2), (9, 4, 3)),
]


def both(sides: Sides, padded: Sides) -> list[Transform]:
    return [FastTransform(sides, padded), MatrixTransform(sides, padded, CPU, torch.float64)]


@pytest.mark.parametrize(("sides", "padded"), SHAPES)
def test_transform_equals_the_complex_one_at_the_frequencies_kept(
    sides: Sides, padded: Sides
) -> None:
    boxes = torch.randn(3, *sides, dtype=torch.float64)
    whole = torch.fft.fftn(boxes, s=padded, dim=(1, 2, 3))
    for transform in both(sides, padded):
        p, q, r = transform.kept
        expected = whole[:, :p, :q, :r].flatten(1)
        torch.testing.assert_close(transform.forward(boxes), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("sides", "padded"), SHAPES)
def test_transform_inverse_returns_the_boxes(sides: Sides, padded: Sides) -> None:
    boxes = torch.randn(3, *sides, dtype=torch.float64)
    for transform in both(sides, padded):
        back = transform.inverse(transform.forward(boxes))
        torch.testing.assert_close(back, boxes, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("sides", "padded"), SHAPES)
def test_transform_of_kernels_fills_the_padded_box(sides: Sides, padded: Sides) -> None:
    kernels = torch.randn(2, *padded, dtype=torch.float64)
    for transform in both(sides, padded):
        spectrum = transform.of_kernel(kernels)
        torch.testing.assert_close(transform.to_kernel(spectrum), kernels, rtol=0, atol=1e-12)
        whole = torch.zeros(2, *padded, dtype=torch.float64)
        x, y, z = sides
        whole[:, :x, :y, :z] = kernels[:, :x, :y, :z]
        expected = transform.forward(kernels[:, :x, :y, :z].contiguous())
        torch.testing.assert_close(transform.of_kernel(whole), expected, rtol=0, atol=1e-12)


def test_transform_is_chosen_by_the_longest_padded_side() -> None:
    reach, side = 4, LONGEST_MATRIX - 4
    place = (False, CPU, torch.float32)
    assert isinstance(make_transform((3, 3, side), (1, 1, reach), *place), MatrixTransform)
    assert isinstance(make_transform((3, 3, side + 1), (1, 1, reach), *place), FastTransform)
    assert isinstance(
        make_transform((3, 3, side + 4), (1, 1, reach), True, CPU, torch.float32), MatrixTransform
    )


def largest_prime(number: int) -> int:
    return max((p for p in range(2, number + 1) if number % p == 0 and is_prime(p)), default=1)


def is_prime(number: int) -> bool:
    return all(number % d for d in range(2, int(number**0.5) + 1))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(side=st.integers(1, 150), reach=st.integers(1, 30))
def test_padded_side_is_the_next_good_length(side: int, reach: int) -> None:
    length = padded_side(side, reach, periodic=False, fast=True)
    good = [n for n in range(side + reach, length + 1) if n % 4 == 0 and largest_prime(n) <= 11]
    assert good == [length]
    assert padded_side(side, reach, periodic=False, fast=False) == side + reach
    for fast in (False, True):
        assert padded_side(side, reach, periodic=True, fast=fast) == side
        assert padded_side(side, 0, periodic=False, fast=fast) == side


@pytest.mark.parametrize("bytes_at_once", [1, 5000])
@pytest.mark.parametrize("transform", ["matrix", "fast"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(case=cases())
def test_blocks_change_nothing(bytes_at_once: int, transform: str, case: Case) -> None:
    results = []
    for size in (fourier.BLOCK_BYTES, bytes_at_once):
        with transform_of(transform), pytest.MonkeyPatch.context() as patch:
            patch.setattr(fourier, "BLOCK_BYTES", size)
            neighbourhood = case.neighbourhood("fft")
            values, weight, grad = (
                t if t.ndim == 2 else columns(t, neighbourhood).contiguous() for t in case.random()
            )
            prepared = neighbourhood.prepare(weight)
            summed, kept = neighbourhood.run(values, prepared, True)
            results.append([summed, *neighbourhood.back(grad, prepared, kept)])
    for whole, blocks in zip(*results, strict=True):
        torch.testing.assert_close(whole, blocks, rtol=0, atol=1e-11)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(heads=st.integers(1, 6), repeats=st.integers(1, 4), at_once=st.integers(0, 9))
def test_blocks_pair_every_channel_with_its_head(heads: int, repeats: int, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fourier, "BLOCK_BYTES", 10 * at_once)
        blocks = fourier._blocks(heads * repeats, heads, 10)
    pairs = [
        (c, h)
        for channels, of in blocks
        for c, h in zip(range(100)[channels], range(100)[of], strict=True)
    ]
    assert pairs == [(c, c % heads) for c in range(heads * repeats)]
    assert all(of.stop - of.start <= max(1, at_once) for _, of in blocks)


def test_blocks_are_used() -> None:
    """With room for one spectrum, six channels of a head of their own are six transforms."""
    case = make_case((3, 3, 3), False, [(1, 0, 0)], (6, 6), 2)
    neighbourhood, counted = case.neighbourhood("fft"), []
    values, weight, _ = case.random()
    prepared = neighbourhood.prepare(weight)
    with pytest.MonkeyPatch.context() as patch:
        forward = MatrixTransform.forward

        def count(self: MatrixTransform, x_GXYZ: torch.Tensor) -> torch.Tensor:
            counted.append(x_GXYZ.shape[0])
            return forward(self, x_GXYZ)

        patch.setattr(MatrixTransform, "forward", count)
        patch.setattr(fourier, "BLOCK_BYTES", 1)
        neighbourhood.run(columns(values, neighbourhood), prepared, False)
    assert counted == [2] * 6
