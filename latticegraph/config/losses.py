"""Weights and targets of the loss terms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from latticegraph.config.section import Section

# Logged beside the terms of this section: weighted by model.gating, and the sum of all terms.
RESERVED = ("gate_balance", "gate_z", "total")

# The settings below that are weights of terms; all others are constants.
TERMS = (
    "reconstruction",
    "similarity",
    "structure",
    "diversity",
    "emergence",
    "dynamics",
    "spatial",
    "triplet",
    "contrastive",
    "distillation",
    "sparsity",
    "prefixes",
)

WeightingKind = Literal["fixed", "uncertainty", "softmax", "gradnorm"]


class ExtraLossSettings(Section):
    """A loss term whose class is defined outside the package."""

    name: str = Field(pattern=r"^[a-z]\w*$", description="of its curve in the logs")
    kind: str = Field(
        pattern=r"^\S+:\w+$", description="class path: file.py:Class or package.module:Class"
    )
    weight: float = Field(1.0, ge=0, description="weight in the sum of all terms")
    options: dict[str, Any] = Field({}, description="keyword arguments of the class")


class LossSettings(Section):
    """Weight of each term, and the constants inside it. A weight of 0 switches the term off."""

    reconstruction: float = Field(
        1.0, ge=0, description="squared error as a share of the teacher's variance"
    )
    similarity: float = Field(0.5, ge=0, description="1 - cosine, centred on the teacher's mean")
    structure: float = Field(0.1, ge=0, description="error of pairwise similarities in the batch")
    diversity: float = Field(0.1, ge=0, description="pairs more alike than their teachers")
    emergence: float = Field(
        0.01, ge=0, description="lack of information between cells and expert usage"
    )
    emergence_target: float = Field(
        0.3, gt=0, le=1, description="wanted information, as a share of its maximum"
    )
    dynamics: float = Field(0.01, ge=0, description="distance of the change per step from target")
    dynamics_target: float = Field(
        0.3, gt=0, description="wanted relative change of the state per step"
    )
    spatial: float = Field(0.01, ge=0, description="roughness of the final state over graph edges")
    triplet: float = Field(
        0.0, ge=0, description="a prediction nearer its own target than another one, by a margin"
    )
    triplet_margin: float = Field(
        0.2, gt=0, description="between distances of unit vectors, of which the largest is 2"
    )
    triplet_negatives: Literal["hard", "semihard"] = Field(
        "hard", description="nearest other target, or the nearest beyond the own one"
    )
    contrastive: float = Field(
        0.0, ge=0, description="InfoNCE: every prediction nearest its own target in the batch"
    )
    contrastive_temperature: float = Field(0.07, gt=0, description="lower: only near ones count")
    contrastive_hardness: float = Field(
        0.0,
        ge=0,
        description="how much more near negatives count than far ones; 0 counts all alike",
    )
    distillation: float = Field(
        0.0, ge=0, description="divergence of the distributions of similarities within the batch"
    )
    distillation_start: float = Field(0.2, gt=0, description="temperature in the first update")
    distillation_end: float = Field(0.05, gt=0, description="temperature in the last update")
    sparsity: float = Field(
        0.0, ge=0, description="L1 norm of the final states / their root mean square"
    )
    prefixes: float = Field(
        0.0, ge=0, description="squared error decoded from the first numbers of the code alone"
    )
    prefix_lengths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (8, 16, 32), min_length=1, description="how many first numbers; each below the whole code"
    )
    weighting: WeightingKind = Field(
        "fixed", description="how the weights above change while the model trains"
    )
    weighting_temperature: float = Field(
        1.0, gt=0, description="of softmax; lower: the smallest term gets more"
    )
    weighting_rate: float = Field(
        0.01, gt=0, lt=1, description="learning rate of the weights of uncertainty and gradnorm"
    )
    gradnorm_alpha: float = Field(
        1.5, ge=0, description="how much more gradient terms get that train slowly"
    )
    gradnorm_layer: str = Field(
        "mapper", description="component of the model at whose parameters gradients are measured"
    )
    gradnorm_every: int = Field(
        10, ge=1, description="updates between its measurements, each a backward pass per term"
    )
    extra: tuple[ExtraLossSettings, ...] = Field(
        (), description="terms whose classes are defined outside the package"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> LossSettings:
        taken = [*LossSettings.model_fields, *RESERVED]
        for index, term in enumerate(self.extra):
            if term.name in taken:
                raise ValueError(
                    f"extra.{index}.name: expected a name that no other term has, got "
                    f"'{term.name}'; choose another name"
                )
            taken.append(term.name)
        return self

    def weights(self) -> dict[str, float]:
        """Weight of every term of this section by its name, those of ``extra`` last."""
        own: dict[str, float] = {name: getattr(self, name) for name in TERMS}
        return own | {term.name: term.weight for term in self.extra}
