"""The strongest simple network: a linear code and one hidden layer behind it, no lattice.

Legend: B samples, D teacher width, S bottleneck, H hidden units.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from latticegraph.evaluation.arrays import Floats
from latticegraph.evaluation.linear_baselines import PcaBaseline

BETAS = (0.9, 0.99)
MEAN_DECAY = 0.998


@dataclass(frozen=True)
class Recipe:
    """What validation chooses.

    Attributes:
        dropout: of the hidden layer.
        decay: weight decay of AdamW.
    """

    dropout: float
    decay: float


RECIPES = tuple(Recipe(*pair) for pair in ((0.1, 0.3), (0.1, 1.0), (0.1, 3.0), (0.3, 1.0)))


class CodeAndDecoder(nn.Module):
    r"""A linear code, and a decoder that is linear plus one hidden layer.

    .. math:: c = E s, \qquad t = V c + A \, \mathrm{dropout}(\mathrm{gelu}(B c + b))

    E and V start as given, A at zero.

    Args:
        encoder_SD: start of E.
        decoder_DS: start of V.
        hidden: H.
        dropout: share of hidden units dropped in training.

    Shapes:
        [B, D] to [B, D].
    """

    def __init__(self, encoder_SD: Tensor, decoder_DS: Tensor, hidden: int, dropout: float) -> None:
        super().__init__()
        size, width = encoder_SD.shape
        self.encode = nn.Linear(width, size)
        self.linear = nn.Linear(size, len(decoder_DS))
        self.hidden = nn.Linear(size, hidden)
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(hidden, len(decoder_DS), bias=False)
        with torch.no_grad():
            self.encode.weight.copy_(encoder_SD)
            self.linear.weight.copy_(decoder_DS)
            for zero in (self.encode.bias, self.linear.bias, self.read.weight):
                zero.zero_()

    def forward(self, source_BD: Tensor) -> Tensor:
        """Apply the map."""
        code_BS = self.encode(source_BD)
        hidden_BH = self.dropout(nn.functional.gelu(self.hidden(code_BS)))
        result: Tensor = self.linear(code_BS) + self.read(hidden_BH)
        return result


class DecoderNetwork:
    """A network of the student's size without a lattice: what one hidden layer alone reaches.

    Linear code of S numbers (starts as PCA), one hidden layer of GELU units (Hendrycks and Gimpel,
    2016) behind it and a linear path beside it. The number of units is chosen so that the network
    has as many parameters as the student. AdamW with a cosine schedule moves the weights; an
    exponential mean of them is what predicts. Dropout and weight decay are those of a small grid
    that do best on validation after a short training, the number of epochs is the best on
    validation of the long one; epoch 0, the PCA start, takes part.

    Args:
        bottleneck: S, numbers per sample; a linear code needs no more than the teacher's width, so
            more are cut to that.
        parameters: of the student, matched as closely as whole units allow.
        seed: of initial weights, dropout and batch order.
        updates: of the long training, about; a short one takes a fifth of them.
        learning_rate: peak of the schedule.
    """

    name = "decoder_network"
    title = "decoder network"

    def __init__(
        self,
        bottleneck: int,
        parameters: int,
        seed: int = 0,
        updates: int = 2000,
        learning_rate: float = 8e-3,
    ) -> None:
        self.bottleneck = bottleneck
        self.wanted = parameters
        self.seed = seed
        self.updates = updates
        self.learning_rate = learning_rate

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def fit(
        self,
        source_BD: Floats,
        target_BD: Floats,
        validation: tuple[Floats, Floats],
    ) -> None:
        """Choose the recipe and train.

        Args:
            source_BD: training sources.
            target_BD: training targets.
            validation: sources and targets that choose recipe and epoch.

        Shapes:
            source_BD, target_BD: [B, D].
        """
        self._scale(source_BD, target_BD)
        pair = self._scaled_source(source_BD), self._scaled_target(target_BD)
        held = self._scaled_source(validation[0]), self._scaled_target(validation[1])
        batch = min(128, max(16, len(source_BD) // 16))
        epochs = min(100, max(5, round(self.updates * batch / len(source_BD))))

        def train(recipe: Recipe, length: int) -> _Training:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.network = self._start(source_BD.shape[1], target_BD.shape[1], recipe)
                training = _Training(self.network, recipe, self.learning_rate, batch)
                training.run(*pair, *held, epochs=length)
            return training

        errors = [train(recipe, max(1, epochs // 5)).best_error for recipe in RECIPES]
        self.recipe = RECIPES[errors.index(min(errors))]
        self.epochs = train(self.recipe, epochs).best_epoch

    def predict(self, source_BD: Floats) -> Floats:
        """Through the bottleneck and back. Shapes: [B, D] to [B, D]."""
        with torch.no_grad():
            scaled_BD: Tensor = self.network(self._scaled_source(source_BD))
        result: Floats = scaled_BD.double().numpy() * self.target_scale + self.target_mean_D
        return result

    def _scale(self, source_BD: Floats, target_BD: Floats) -> None:
        """Scale both sides to variance 1, and keep PCA and its inverse in these units."""
        pca = PcaBaseline(self.bottleneck)
        pca.fit(source_BD, target_BD)
        self.source_mean_D, self.target_mean_D = source_BD.mean(axis=0), target_BD.mean(axis=0)
        self.source_scale = max(float(source_BD.std(axis=0).mean()), 1e-12)
        self.target_scale = max(float(target_BD.std(axis=0).mean()), 1e-12)
        # One scale for the whole code: numbers of small variance matter less.
        spread = max(float(np.sqrt(pca.pca.explained_variance_.mean())), 1e-12)
        self.encoder_SD = torch.from_numpy(pca.pca.components_ * (self.source_scale / spread))
        self.decoder_DS = torch.from_numpy(pca.weight_SD.T * (spread / self.target_scale))

    def _start(self, width_in: int, width_out: int, recipe: Recipe) -> CodeAndDecoder:
        size = len(self.encoder_SD)
        linear = size * (width_in + 1) + width_out * (size + 1)
        units = max(1, round((self.wanted - linear) / (size + 1 + width_out)))
        encoder_SD, decoder_DS = self.encoder_SD.float(), self.decoder_DS.float()
        return CodeAndDecoder(encoder_SD, decoder_DS, units, recipe.dropout)

    def _scaled_source(self, source_BD: Floats) -> Tensor:
        return torch.from_numpy((source_BD - self.source_mean_D) / self.source_scale).float()

    def _scaled_target(self, target_BD: Floats) -> Tensor:
        return torch.from_numpy((target_BD - self.target_mean_D) / self.target_scale).float()


class _Training:
    """AdamW with warm-up and cosine, and the exponential mean of the weights.

    Args:
        network: starts here; holds the best mean at the end.
        recipe: dropout is in the network already, weight decay is used here.
        rate: peak of the learning rate.
        batch: samples per update.
    """

    def __init__(self, network: CodeAndDecoder, recipe: Recipe, rate: float, batch: int) -> None:
        self.network = network
        self.mean = copy.deepcopy(network).eval()
        matrices = [p for p in network.parameters() if p.ndim > 1]
        vectors = [p for p in network.parameters() if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": recipe.decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=rate, betas=BETAS)
        self.rate, self.batch, self.done = rate, batch, 0
        self.best_epoch, self.best_error = 0, math.inf

    def run(
        self, source: Tensor, target: Tensor, held: Tensor, wanted: Tensor, epochs: int
    ) -> None:
        """Train on ``source`` and ``target``; ``held`` and ``wanted`` choose the epoch."""
        total = epochs * math.ceil(len(source) / self.batch)
        self.best_error = _error(self.mean, held, wanted)
        kept = copy.deepcopy(self.mean.state_dict())
        for epoch in range(1, epochs + 1):
            for index in torch.randperm(len(source)).split(self.batch):
                self._update(source[index], target[index], total)
            if (error := _error(self.mean, held, wanted)) < self.best_error:
                self.best_error, self.best_epoch = error, epoch
                kept = copy.deepcopy(self.mean.state_dict())
        self.network.load_state_dict(kept)
        self.network.eval()

    def _update(self, source: Tensor, target: Tensor, total: int) -> None:
        warm = max(1, min(100, total // 10))
        share = min(1.0, (self.done + 1) / warm) * 0.5 * (1 + math.cos(math.pi * self.done / total))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * share
        self.optimiser.zero_grad()
        (self.network(source) - target).square().mean().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.done += 1
        # Short at first, or the mean would remember the start for long.
        decay = min(MEAN_DECAY, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            for mean, own in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(own, 1 - decay)


def _error(network: nn.Module, source: Tensor, target: Tensor) -> float:
    with torch.no_grad():
        return float((network(source) - target).square().mean())
