"""The page, from the package itself."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

#: Where the page's files are.
FOLDER = Path(__file__).parent.parent / "page"

router = APIRouter(include_in_schema=False)


@router.get("/")
def index() -> FileResponse:
    """Give the page."""
    return FileResponse(FOLDER / "index.html", headers={"Cache-Control": "no-cache"})


def assets() -> StaticFiles:
    """Give the page's scripts, styles and pictures, which a browser asks about each time."""
    return StaticFiles(directory=FOLDER / "assets", check_dir=False)
