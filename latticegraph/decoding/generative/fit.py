"""Trains the transformer of a decoder.

Legend: B texts, D teacher width, L tokens, T places that are predicted, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.optim.lr_scheduler import LambdaLR

from latticegraph.config.decoder import DecoderTrainingSettings
from latticegraph.decoding.generative.batches import IGNORED, TokenBatch, TokenTexts
from latticegraph.decoding.generative.network import CausalTransformer
from latticegraph.decoding.generative.vocabulary import UNKNOWN
from latticegraph.errors import TrainingError

BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Epoch:
    """What one pass over the text came to.

    Args:
        number: from 1; 0 is the untrained network.
        train_loss: mean over its tokens, in nats, with noise and dropout; NaN for number 0.
        validation_loss: mean over the validation tokens, in nats.
        seconds: since the start.
        best: whether no earlier validation loss is as low.
    """

    number: int
    train_loss: float
    validation_loss: float
    seconds: float
    best: bool


def fit_decoder(
    network: CausalTransformer,
    train: TokenTexts,
    validation: TokenTexts,
    settings: DecoderTrainingSettings,
    seed: int,
    report: Callable[[Epoch], None],
) -> Epoch:
    """Train until the validation loss no longer falls; the network is left with its best weights.

    The loss is the cross-entropy of every token given those before it and the embedding. The
    embedding is disturbed by Gaussian noise of length ``noise``, and a share ``word_dropout`` of
    the tokens is read as unknown.

    Args:
        network: trained in place.
        train: what is learned.
        validation: decides when to stop and which weights to keep.
        settings: of the training.
        seed: of the order, the noise and the dropout.
        report: called after every validation, with the weights of that moment in the network.

    Returns:
        The best epoch.

    Raises:
        TrainingError: the loss is no finite number.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    batches = len(train.batches(settings.batch_tokens))
    optimizer = _optimizer(network, settings)
    schedule = LambdaLR(optimizer, _rate(settings, batches * settings.epochs))
    start = time.monotonic()
    best = Epoch(0, math.nan, validation_loss(network, validation, settings), 0.0, True)
    report(best)
    weights = _copy(network)
    for number in range(1, settings.epochs + 1):
        loss_sum, count = 0.0, 0
        for batch in _disturbed(train, settings, generator):
            loss_sum += _update(network, batch, optimizer, settings) * batch.count
            count += batch.count
            schedule.step()
            if time.monotonic() - start > 60 * settings.max_minutes:
                break
        seconds, train_loss = time.monotonic() - start, loss_sum / count
        loss = _finite(validation_loss(network, validation, settings), train_loss, number)
        epoch = Epoch(number, train_loss, loss, seconds, loss < best.validation_loss)
        if epoch.best:
            best, weights = epoch, _copy(network)
        report(epoch)
        if number - best.number >= settings.patience or seconds > 60 * settings.max_minutes:
            break
    network.load_state_dict(weights)
    network.eval()
    return best


@torch.no_grad()
def validation_loss(
    network: CausalTransformer, texts: TokenTexts, settings: DecoderTrainingSettings
) -> float:
    """Mean cross-entropy of all tokens, in nats; nothing is disturbed.

    Args:
        network: left in evaluation mode.
        texts: any number.
        settings: ``batch_tokens`` applies.
    """
    network.eval()
    total, count = 0.0, 0
    for batch in texts.in_batches(settings.batch_tokens):
        total += float(_loss(network, batch)) * batch.count
        count += batch.count
    return total / count


def _finite(loss: float, train_loss: float, number: int) -> float:
    """The validation loss, where both losses of an epoch are numbers."""
    if not math.isfinite(loss + train_loss):
        raise TrainingError(
            "training.learning_rate",
            f"expected a finite loss in epoch {number}, got {loss} on validation text",
            "Lower it and start again; the decoder saved last is intact",
        )
    return loss


def _optimizer(
    network: CausalTransformer, settings: DecoderTrainingSettings
) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, fused=True)


def _rate(settings: DecoderTrainingSettings, updates: int) -> Callable[[int], float]:
    """The share of the peak rate at every update."""
    rising = max(1, round(settings.warmup * updates))

    def share(update: int) -> float:
        if update < rising:
            return (update + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (update - rising) / max(1, updates - rising)))

    return share


def _disturbed(
    texts: TokenTexts, settings: DecoderTrainingSettings, generator: torch.Generator
) -> Iterator[TokenBatch]:
    for index_B in texts.batches(settings.batch_tokens, generator):
        batch = texts.batch(index_B)
        shape = batch.embedding_BD.shape
        noise_BD = torch.randn(shape, generator=generator) * settings.noise / math.sqrt(shape[1])
        embedding_BD = F.normalize(batch.embedding_BD + noise_BD, dim=1)
        hidden_BL = torch.rand(batch.ids_BL.shape, generator=generator) < settings.word_dropout
        ids_BL = batch.ids_BL.masked_fill(hidden_BL, UNKNOWN)
        yield TokenBatch(embedding_BD, ids_BL, batch.target_BT)


def _update(
    network: CausalTransformer,
    batch: TokenBatch,
    optimizer: torch.optim.Optimizer,
    settings: DecoderTrainingSettings,
) -> float:
    network.train()
    loss = _loss(network, batch)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
    optimizer.step()
    return float(loss.detach())


def _loss(network: CausalTransformer, batch: TokenBatch) -> Tensor:
    scores_BTV = network(batch.embedding_BD, batch.ids_BL)
    return F.cross_entropy(
        scores_BTV.flatten(0, 1), batch.target_BT.flatten(), ignore_index=IGNORED
    )


def _copy(network: CausalTransformer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
