"""The operators that torch.compile calls as they are: schema, empty results, tracing."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any

import pytest
import torch

from latticegraph.aggregation import GridNeighbourhood, SparseNeighbourhood
from latticegraph.aggregation.layout import repeat_columns
from tests.aggregation.conftest import columns, make_case

CASE = make_case((3, 4, 5), False, [(0, 0, 0), (1, 0, -2), (-2, 3, 1), (0, -1, 0)], (4, 2), 2)


def grid_calls() -> dict[str, tuple[Any, ...]]:
    """Arguments of every operator of the convolution."""
    neighbourhood = CASE.neighbourhood("fft")
    assert isinstance(neighbourhood, GridNeighbourhood)
    values, weight, _ = CASE.random()
    boxes = columns(values, neighbourhood).reshape(4, 2, 3, 4, 5).contiguous()
    box, (spectrum,) = neighbourhood._box(), neighbourhood.prepare(weight)
    kept = torch.randn(4, 2, spectrum.shape[1], 2, dtype=torch.float64)
    return {
        "kernel_spectrum": (weight, neighbourhood.stencil.offsets_O3, box),
        "kernel_weights": (spectrum, neighbourhood.stencil.offsets_O3, box),
        "convolve": (boxes, spectrum, True, box),
        "convolve_backward": (boxes, spectrum, kept, box),
    }


def sparse_calls() -> dict[str, tuple[Any, ...]]:
    """Arguments of every operator of the sparse product."""
    neighbourhood = CASE.neighbourhood("spmm")
    assert isinstance(neighbourhood, SparseNeighbourhood)
    values, weight, _ = CASE.random()
    pattern, (entries, _) = neighbourhood.pattern, neighbourhood.prepare(weight)
    stacked = pattern.stacked(values.flatten(1))
    return {
        "sparse_product": (stacked, pattern.crow, pattern.col, entries),
        "sampled_product": (stacked, stacked, pattern.crow, pattern.col),
    }


CALLS = {
    **grid_calls(),
    **sparse_calls(),
    "repeat_columns": (torch.randn(2, 3), 5, True),
}


@pytest.mark.parametrize("name", CALLS)
def test_operator_is_described_rightly(name: str) -> None:
    operator = getattr(torch.ops.latticegraph, name).default
    checks = ("test_schema", "test_faketensor", "test_autograd_registration")
    outcome = torch.library.opcheck(operator, CALLS[name], test_utils=checks)
    assert set(outcome.values()) == {"SUCCESS"}
    described = operator(*(x.to("meta") if isinstance(x, torch.Tensor) else x for x in CALLS[name]))
    assert shapes(described) == shapes(operator(*CALLS[name]))


def shapes(result: Any) -> list[tuple[torch.Size, torch.dtype]]:
    results = [result] if isinstance(result, torch.Tensor) else result
    return [(tensor.shape, tensor.dtype) for tensor in results]


def test_convolve_without_a_gradient_keeps_nothing() -> None:
    boxes, spectrum, _, box = CALLS["convolve"]
    arguments = (boxes, spectrum, False, box)
    operator = torch.ops.latticegraph.convolve.default
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))
    summed, kept = operator(*arguments)
    assert kept.numel() == 0
    torch.testing.assert_close(summed, operator(*CALLS["convolve"])[0])


def test_columns_are_repeated_beside_themselves_or_one_after_another() -> None:
    rows = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert repeat_columns(rows, 2, True).tolist() == [[1, 1, 2, 2, 3, 3], [4, 4, 5, 5, 6, 6]]
    assert repeat_columns(rows, 2, False).tolist() == [[1, 2, 3, 1, 2, 3], [4, 5, 6, 4, 5, 6]]


def test_every_operator_is_tested() -> None:
    defined = {name for name in dir(torch.ops.latticegraph) if name in CALLS or _is_ours(name)}
    assert defined == set(CALLS)


def _is_ours(name: str) -> bool:
    return isinstance(getattr(torch.ops.latticegraph, name), torch._ops.OpOverloadPacket)


def test_importing_the_file_again_keeps_the_operators() -> None:
    """As the autoreload of a notebook does it, and with the module forgotten in between."""
    name = "latticegraph.aggregation.opaque"
    kept = sys.modules[name]
    calls = sparse_calls()
    operators = {key: getattr(torch.ops.latticegraph, key).default for key in calls}
    importlib.reload(kept)
    try:
        del sys.modules[name]
        again = importlib.import_module(name)
        assert again is not kept

        @again.opaque(torch.empty_like)
        def kernel_spectrum(x_N: torch.Tensor) -> torch.Tensor:
            return x_N + 1

        assert float(kernel_spectrum(torch.zeros(1))) == 1
        del again
        gc.collect()
    finally:
        sys.modules[name] = kept
    for key, arguments in calls.items():
        assert getattr(torch.ops.latticegraph, key).default is operators[key]
        operators[key](*arguments)
