"""Heatmaps by layer, drawn from arrays."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchgrid.api.pictures.figure import blank_figure
from patchgrid.api.pictures.labels import column_label, drawable, every, families, signed, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_WIDEST = 20.0
_TITLE_SIZE = 11.0
# Blue to red through white: safe for every common kind of colour blindness.
_COLOURS = "RdBu_r"
_NO_VALUE = "0.75"
_NOTED_CELLS = 64
#: Height in inches of all layers of a heatmap at most, and of one at least.
_HIGHEST, _LEAST = 7.5, 0.11
#: Least width of a title in inches: a narrow heatmap has a colour bar beside it.
_TITLE_WIDTH = 4.4


def layer_head_heatmap(
    values: ArrayLike,
    *,
    title: str,
    unit: str,
    quantity: str = "mean score",
    vmax: float | None = None,
    stroked: NDArray[Any] | None = None,
    on: "Axes | None" = None,
) -> "Figure":
    """Draw `values[layer, head]`; a NaN is grey. `unit` is the metric's, for the colour bar.

    Colours go from -`vmax` to `vmax`; None: to the largest |value|. A stroke goes through `stroked` cells,
    which show a mean score among estimates. `on` are axes to draw on; None: a new figure.
    """
    array = _finite(values)
    layers, heads = array.shape
    height = _between(_LEAST, min(7.0 / heads, _HIGHEST / layers), 0.62)
    # With many layers and few heads the heatmap would be a ribbon: its cells are wider than high.
    width = _between(height, 4.0 / heads, min(1.5 * height, 0.62))
    figure, axes = new_figure(heads * width + 2.2, layers * height + 1.5, title, on)
    _draw_cells(axes, array, f"{quantity} ({unit})", (width, height), vmax, stroked)
    step = every(heads, max(4, int(heads * width / 0.3)))
    axes.set_xticks(range(0, heads, step))
    axes.set_xlabel("head")
    return figure


def layer_position_heatmap(
    values: ArrayLike,
    labels: Sequence[int | str | tuple[str, str]],
    *,
    title: str,
    unit: str,
    quantity: str = "mean score",
    axis: str = "token",
    vmax: float | None = None,
    stroked: NDArray[Any] | None = None,
    on: "Axes | None" = None,
) -> "Figure":
    """Draw `values[layer, position]` with a label (a number, a span, a token or two) under each position.

    Colours go from -`vmax` to `vmax`; None: to the largest |value|. A stroke goes through `stroked` cells,
    which show a mean score among estimates. `on` are axes to draw on; None: a new figure.
    """
    array = _finite(values)
    layers, positions = array.shape
    assert len(labels) == positions, "as many labels as positions"
    shown = [drawable(column_label(label)) for label in labels]
    width = _between(0.02, (_WIDEST - 2.2) / positions, _between(0.2, 8.0 / positions, 0.62))
    height = _between(_LEAST, 6.0 / layers, 0.45)
    longest = max(map(len, shown))
    figure, axes = new_figure(positions * width + 2.2, layers * height + 1.5 + 0.07 * longest, title, on)
    _draw_cells(axes, array, f"{quantity} ({unit})", (width, height), vmax, stroked)
    step = every(positions, max(4, int(positions * width / 0.14)))
    _label_positions(axes, shown, step, upright=longest * 0.085 < width * step)
    axes.set_xlabel(axis)
    return figure


def new_figure(width: float, height: float, title: str, on: "Axes | None" = None) -> "tuple[Figure, Axes]":
    """Make a new figure outside pyplot's state, or set the title of the axes `on`."""
    if on is not None:
        figure = on.get_figure(root=True)
        assert figure is not None, "axes stand in a figure"
        axes = on
        width = on.get_window_extent().width / figure.dpi
    else:
        width, height = max(width, 4.4), max(height, 3.2)
        figure = blank_figure(width, height)
        axes = figure.add_subplot()
        width -= 0.6
    axes.set_title(
        wrapped(title, max(width, _TITLE_WIDTH) if on is None else width, _TITLE_SIZE),
        fontsize=_TITLE_SIZE,
        parse_math=False,
    )
    axes.title.set_fontfamily(families())
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _draw_cells(
    axes: "Axes",
    array: NDArray[Any],
    label: str,
    cell: tuple[float, float],
    vmax: float | None,
    stroked: NDArray[Any] | None,
) -> None:
    """Draw the cells (`cell`: their width and height in inches) with layer 0 on top, and a colour bar."""
    import matplotlib as mpl

    finite = np.isfinite(array)
    largest = float(np.abs(array[finite]).max()) if finite.any() else 0.0
    limit = vmax or largest or 1.0
    image = axes.imshow(
        np.ma.masked_invalid(array),
        cmap=mpl.colormaps[_COLOURS].with_extremes(bad=_NO_VALUE),
        vmin=-limit,
        vmax=limit,
        aspect=cell[1] / cell[0],
        interpolation="none",
    )
    layers, columns = array.shape
    axes.set_yticks(range(0, layers, every(layers, 16)))
    axes.set_ylabel("layer")
    axes.tick_params(length=2)
    if min(cell) > 0.3:
        axes.set_xticks(np.arange(0.5, columns - 1), minor=True)
        axes.set_yticks(np.arange(0.5, layers - 1), minor=True)
        axes.grid(which="minor", color="0.92", linewidth=0.6)
        axes.tick_params(which="minor", length=0)
    if array.size <= _NOTED_CELLS and min(cell) > 0.4:
        _note_values(axes, array, limit)
    bar_label = label if finite.all() else f"{label}\ngrey: no value"
    if stroked is not None and (stroked & finite).any():
        _stroke(axes, stroked & finite)
        bar_label = f"{bar_label}\nstroke: mean score, not patched exactly"
    _draw_bar(axes, image, bar_label, columns * cell[0], layers * cell[1], beyond=largest > limit)


