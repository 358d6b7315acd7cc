"""The HTTP application: routes, and its life from start to drain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from latticegraph.serving.engine import Engine
from latticegraph.serving.errors import declared, handle_errors
from latticegraph.serving.guard import OPEN, Guard
from latticegraph.serving.page import page_router
from latticegraph.serving.routes_page import routes_router
from latticegraph.serving.schemas import Info, ModelList, State
from latticegraph.serving.service import Service
from latticegraph.serving.settings import ServeSettings
from latticegraph.serving.vector_routes import vector_router

_ABOUT = "Embeddings and codes of a trained lattice. `/v1/embeddings` is OpenAI-compatible."


def create_app(
    engine: Engine, settings: ServeSettings, started: Callable[[], None] | None = None
) -> FastAPI:
    """The application of one model.

    Args:
        engine: computes; its teacher is loaded here where it was not.
        settings: limits, checked against the longest text that the teacher reads.
        started: called once the server accepts requests.

    Raises:
        ConfigError: under these limits some allowed request could never be answered.
    """
    service = Service(engine, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        if started is not None:
            started()
        yield
        await service.stop()

    app = FastAPI(
        title="latticegraph", description=_ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    handle_errors(app)
    app.include_router(vector_router(service))
    app.include_router(_state_router(service))
    app.include_router(page_router())
    app.include_router(routes_router(lambda: app.openapi()))
    app.openapi = lambda: _openapi(app, service)  # type: ignore[method-assign]
    app.state.service = service
    return app


def _state_router(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/health", response_model=State, tags=["state"], summary="The process answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get(
        "/ready",
        response_model=State,
        tags=["state"],
        summary="Whether work is accepted",
        responses={503: {"model": State, "description": "draining, dead or stalled"}},
    )
    async def ready() -> JSONResponse:
        state = service.batcher.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    @router.get(
        "/metrics",
        tags=["state"],
        summary="For Prometheus",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **declared(401),
        },
    )
    async def metrics() -> Response:
        text = generate_latest(service.metrics.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    @router.get("/info", response_model=Info, tags=["state"], summary="What is served")
    async def info() -> dict[str, Any]:
        return service.info()

    @router.get(
        "/v1/models",
        response_model=ModelList,
        tags=["OpenAI"],
        summary="The one model",
        responses=declared(401),
    )
    async def models() -> dict[str, Any]:
        card = {"id": service.settings.name, "object": "model", "created": 0}
        return {"object": "list", "data": [card | {"owned_by": "latticegraph"}]}

    return router


def _openapi(app: FastAPI, service: Service) -> dict[str, Any]:
    """The schema, made exact for this model: widths, names and limits as numbers."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    made = get_openapi(title=app.title, version="1", description=_ABOUT, routes=app.routes)
    schemas = made["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    most = service.settings.max_inputs
    for name in ("EmbeddingsRequest", "EncodeRequest"):
        schemas[name]["properties"]["input"]["anyOf"][1]["maxItems"] = most
    info, decode = service.info(), schemas["DecodeRequest"]
    for name, width in (("codes", info["code"]), ("embeddings", info["embedding"])):
        rows = decode["properties"][name]["anyOf"][0]
        rows["items"] |= {"minItems": width, "maxItems": width}
        decode["properties"][name] = rows | {"maxItems": most}
    decode["oneOf"] = [{"required": ["codes"]}, {"required": ["embeddings"]}]
    if not info["bank"]:
        decode["properties"]["nearest"]["maximum"] = 0
    openai = schemas["EmbeddingsRequest"]["properties"]
    openai["model"]["enum"] = [info["model"]]
    openai["dimensions"]["enum"] = [info["embedding"], None]
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in made["paths"].items():
        for operation in methods.values():
            # Wrong input is answered with 400.
            operation["responses"].pop("422", None)
            if service.settings.api_key is not None and path not in OPEN:
                operation["security"] = [{"key": []}]
    app.openapi_schema = made
    return made
