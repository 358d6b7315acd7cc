"""Weights and targets of the loss terms."""

from __future__ import annotations

from pydantic import Field

from latticegraph.config.section import Section


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
