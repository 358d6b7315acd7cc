from __future__ import annotations

import numpy as np
import torch

from latticegraph.pipeline.student_codec import StudentCodec


class Counting:
    """A model whose codes are twice the first numbers, and that counts how often it encodes."""

    calls = 0

    def to_codes(self, rows, batch_size, refine_steps):
        assert (batch_size, refine_steps) == (64, 5)
        self.calls += 1
        return 2 * rows[:, :2]

    def from_codes(self, codes, batch_size):
        return torch.cat([codes, codes], 1).float()


def test_same_embeddings_are_refined_once_and_others_anew():
    model = Counting()
    codec = StudentCodec(model, 64, refine_steps=5)
    first, second, third = np.random.default_rng(0).normal(size=(3, 4, 6))
    for rows in (first, second, first.copy(), second):
        assert np.array_equal(codec.encode(rows), 2 * rows[:, :2])
    assert model.calls == 2
    assert np.array_equal(codec.encode(third), 2 * third[:, :2])
    assert np.array_equal(codec.encode(first), 2 * first[:, :2])
    assert model.calls == 4
    assert codec.decode(np.ones((3, 2))).tolist() == [[1.0] * 4] * 3
    assert (codec.name, StudentCodec(model, 64).name) == ("student_refined", "student")
