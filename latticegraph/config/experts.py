"""Settings of the experts and of what their messages have in common."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from latticegraph.config.kinds import Kind, check_kind
from latticegraph.config.section import Section


class MessageSettings(Section):
    """What the messages of all experts have in common; an expert may set its own value."""

    heads: int = Field(
        16, ge=1, le=4096, description="edge weights per edge; divides state_channels"
    )
    edge_hidden: int = Field(
        16, ge=1, le=4096, description="hidden width of the edge-weight network"
    )
    bumps: int = Field(
        0,
        ge=0,
        le=64,
        description="localised features of that network; 2 where a cell has hundreds of neighbours",
    )
    norm: bool = Field(False, description="normalise what each cell sends over its channels")
    weights: Literal["network", "table", "edge"] = Field(
        "network",
        description="what makes the edge weights: a network of the offset; a table with a free "
        "weight per offset and head, or per edge and head, which belongs to one lattice",
    )
    bounded: bool = Field(
        True,
        description="scale the edge weights so that one sum over neighbours grows the largest "
        "value at most 2-fold; without, states may grow without bound over many steps",
    )
    weight_gain: float = Field(
        1.0,
        gt=0,
        le=1e3,
        description="scale of the random part of the initial edge weights, times init.gain; above "
        "1 where few of many neighbours carry the input",
    )


class ExpertSettings(Section):
    """One expert: a message-passing layer over the edges of some types."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="name in logs, reports and checkpoints"
    )
    kind: Kind = Field(
        description="local, functional, distant or cell, or the path of an Expert, file.py:Class"
    )
    edges: tuple[Literal["local", "functional", "distant"], ...] = Field(
        min_length=1, description="edge types that it aggregates over"
    )
    lr_scale: float = Field(1.0, gt=0, description="learning rate / that of the other experts")
    heads: int | None = Field(None, ge=1, le=4096, description="null: model.messages.heads")
    edge_hidden: int | None = Field(
        None, ge=1, le=4096, description="null: model.messages.edge_hidden"
    )
    bumps: int | None = Field(None, ge=0, le=64, description="null: model.messages.bumps")
    norm: bool | None = Field(None, description="null: model.messages.norm")
    weights: Literal["network", "table", "edge"] | None = Field(
        None, description="null: model.messages.weights"
    )
    bounded: bool | None = Field(None, description="null: model.messages.bounded")
    weight_gain: float | None = Field(
        None, gt=0, le=1e3, description="null: model.messages.weight_gain"
    )
    options: dict[str, Any] = Field(
        {}, description="further arguments of its class; for kind distant: substeps, 1-16"
    )

    @model_validator(mode="after")
    def _known(self) -> ExpertSettings:
        check_kind("kind", self.kind, ("local", "functional", "distant", "cell"))
        if len(set(self.edges)) < len(self.edges):
            raise ValueError(
                f"edges: expected different edge types, got {list(self.edges)}; name each once"
            )
        return self

    def message_options(self, messages: MessageSettings) -> dict[str, Any]:
        """The settings of its messages: its own where set, else those of all experts."""
        own = {name: getattr(self, name) for name in MessageSettings.model_fields}
        return {name: getattr(messages, name) if v is None else v for name, v in own.items()}
