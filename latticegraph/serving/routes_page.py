"""The page at ``/docs``: every route of the schema as plain HTML, without a script."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from latticegraph.serving.page import HEADERS


def routes_router(schema: Callable[[], dict[str, Any]]) -> APIRouter:
    """The route of the page.

    Args:
        schema: makes the OpenAPI schema.
    """
    router = APIRouter()

    @router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(routes_page(schema()), headers=HEADERS)

    return router


def routes_page(schema: Mapping[str, Any]) -> str:
    """The routes of an OpenAPI schema: what each takes and what it answers.

    Args:
        schema: the whole schema, with its components.
    """
    title = html.escape(schema["info"]["title"])
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}: routes</title>",
        '<link rel="stylesheet" href="/page.css">\n</head>\n<body>\n<main>',
        f"<header><h1>{title}: routes</h1>",
        f"<p>{_prose(schema['info']['description'])} ",
        '<a href="/openapi.json">The schema as JSON</a>, <a href="/">a page to try it</a>.</p>',
        "</header>",
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts += _operation(method.upper(), path, operation, schema["components"]["schemas"])
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def _operation(
    method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> list[str]:
    name = f"{method} {path}"
    found = [
        f'<section id="{html.escape(operation["operationId"])}">',
        f"<h2><code>{html.escape(name)}</code></h2>",
        f"<p>{html.escape(operation.get('summary', ''))}</p>",
    ]
    body = operation.get("requestBody")
    if body is not None:
        found += _details("request", body["content"], schemas)
    for status, answer in operation["responses"].items():
        found += _details(f"{status} {answer['description']}", answer.get("content", {}), schemas)
    return [*found, "</section>"]


def _details(title: str, content: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    """A line that opens to the schema of what is sent, with names replaced by what they mean."""
    found = []
    for kind, holder in content.items():
        shown = json.dumps(_resolved(holder.get("schema", {}), schemas), indent=2)
        summary = f"<summary>{_prose(title)} ({html.escape(kind)})</summary>"
        found.append(f"<details>{summary}<pre>{html.escape(shown, quote=False)}</pre></details>")
    return found or [f'<p class="note">{_prose(title)}</p>']


def _prose(text: str) -> str:
    """Text with code between backticks."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))


def _resolved(value: Any, schemas: Mapping[str, Any]) -> Any:
    """The value with every ``$ref`` replaced; the schemas of this server do not nest in circles."""
    if isinstance(value, Mapping):
        if "$ref" in value:
            return _resolved(schemas[value["$ref"].rpartition("/")[2]], schemas)
        return {key: _resolved(part, schemas) for key, part in value.items()}
    if isinstance(value, list):
        return [_resolved(part, schemas) for part in value]
    return value
