"""A bar chart of the strongest components, for sites with too many components for a heatmap."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from patchgrid.api.pictures.labels import drawable, signed
from patchgrid.api.pictures.plots import new_figure
from patchgrid.storage.results.components import ComponentRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Most components drawn.
MOST_BARS = 30
#: Intervals are cut at this multiple of the largest bar.
LONGEST = 2.0
_ESTIMATE, _SCORE, _INTERVAL = "#0072b2", "#e69f00", "0.15"


def component_bars(
    rows: Sequence[ComponentRow], *, title: str, unit: str, vmax: float | None = None
) -> "Figure":
    """Draw one bar per component, the first on top: its estimate with interval, and a mark at its mean score.

    A component that was not patched exactly has a paler bar, of its mean score. The values are written at the
    right. `vmax` is the end of the axis; None: as far as the bars reach.
    """
    longest = max(len(row.name) for row in rows)
    figure, axes = new_figure(4.6 + 0.075 * longest, 1.4 + 0.22 * len(rows), title)
    places = range(len(rows))
    estimated = [(place, row) for place, row in enumerate(rows) if row.estimate is not None]
    guessed = [(place, row.mean or 0.0) for place, row in enumerate(rows) if row.estimate is None]
    if guessed:
        at, means = zip(*guessed, strict=True)
        axes.barh(at, means, height=0.7, color=_ESTIMATE, alpha=0.3, label="mean score: not patched")
    if estimated:
        axes.barh(
            [place for place, _ in estimated],
            [row.estimate or 0.0 for _, row in estimated],
            height=0.7,
            color=_ESTIMATE,
            label="estimated mean effect",
        )
        axes.plot(
            [row.mean or 0.0 for _, row in estimated],
            [place for place, _ in estimated],
            linestyle="none",
            marker="D",
            markersize=3.5,
            color=_SCORE,
            label="mean score",
        )
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.set_yticks(places, [drawable(row.name) for row in rows], fontsize=8, parse_math=False)
    limit = _set_limits(axes, rows, unit, vmax)
    _write_values(axes, rows)
    _draw_intervals(axes, rows, limit)
    axes.legend(fontsize=8, framealpha=0.9)
    return figure


def _write_values(axes: "Axes", rows: Sequence[ComponentRow]) -> None:
    """Write each bar's value at the right, with as many decimals as the largest needs for three digits."""
    values = [(row.mean if row.estimate is None else row.estimate) or 0.0 for row in rows]
    largest = max(map(abs, values)) or 1.0
    form = f"+.{max(0, 2 - math.floor(math.log10(largest)))}f" if 1e-4 <= largest < 1e6 else "+.2e"
    texts = [signed(f"{value:{form}}") for value in values]
    longest = max(map(len, texts))
    for place, text in enumerate(texts):
        axes.annotate(
            text,
            (1, place),
            (6.0 * longest, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
            color="0.3",
        )


def _set_limits(axes: "Axes", rows: Sequence[ComponentRow], unit: str, vmax: float | None) -> float:
    """Set the limits by the bars: one very wide interval must not hide all others.

    Returns the limit of drawn intervals.
    """
    axes.set_ylim(len(rows) - 0.4, -0.6)
    ends = [abs(end) for row in rows for end in (row.ci_low, row.ci_high) if end is not None]
    largest = max(abs(value or 0.0) for row in rows for value in (row.estimate, row.mean)) or 1.0
    reach = max([largest, *ends])
    limit = vmax or min(LONGEST * largest, reach)
    axes.set_xlim(-1.05 * limit, 1.05 * limit)
    note = "; an arrow: it extends further" if reach > limit else ""
    axes.set_xlabel(f"{drawable(unit)}, with 95 % intervals{note}", parse_math=False)
    return limit


def _draw_intervals(axes: "Axes", rows: Sequence[ComponentRow], limit: float) -> None:
    """Draw each interval as a line, with an arrow where it continues beyond `limit`."""
    bounded = [
        (place, row.ci_low, row.ci_high)
        for place, row in enumerate(rows)
        if row.ci_low is not None and row.ci_high is not None
    ]
    if not bounded:
        return
    places, lows, highs = (list(values) for values in zip(*bounded, strict=True))
    axes.hlines(
        places,
        [max(low, -limit) for low in lows],
        [min(high, limit) for high in highs],
        color=_INTERVAL,
        linewidth=1,
    )
    left = [place for place, low in zip(places, lows, strict=True) if low < -limit]
    right = [place for place, high in zip(places, highs, strict=True) if high > limit]
    for end, marker, cut in ((-limit, "<", left), (limit, ">", right)):
        axes.plot([end] * len(cut), cut, linestyle="none", marker=marker, markersize=4, color=_INTERVAL)
