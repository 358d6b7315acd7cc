"""Settings of the training loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from latticegraph.config.section import Section

Part = Literal["all", "experts", "projections"]


class PhaseSettings(Section):
    """One stretch of training with its own length, rate and trained part."""

    name: str = Field(description="shown in logs")
    epochs: int = Field(
        0, ge=0, le=10**6, description="length in epochs; exactly one of epochs and updates"
    )
    updates: int = Field(0, ge=0, le=10**9, description="length in updates")
    learning_rate: float = Field(1e-3, gt=0, lt=1, description="peak of the schedule")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "cosine", description="decay over the phase"
    )
    warmup: float = Field(
        0.0, ge=0, lt=1, description="share of the phase in which the rate rises from 0"
    )
    final_ratio: float = Field(
        0.0, ge=0, le=1, description="rate at the end of the phase / learning_rate"
    )
    train: Part = Field(
        "all", description="experts: projections frozen; projections: experts frozen"
    )
    losses: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="weights of loss terms in this phase, in place of those of losses"
    )

    @model_validator(mode="after")
    def _one_length(self) -> PhaseSettings:
        if (self.epochs > 0) == (self.updates > 0):
            action = "set one of them to 0" if self.epochs else "set one of them above 0"
            raise ValueError(
                f"epochs: expected exactly one of epochs and updates above 0, got epochs="
                f"{self.epochs}, updates={self.updates}; {action}"
            )
        return self


class EarlyStoppingSettings(Section):
    """When to stop before the last phase ends."""

    patience: int = Field(
        0, ge=0, description="validations without a better explained variance; 0 never stops"
    )
    min_delta: float = Field(0.0, ge=0, description="smallest gain counted as better")


class TrainingSettings(Section):
    """EmbeddingTrainer: phases, optimiser, checkpoints and logs."""

    batch_size: int = Field(
        64, ge=2, le=2**20, description="samples per forward pass, of all processes"
    )
    accumulate: int = Field(1, ge=1, le=2**20, description="forward passes per update")
    phases: tuple[PhaseSettings, ...] = Field(
        (
            PhaseSettings(name="warm-up", updates=100, warmup=0.9, schedule="constant"),
            PhaseSettings(name="main", updates=2300),
        ),
        min_length=1,
        description="run one after the other",
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW; not on biases and vectors")
    projection_weight_decay: float | None = Field(
        None,
        ge=0,
        description="in its place for the matrices of transformer, mapper and extractor; null: "
        "the same",
    )
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.99), description="AdamW: decay of the means of the gradient and of its square"
    )
    average_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="of the exponential mean of the weights over updates, which validation, the "
        "best checkpoint and the saved model use; 0: the weights themselves",
    )
    expert_lr_scale: float = Field(0.2, gt=0, description="rate of the experts / learning_rate")
    projection_lr_scale: float = Field(
        1.0, gt=0, description="rate of the projections / learning_rate"
    )
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the whole gradient")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="bfloat16 and float16 run matrix products under autocast, float16 with a "
        "dynamic scale of the loss; sums over neighbours, states and losses stay float32",
    )
    activation_checkpointing: bool = Field(
        False, description="recompute steps in the backward pass: less memory, more time"
    )
    checkpoint_steps: int = Field(
        1, ge=1, description="steps recomputed together with activation_checkpointing"
    )
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    validate_every: int = Field(1, ge=1, le=10**6, description="epochs between validations")
    checkpoint_every: int = Field(5, ge=1, le=10**6, description="epochs between checkpoints")
    keep_checkpoints: int = Field(
        2, ge=1, le=10**6, description="periodic checkpoints kept beside best"
    )
    log_every: int = Field(10, ge=1, le=10**9, description="updates between log lines")
    shares_every: int = Field(
        400,
        ge=0,
        description="updates between measurements of every term's share of the gradient, each a "
        "backward pass per term; 0: never",
    )
    monitor_samples: int = Field(
        64,
        ge=0,
        le=2**16,
        description="validation samples on which states and gates of all cells are measured at "
        "every validation, fewer where the lattice is large; 0: none",
    )

    @property
    def recomputed_steps(self) -> int:
        """Steps recomputed together in the backward pass; 0: none."""
        return self.checkpoint_steps if self.activation_checkpointing else 0
