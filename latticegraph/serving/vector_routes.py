"""The routes that compute: /v1/embeddings, /encode, /decode, /compare."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from latticegraph.serving.engine import Floats, Job, Output, Vectors
from latticegraph.serving.errors import ApiError, declared
from latticegraph.serving.schemas import (
    CompareRequest,
    CompareResponse,
    DecodeRequest,
    DecodeResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    EncodeRequest,
    EncodeResponse,
)
from latticegraph.serving.service import Service

ERRORS = declared(400, 401, 408, 413, 429, 500, 503, 504)
NEAREST_OF_PAGE = 3


def vector_router(service: Service) -> APIRouter:
    """The routes, answered by ``service``."""
    router = APIRouter(responses=ERRORS)
    _add_openai(router, service)
    own = APIRouter(tags=["latticegraph"])
    _add_own(own, service)
    _add_compare(own, service)
    router.include_router(own)
    return router


def _add_openai(router: APIRouter, service: Service) -> None:
    name = service.settings.name

    @router.post(
        "/v1/embeddings",
        response_model=EmbeddingsResponse,
        responses=declared(404),
        tags=["OpenAI"],
        summary="Predicted embeddings, as OpenAI's route gives them",
    )
    async def embeddings(body: EmbeddingsRequest, request: Request) -> JSONResponse:
        _check_openai(service, body)
        made, tokens = await service.texts(
            _listed(body.input), {"embedding"}, request.state.deadline, truncate=body.truncate
        )
        give = _base64 if body.encoding_format == "base64" else _numbers
        data = [
            {"object": "embedding", "index": index, "embedding": give(one.arrays["embedding"])}
            for index, one in enumerate(made)
        ]
        return JSONResponse(
            {"object": "list", "data": data, "model": name, "usage": _usage(tokens)}
        )


def _add_own(router: APIRouter, service: Service) -> None:
    name = service.settings.name

    @router.post(
        "/encode",
        response_model=EncodeResponse,
        summary="Texts to embeddings or codes",
    )
    async def encode(body: EncodeRequest, request: Request) -> JSONResponse:
        made, tokens = await service.texts(
            _listed(body.input), {body.output}, request.state.deadline, truncate=body.truncate
        )
        rows = [_numbers(one.arrays[body.output]) for one in made]
        return JSONResponse(
            {"model": name, "output": body.output, "rows": rows, "usage": _usage(tokens)}
        )

    @router.post(
        "/decode",
        response_model=DecodeResponse,
        summary="Codes or teacher embeddings to predicted embeddings, and nearest sentences",
    )
    async def decode(body: DecodeRequest, request: Request) -> JSONResponse:
        made = await service.rows(_jobs(service, body), request.state.deadline)
        rows = [_numbers(one.arrays["embedding"]) for one in made]
        near = _nearest(made) if body.nearest else None
        return JSONResponse({"model": name, "embeddings": rows, "nearest": near})


def _add_compare(router: APIRouter, service: Service) -> None:
    name = service.settings.name

    @router.post(
        "/compare",
        response_model=CompareResponse,
        summary="Two texts side by side, as the page shows them",
    )
    async def compare(body: CompareRequest, request: Request) -> JSONResponse:
        outputs: set[Output] = {"teacher", "code", "embedding"}
        nearest = NEAREST_OF_PAGE if service.engine.bank is not None else 0
        made, tokens = await service.texts(
            body.texts, outputs, request.state.deadline, truncate=body.truncate, nearest=nearest
        )
        first, second = made
        return JSONResponse(
            {
                "model": name,
                "codes": [_numbers(one.arrays["code"]) for one in made],
                "teacher_cosine": _cosine(first.arrays["teacher"], second.arrays["teacher"]),
                "cube_cosine": _cosine(first.arrays["embedding"], second.arrays["embedding"]),
                "nearest": _nearest(made) if nearest else None,
                "usage": _usage(tokens),
            }
        )


def _check_openai(service: Service, body: EmbeddingsRequest) -> None:
    if body.model != service.settings.name:
        raise ApiError(
            404,
            f"expected the model '{service.settings.name}', got '{body.model[:80]}'",
            "model",
            "model_not_found",
        )
    width = service.engine.model.student.teacher_dimension
    if body.dimensions not in (None, width):
        raise ApiError(
            400,
            f"expected {width} dimensions, which cannot be changed, got {body.dimensions}",
            "dimensions",
            "unsupported_dimensions",
        )


def _jobs(service: Service, body: DecodeRequest) -> list[Job]:
    """One job per row of codes or of embeddings, whichever was sent."""
    student = service.engine.model.student
    if (body.codes is None) == (body.embeddings is None):
        raise ApiError(400, "expected either codes or embeddings", "codes", "one_of_two")
    if body.nearest and service.engine.bank is None:
        raise ApiError(
            400, "expected a server that was started with --bank FILE", "nearest", "no_bank"
        )
    if body.codes is not None:
        rows, width, param = body.codes, student.surface_width, "codes"
    else:
        rows, width, param = body.embeddings or [], student.teacher_dimension, "embeddings"
    service.check_count(len(rows), param)
    jobs = []
    for index, row in enumerate(rows):
        if len(row) != width:
            place = f"{param}[{index}]"
            text = f"{place}: expected {width} numbers, got {len(row)}"
            raise ApiError(400, text, place, "wrong_width")
        kind: Literal["code", "embedding"] = "code" if param == "codes" else "embedding"
        jobs.append(Job(np.array(row, dtype=np.float32), kind, nearest=body.nearest))
    return jobs


def _listed(texts: str | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


def _numbers(row_W: Floats) -> list[float]:
    numbers: list[float] = row_W.tolist()
    return numbers


def _base64(row_W: Floats) -> str:
    return base64.b64encode(row_W.astype("<f4").tobytes()).decode("ascii")


def _nearest(made: Sequence[Vectors]) -> list[list[dict[str, Any]]]:
    return [[{"text": n.text, "cosine": n.score} for n in one.nearest] for one in made]


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def _cosine(one_D: Floats, other_D: Floats) -> float:
    """Cosine in float64; 0 where a vector is zero."""
    pair_2D = np.stack([one_D, other_D]).astype(np.float64)
    lengths_2 = np.linalg.norm(pair_2D, axis=1)
    if not lengths_2.all():
        return 0.0
    return float(np.clip(pair_2D[0] @ pair_2D[1] / lengths_2.prod(), -1.0, 1.0))
