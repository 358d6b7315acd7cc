"""A loss term as a user writes it: it reads states and knows nothing of processes."""

from __future__ import annotations

from latticegraph.losses import LossTerm


class OwnTerm(LossTerm):
    """Compares every sample with every other one and every cell with the one after it."""

    reads = ("states_CNB", "surface_BS", "embedding_BD")

    def forward(self, output, target_BD):
        x_CNB = output.states_CNB
        samples = (x_CNB - x_CNB.mean(2, keepdim=True)).square().mean().sqrt()
        cells = (x_CNB[:, 1:] * x_CNB[:, :-1]).mean().sin()
        surface_BS = output.surface_BS
        surface = (surface_BS - surface_BS.roll(1, 0)).square().mean().log1p()
        return samples + cells + surface * (output.embedding_BD * target_BD).mean().cos()
