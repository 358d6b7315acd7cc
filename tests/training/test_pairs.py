from __future__ import annotations

import pytest
import torch

from latticegraph.errors import DataError
from latticegraph.training import EmbeddingPairs


def test_rows_picks_both_sides_in_order():
    source_ND = torch.arange(12.0).reshape(4, 3)
    pairs = EmbeddingPairs(source_ND, -source_ND)
    source_BD, target_BD = pairs.rows(torch.tensor([2, 0]), torch.device("cpu"))
    assert source_BD.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert torch.equal(target_BD, -source_BD)
    assert (len(pairs), pairs.width) == (4, 3)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (torch.zeros(3), torch.zeros(3), r"pairs\.source: expected float32 rows .*shape \[3\]"),
        (torch.zeros(0, 3), torch.zeros(0, 3), r"pairs\.source: .*float32 of shape \[0, 3\]"),
        (torch.zeros(2, 3), torch.zeros(2, 3).double(), r"pairs\.target: .*got float64"),
        (torch.full((2, 3), torch.nan), torch.zeros(2, 3), r"pairs\.source: expected finite"),
        (torch.zeros(2, 3), torch.full((2, 3), torch.inf), r"pairs\.target: expected finite"),
        (torch.zeros(2, 3), torch.zeros(3, 3), r"pairs\.target: .*sources \[2, 3\], got \[3, 3\]"),
    ],
)
def test_pairs_refuse_what_cannot_be_trained_on(source, target, message):
    with pytest.raises(DataError, match=message):
        EmbeddingPairs(source, target)
