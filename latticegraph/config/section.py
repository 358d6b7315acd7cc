"""The base class of every group of settings."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A frozen group of settings that rejects keys it does not know."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: Any) -> Any:
        """A section whose lines are all commented out reads as null: all its defaults hold."""
        if not isinstance(data, dict):
            return data
        sections = {name for name, field in cls.model_fields.items() if _is_section(field)}
        return {k: v for k, v in data.items() if v is not None or k not in sections}

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic reads true as 1; whoever writes it meant something else."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if not _takes_numbers(annotation):
            return value
        if isinstance(value, bool):
            raise PydanticCustomError("truth_value", "a number")
        items: Any = value if isinstance(value, list | tuple) else ()
        if isinstance(value, dict) and get_origin(annotation) is dict:
            items = value.values()
        if any(isinstance(item, bool) for item in items):
            raise PydanticCustomError("truth_values", "numbers")
        return value


def _is_section(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def _takes_numbers(annotation: Any) -> bool:
    """Whether a number fits somewhere into ``annotation`` and a truth value nowhere."""
    kinds = _kinds(annotation)
    return bool(kinds & {int, float}) and not kinds & {bool, Any}


def _kinds(annotation: Any) -> set[Any]:
    inside = get_args(annotation)
    return set().union(*map(_kinds, inside)) if inside else {_hashable(annotation)}


def _hashable(kind: Any) -> Any:
    return kind if isinstance(kind, type) or kind is Any else type(kind)
