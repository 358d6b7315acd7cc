"""Settings of the held-out evaluation and its baselines."""

from __future__ import annotations

from pydantic import Field, model_validator

from latticegraph.config.section import Section
from latticegraph.plugins import is_class_path


class EvaluationSettings(Section):
    """Baselines trained beside the cube, at the same bottleneck."""

    batch_size: int = Field(256, ge=1, le=2**20, description="samples per forward pass")
    validation_samples: int = Field(
        2048, ge=1, le=10**9, description="validation pairs measured during training, at most"
    )
    mlp_hidden: int = Field(512, ge=1, le=65_536, description="hidden width of the MLP autoencoder")
    baseline_epochs: int = Field(
        30, ge=1, le=10**4, description="training length of both autoencoders"
    )
    off_epochs: int = Field(
        10,
        ge=1,
        le=10**4,
        description="training length of the same model retrained without lattice",
    )
    metrics: tuple[str, ...] = Field(
        (), description="class paths of further metrics, for instance my_metric.py:MyMetric"
    )
    refine_steps: int = Field(
        0,
        ge=0,
        le=10**4,
        description="gradient steps on each code, for a row of the codec table; 0: no row",
    )
    decoded_examples: int = Field(
        5, ge=0, le=1000, description="held-out sentences shown in the report"
    )
    decoder: str | None = Field(
        None,
        min_length=1,
        description="folder of a decoder that writes, or of a bank: every validation also shows "
        "what it makes of the student's and of the teacher's own embeddings",
    )

    @model_validator(mode="after")
    def _class_paths(self) -> EvaluationSettings:
        for path in self.metrics:
            if not is_class_path(path):
                raise ValueError(
                    f"metrics: expected class paths such as my_metric.py:MyMetric, got '{path}'; "
                    "write file.py:Class or package.module:Class"
                )
        return self
