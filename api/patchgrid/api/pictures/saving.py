"""Pictures as files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from patchgrid.api.pictures.errors import OutputError
from patchgrid.core.files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Endings of the files that `save` writes.
ENDINGS = (".png", ".svg", ".pdf")
#: Dots per inch of a picture, and of rasterized parts of an SVG or PDF.
DOTS_PER_INCH = 150
#: No timestamp: the same picture gives the same file.
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save(figure: "Figure", path: str | os.PathLike[str], dpi: int = DOTS_PER_INCH) -> None:
    """Write the picture as PNG, SVG or PDF, by its extension, completely or not at all.

    Raises `OutputError` for another extension or a path that cannot be written.
    """
    place = check_name(path)
    if place.is_dir():
        raise OutputError(f"{place}: is a folder, not a file name")
    try:
        _write(figure, place, dpi)
    except FileNotFoundError:
        raise OutputError(f"{place}: folder {place.parent} does not exist") from None
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror or error}") from error


def check_name(path: str | os.PathLike[str]) -> Path:
    """Refuse a file name with an unsupported extension."""
    place = Path(path)
    if place.suffix.lower() not in ENDINGS:
        raise OutputError(f"{place}: a picture file must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    return place


def _write(figure: "Figure", place: Path, dpi: int) -> None:
    kind = place.suffix.lower().removeprefix(".")
    with written_whole(place) as file, file.open("wb") as stream:
        figure.savefig(
            stream,
            format=kind,
            dpi=dpi,
            bbox_inches="tight",
            pad_inches=0.12,
            metadata=_UNDATED.get(kind),
        )