def _stroke(axes: "Axes", cells: NDArray[Any]) -> None:
    """Draw a diagonal through cells, from their lower left to their upper right corners."""
    from matplotlib.collections import LineCollection

    ends = [((x - 0.3, y + 0.3), (x + 0.3, y - 0.3)) for y, x in np.argwhere(cells)]
    axes.add_collection(LineCollection(ends, colors="0.25", linewidths=0.7), autolim=False)


def _draw_bar(
    axes: "Axes", image: "AxesImage", label: str, width: float, height: float, *, beyond: bool
) -> None:
    """Draw a colour bar a fifth of an inch wide beside axes of `width` and `height` inches.

    Its ends are pointed if values lie `beyond` them.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(
        image,
        ax=axes,
        extend="both" if beyond else "neither",
        fraction=0.2 / width,
        pad=0.15 / width,
        aspect=height / 0.2,
    )
    bar.set_label(drawable(label), parse_math=False)
    bar.outline.set_visible(False)


def _note_values(axes: "Axes", array: NDArray[Any], limit: float) -> None:
    digits = max(1 if limit < 1000 else 0, 1 - math.floor(math.log10(limit)))
    if digits > 4 or limit >= 1e5:
        return  # numbers too long for a cell
    for (row, column), value in np.ndenumerate(array):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            text = signed(f"{value:.{digits}f}")
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)


def _label_positions(axes: "Axes", labels: Sequence[str], step: int, *, upright: bool) -> None:
    ticks = range(0, len(labels), step)
    axes.set_xticks(ticks, [labels[tick] for tick in ticks], parse_math=False, family=families(), fontsize=8)
    if not upright:
        for text in axes.get_xticklabels():
            text.set(rotation=90, va="top", ha="center")


def _finite(values: ArrayLike) -> NDArray[Any]:
    """Return a two-dimensional array of numbers with NaN for all that is not finite."""
    array = np.asarray(values, np.float64)
    assert array.ndim == 2, "values[layer, head or position]"
    assert array.size, "no cells"
    return np.where(np.isfinite(array), array, np.nan)


def _between(low: float, value: float, high: float) -> float:
    return min(max(low, value), high)
