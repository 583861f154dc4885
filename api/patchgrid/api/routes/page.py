"""The page, from the package itself."""

import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from patchgrid.core.sites import HEAD_SITES, SITES

#: Where the page's files are.
FOLDER = Path(__file__).parent.parent / "page"

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
def index() -> FileResponse:
    """Give the page."""
    return FileResponse(FOLDER / "index.html", headers={"Cache-Control": "no-cache"})


@router.get("/sites.js")
def sites() -> Response:
    """Give the records of the sites as a module, which `core/text/sites.js` imports."""
    records = [
        {"name": site.name, "words": site.words, "heads": site.name in HEAD_SITES, "wide": site.wide}
        for site in SITES.values()
    ]
    text = f"export const RECORDS = {json.dumps(records)};\n"
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def assets() -> ASGIApp:
    """Give the page's scripts, styles and pictures, smaller where a browser takes them so.

    A browser keeps them, and asks each time whether they are still the same.
    """
    return GZipMiddleware(_Kept(directory=FOLDER / "assets", check_dir=False))


class _Kept(StaticFiles):
    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response
