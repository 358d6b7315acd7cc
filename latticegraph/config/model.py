"""Settings of the model: transformer, mapper, experts, gating and dynamics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from latticegraph.config.experts import ExpertSettings, MessageSettings
from latticegraph.config.kinds import Kind, check_kind
from latticegraph.config.section import Section

WIDEST = 65_536  # a layer from here to the same width takes 16 GiB


class TransformerSettings(Section):
    """EmbeddingTransformer: teacher space to surface and back."""

    kind: Kind = Field(
        "linear",
        description="linear, autoencoder, hierarchical, or a Projection by path, file.py:Class",
    )
    options: dict[str, Any] = Field({}, description="arguments of a projection given by its path")
    hidden: int = Field(
        512, ge=1, le=WIDEST, description="width of the hidden layer of autoencoder"
    )
    levels: tuple[Annotated[int, Field(ge=1, le=WIDEST)], ...] = Field(
        (512, 1024), min_length=1, description="widths between teacher and surface of hierarchical"
    )
    layer_norm: bool = Field(False, description="normalise hidden layers; nonlinear kinds only")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of hidden units dropped")
    init: Literal["pca", "orthogonal"] = Field(
        "pca", description="start of the linear path; pca needs the training embeddings"
    )

    @model_validator(mode="after")
    def _known(self) -> TransformerSettings:
        check_kind("kind", self.kind, ("linear", "autoencoder", "hierarchical"))
        return self


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
        8192,
        ge=2,
        le=10**7,
        description="training samples that the start of the readout is fitted to",
    )
    readout_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of what that map reads that is dropped in training"
    )
    input_noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of the noise on the surface in training / root mean "
        "square of the surface",
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


class GatingSettings(Section):
    """GatingNetwork: weights of the experts, per cell."""

    temperature: float = Field(1.0, gt=0, description="below 1 sharpens, above 1 softens")
    top_k: int | None = Field(None, ge=1, description="keep the k largest, at least 2; null: all")
    balance_weight: float = Field(0.0, ge=0, description="weight of the load-balance loss")
    z_weight: float = Field(0.0, ge=0, description="weight of the squared log-partition loss")

    @model_validator(mode="after")
    def _trains(self) -> GatingSettings:
        if self.top_k == 1:
            raise ValueError(
                "top_k: expected at least 2 or null, got 1, with which the share kept is always 1: "
                "neither the gate nor the other experts get a gradient; set it to 2 or to null"
            )
        return self


class DynamicsSettings(Section):
    """Lattice3D: how many steps, and when to stop."""

    steps: int = Field(8, ge=1, le=10_000, description="maximum number of steps per rollout")
    min_steps: int = Field(8, ge=1, le=10_000, description="never converge before this many steps")
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

    seed: int = Field(0, ge=0, lt=2**32, description="added to run.seed for the parameters")
    reproducible: bool = Field(
        True, description="deterministic kernels; false may be faster on a GPU"
    )
    init_method: Literal["transport", "random"] = Field(
        "transport", description="transport lets a signal cross the lattice from the first update"
    )
    gain: float = Field(1.0, gt=0, description="scale of the random part of the initial weights")


class ModelSettings(Section):
    """The student: EmbeddingTransformer, mapper, Lattice3D, extractor."""

    state_channels: int = Field(16, ge=1, le=4096, description="numbers per cell")
    surface_channels: int = Field(
        1, ge=1, le=4096, description="numbers written into one face cell"
    )
    transformer: TransformerSettings = TransformerSettings()
    mapper: MapperSettings = MapperSettings()
    messages: MessageSettings = MessageSettings()
    experts: tuple[ExpertSettings, ...] = Field(
        (
            ExpertSettings(name="local", kind="local", edges=("local",)),
            ExpertSettings(name="functional", kind="functional", edges=("functional",)),
            ExpertSettings(
                name="distant", kind="distant", edges=("distant",), options={"substeps": 2}
            ),
        ),
        min_length=1,
        description="the experts of every cell; several may share an edge type",
    )
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
    kernel: Literal["auto", "plain", "fused"] = Field(
        "auto",
        description="plain: the step as written in dynamics/step.py, by autograd; fused: "
        "hand-written gradients, for unchanged built-in experts; auto: fused where possible",
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
    def _tables(self) -> ModelSettings:
        """Settings of the edge-weight network are refused where they would have no effect."""
        kinds = [expert.message_options(self.messages)["weights"] for expert in self.experts]
        for name in ("edge_hidden", "bumps"):
            default = MessageSettings.model_fields[name].default
            own = [getattr(expert, name) for expert in self.experts]
            given = {
                f"experts.{index}.{name}": value
                for index, (value, kind) in enumerate(zip(own, kinds, strict=True))
                if value is not None and kind != "network"
            }
            # The shared value is that of the experts without one, some of which may be networks.
            shared = {kind for value, kind in zip(own, kinds, strict=True) if value is None}
            if shared and "network" not in shared:
                given[f"messages.{name}"] = getattr(self.messages, name)
            for key, value in given.items():
                if value != default:
                    raise ValueError(
                        f"{key}: expected {default} with weights table or edge, which have no "
                        f"network, got {value}; leave it out, or set weights to network"
                    )
        return self

    @model_validator(mode="after")
    def _fits(self) -> ModelSettings:
        for index, expert in enumerate(self.experts):
            heads = expert.message_options(self.messages)["heads"]
            if self.state_channels % heads:
                key = "messages.heads" if expert.heads is None else f"experts.{index}.heads"
                raise ValueError(
                    f"{key}: expected a divisor of state_channels ({self.state_channels}), "
                    f"got {heads}; choose another number of heads"
                )
        names = [expert.name for expert in self.experts]
        if len(set(names)) < len(names):
            raise ValueError(f"experts: expected different names, got {names}; rename one of them")
        top_k = self.gating.top_k
        if top_k is not None and top_k >= len(names):
            raise ValueError(
                f"gating.top_k: expected null, or less than the number of experts ({len(names)}), "
                f"got {top_k}; set it to null to keep all"
            )
        if self.kernel == "fused" and self.compile:
            raise ValueError(
                "kernel: expected auto or plain with compile true, got fused; compiled steps are "
                "made from the plain ones, so set model.kernel to auto"
            )
        if self.surface_channels > self.state_channels:
            raise ValueError(
                f"surface_channels: expected at most state_channels ({self.state_channels}), got "
                f"{self.surface_channels}; lower it or raise model.state_channels"
            )
        return self
