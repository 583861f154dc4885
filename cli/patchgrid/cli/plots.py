"""Pictures of scores, drawn from arrays: heatmaps by layer, and scores against exact effects."""

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchgrid.cli.errors import MissingExtraError, OutputError
from patchgrid.cli.plotlabels import drawable, every, families, token_label, wrapped
from patchgrid.estimates.agreement import agreement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Endings of the files that `save` writes.
ENDINGS = (".png", ".svg")
_DOTS_PER_INCH = 150
_WIDEST = 20.0
_TITLE_SIZE = 11.0
# Blue to red through white: told apart with every common kind of colour blindness.
_COLOURS = "RdBu_r"
_NO_VALUE = "0.75"
_NOTED_CELLS = 64
_VECTOR_POINTS = 5000


def layer_head_heatmap(
    values: ArrayLike, *, title: str, unit: str, quantity: str = "mean score"
) -> "Figure":
    """Draw `values[layer, head]`; a NaN is grey. `unit` is the metric's, for the colour bar."""
    array = _finite(values)
    layers, heads = array.shape
    cell = _between(0.17, 9.0 / heads, 0.62)
    figure, axes = _figure(heads * cell + 2.2, layers * cell + 1.5, title)
    _draw_cells(figure, axes, array, f"{quantity} ({unit})", cell, aspect="equal")
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
) -> "Figure":
    """Draw `values[layer, position]` with a label (a token, a span, a number) under each position."""
    array = _finite(values)
    layers, positions = array.shape
    assert len(labels) == positions, "as many labels as positions"
    shown = [drawable(token_label(label)) for label in labels]
    width = _between(0.02, (_WIDEST - 2.2) / positions, _between(0.2, 9.0 / positions, 0.62))
    height = _between(0.17, 6.0 / layers, 0.45)
    longest = max(map(len, shown))
    figure, axes = _figure(positions * width + 2.2, layers * height + 1.5 + 0.07 * longest, title)
    _draw_cells(figure, axes, array, f"{quantity} ({unit})", min(width, height), aspect="auto")
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
    figure, axes = _figure(6.4, 6.0, title)
    axes.set_xlabel(f"score ({drawable(unit)})")
    axes.set_ylabel(f"exact effect ({drawable(unit)})")
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    if len(x) == 0:
        axes.text(0.5, 0.5, "no exact effects", transform=axes.transAxes, ha="center", va="center")
        return figure
    _draw_points(axes, x, y, pi)
    _draw_lines(axes, x, y, pi)
    axes.legend(loc="best", fontsize=9, framealpha=0.9)
    return figure


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
                stream, format=kind, dpi=_DOTS_PER_INCH, metadata={"Date": None} if kind == "svg" else None
            )
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _figure(width: float, height: float, title: str) -> "tuple[Figure, Axes]":
    """Make a figure of its own: no window, nothing of pyplot's state."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            "pictures need matplotlib, which is not installed: pip install 'patchgrid[plot]'"
        ) from None
    width, height = max(width, 4.4), max(height, 3.2)
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(wrapped(title, width - 0.6, _TITLE_SIZE), fontsize=_TITLE_SIZE, parse_math=False)
    axes.title.set_fontfamily(families())
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _draw_cells(
    figure: "Figure", axes: "Axes", array: NDArray[Any], label: str, cell: float, *, aspect: Any
) -> None:
    """Draw the cells with layer 0 on top, their colour bar, and in small tables their values."""
    import matplotlib as mpl

    limit = float(np.nanmax(np.abs(array))) if np.isfinite(array).any() else 0.0
    limit = limit or 1.0
    colours = mpl.colormaps[_COLOURS].with_extremes(bad=_NO_VALUE)
    image = axes.imshow(
        np.ma.masked_invalid(array), cmap=colours, vmin=-limit, vmax=limit, aspect=aspect, interpolation="none"
    )
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=25)
    bar.set_label(drawable(label), parse_math=False)
    bar.outline.set_visible(False)
    layers = array.shape[0]
    axes.set_yticks(range(0, layers, every(layers, 16)))
    axes.set_ylabel("layer")
    axes.tick_params(length=2)
    if array.size <= _NOTED_CELLS and cell > 0.45:
        _note_values(axes, array, limit)
    if not np.isfinite(array).all():
        axes.annotate("grey: no value", (1, 1), xycoords="axes fraction", xytext=(0, 3),
                      textcoords="offset points", ha="right", fontsize=8, color="0.4")


def _note_values(axes: "Axes", array: NDArray[Any], limit: float) -> None:
    digits = _between(0, 1 - math.floor(math.log10(limit)), 4)
    for (row, column), value in np.ndenumerate(array):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            text = f"{value:.{int(digits)}f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)


def _label_positions(axes: "Axes", labels: Sequence[str], step: int, *, upright: bool) -> None:
    ticks = range(0, len(labels), step)
    axes.set_xticks(ticks, [labels[tick] for tick in ticks], parse_math=False, family=families(), fontsize=8)
    if not upright:
        for text in axes.get_xticklabels():
            text.set(rotation=90, va="top", ha="center")


def _draw_points(axes: "Axes", x: NDArray[Any], y: NDArray[Any], pi: NDArray[Any]) -> None:
    weight = 1 / pi
    area = np.clip(14 * weight / np.median(weight), 4, 80)
    axes.scatter(
        x, y, s=area, color="#0072b2", alpha=_between(0.15, 30 / math.sqrt(len(x)), 0.6), linewidths=0,
        rasterized=len(x) > _VECTOR_POINTS, label=f"{len(x):,} exact effects",
    )


def _draw_lines(axes: "Axes", x: NDArray[Any], y: NDArray[Any], pi: NDArray[Any]) -> None:
    axes.axline((0, 0), slope=1, color="0.45", linestyle="--", linewidth=1, label="effect = score")
    found = agreement(x, y, pi)
    if math.isfinite(found.slope):
        sign = "-" if found.intercept < 0 else "+"
        r = f", r = {found.pearson:.3f}" if math.isfinite(found.pearson) else ""
        label = f"fit: effect = {found.slope:.3g} score {sign} {abs(found.intercept):.2g}{r}"
        axes.axline((0, found.intercept), slope=found.slope, color="#d55e00", linewidth=1.6, label=label)


def _finite(values: ArrayLike) -> NDArray[Any]:
    """Give a two-dimensional array of numbers in which what is not finite is NaN."""
    array = np.asarray(values, np.float64)
    assert array.ndim == 2, "values[layer, head or position]"
    assert array.size, "no cells"
    return np.where(np.isfinite(array), array, np.nan)


def _between(low: float, value: float, high: float) -> float:
    return min(max(low, value), high)
