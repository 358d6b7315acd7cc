"""The page at ``/``: three files of the package, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

FOLDER = Path(__file__).parent / "page_files"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_router() -> APIRouter:
    """Routes of the page's files."""
    router = APIRouter()
    for path, (name, kind) in FILES.items():

        async def answer(name: str = name, kind: str = kind) -> Response:
            return Response((FOLDER / name).read_bytes(), media_type=kind, headers=HEADERS)

        router.add_api_route(
            path, answer, response_class=Response, name=name, include_in_schema=False
        )
    return router
