"""The strong baseline: PCA plus a residual MLP on both sides of the bottleneck.

Legend: B samples, D teacher width, S bottleneck.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.linear_baselines import PcaBaseline

Progress = Callable[[str, float], None]
"""Called with the name of a baseline and the share of its training done, 0 to 1."""


class ResidualCoder(nn.Module):
    """``y = W x + MLP(x)``: a given linear map and a correction that starts at zero.

    Args:
        weight: start of W.
        hidden: width of the MLP's hidden layer.

    Shapes:
        weight: [out, in]; forward: [B, in] to [B, out].
    """

    def __init__(self, weight: Tensor, hidden: int) -> None:
        super().__init__()
        size_out, size_in = weight.shape
        self.linear = nn.Linear(size_in, size_out)
        self.mlp = nn.Sequential(nn.Linear(size_in, hidden), nn.GELU(), nn.Linear(hidden, size_out))
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.zero_()
            last.weight.zero_()
            last.bias.zero_()

    def forward(self, x_BI: Tensor) -> Tensor:
        """Apply the map. Shapes: [B, in] to [B, out]."""
        result: Tensor = self.linear(x_BI) + self.mlp(x_BI)
        return result


class MlpAutoencoder:
    """Encoder and decoder, each linear + residual MLP, with exactly S numbers between them.

    Starts as PCA followed by least squares and is trained with AdamW (batch 256, cosine schedule,
    squared error). With a validation set the best epoch is kept, the start included, so it does not
    end up worse than PCA where there is little data (question -> answer).

    Args:
        bottleneck: S, numbers per sample.
        hidden: width of each MLP's hidden layer.
        epochs: passes over the training pairs.
        seed: of initial weights and batch order.
        learning_rate: peak of the schedule.
        weight_decay: of AdamW.
        batch_size: samples per update.
    """

    name = "mlp_autoencoder"
    title = "MLP autoencoder"

    def __init__(
        self,
        bottleneck: int,
        hidden: int = 512,
        epochs: int = 30,
        seed: int = 0,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.1,
        batch_size: int = 256,
    ) -> None:
        self.bottleneck = bottleneck
        self.hidden = hidden
        self.epochs = epochs
        self.seed = seed
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size

    def fit(
        self,
        source_BD: Floats,
        target_BD: Floats,
        validation: tuple[Floats, Floats] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Train from the PCA start.

        Args:
            source_BD: training sources.
            target_BD: training targets.
            validation: sources and targets that choose the epoch; None keeps the last one.
            progress: called after each epoch.

        Shapes:
            source_BD, target_BD: [B, D].
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._build(source_BD, target_BD)
            source, target = self._scaled_source(source_BD), self._scaled_target(target_BD)
            held = None
            if validation is not None:
                held = self._scaled_source(validation[0]), self._scaled_target(validation[1])
            self._train(source, target, held, progress)

    def predict(self, source_BD: Floats) -> Floats:
        """Through the bottleneck and back. Shapes: [B, D] to [B, D]."""
        return self.decode(self.encode(source_BD))

    def encode(self, source_BD: Floats) -> Floats:
        """Codes of about unit variance. Shapes: [B, D] to [B, S]."""
        with torch.no_grad():
            codes_BS: Tensor = self.network[0](self._scaled_source(source_BD))
        result: Floats = codes_BS.double().numpy()
        return result

    def decode(self, codes_BS: Floats) -> Floats:
        """Embeddings of codes. Shapes: [B, S] to [B, D]."""
        with torch.no_grad():
            scaled_BD: Tensor = self.network[1](torch.from_numpy(codes_BS).float())
        result: Floats = scaled_BD.double().numpy() * self.target_scale + self.target_mean_D
        return result

    def _build(self, source_BD: Floats, target_BD: Floats) -> None:
        """Scale both sides to variance 1 and start the linear paths as PCA and its inverse."""
        pca = PcaBaseline(self.bottleneck)
        pca.fit(source_BD, target_BD)
        self.source_mean_D, self.target_mean_D = source_BD.mean(axis=0), target_BD.mean(axis=0)
        self.source_scale = max(float(source_BD.std(axis=0).mean()), 1e-12)
        self.target_scale = max(float(target_BD.std(axis=0).mean()), 1e-12)
        components = pca.pca.components_
        # Codes of variance 1, so that the decoder's MLP sees all of them alike.
        spread = np.sqrt(np.maximum(pca.pca.explained_variance_, 1e-12))
        used, width = components.shape
        encoder = np.zeros((self.bottleneck, width))
        decoder = np.zeros((target_BD.shape[1], self.bottleneck))
        encoder[:used] = components * (self.source_scale / spread[:, None])
        decoder[:, :used] = (pca.weight_SD * spread[:, None]).T / self.target_scale
        self.network = nn.Sequential(
            ResidualCoder(torch.from_numpy(encoder).float(), self.hidden),
            ResidualCoder(torch.from_numpy(decoder).float(), self.hidden),
        )

    def _scaled_source(self, source_BD: Floats) -> Tensor:
        return torch.from_numpy((source_BD - self.source_mean_D) / self.source_scale).float()

    def _scaled_target(self, target_BD: Floats) -> Tensor:
        return torch.from_numpy((target_BD - self.target_mean_D) / self.target_scale).float()

    def _train(
        self,
        source: Tensor,
        target: Tensor,
        held: tuple[Tensor, Tensor] | None,
        progress: Progress | None,
    ) -> None:
        network = self.network
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        updates = self.epochs * math.ceil(len(source) / self.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
        best, kept = (math.inf, None) if held is None else (_error(network, *held), _copy(network))
        for epoch in range(self.epochs):
            order = torch.randperm(len(source))
            for start in range(0, len(source), self.batch_size):
                batch = order[start : start + self.batch_size]
                optimiser.zero_grad()
                (network(source[batch]) - target[batch]).square().mean().backward()
                optimiser.step()
                schedule.step()
            if held is not None and (error := _error(network, *held)) < best:
                best, kept = error, _copy(network)
            if progress is not None:
                progress(self.name, (epoch + 1) / self.epochs)
        if kept is not None:
            network.load_state_dict(kept)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())


def _error(network: nn.Module, source: Tensor, target: Tensor) -> float:
    with torch.no_grad():
        return float((network(source) - target).square().mean())
