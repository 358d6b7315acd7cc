"""Settings of the lattice: its size, its radii and its surfaces."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from latticegraph.config.section import Section


def exact(value: float) -> Fraction:
    """The fraction a person means by a decimal such as 0.1 (a float only approximates it)."""
    return Fraction(repr(value))


Side = Annotated[int, Field(le=2048)]


class LatticeSettings(Section):
    """Size, radii, boundary and surfaces of the cube of cells.

    Edge types follow from the Euclidean distance d between integer cell coordinates, bounds
    inclusive::

        max_radius = clamp(max(dimensions) * adaptive_radius_ratio,
                           adaptive_radius_min, adaptive_radius_max)

        LOCAL        d <= max_radius * local_distance_ratio, and self-edges (d = 0)
        FUNCTIONAL   local < d <= max_radius * functional_distance_ratio
        DISTANT      functional < d <= max_radius * distant_distance_ratio
    """

    dimensions: tuple[Side, Side, Side] = Field(
        (8, 8, 8), description="cells along the three axes; each >= 2"
    )
    adaptive_radius_ratio: float = Field(
        0.2, gt=0, le=1, description="radius as a share of the longest side"
    )
    adaptive_radius_min: float = Field(1.0, gt=0, description="lower clamp of the radius, in cells")
    adaptive_radius_max: float = Field(
        50.0,
        gt=0,
        le=64,
        description="upper clamp of the radius, in cells; the offsets within 64 are a million",
    )
    local_distance_ratio: float = Field(0.1, ge=0, le=1, description="local radius / max_radius")
    functional_distance_ratio: float = Field(
        0.65, gt=0, le=1, description="functional radius / max_radius"
    )
    distant_distance_ratio: float = Field(
        1.0, gt=0, le=1, description="distant radius / max_radius"
    )
    self_edges: bool = Field(True, description="give every cell a local edge to itself")
    boundary: Literal["open", "periodic"] = Field(
        "open", description="periodic wraps all three axes"
    )
    numbering: Literal["row_major", "morton"] = Field(
        "row_major", description="order of cells in memory; changes no result"
    )
    builder: Literal["offsets", "torch_cluster"] = Field(
        "offsets", description="torch_cluster needs the extra [pyg-ext] and an open boundary"
    )
    surface: Literal["front_back", "all_faces", "volume"] = Field(
        "front_back", description="cells written and read"
    )
    axis: int = Field(0, ge=0, le=2, description="depth axis, from the front face to the back face")
    cache_dir: str | None = Field(
        None, description="folder that keeps built graphs; null builds each time"
    )

    @model_validator(mode="after")
    def _consistent(self) -> LatticeSettings:
        if min(self.dimensions) < 2:
            raise ValueError(
                f"dimensions: expected three sizes of at least 2 cells, got {list(self.dimensions)}"
                "; enlarge the smallest side"
            )
        if self.adaptive_radius_min > self.adaptive_radius_max:
            raise ValueError(
                f"adaptive_radius_min: expected at most adaptive_radius_max "
                f"({self.adaptive_radius_max}), got {self.adaptive_radius_min}; lower it"
            )
        ratios = (
            self.local_distance_ratio,
            self.functional_distance_ratio,
            self.distant_distance_ratio,
        )
        if not ratios[0] < ratios[1] < ratios[2]:
            raise ValueError(
                "functional_distance_ratio: expected local < functional < distant ratios, got "
                f"{ratios[0]} / {ratios[1]} / {ratios[2]}; order them"
            )
        if self.boundary == "periodic" and self.builder == "torch_cluster":
            raise ValueError(
                "builder: expected 'offsets' for a periodic boundary, got 'torch_cluster'"
                "; set lattice.builder to offsets"
            )
        return self

    @property
    def exact_max_radius(self) -> Fraction:
        """``max_radius`` without rounding, in cells."""
        radius = max(self.dimensions) * exact(self.adaptive_radius_ratio)
        radius = max(radius, exact(self.adaptive_radius_min))
        return min(radius, exact(self.adaptive_radius_max))

    @property
    def exact_thresholds(self) -> tuple[Fraction, Fraction, Fraction]:
        """The local, functional and distant radii without rounding, in cells."""
        radius = self.exact_max_radius
        return (
            radius * exact(self.local_distance_ratio),
            radius * exact(self.functional_distance_ratio),
            radius * exact(self.distant_distance_ratio),
        )

    @property
    def max_radius(self) -> float:
        """Largest distance over which two cells may be joined, in cells."""
        return float(self.exact_max_radius)

    @property
    def local_distance_threshold(self) -> float:
        """Largest distance of a local edge, in cells."""
        return float(self.exact_thresholds[0])

    @property
    def functional_distance_threshold(self) -> float:
        """Largest distance of a functional edge, in cells."""
        return float(self.exact_thresholds[1])

    @property
    def distant_distance_threshold(self) -> float:
        """Largest distance of a distant edge, in cells."""
        return float(self.exact_thresholds[2])

    def get_distance_thresholds(self) -> dict[str, float]:
        """All computed radii, in cells, by name.

        >>> LatticeSettings(dimensions=(15, 15, 15)).get_distance_thresholds()
        {'max_radius': 3.0, 'local': 0.3, 'functional': 1.95, 'distant': 3.0}
        """
        return {
            "max_radius": self.max_radius,
            "local": self.local_distance_threshold,
            "functional": self.functional_distance_threshold,
            "distant": self.distant_distance_threshold,
        }
