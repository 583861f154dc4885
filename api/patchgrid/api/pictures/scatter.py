"""Scores against exact effects, one point per cell."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchgrid.api.pictures.callouts import name_points
from patchgrid.api.pictures.labels import drawable, signed
from patchgrid.api.pictures.plots import new_figure
from patchgrid.estimates.verification.agreement import agreement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VECTOR_POINTS = 5000
#: Part of the scale left free at both ends, for the names of points.
_MARGIN = 0.08


def score_effect_scatter(
    scores: ArrayLike,
    effects: ArrayLike,
    inclusion: ArrayLike | None = None,
    *,
    title: str,
    unit: str,
    names: Mapping[int, str] | None = None,
    vmax: float | None = None,
) -> "Figure":
    """Draw each sampled cell's exact effect over its score, with the weighted fit and the line of equality.

    Both axes have the same scale, from -`vmax` to `vmax` if given. `names` are written beside points, by
    index.

    A point's area, the fit and r are weighted by 1 / `inclusion` (None: equally), so that they represent all
    cells rather than those that the sample prefers. Points that are not finite are omitted.
    """
    x, y = np.asarray(scores, np.float64).ravel(), np.asarray(effects, np.float64).ravel()
    pi = np.ones_like(x) if inclusion is None else np.asarray(inclusion, np.float64).ravel()
    drawn = np.isfinite(x) & np.isfinite(y) & (pi > 0)
    x, y, pi = x[drawn], y[drawn], pi[drawn]
    place = {int(index): at for at, index in enumerate(np.flatnonzero(drawn))}
    named = {place[index]: name for index, name in (names or {}).items() if index in place}
    figure, axes = new_figure(6.4, 6.6, title)
    axes.set_xlabel(f"score ({drawable(unit)})", parse_math=False)
    axes.set_ylabel(f"exact effect ({drawable(unit)})", parse_math=False)
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    if len(x) == 0:
        axes.text(0.5, 0.5, "no exact effects", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        return figure
    _draw_points(axes, x, y, pi)
    _draw_lines(axes, x, y, pi)
    # Below the axes, where it covers no point.
    legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), fontsize=9, frameon=False)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    _set_scale(axes, x, y, vmax)
    name_points(axes, x, y, named)
    return figure


def _set_scale(axes: "Axes", x: NDArray[Any], y: NDArray[Any], vmax: float | None) -> None:
    """Use the same scale for both axes, so that equality is the diagonal."""
    if vmax is None:
        low, high = min(0.0, x.min(), y.min()), max(0.0, x.max(), y.max())
        margin = _MARGIN * (high - low or 1.0)
        low, high = low - margin, high + margin
    else:
        low, high = -vmax, vmax
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_aspect("equal")


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
        alpha=min(max(0.15, 30 / math.sqrt(len(x))), 0.6),
        linewidths=0,
        rasterized=len(x) > _VECTOR_POINTS,
        label=label,
    )


def _draw_lines(axes: "Axes", x: NDArray[Any], y: NDArray[Any], pi: NDArray[Any]) -> None:
    """Draw the line of equality and the fit, if there is one."""
    axes.axline((0, 0), slope=1, color="0.45", linestyle="--", linewidth=1, label="effect = score")
    line = agreement(x, y, pi)
    if math.isfinite(line.slope):
        fit = "weighted fit" if np.ptp(pi) > 0 else "fit"
        slope, intercept = signed(f"{line.slope:.3g}"), f"{abs(line.intercept):.3g}"
        sign = "\N{MINUS SIGN}" if line.intercept < 0 else "+"
        r = f", r = {signed(f'{line.pearson:.3f}')}" if math.isfinite(line.pearson) else ""
        label = f"{fit}: effect = {slope} score {sign} {intercept}{r}"
        axes.axline((0, line.intercept), slope=line.slope, color="#d55e00", linewidth=1.6, label=label)
