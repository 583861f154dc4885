"""The numbers behind the pictures: a site's heatmap, and its scores against its exact effects."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.names import REST, check_name
from patchgrid.core.sites import short_name
from patchgrid.estimates import estimate
from patchgrid.storage.chunks.naming import has_inner, place_of_row
from patchgrid.storage.chunks.sums import KINDS
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.pair_results.exact_scores import with_scores
from patchgrid.storage.results.components import aligned_labels, job_sums
from patchgrid.storage.results.sampled_cells import read_numbers
from patchgrid.storage.tables import exact

#: Components of which `Cells` has the names, and cells looked at for them: the strongest are often of few.
NAMED = 6
LOOKED_AT = 200


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """Mean scores or estimated effects of a site, layer by head or layer by aligned position."""

    #: One of `SITES`.
    site: str
    #: What cells show: `estimate`, `mean`, or `mixed`: an estimate where there is one, else the mean score.
    measure: str
    #: float64 `[layer, column]`, metric units; NaN where no pair has the component.
    values: NDArray[np.float64]
    #: What the columns are: heads or neurons from 0, positions from the end (-1 last) or span names; one
    #: empty label for a site without any.
    columns: tuple[int | str, ...]
    #: bool `[layer, column]`: the cell shows an estimate; of several heads together, all of them have one.
    estimated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A site's exactly patched cells; arrays of equal length, in order of pair."""

    #: Scores by the requested method, metric units.
    score: NDArray[np.float64]
    #: Exact effects, metric units.
    effect: NDArray[np.float64]
    #: Probabilities of having been drawn.
    inclusion: NDArray[np.float64]
    #: Names of the components of the largest |effects|, by index of their strongest cell, the largest first.
    strongest: Mapping[int, str] = field(default_factory=dict)


def heatmap(session: Session, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
    """Return a site's heatmap: kind `whole` is layer by head, `aligned` layer by position.

    The latter is summed over heads or neurons, its columns in the order of the prompt. `NothingKept` while no
    chunk is done, and where positions were not kept.
    """
    check_name("site of this job", site, job.spec.query.sites, "site")
    check_name("kind", kind, KINDS, "kind")
    if kind not in job.kinds(site):
        raise NothingKept(f"job {job.id} did not store {site} by position: run it with --positions keep")
    sums = job_sums(session, job, site, kind, method)
    if sums is None:
        raise NothingKept(f"job {job.id} has no results for {site} yet")
    estimates = estimate(sums)
    means, effects = estimates.mean, estimates.estimate
    if sums.aligned and has_inner(site):
        means, effects = means.sum(axis=2), effects.sum(axis=2)
    estimated = np.isfinite(effects)
    values = np.where(estimated, effects, means)
    columns: list[int | str] = [""]
    if sums.aligned:
        columns = aligned_labels(job.spans, sums.axes[1])
        if columns[-1] == REST and not np.nan_to_num(values[:, -1]).any():
            # The spans cover all that differs: a column of nothing says nothing.
            columns, values, estimated = columns[:-1], values[:, :-1], estimated[:, :-1]
        if not job.spans:
            columns, values, estimated = columns[::-1], values[:, ::-1], estimated[:, ::-1]
    elif has_inner(site):
        columns = list(range(sums.axes[1]))
    else:
        values, estimated = values[:, None], estimated[:, None]
    return Heatmap(site, _measure(values, estimated), values, tuple(columns), estimated)


def _measure(values: NDArray[np.float64], estimated: NDArray[np.bool_]) -> str:
    if not estimated.any():
        return "mean"
    return "estimate" if estimated[np.isfinite(values)].all() else "mixed"


def cells(
    session: Session,
    job: JobRecord,
    site: str,
    method: str | None = None,
    *,
    limit: int | None = None,
) -> Cells:
    """Return a site's exactly patched cells, in order of pair; at most the first `limit`."""
    check_name("site of this job", site, job.spec.query.sites, "site")
    chosen = job.method(method)
    scored = with_scores(None if chosen == job.method() else chosen)
    by_method = scored.selected_columns["by_method"]
    keys = (exact.c.pair_index, exact.c.cell)
    read = (by_method, exact.c.effect, exact.c.inclusion, *keys)
    query = (
        scored.with_only_columns(*read, maintain_column_froms=True)
        .where(exact.c.job_id == job.id, exact.c.site == site)
        .order_by(*keys)
        .limit(limit)
    )
    score, effect, inclusion, *places = read_numbers(session, query, len(read))
    return Cells(score, effect, inclusion, _strongest(session, job, effect, *places))


def strongest_cells(effect: NDArray[np.float64]) -> list[int]:
    """Return the cells of the largest |effects|, the largest first: the candidates for labels."""
    order = np.argsort(-np.abs(effect), kind="stable")
    return [int(index) for index in order[:LOOKED_AT]]


def named_once(names: Mapping[int, str]) -> dict[int, str]:
    """Keep the first cell of each component, of `NAMED` components."""
    first: dict[str, int] = {}
    for index, name in names.items():
        first.setdefault(name, index)
    return {index: name for name, index in itertools.islice(first.items(), NAMED)}


def _strongest(
    session: Session,
    job: JobRecord,
    effect: NDArray[np.float64],
    pairs: NDArray[np.float64],
    cells: NDArray[np.float64],
) -> dict[int, str]:
    keys = {(int(pairs[index]), int(cells[index])): index for index in strongest_cells(effect)}
    of_cells = exact.c.pair_index.in_({pair for pair, _ in keys}) & exact.c.cell.in_(
        {cell for _, cell in keys}
    )
    names = {
        (row.pair_index, row.cell): component_of(row)
        for row in session.execute(select(exact).where(exact.c.job_id == job.id, of_cells))
    }
    return named_once({index: names[key] for key, index in keys.items()})


def component_of(cell: Any) -> str:
    """Name the component of a cell, at all positions at once: each pair has positions of its own."""
    place = place_of_row(cell)
    return short_name(cell.site, place.layer, place.index, cell.span, place.edge)
