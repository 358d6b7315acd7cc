"""Weights and targets of the loss terms."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from latticegraph.config.section import Section

# Logged beside the terms of this section: weighted by model.gating, and the sum of all terms.
RESERVED = ("gate_balance", "gate_z", "total")


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
        own = {
            name: getattr(self, name)
            for name in LossSettings.model_fields
            if name != "extra" and not name.endswith("_target")
        }
        return own | {term.name: term.weight for term in self.extra}
