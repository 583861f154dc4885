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
from patchgrid.core.states import ENDED_JOBS, JobState, PairState

#: Where the page's files are.
FOLDER = Path(__file__).parent.parent / "page"

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
def index() -> FileResponse:
    """Return the page."""
    return FileResponse(FOLDER / "index.html", headers={"Cache-Control": "no-cache"})


@router.get("/records.js")
def records() -> Response:
    """Return the sites' records and the states of jobs and pairs as a module for the page's scripts."""
    sites = [
        {"name": site.name, "words": site.words, "heads": site.name in HEAD_SITES, "wide": site.wide}
        for site in SITES.values()
    ]
    names = {"SITE_RECORDS": sites, "JOB_STATES": [*JobState], "ENDED_JOBS": ENDED_JOBS}
    names |= {"PAIR_STATES": [*PairState]}
    text = "".join(f"export const {name} = {json.dumps(value)};\n" for name, value in names.items())
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def assets() -> ASGIApp:
    """Return the page's scripts, styles and pictures, compressed if the browser accepts it.

    A browser keeps them, and asks each time whether they are still the same.
    """
    return GZipMiddleware(_Kept(directory=FOLDER / "assets", check_dir=False))


class _Kept(StaticFiles):
    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response
