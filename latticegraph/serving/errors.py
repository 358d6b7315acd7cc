"""Errors of the HTTP interface, in the shape that clients of OpenAI expect."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from latticegraph.errors import DataError, LatticeGraphError
from latticegraph.serving.refusals import DeadlineExceeded, ItemFailed, Overloaded, Unavailable
from latticegraph.serving.schemas import ErrorBody, ErrorDetail

logger = logging.getLogger(__name__)

MEANINGS = {
    400: "the request is wrong; `param` names the field",
    401: "no API key, or another one",
    404: "no such model, or no such route",
    405: "another method is needed",
    408: "the body did not arrive in time",
    413: "too many inputs, or too many bytes",
    429: "too much is waiting; try again after `Retry-After` seconds",
    500: "a defect of the server",
    503: "the server stops, or its worker is dead",
    504: "not finished before the deadline",
}


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status.
        message: what was expected and found.
        param: field of the request; None where it is none.
        code: a word for programs.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer."""
        kinds = {401: "authentication_error", 408: "timeout_error", 429: "rate_limit_error"}
        usual = "invalid_request_error" if self.status < 500 else "server_error"
        kind = kinds.get(self.status, usual)
        detail = ErrorDetail(message=self.message, type=kind, param=self.param, code=self.code)
        body = ErrorBody(error=detail).model_dump()
        return JSONResponse(body, self.status, self.headers)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for OpenAPI."""
    made: dict[int | str, dict[str, Any]] = {}
    for status in sorted(statuses):
        made[status] = {"model": ErrorBody, "description": MEANINGS[status]}
        if status == 429:
            text = "seconds until there should be room"
            made[status]["headers"] = {
                "Retry-After": {"description": text, "schema": {"type": "integer", "minimum": 1}}
            }
    return made


def overloaded(seconds: int, what: str) -> ApiError:
    """429 with the seconds after which to try again."""
    text = f"expected room for the request, got {what}; try again in {seconds} s"
    return ApiError(429, text, code="overloaded", headers={"Retry-After": str(seconds)})


def handle_errors(app: FastAPI) -> None:
    """Turn every exception of the app into an answer of the same shape."""
    handlers = {
        ApiError: lambda error: error,
        RequestValidationError: _invalid,
        HTTPException: _http,
        Overloaded: lambda error: overloaded(error.retry_after, "a full queue"),
        Unavailable: lambda error: ApiError(503, str(error), code="unavailable"),
        DeadlineExceeded: lambda error: ApiError(504, str(error), code="deadline_exceeded"),
        ItemFailed: _item,
        Exception: lambda error: ApiError(500, "a defect of the server; see its log"),
    }
    for kind, convert in handlers.items():

        async def answer(request: Request, error: Any, convert: Any = convert) -> JSONResponse:
            made: ApiError = convert(error)
            return made.response()

        app.add_exception_handler(kind, answer)


def _invalid(error: RequestValidationError) -> ApiError:
    """The first problem; of a union's members the one that got further in fits better."""

    def fit(problem: Any) -> tuple[int, bool]:
        return len(problem["loc"]), not problem["type"].endswith("_type")

    problem = max(error.errors(), key=fit)
    place = [part for part in problem["loc"][1:] if not _is_branch(part)]
    param = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
    if problem["type"] == "json_invalid":
        return ApiError(400, f"expected JSON, got: {problem['ctx']['error']}", code="invalid_json")
    text = str(problem["msg"])
    if place[:1] == ["input"] and len(place) > 1 and isinstance(problem["input"], int | list):
        text = "token ids are not accepted: the teacher has a tokenizer of its own; send text"
    return ApiError(400, f"{param or 'body'}: {text}", param or None, str(problem["type"]))


def _is_branch(part: Any) -> bool:
    """Whether a part of a place is pydantic's name of a member of a union, not a field."""
    return isinstance(part, str) and ("[" in part or part in ("str", "constrained-str"))


def _http(error: HTTPException) -> ApiError:
    return ApiError(error.status_code, str(error.detail), headers=error.headers)


def _item(error: ItemFailed) -> ApiError:
    cause, param = error.__cause__, f"input[{error.index}]"
    if isinstance(cause, DataError):
        return ApiError(400, f"{param}: {cause.problem}", param, "unusable_input")
    logger.error("%s cannot be computed", param, exc_info=cause)
    if isinstance(cause, LatticeGraphError):
        # Its message may name files of this machine.
        text = f"{param}: the model cannot compute it ({cause.where}); the server's log says why"
        return ApiError(400, text, param, "unusable_input")
    return ApiError(500, f"{param}: a defect of the server; see its log", param)
