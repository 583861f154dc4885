"""Pictures of scores, drawn from arrays: heatmaps by layer, and scores against exact effects."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchgrid.api.pictures.figure import blank_figure
from patchgrid.api.pictures.labels import drawable, every, families, token_label, wrapped
from patchgrid.estimates.agreement import agreement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_WIDEST = 20.0
_TITLE_SIZE = 11.0
# Blue to red through white: told apart with every common kind of colour blindness.
_COLOURS = "RdBu_r"
_NO_VALUE = "0.75"
_NOTED_CELLS = 64
_VECTOR_POINTS = 5000


def layer_head_heatmap(
    values: ArrayLike, *, title: str, unit: str, quantity: str = "mean score", on: "Axes | None" = None
) -> "Figure":
    """Draw `values[layer, head]`; a NaN is grey. `unit` is the metric's, for the colour bar.

    `on` are axes to draw on, in place of a figure of its own.
    """
    array = _finite(values)
    layers, heads = array.shape
    cell = _between(0.17, 7.0 / heads, 0.62)
    figure, axes = new_figure(heads * cell + 2.2, layers * cell + 1.5, title, on)
    _draw_cells(axes, array, f"{quantity} ({unit})", (cell, cell))
    step = every(heads, max(4, int(heads * cell / 0.3)))
    axes.set_xticks(range(0, heads, step))
    axes.set_xlabel("head")
    return figure


def layer_position_heatmap(
    values: ArrayLike,
    labels: Sequence[str],
    *,
    title: str,
    unit: str,
    quantity: str = "mean score",
    axis: str = "token",
    on: "Axes | None" = None,
) -> "Figure":
    """Draw `values[layer, position]` with a label (a token, a span, a number) under each position.

    `on` are axes to draw on, in place of a figure of its own.
    """
    array = _finite(values)
    layers, positions = array.shape
    assert len(labels) == positions, "as many labels as positions"
    shown = [drawable(token_label(label)) for label in labels]
    width = _between(0.02, (_WIDEST - 2.2) / positions, _between(0.2, 8.0 / positions, 0.62))
    height = _between(0.17, 6.0 / layers, 0.45)
    longest = max(map(len, shown))
    figure, axes = new_figure(positions * width + 2.2, layers * height + 1.5 + 0.07 * longest, title, on)
    _draw_cells(axes, array, f"{quantity} ({unit})", (width, height))
    step = every(positions, max(4, int(positions * width / 0.14)))
    _label_positions(axes, shown, step, upright=longest * 0.085 < width * step)
    axes.set_xlabel(axis)
    return figure


def score_effect_scatter(
    scores: ArrayLike,
    effects: ArrayLike,
    inclusion: ArrayLike | None = None,
    *,
    title: str,
    unit: str,
) -> "Figure":
    """Draw each sampled cell's exact effect over its score, with the weighted fit and the line of equality.

    A point's area, the fit and r go by the weight 1 / `inclusion` (None: all alike), so that they are for all
    cells and not for those that the sample prefers. Points that are not finite are left out.
    """
    x, y = np.asarray(scores, np.float64).ravel(), np.asarray(effects, np.float64).ravel()
    pi = np.ones_like(x) if inclusion is None else np.asarray(inclusion, np.float64).ravel()
    known = np.isfinite(x) & np.isfinite(y) & (pi > 0)
    x, y, pi = x[known], y[known], pi[known]
    figure, axes = new_figure(6.4, 6.0, title)
    axes.set_xlabel(f"score ({drawable(unit)})", parse_math=False)
    axes.set_ylabel(f"exact effect ({drawable(unit)})", parse_math=False)
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    if len(x) == 0:
        axes.text(0.5, 0.5, "no exact effects", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        return figure
    _draw_points(axes, x, y, pi)
    rising = _draw_lines(axes, x, y, pi)
    # Where the points are not; finding the best place takes seconds when they are many.
    legend = axes.legend(loc="upper left" if rising else "upper right", fontsize=9, framealpha=0.9)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure


def new_figure(width: float, height: float, title: str, on: "Axes | None" = None) -> "tuple[Figure, Axes]":
    """Make a figure of its own: no window, nothing of pyplot's state; or put the title over the axes `on`."""
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
    axes.set_title(wrapped(title, width, _TITLE_SIZE), fontsize=_TITLE_SIZE, parse_math=False)
    axes.title.set_fontfamily(families())
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _draw_cells(axes: "Axes", array: NDArray[Any], label: str, cell: tuple[float, float]) -> None:
    """Draw the cells (`cell`: their width and height in inches) with layer 0 on top, and a colour bar."""
    import matplotlib as mpl

    known = np.isfinite(array)
    limit = (float(np.abs(array[known]).max()) if known.any() else 0.0) or 1.0
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
    _draw_bar(
        axes, image, label if known.all() else f"{label}\ngrey: no value", columns * cell[0], layers * cell[1]
    )


