"""A job's components page by page: all of them, one by its name, those with a text in their names."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from patchgrid.core.names import POPULATION, check_name
from patchgrid.storage.chunks.naming import read_name
from patchgrid.storage.db.search import check_length
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results import components
from patchgrid.storage.results.components import ComponentRow, Discoveries, Part

#: By what components can be sorted: by size, by the ends and the width of their intervals, by counts.
SORTS = (*components.ORDERS, "std", "ci_low", "ci_high", "width", "exact_n", "n")
#: Most components a page.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class ComponentPage:
    """Some of a job's components."""

    #: In the requested order.
    items: list[ComponentRow]
    #: How many there are on all pages.
    total: int
    #: Where to continue, or None: no more.
    next: int | None


def page(
    session: Session,
    job: JobRecord,
    *,
    sites: Sequence[str] | None = None,
    kind: str | None = None,
    interval: str = POPULATION,
    simultaneous: bool = False,
    method: str | None = None,
    by: str | None = None,
    down: bool | None = None,
    component: str | None = None,
    search: str | None = None,
    discoveries: Discoveries | None = None,
    start: int = 0,
    limit: int = 1000,
) -> ComponentPage:
    """Return the job's components from number `start`, at most `limit` (and at most `MOST`).

    They are ordered by site, layer, head and position, or with `by` the largest first (one of `SORTS`;
    estimates and means by their size); missing values, and intervals without a bound, come last. `down`
    reverses the order. `component` selects the one of this name, of any kind unless `kind` is set: with the
    kind `aligned`, a name without a position selects all of its positions. `search` selects those with this
    text in their names, ignoring case; a text with `@` is of the kind `aligned`. The rest as for
    `components.components`; only the page's own rows are written down.
    """
    if by is not None:
        check_name("order", by, SORTS, "by")
    named = None if component is None else read_name(component)
    check_length(search or "")
    chosen_sites = _sites(job, sites)
    if component is not None:
        chosen_sites = [site for site in chosen_sites if named is not None and site == named.site]
    if named is not None and kind is None:
        kind = "whole" if named.position is None else "aligned"
    if kind is None and search and "@" in search:
        kind = "aligned"
    parts = components.by_site(
        session,
        job,
        chosen_sites,
        kind,
        method,
        interval=interval,
        simultaneous=simultaneous,
        discoveries=discoveries,
    )
    numbers = [part.numbers(named, search) for part in parts]
    order = _order(parts, numbers, by, by is not None if down is None else down)
    limit, start = max(1, min(limit, MOST)), max(0, start)
    rows = _rows(parts, numbers, order[start : start + limit])
    return ComponentPage(rows, len(order), start + limit if len(order) > start + limit else None)


def _sites(job: JobRecord, sites: Sequence[str] | None) -> list[str]:
    return [
        check_name("site of this job", site, job.spec.query.sites, "site")
        for site in sites or job.spec.query.sites
    ]


def _order(
    parts: Sequence[Part], numbers: Sequence[NDArray[np.intp]], by: str | None, down: bool
) -> NDArray[np.intp]:
    """Return the order of the components of all parts together, as their numbers."""
    if by is None:
        order = np.arange(sum(map(len, numbers)))
        return order[::-1] if down else order
    keys = [_keys(part, by)[chosen] for part, chosen in zip(parts, numbers, strict=True)]
    key = np.concatenate([np.zeros(0), *keys])
    return np.argsort(-key if down else key, kind="stable")  # NaN comes last


def _keys(part: Part, by: str) -> NDArray[np.float64]:
    """Return the sort keys of a part's components, NaN for those that come last."""
    estimates = part.estimates
    if by in components.ORDERS:
        return part.size(by)
    if by in ("ci_low", "ci_high", "width"):
        width = estimates.ci_high - estimates.ci_low
        sizes = np.stack([np.abs(estimates.estimate), estimates.mean_abs, np.abs(estimates.mean)])
        size = np.maximum(components.LEAST, np.nan_to_num(sizes).max(axis=0))
        values = width if by == "width" else getattr(estimates, by)
        return np.where(width / 2 <= components.BOUNDED * size, values, np.nan).ravel()
    return np.asarray(getattr(estimates, by), np.float64).ravel()


def _rows(
    parts: Sequence[Part], numbers: Sequence[NDArray[np.intp]], order: NDArray[np.intp]
) -> list[ComponentRow]:
    """Write down the components at these places among all of the parts'."""
    rows: dict[int, ComponentRow] = {}
    begin = 0
    for part, chosen in zip(parts, numbers, strict=True):
        own = order[(order >= begin) & (order < begin + len(chosen))]
        rows |= zip(own.tolist(), part.rows(chosen[own - begin]), strict=True)
        begin += len(chosen)
    return [rows[place] for place in order.tolist()]
