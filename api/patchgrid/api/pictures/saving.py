"""Pictures as files."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from patchgrid.api.pictures.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Endings of the files that `save` writes.
ENDINGS = (".png", ".svg")
_DOTS_PER_INCH = 150


def save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write the picture as PNG or SVG, told by the ending: whole, or not at all.

    Raises `OutputError` for another ending or a place that cannot be written.
    """
    place = Path(path)
    if place.suffix.lower() not in ENDINGS:
        raise OutputError(f"{place}: a picture's name must end in {' or '.join(ENDINGS)}")
    if place.is_dir():
        raise OutputError(f"{place}: is a folder, not a file name")
    try:
        _write(figure, place)
    except FileNotFoundError:
        raise OutputError(f"{place}: there is no folder {place.parent}") from None
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror or error}") from error


def _write(figure: "Figure", place: Path) -> None:
    kind = place.suffix.lower().removeprefix(".")
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            figure.savefig(
                stream,
                format=kind,
                dpi=_DOTS_PER_INCH,
                bbox_inches="tight",
                pad_inches=0.12,
                metadata={"Date": None} if kind == "svg" else None,
            )
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