def _draw_bar(axes: "Axes", image: "AxesImage", label: str, width: float, height: float) -> None:
    """Draw a colour bar a fifth of an inch wide beside axes of `width` and `height` inches."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(image, ax=axes, fraction=0.2 / width, pad=0.15 / width, aspect=height / 0.2)
    bar.set_label(drawable(label), parse_math=False)
    bar.outline.set_visible(False)


def _note_values(axes: "Axes", array: NDArray[Any], limit: float) -> None:
    digits = max(1 if limit < 1000 else 0, 1 - math.floor(math.log10(limit)))
    if digits > 4 or limit >= 1e5:
        return  # numbers too long for a cell
    for (row, column), value in np.ndenumerate(array):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(column, row, _number(value, digits), ha="center", va="center", fontsize=8, color=colour)


def _number(value: float, digits: int) -> str:
    """Write a number with a real minus sign, and none before zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}" if float(text) else "")


def _label_positions(axes: "Axes", labels: Sequence[str], step: int, *, upright: bool) -> None:
    ticks = range(0, len(labels), step)
    axes.set_xticks(ticks, [labels[tick] for tick in ticks], parse_math=False, family=families(), fontsize=8)
    if not upright:
        for text in axes.get_xticklabels():
            text.set(rotation=90, va="top", ha="center")


def _draw_points(axes: "Axes", x: NDArray[Any], y: NDArray[Any], pi: NDArray[Any]) -> None:
    weight = 1 / pi
    area = np.clip(14 * weight / np.median(weight), 4, 80)
    label = f"{len(x):,} exact effect{'' if len(x) == 1 else 's'}"
    if np.ptp(weight) > 0:
        label += " (area: weight)"
    axes.scatter(
        x,
        y,
        s=area,
        color="#0072b2",
        alpha=_between(0.15, 30 / math.sqrt(len(x)), 0.6),
        linewidths=0,
        rasterized=len(x) > _VECTOR_POINTS,
        label=label,
    )


def _draw_lines(axes: "Axes", x: NDArray[Any], y: NDArray[Any], pi: NDArray[Any]) -> bool:
    """Draw the line of equality and the fit, if there is one; say whether the points rise."""
    axes.axline((0, 0), slope=1, color="0.45", linestyle="--", linewidth=1, label="effect = score")
    found = agreement(x, y, pi)
    if math.isfinite(found.slope):
        fit = "weighted fit" if np.ptp(pi) > 0 else "fit"
        slope, intercept = _short(found.slope), _short(abs(found.intercept))
        sign = "\N{MINUS SIGN}" if found.intercept < 0 else "+"
        r = f", r = {_number(found.pearson, 3)}" if math.isfinite(found.pearson) else ""
        label = f"{fit}: effect = {slope} score {sign} {intercept}{r}"
        axes.axline((0, found.intercept), slope=found.slope, color="#d55e00", linewidth=1.6, label=label)
    return not found.slope < 0


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _finite(values: ArrayLike) -> NDArray[Any]:
    """Give a two-dimensional array of numbers in which what is not finite is NaN."""
    array = np.asarray(values, np.float64)
    assert array.ndim == 2, "values[layer, head or position]"
    assert array.size, "no cells"
    return np.where(np.isfinite(array), array, np.nan)


def _between(low: float, value: float, high: float) -> float:
    return min(max(low, value), high)
