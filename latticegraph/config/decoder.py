"""Settings of a decoder that writes text, and of its training; the tree of configs/decoder.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from latticegraph.config.section import Section
from latticegraph.config.sources import DataSettings, TeacherSettings

Method = Literal["best", "greedy", "beam", "sample"]


class DecoderRunSettings(Section):
    """Place, seed and machine."""

    folder: str = Field("runs/decoder", min_length=1, description="where the decoder is saved")
    seed: int = Field(0, ge=0, lt=2**32, description="same seed, same CPU result, bit for bit")
    threads: int = Field(
        0, ge=0, le=1024, description="CPU threads of torch; 0 leaves its own choice"
    )


class DecoderNetworkSettings(Section):
    """The causal transformer."""

    width: int = Field(256, ge=2, le=4096, description="numbers per token, a multiple of heads")
    layers: int = Field(4, ge=1, le=48, description="blocks of attention and feed-forward")
    heads: int = Field(4, ge=1, le=64, description="heads of attention")
    prefix_tokens: int = Field(
        4, ge=1, le=64, description="places before the text that hold the embedding"
    )
    vocabulary: int = Field(
        4096, ge=300, le=65_536, description="entries of the byte-pair vocabulary"
    )
    max_tokens: int = Field(
        48, ge=4, le=512, description="longest text; training cuts what is longer"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="of tokens and of every block's output")

    @model_validator(mode="after")
    def _divisible(self) -> DecoderNetworkSettings:
        if self.width % self.heads:
            raise ValueError(
                f"width: expected a multiple of heads ({self.heads}), got {self.width}; change one "
                "of them"
            )
        return self


class DecoderTrainingSettings(Section):
    """How the transformer learns; the teacher stays as it is."""

    epochs: int = Field(5, ge=1, le=10_000, description="passes over the training text")
    max_minutes: float = Field(
        25.0, gt=0, description="training ends here, with the best weights so far"
    )
    patience: int = Field(
        3, ge=1, le=1000, description="validations without a lower loss that end training"
    )
    batch_tokens: int = Field(
        1024, ge=16, le=1_000_000, description="tokens of an update; texts of like length together"
    )
    learning_rate: float = Field(1.0e-3, gt=0, le=1, description="peak, of AdamW")
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of the updates with a rising rate; then a cosine to 0"
    )
    weight_decay: float = Field(0.1, ge=0, le=10, description="of matrices")
    gradient_clip: float = Field(1.0, gt=0, description="longest gradient")
    fragments: int = Field(
        2, ge=0, le=100, description="pieces of every training text that are learned beside it"
    )
    noise: float = Field(
        0.5, ge=0, le=10, description="length of the noise added to an embedding of length 1"
    )
    word_dropout: float = Field(
        0.2, ge=0, lt=1, description="share of the tokens that the decoder reads as unknown"
    )


class WritingSettings(Section):
    """How a trained decoder chooses the tokens of a text."""

    method: Method = Field(
        "best",
        description="best: of several candidates the one whose embedding is nearest; greedy: "
        "always the likeliest token; beam: the likeliest text of several; sample: drawn",
    )
    candidates: int = Field(
        8, ge=1, le=256, description="for best: the greedy text and drawn ones, so many in all"
    )
    beams: int = Field(4, ge=1, le=64, description="for beam: texts that are followed at once")
    temperature: float = Field(
        0.7, gt=0, le=10, description="for drawn texts: below 1 prefers likely tokens"
    )
    top_p: float = Field(
        0.95, gt=0, le=1, description="for drawn texts: tokens beyond this probability are left out"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of drawn texts")


class DecoderConfig(Section):
    """Everything that training a decoder needs, resolved and checked."""

    run: DecoderRunSettings = DecoderRunSettings()
    teacher: TeacherSettings = TeacherSettings()
    data: DataSettings = DataSettings()
    network: DecoderNetworkSettings = DecoderNetworkSettings()
    training: DecoderTrainingSettings = DecoderTrainingSettings()
    writing: WritingSettings = WritingSettings()
