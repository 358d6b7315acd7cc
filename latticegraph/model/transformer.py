"""EmbeddingTransformer: teacher space to the surface and back.

Legend: B batch, D teacher width, S surface width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from latticegraph.config.model import TransformerSettings
from latticegraph.plugins import is_class_path, load_class, make


class ResidualLevel(nn.Module):
    """``y = L x + W2 gelu(W1 norm(x))``: a linear path and a nonlinear one that starts at zero.

    Args:
        inputs: width in.
        outputs: width out.
        hidden: width of the nonlinear path; 0 leaves it out.
        settings: layer norm and dropout of the nonlinear path.

    Shapes:
        (B, inputs) -> (B, outputs)
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int, settings: TransformerSettings
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.branch: nn.Sequential | None = None
        if hidden:
            layers: list[nn.Module] = [nn.LayerNorm(inputs)] if settings.layer_norm else []
            layers += [nn.Linear(inputs, hidden), nn.GELU()]
            if settings.dropout:
                layers.append(nn.Dropout(settings.dropout))
            last = nn.Linear(hidden, outputs)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.branch = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        """Both paths added."""
        y: Tensor = self.linear(x)
        return y if self.branch is None else y + self.branch(x)


class Projection(nn.Module, ABC):
    """Maps standardised teacher embeddings to the surface, and back.

    The base class of :class:`EmbeddingTransformer` and of projections named by their class path in
    ``model.transformer.kind``; these are called with D, S and the options.

    Shapes:
        encode (B, D) -> (B, S); decode (B, S) -> (B, D)
    """

    @abstractmethod
    def encode(self, embedding_BD: Tensor) -> Tensor:
        """Standardised embeddings to the surface."""

    @abstractmethod
    def decode(self, surface_BS: Tensor) -> Tensor:
        """The surface to standardised embeddings."""

    def start_from(self, directions_RD: Tensor, surface_scale: float) -> None:
        """Start from the principal directions of the training embeddings; by default nothing.

        Args:
            directions_RD: orthonormal rows, most important first.
            surface_scale: root mean square of the projections on them.
        """


def make_projection(
    settings: TransformerSettings, teacher_dimension: int, surface_width: int
) -> Projection:
    """The projection of ``model.transformer``.

    Args:
        settings: kind and options.
        teacher_dimension: D.
        surface_width: S.

    Raises:
        ConfigError: its class cannot be imported, or refuses the options.
    """
    if not is_class_path(settings.kind):
        return EmbeddingTransformer(settings, teacher_dimension, surface_width)
    key = "model.transformer"
    class_ = load_class(settings.kind, f"{key}.kind", Projection)  # type: ignore[type-abstract]
    return make(class_, settings.options, f"{key}.options", teacher_dimension, surface_width)


class EmbeddingTransformer(Projection):
    """Maps standardised teacher embeddings to S surface numbers of unit variance, and back.

    ``linear``: one linear map each way. ``autoencoder``: with a residual hidden layer each way.
    ``hierarchical``: through the widths of ``levels``, each a linear map with a residual hidden
    layer, and back in reverse order. All kinds start as the projection on ``directions`` (PCA) or
    on random orthogonal ones.

    Args:
        settings: kind, hidden, levels, layer_norm, dropout, init.
        teacher_dimension: D.
        surface_width: S.

    Shapes:
        to_surface (B, D) -> (B, S); to_teacher (B, S) -> (B, D)
    """

    def __init__(
        self, settings: TransformerSettings, teacher_dimension: int, surface_width: int
    ) -> None:
        super().__init__()
        widths = [teacher_dimension, surface_width]
        if settings.kind == "hierarchical":
            widths = [teacher_dimension, *settings.levels, surface_width]
        nonlinear = settings.kind != "linear"
        self.to_surface = _chain(widths, nonlinear, settings)
        self.to_teacher = _chain(widths[::-1], nonlinear, settings)
        self.register_buffer("surface_scale", torch.ones(()))
        self.surface_scale: Tensor
        random = torch.randn(teacher_dimension, teacher_dimension)
        self.start_from(torch.linalg.qr(random).Q, 1.0)

    @torch.no_grad()
    def start_from(self, directions_RD: Tensor, surface_scale: float) -> None:
        """Start both ways as the projection on the first orthonormal rows of ``directions_RD``.

        Args:
            directions_RD: orthonormal rows, most important first; at least min(S, D) of them.
            surface_scale: root mean square of the projections, so that the surface has unit
                variance.
        """
        self.surface_scale.fill_(surface_scale)
        down = [level for level in self.to_surface if isinstance(level, ResidualLevel)]
        up = [level for level in self.to_teacher if isinstance(level, ResidualLevel)]
        for level in (*down, *up):
            nn.init.eye_(level.linear.weight)
            nn.init.zeros_(level.linear.bias)
        rows = min(down[0].linear.out_features, directions_RD.shape[0])
        down[0].linear.weight.zero_()
        down[0].linear.weight[:rows] = directions_RD[:rows]
        up[-1].linear.weight.zero_()
        up[-1].linear.weight[:, :rows] = directions_RD[:rows].T

    def encode(self, embedding_BD: Tensor) -> Tensor:
        """Standardised embeddings to the surface."""
        surface: Tensor = self.to_surface(embedding_BD)
        return surface.to(embedding_BD.dtype) / self.surface_scale

    def decode(self, surface_BS: Tensor) -> Tensor:
        """The surface to standardised embeddings."""
        embedding: Tensor = self.to_teacher(surface_BS * self.surface_scale)
        return embedding.to(surface_BS.dtype)


def _chain(widths: Sequence[int], nonlinear: bool, settings: TransformerSettings) -> nn.Sequential:
    levels = []
    for inputs, outputs in pairwise(widths):
        levels.append(ResidualLevel(inputs, outputs, settings.hidden if nonlinear else 0, settings))
    return nn.Sequential(*levels)
