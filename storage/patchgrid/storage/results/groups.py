"""A job's answer by groups of its pairs: which components differ between templates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.core.errors import ComponentError
from patchgrid.core.names import check_name
from patchgrid.core.sites import WIDE_SITES
from patchgrid.estimates import estimate
from patchgrid.estimates.discoveries import discovered
from patchgrid.estimates.group_means import GroupMeans, group_means
from patchgrid.estimates.group_sums import MOST_GROUPS
from patchgrid.storage.chunks.naming import read_name
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import Part, aligned_labels, job_sums
from patchgrid.storage.tables import pair

#: False discovery rate of the components that are said to differ.
RATE = 0.05


@dataclass(frozen=True, slots=True)
class GroupMean:
    """A component's mean effect over the pairs of one group; metric units."""

    group: str
    #: Pairs of the group that have the component.
    n: int
    mean: float | None
    #: 95 % interval for all pairs of this kind.
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, slots=True)
class GroupedComponent:
    """One component's mean effects by group; metric units."""

    component: str
    site: str
    #: Mean effect over all of the job's pairs, with the 95 % interval for the population of groups.
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    #: Standard deviation of the groups' true means.
    spread: float | None
    #: Chance of groups that differ so much if their true means are the same.
    p: float | None
    #: Whether the groups differ: of the components that are said to, at most 5 % do not on average.
    differs: bool
    groups: Sequence[GroupMean]


@dataclass(frozen=True, slots=True)
class ByGroup:
    """A job's components by group, those of largest spread first."""

    #: Components that were compared, and how many of them differ between groups.
    compared: int
    differing: int
    items: Sequence[GroupedComponent]


def by_group(
    session: Session,
    job: JobRecord,
    *,
    site: str | None = None,
    method: str | None = None,
    component: str | None = None,
    limit: int = 20,
) -> ByGroup:
    """Return the components whose effects differ most between groups, or the one of this name.

    Raises `NothingKept` for a job without groups, with too many of them, or without sums by group at these
    sites; `ComponentError` for a name that the job does not have.
    """
    names = _group_names(session, job)
    named = None if component is None else read_name(component)
    if component is not None and (named is None or named.site not in job.spec.query.sites):
        raise ComponentError(f"job {job.id} has no component {component!r}")
    if named is not None:
        site = named.site
    parts = [_Part(session, job, each, method) for each in _sites(job, site)]
    parts = [part for part in parts if part.found is not None]
    if not parts:
        where = f"job {job.id}" + ("" if site is None else f", site {site}")
        raise NothingKept(
            f"{where} has no results by group: they need exact patching, and neurons and edges have none"
        )
    differing = _differing(parts)
    if named is not None:
        chosen = [(parts[0], number) for number in parts[0].components.numbers(named, None)]
        if not chosen:
            raise ComponentError(f"job {job.id} has no component {component!r}")
    else:
        chosen = _largest(parts, limit)
    items = [part.row(number, names, differs=bool(differing[id(part)][number])) for part, number in chosen]
    return ByGroup(
        compared=sum(int(np.isfinite(part.p).sum()) for part in parts),
        differing=sum(int(own.sum()) for own in differing.values()),
        items=items,
    )


class _Part:
    """One site of a job by group."""

    def __init__(self, session: Session, job: JobRecord, site: str, method: str | None) -> None:
        sums = job_sums(session, job, site, job.kind, job.method(method))
        self.found: GroupMeans | None = None
        if sums is None or sums.groups is None:
            return
        self.site, self.found = site, group_means(sums)
        self.p, self.spread = self.found.p.ravel(), self.found.spread.ravel()
        labels = aligned_labels(job.spans, sums.axes[1]) if sums.aligned else []
        known = estimate(sums, population=True)
        self.components = Part(site, labels, bool(job.spans), known, job_graph(session, job.id))
        self._numbers = sorted(sums.groups.values)
        self._by_group = {
            name: getattr(self.found, name).reshape(len(self._numbers), -1)
            for name in ("n", "mean", "ci_low", "ci_high")
        }

    def row(self, number: int, names: Sequence[str], *, differs: bool) -> GroupedComponent:
        """Write a component down."""
        [row] = self.components.rows(np.array([number]))
        groups = [
            GroupMean(
                names[group],
                int(self._by_group["n"][place, number]),
                *(_number(self._by_group[name][place, number]) for name in ("mean", "ci_low", "ci_high")),
            )
            for place, group in enumerate(self._numbers)
        ]
        return GroupedComponent(
            component=row.name,
            site=self.site,
            estimate=row.estimate,
            ci_low=row.ci_low,
            ci_high=row.ci_high,
            spread=_number(self.spread[number]),
            p=_number(self.p[number]),
            differs=differs,
            groups=[each for each in groups if each.n],
        )


def _sites(job: JobRecord, site: str | None) -> Sequence[str]:
    if site is not None:
        check_name("site of this job", site, job.spec.query.sites, "site")
        return [site]
    return [each for each in job.spec.query.sites if each not in WIDE_SITES]


def _group_names(session: Session, job: JobRecord) -> list[str]:
    """Return the names of a job's groups by number: their own, or that of their first pair."""
    if job.groups is None:
        raise NothingKept(
            f"job {job.id} has no groups: give the pairs a field 'group' (or --columns group=COLUMN) to "
            "compare templates"
        )
    if job.groups > MOST_GROUPS:
        raise NothingKept(
            f"job {job.id} has {job.groups:,} groups: results by group are for up to {MOST_GROUPS}; name "
            "larger groups in the pair file"
        )
    first = (
        select(pair.c.group_number, func.min(pair.c.pair_index).label("first"))
        .where(pair.c.job_id == job.id)
        .group_by(pair.c.group_number)
        .subquery()
    )
    query = select(pair.c.pair_index, pair.c.name, pair.c.group_name).join(
        first, (pair.c.pair_index == first.c.first) & (pair.c.job_id == job.id)
    )
    return [
        row.group_name or f"as pair {row.pair_index if row.name is None else row.name}"
        for row in session.execute(query.order_by(first.c.group_number))
    ]


def _differing(parts: Sequence[_Part]) -> dict[int, NDArray[np.bool_]]:
    """Tell which components differ, all sites' together, by part."""
    found = discovered(np.concatenate([part.p for part in parts]), RATE)
    ends = np.cumsum([part.p.size for part in parts])[:-1]
    return {id(part): own for part, own in zip(parts, np.split(found, ends), strict=True)}


def _largest(parts: Sequence[_Part], limit: int) -> list[tuple[_Part, int]]:
    """Return the components of largest spread."""
    places = [(part, number) for part in parts for number in range(part.spread.size)]
    spreads = np.concatenate([part.spread for part in parts])
    order = np.argsort(-np.nan_to_num(spreads, nan=-1.0), kind="stable")[:limit]
    return [places[place] for place in order.tolist() if np.isfinite(spreads[place])]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
