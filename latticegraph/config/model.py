"""Settings of the model: transformer, mapper, experts, gating and dynamics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from latticegraph.config.section import Section


class TransformerSettings(Section):
    """EmbeddingTransformer: teacher space to surface and back."""

    kind: Literal["linear", "autoencoder", "hierarchical"] = Field(
        "linear", description="nonlinear kinds let the projections learn too"
    )
    hidden: int = Field(512, ge=1, description="width of the hidden layer of autoencoder")
    levels: tuple[int, ...] = Field(
        (512, 1024), description="widths between teacher and surface of hierarchical"
    )
    layer_norm: bool = Field(False, description="normalise hidden layers; nonlinear kinds only")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of hidden units dropped")
    init: Literal["pca", "orthogonal"] = Field(
        "pca", description="start of the linear path; pca needs the training embeddings"
    )


class MapperSettings(Section):
    """EmbeddingToLatticeMapper and LatticeToEmbeddingExtractor: surface to cells and back."""

    lift: Literal["cell", "dense"] = Field(
        "dense",
        description="cell: each surface number enters its own cell; dense: a linear map adds a "
        "mixture of all surface numbers to the other channels of every written cell",
    )
    readout: Literal["surface", "states"] = Field(
        "states",
        description="states adds a linear map from all channels of the cells read",
    )
    readout_init: Literal["ridge", "zeros"] = Field(
        "ridge",
        description="start of that map: ridge regression on the training data, or zeros",
    )
    start_samples: int = Field(
        8192, ge=2, description="training samples that the start of the readout is fitted to"
    )
    positional: Literal["none", "learned", "sinusoidal", "fractal"] = Field(
        "learned", description="encoding added to the written cells"
    )
    volume_init: Literal["zeros", "learned", "noise", "depth_decay"] = Field(
        "learned", description="states of the cells that are not written"
    )
    noise_std: float = Field(0.1, ge=0, description="standard deviation of volume_init noise")
    depth_decay: float = Field(
        0.5, gt=0, lt=1, description="factor per cell of depth for volume_init depth_decay"
    )


class ExpertSettings(Section):
    """The three message-passing experts."""

    heads: int = Field(4, ge=1, description="edge weights per edge; divides state_channels")
    edge_hidden: int = Field(16, ge=1, description="hidden width of the edge-weight network")
    bumps: int = Field(
        0,
        ge=0,
        description="localised features of that network; 2 where a cell has hundreds of neighbours",
    )
    substeps: int = Field(
        2, ge=1, le=16, description="Euler sub-steps of the distant (continuous-time) expert"
    )
    norm: bool = Field(False, description="normalise each expert's input per cell")


class GatingSettings(Section):
    """GatingNetwork: which expert a cell listens to."""

    temperature: float = Field(1.0, gt=0, description="below 1 sharpens, above 1 softens")
    top_k: int | None = Field(None, ge=1, le=3, description="keep the k largest; null keeps all")
    balance_weight: float = Field(0.0, ge=0, description="weight of the load-balance loss")
    z_weight: float = Field(0.0, ge=0, description="weight of the squared log-partition loss")


class DynamicsSettings(Section):
    """Lattice3D: how many steps, and when to stop."""

    steps: int = Field(8, ge=1, description="maximum number of steps per rollout")
    min_steps: int = Field(8, ge=1, description="never converge before this many steps")
    tolerance: float = Field(
        0.0, ge=0, description="relative change of the state counted as converged; 0 never stops"
    )
    backprop_steps: int | None = Field(
        None,
        ge=1,
        description="last steps that gradients flow back through; null: all. Fewer take less "
        "memory and time; what lies before the lattice then keeps its data-driven start",
    )
    patience: int = Field(2, ge=1, description="consecutive converged steps before a sample stops")
    mode: Literal["lattice", "identity", "wire"] = Field(
        "lattice",
        description="controls: identity leaves every state as it is; wire copies the written "
        "states onto the read cells, so that all but the lattice remains",
    )

    @model_validator(mode="after")
    def _ordered(self) -> DynamicsSettings:
        if self.min_steps > self.steps:
            raise ValueError(
                f"min_steps: expected at most steps ({self.steps}), got {self.min_steps}; lower it"
            )
        return self


class InitSettings(Section):
    """How parameters start."""

    seed: int = Field(0, ge=0, description="added to run.seed for the parameters")
    reproducible: bool = Field(
        True, description="deterministic kernels; false may be faster on a GPU"
    )
    init_method: Literal["transport", "random"] = Field(
        "transport", description="transport lets a signal cross the lattice from the first update"
    )
    gain: float = Field(1.0, gt=0, description="scale of the random part of the initial weights")


class ModelSettings(Section):
    """The student: EmbeddingTransformer, mapper, Lattice3D, extractor."""

    state_channels: int = Field(16, ge=1, description="numbers per cell")
    surface_channels: int = Field(1, ge=1, description="numbers written into one face cell")
    transformer: TransformerSettings = TransformerSettings()
    mapper: MapperSettings = MapperSettings()
    experts: ExpertSettings = ExpertSettings()
    gating: GatingSettings = GatingSettings()
    dynamics: DynamicsSettings = DynamicsSettings()
    init: InitSettings = InitSettings()
    aggregation: Literal["auto", "spmm", "fft", "scatter"] = Field(
        "auto",
        description="auto: spmm or fft, whichever is expected to be faster; scatter is the "
        "edge-level reference: slow, large",
    )
    compile: bool = Field(
        False,
        description="compile the lattice step with torch.compile: a minute once, less time "
        "per update of small cubes; needs a C++ compiler; not with run.parallel slabs",
    )
    max_memory_gb: float = Field(
        4.0,
        gt=0,
        description="budget of one rollout; what exceeds it is recomputed or split into chunks, "
        "with the same result",
    )
    target_performance_ms: float = Field(
        50.0, gt=0, description="wanted time of one lattice step; the log shows the ratio"
    )

    @model_validator(mode="after")
    def _fits(self) -> ModelSettings:
        if self.state_channels % self.experts.heads:
            raise ValueError(
                f"experts.heads: expected a divisor of state_channels ({self.state_channels}), "
                f"got {self.experts.heads}; choose another number of heads"
            )
        if self.surface_channels > self.state_channels:
            raise ValueError(
                f"surface_channels: expected at most state_channels ({self.state_channels}), got "
                f"{self.surface_channels}; lower it or raise model.state_channels"
            )
        return self
