"""A figure that notebooks show without pyplot."""

import io
from typing import TYPE_CHECKING, Any

from patchgrid.core.packages import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Text stays text: it can be searched, copied and edited.
_TEXT: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "patchgrid",
    "pdf.fonttype": 42,
    "axes.unicode_minus": True,
}


def blank_figure(width: float, height: float) -> "Figure":
    """Make an empty figure, size in inches, outside pyplot's state."""
    require("plot", "drawing pictures")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """Shows itself as the last value of a notebook cell."""

        def savefig(self, *args: Any, **options: Any) -> None:
            with rc_context(_TEXT):
                super().savefig(*args, **options)

        def _repr_png_(self) -> bytes:
            data = io.BytesIO()
            self.savefig(data, format="png", bbox_inches="tight", pad_inches=0.12)
            return data.getvalue()

    figure = NotebookFigure(figsize=(width, height), layout="compressed", facecolor="white")
    FigureCanvasAgg(figure)
    return figure
