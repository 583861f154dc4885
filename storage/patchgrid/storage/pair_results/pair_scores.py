"""What was kept of one pair: its scores, over all positions or by position, and its exact effects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.errors import ComponentError
from patchgrid.core.names import REST
from patchgrid.core.sites import HEAD_SITES, WIDE_SITES
from patchgrid.storage.chunks import naming
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.pair_results.pair_view import PairView


@dataclass(frozen=True, slots=True, eq=False)
class ExactGrid:
    """A pair's exact effects at a site: the picture of activation patching."""

    #: What the columns are: `position`, `span` or `head`.
    axis: str
    #: Positions or heads from 0, or the names of spans.
    columns: tuple[int | str, ...]
    #: float64 `[layer, column]`, metric units; NaN where the cell was not patched.
    values: NDArray[np.float64]
    #: Cells that were patched.
    patched: int


def whole_scores(view: PairView, site: str) -> NDArray[np.float64]:
    """Return a pair's scores over all positions, `[layer(, inner)]` or `[edge]`."""
    if site not in view.scores:
        raise NothingKept(_nothing(view, "scores", "pairs or positions"))
    scores = view.scores[site].astype(np.float64)
    return scores.sum(axis=1) if has_positions(view, site) else scores


def has_positions(view: PairView, site: str) -> bool:
    """Tell whether a pair's scores at a site were kept by position."""
    return naming.has_positions(view.scores[site], site)


def position_scores(view: PairView, site: str) -> NDArray[np.float64]:
    """Return a pair's scores `[layer, position]`, summed over a layer's components."""
    if site not in view.scores or not has_positions(view, site):
        raise NothingKept(_nothing(view, "positions", "positions"))
    scores = view.scores[site].astype(np.float64)
    return scores.sum(axis=2) if naming.has_inner(site) else scores


def exact_grid(job: JobRecord, view: PairView, site: str) -> ExactGrid:
    """Lay out a pair's exact effects: layer by position or span; by head where positions were summed.

    Raises `ComponentError` for a site that has no such picture, `NothingKept` where nothing was patched.
    """
    axis = _exact_axis(job, site)
    cells = [cell for cell in view.exact if cell.site == site]
    if not cells:
        keep = " --positions keep" if job.kind == "aligned" else ""
        why = f"pair {view.name} is {view.state}" if view.state != "done" else "none was drawn"
        raise NothingKept(
            f"pair {view.name} has no exact effects of {site} ({why}): "
            f"run the job with --sites {site}{keep} --exact 1 to patch every cell"
        )
    columns: list[int | str] = list(range(len(view.tokens)))
    if axis == "span":
        span_names = [*(name for name in job.spans if name in view.spans), REST]
        columns = [name for name in span_names if any(cell.span == name for cell in cells)]
    elif axis == "head":
        columns = list(range(1 + max(cell.index or 0 for cell in cells)))
    values = np.full((1 + max(cell.layer for cell in cells), len(columns)), np.nan)
    for cell in cells:
        place = {"position": cell.position, "span": cell.span, "head": cell.index}[axis]
        values[cell.layer, columns.index(place if place is not None else 0)] = cell.effect
    return ExactGrid(axis, tuple(columns), values, len(cells))


def _exact_axis(job: JobRecord, site: str) -> str:
    if site in WIDE_SITES:
        raise ComponentError(f"{site} has too many components for a heatmap: see `patchgrid results pair`")
    by_position, heads = job.kind == "aligned", site in HEAD_SITES
    if by_position and heads:
        others = [each for each in job.spec.query.sites if each not in (*HEAD_SITES, *WIDE_SITES)]
        instead = f"one of {', '.join(others)}" if others else "attn_out"
        raise ComponentError(f"{site} has heads at each position, too many for one heatmap: use {instead}")
    if not by_position and not heads:
        raise ComponentError(
            f"this job patched {site} at all positions at once: run it with --positions keep --exact 1 "
            "for layer by position"
        )
    return "head" if heads else "span" if job.spans else "position"


def _nothing(view: PairView, what: str, detail: str) -> str:
    if view.state != "done":
        return f"pair {view.name} is {view.state}: it has no scores"
    return f"no {what} per pair were stored: run the job with --detail {detail}"
