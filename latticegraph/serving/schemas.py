"""Bodies of requests and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
)


def _not_null(rows: Any) -> Any:
    if rows is None:
        raise ValueError("expected rows, got null; leave the field out")
    return rows


def _whole(number: Any) -> Any:
    """JSON has one kind of number: 3.0 is the whole number 3."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


LARGEST = 1e6
"""Numbers of codes and embeddings are of the order of 1."""

Text = Annotated[str, StringConstraints(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[FiniteFloat, Field(ge=-LARGEST, le=LARGEST)]
Rows = Annotated[list[Annotated[list[Number], Field(min_length=1)]], Field(min_length=1)]
OptionalRows = Annotated[Rows | None, BeforeValidator(_not_null)]


class _Body(BaseModel):
    # A wrong type is an error, and so is a field that would be ignored.
    model_config = ConfigDict(extra="forbid", strict=True)


class EmbeddingsRequest(_Body):
    """OpenAI's request for embeddings."""

    input: Text | Texts = Field(description="a text, or several; token ids are refused")
    model: str = Field(description="name of the served model")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: of little-endian float32"
    )
    dimensions: Whole | None = Field(None, description="the width of the model; others are refused")
    user: str | None = Field(None, description="accepted as OpenAI does; not used")
    truncate: bool = Field(False, description="cut a text that is too long in place of refusing it")


class EncodeRequest(_Body):
    """Texts to embeddings or codes."""

    input: Text | Texts = Field(description="a text, or several")
    output: Literal["embedding", "code"] = Field(
        "embedding", description="the prediction, or the numbers that enter the lattice"
    )
    truncate: bool = Field(False, description="cut a text that is too long in place of refusing it")


class DecodeRequest(_Body):
    """Codes, or teacher embeddings, to predicted embeddings and nearest sentences."""

    codes: OptionalRows = Field(None, description="rows of /encode with output code")
    embeddings: OptionalRows = Field(None, description="rows of the model's teacher")
    nearest: Whole = Field(0, ge=0, le=100, description="sentences of the bank wanted per row")


class CompareRequest(_Body):
    """Two texts side by side."""

    texts: Annotated[list[Text], Field(min_length=2, max_length=2)]
    truncate: bool = Field(False, description="cut a text that is too long in place of refusing it")


class Usage(BaseModel):
    """Tokens that the teacher read, those that frame a text included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingItem(BaseModel):
    """One embedding."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsResponse(BaseModel):
    """OpenAI's list of embeddings."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: Usage


class EncodeResponse(BaseModel):
    """Row i belongs to input i."""

    model: str
    output: Literal["embedding", "code"]
    rows: list[list[float]]
    usage: Usage


class Near(BaseModel):
    """A sentence of the bank."""

    text: str
    cosine: float


class DecodeResponse(BaseModel):
    """Row i belongs to row i of the request; ``nearest`` is null where none was asked for."""

    model: str
    embeddings: list[list[float]]
    nearest: list[list[Near]] | None


class CompareResponse(BaseModel):
    """Codes and nearest sentences of both texts, and the cosine of the pair."""

    model: str
    codes: list[list[float]]
    teacher_cosine: float
    cube_cosine: float
    nearest: list[list[Near]] | None
    usage: Usage


class Info(BaseModel):
    """What the server serves."""

    model: str
    teacher: str
    lattice: list[int]
    code: int
    face: list[int]
    face_axes: list[str]
    embedding: int
    max_tokens: int | None
    max_inputs: int
    bank: int
    needs_key: bool


class ModelCard(BaseModel):
    """A model in OpenAI's list."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """OpenAI's list of models."""

    object: Literal["list"]
    data: list[ModelCard]


class State(BaseModel):
    """Whether requests are answered."""

    status: Literal["ok", "ready", "draining", "dead", "stalled"]


class ErrorDetail(BaseModel):
    """What was wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """OpenAI's error."""

    error: ErrorDetail
