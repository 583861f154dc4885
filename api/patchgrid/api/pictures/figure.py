"""A figure of its own, which notebooks show without pyplot."""

import io
from typing import TYPE_CHECKING

from patchgrid.engine.packages import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def blank_figure(width: float, height: float) -> "Figure":
    """Make an empty figure of so many inches: no window, nothing of pyplot's state."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            "pictures need matplotlib, which is not installed: pip install 'patchgrid[plot]'"
        ) from None

    class NotebookFigure(Figure):
        """It is its own picture where it is the last value of a notebook's cell."""

        def _repr_png_(self) -> bytes:
            data = io.BytesIO()
            self.savefig(data, format="png", bbox_inches="tight", pad_inches=0.12)
            return data.getvalue()

    figure = NotebookFigure(figsize=(width, height), layout="compressed", facecolor="white")
    FigureCanvasAgg(figure)
    return figure
