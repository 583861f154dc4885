"""Names beside a few points of a picture, without overlaps."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.api.pictures.labels import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

#: Points considered when placing a name.
_CROWD = 20_000
_DISTANCES = (5.0, 12.0, 20.0, 30.0, 45.0, 60.0)
_DIRECTIONS = tuple((x, y) for x, y in itertools.product((1, -1, 0), (1, -1, 0)) if (x, y) != (0, 0))
_ALIGNMENT = {1: ("left", "bottom"), 0: ("center", "center"), -1: ("right", "top")}


def name_points(axes: "Axes", x: NDArray[Any], y: NDArray[Any], names: Mapping[int, str]) -> None:
    """Write `names`, by index into `x` and `y`, beside their points; one without room is omitted."""
    if not names:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes stand in a figure"
    # Positions are known once the figure is laid out.
    figure.draw_without_rendering()
    pixels = axes.transData.transform(np.column_stack([x, y]))
    crowd = pixels[:: -(-len(pixels) // _CROWD)]
    taken: list[Bbox] = []
    for index, name in names.items():
        label = axes.annotate(
            drawable(name),
            (x[index], y[index]),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            color="0.15",
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2},
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
            zorder=5,
        )
        label.set_in_layout(False)
        box = _place(axes, label, taken, crowd)
        if box is None:
            label.remove()
        else:
            taken.append(box)


def _place(axes: "Axes", label: "Annotation", taken: Sequence["Bbox"], crowd: NDArray[Any]) -> "Bbox | None":
    """Move a label to where it covers the fewest points and nothing in `taken`; None: no such place."""
    best: tuple[int, float, tuple[float, float], tuple[int, int]] | None = None
    for distance, direction in itertools.product(_DISTANCES, _DIRECTIONS):
        offset = (distance * direction[0], distance * direction[1])
        box = _moved(label, offset, direction)
        inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
        inside = inside and axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
        if not inside or any(box.overlaps(other) for other in taken):
            continue
        covered = int(((crowd >= box.min) & (crowd <= box.max)).all(axis=1).sum())
        if best is None or (covered, distance) < best[:2]:
            best = (covered, distance, offset, direction)
    return None if best is None else _moved(label, *best[2:])


def _moved(label: "Annotation", offset: tuple[float, float], direction: tuple[int, int]) -> "Bbox":
    """Offset a label from its point, in points; return the box of its text in pixels."""
    from matplotlib.text import Text

    label.set_position(offset)
    label.set(ha=_ALIGNMENT[direction[0]][0], va=_ALIGNMENT[direction[1]][1])
    label.get_window_extent()  # moves it; what it gives has the line to the point within it
    return Text.get_window_extent(label).padded(2)
