"""A job's answer: its components with their means, estimates and intervals."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.errors import ComponentError, SpecError
from patchgrid.core.graph import Graph
from patchgrid.core.names import COMBINED, INTERVALS, POPULATION, REST, check_name
from patchgrid.core.sites import short_name
from patchgrid.estimates import Estimates, Sums, estimate
from patchgrid.estimates.discoveries import discovered
from patchgrid.estimates.estimator import chance_below
from patchgrid.storage.chunks.naming import Named, index_of, indexed, site_names
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.chunks.sums import add_up, read_sums
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.tables import total

#: Times a component's own size that half an interval may be and still say something of it. Few cells of
#: uneven weights give intervals of any size. The page draws the same line (`core/text/bounds.js`).
BOUNDED = 1000
#: The least size that counts, in metric units.
LEAST = 0.001


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """One component over all of a job's pairs by one method; metric units.

    The fields are those of an export, in order; `index` stands there as `head` or `unit`.
    """

    #: One of `SITES`.
    site: str
    #: Layer, from 0; of an edge, the layer of what it comes from.
    layer: int
    #: Index within the layer, of its site's kind, or None; of an edge, its sender's head.
    index: int | None
    #: None: all positions at once; below 0: counted from the end; text: a span's name.
    position: int | str | None
    #: Pairs that have the component.
    n: int
    #: Mean score; None without pairs.
    mean: float | None
    #: Mean |score|.
    mean_abs: float | None
    #: Sample standard deviation of the score; None with fewer than two pairs.
    std: float | None
    #: Estimated mean effect; None where no cell was patched exactly.
    estimate: float | None
    #: Lower end of the 95 % interval, by default for the population that the pairs are a sample of.
    ci_low: float | None
    #: Upper end.
    ci_high: float | None
    #: Cells patched exactly.
    exact_n: int
    #: The ends of the interval for this job's own pairs.
    pairs_low: float | None = None
    pairs_high: float | None = None
    #: Few cells carry the variance: the interval may be too short.
    heavy: bool = False
    #: Whether the estimate is from fewer than three cells and shrunk toward the mean score.
    shrunk: bool = False
    #: An edge's name, or None; exported for edges only.
    edge: str | None = None

    @property
    def name(self) -> str:
        """The short name the field writes: `a9.h6`, `m5@-1`."""
        return short_name(self.site, self.layer, self.index, self.position, self.edge)

    @property
    def unbounded(self) -> bool:
        """Whether it has an interval so wide that it says nothing."""
        if self.ci_low is None or self.ci_high is None:
            return False
        size = max(LEAST, *(abs(value or 0.0) for value in (self.estimate, self.mean, self.mean_abs)))
        return (self.ci_high - self.ci_low) / 2 > BOUNDED * size


#: The estimates of a row, in order.
_COLUMNS = (
    *("n", "mean", "mean_abs", "std", "estimate", "ci_low", "ci_high", "exact_n"),
    *("pairs_low", "pairs_high", "heavy", "shrunk"),
)
#: By what components can be ordered.
ORDERS = ("estimate", "mean", "mean_abs")


@dataclass(frozen=True, slots=True)
class Discoveries:
    """A list of components whose mean effect exceeds a size, few of them falsely. Raises `SpecError`."""

    #: Size of a mean effect that is to be exceeded, metric units.
    above: float
    #: False discovery rate: the share of the list that may be wrong, on average.
    rate: float = 0.05

    def __post_init__(self) -> None:
        if not (math.isfinite(self.above) and self.above >= 0):
            raise SpecError(f"effect above {self.above} is not a size (0 or more)", "effect_above")
        if not 0 < self.rate < 1:
            raise SpecError(f"false discovery rate {self.rate} is not between 0 and 1", "fdr")

    def among(
        self, sums: Sequence[Sums], others: Sequence[Sequence[Sums]], interval: str
    ) -> list[NDArray[np.bool_]]:
        """Return the components of these sums that are on the list; `others` are by further methods."""
        chances = [
            chance_below(each, self.above, population=interval == POPULATION, others=further)
            if each.sampled
            else np.full(each.axes, np.nan)
            for each, further in zip(sums, others, strict=True)
        ]
        if not chances:
            return []
        found = discovered(np.concatenate([each.ravel() for each in chances]), self.rate)
        ends = np.cumsum([each.size for each in chances])[:-1]
        return [own.reshape(each.shape) for each, own in zip(chances, np.split(found, ends), strict=True)]


def job_sums(
    session: Session, job: JobRecord, site: str, kind: str, method: str | None = None
) -> Sums | None:
    """Add up the sums that the job's chunks have committed so far, or None if there are none.

    `method` None is the job's first, here and in all questions.
    """
    chosen = job.method(method)
    stored = select(total.c.data).where(
        total.c.job_id == job.id,
        total.c.site == site,
        total.c.kind == kind,
        total.c.method == chosen,
    )
    data = session.scalar(stored)
    if data is not None:
        return read_sums(data, f"the stored sums of job {job.id}, {site}")
    return add_up(session, job.id, site, kind, chosen)


def components(
    session: Session,
    job: JobRecord,
    *,
    sites: Sequence[str] | None = None,
    kind: str | None = None,
    interval: str = POPULATION,
    simultaneous: bool = False,
    method: str | None = None,
) -> list[ComponentRow]:
    """Return all components that the job measures, by site, layer, head and position (the last one last).

    `kind` None is the job's own: `whole`, or `aligned` when positions are kept. `interval` says
    what intervals are for: `population`, which the job's pairs are a sample of, or `pairs`, these alone. With
    `simultaneous` those of all components that are listed hold at once.
    """
    parts = by_site(session, job, sites, kind, method, interval=interval, simultaneous=simultaneous)
    return [row for part in parts for row in part.rows(part.order())]


def top(
    session: Session,
    job: JobRecord,
    k: int = 20,
    by: str = "estimate",
    *,
    sites: Sequence[str] | None = None,
    kind: str | None = None,
    interval: str = POPULATION,
    simultaneous: bool = False,
    method: str | None = None,
) -> list[ComponentRow]:
    """Return the k components of largest |estimate|, |mean score| or mean |score|, the largest first.

    `by` is `estimate` (|mean| stands in where nothing was sampled), `mean` or `mean_abs`.
    """
    found = ranked(
        session,
        job,
        lambda _site: k,
        by,
        sites=sites,
        kind=kind,
        interval=interval,
        simultaneous=simultaneous,
        method=method,
    )
    return found[:k]


def ranked(
    session: Session,
    job: JobRecord,
    most: Callable[[str], int | None],
    by: str = "estimate",
    *,
    sites: Sequence[str] | None = None,
    kind: str | None = None,
    interval: str = POPULATION,
    simultaneous: bool = False,
    method: str | None = None,
) -> list[ComponentRow]:
    """Return the `most(site)` largest components of each site (None: all), all sites' in order of size.

    The rest as for `top`.
    """
    check_name("order", by, ORDERS, "by")
    rows: list[ComponentRow] = []
    sizes: list[float] = []
    for part in by_site(session, job, sites, kind, method, interval=interval, simultaneous=simultaneous):
        order, size = part.order(), part.size(by)
        largest = order[np.argsort(-size[order], kind="stable")[: most(part.site)]]
        rows += part.rows(largest)
        sizes += size[largest].tolist()
    by_size = sorted(zip(sizes, rows, strict=True), key=lambda both: both[0], reverse=True)
    return [row for _, row in by_size]


def aligned_labels(spans: Sequence[str], count: int) -> list[int | str]:
    """Name the entries of an aligned axis: -1, -2, ...; or the spans and, for positions in none, the rest."""
    if not spans:
        return [-1 - index for index in range(count)]
    named: list[int | str] = [*spans, REST]
    return named[:count]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One site's components; a component is known by its flat number."""

    site: str
    #: Labels of the aligned positions, from the end or by span; empty: all positions at once.
    labels: Sequence[int | str]
    #: Whether the labels run in the order of the prompt.
    in_order: bool
    estimates: Estimates
    graph: Graph | None
    #: The components that are listed, `[*axes]`; None: all.
    chosen: NDArray[np.bool_] | None = None

    def order(self) -> NDArray[np.intp]:
        """Return the components that some pair has, by layer, head and position."""
        n = self.estimates.n
        flat = np.arange(n.size).reshape(n.shape)
        if self.labels:
            # From the end, index 0 is the last position: turned round, rows run in the order of the prompt.
            flat = np.moveaxis(flat if self.in_order else flat[:, ::-1], 1, -1)
        order = flat.ravel()
        there = n.ravel() > 0 if self.chosen is None else self.chosen.ravel()
        return order[there[order]]

    def numbers(self, component: Named | None, search: str | None) -> NDArray[np.intp]:
        """Return the components that some pair has, in order: the named one, or its positions."""
        order = self.order()
        if component is not None:
            order = order[np.isin(order, self._numbers_of(component))]
        if search:
            # Names of all, at once: a row for each would take ten times the time.
            names = site_names(self.site, self.estimates.n.shape, self.labels, self.graph)
            text = search.casefold()
            order = order[[text in names[number].casefold() for number in order.tolist()]]
        return order

    def _numbers_of(self, named: Named) -> list[int]:
        """Return a component's number by name, or the number of each position if the name has none."""
        labels = [str(label) for label in self.labels]
        if named.site != self.site or (named.position is not None and named.position not in labels):
            return []
        try:
            place = index_of(named.place, self.graph)
            positions = [named.position] if named.position is not None else labels
            places = [[place[0], labels.index(each), *place[1:]] for each in positions] if labels else [place]
            shape = self.estimates.n.shape
            return [int(np.ravel_multi_index(each, shape)) for each in places]
        except (ComponentError, ValueError):
            return []

    def size(self, by: str) -> NDArray[np.float64]:
        """Return the sort key of components."""
        mean = np.nan_to_num(np.abs(self.estimates.mean)).ravel()
        size = np.abs(getattr(self.estimates, by)).ravel()
        return np.where(np.isfinite(size), size, mean)

    def rows(self, numbers: NDArray[np.intp]) -> list[ComponentRow]:
        """Write components down."""
        shape = self.estimates.n.shape
        places = np.stack(np.unravel_index(numbers, shape), axis=1).tolist()
        columns = [getattr(self.estimates, name).ravel()[numbers].tolist() for name in _COLUMNS]
        return [self._row(place, values) for place, *values in zip(places, *columns, strict=True)]

    def _row(self, index: list[int], values: Sequence[float]) -> ComponentRow:
        position = self.labels[index.pop(1)] if self.labels else None
        place = indexed(self.site, index, self.graph)
        n, mean, mean_abs, std, middle, low, high, exact_n, pairs_low, pairs_high, heavy, shrunk = values
        return ComponentRow(
            site=self.site,
            layer=place.layer,
            index=place.index,
            position=position,
            n=int(n),
            mean=_number(mean),
            mean_abs=_number(mean_abs),
            std=_number(std),
            estimate=_number(middle),
            ci_low=_number(low),
            ci_high=_number(high),
            exact_n=int(exact_n),
            pairs_low=_number(pairs_low),
            pairs_high=_number(pairs_high),
            heavy=bool(heavy),
            shrunk=bool(shrunk),
            edge=place.edge,
        )


def by_site(
    session: Session,
    job: JobRecord,
    sites: Sequence[str] | None,
    kind: str | None,
    method: str | None,
    *,
    interval: str,
    simultaneous: bool = False,
    discoveries: Discoveries | None = None,
) -> list[Part]:
    """Return the components of each site that has any; by default, of all of the job's sites.

    With `discoveries` those alone whose mean effect is certainly larger than that.
    """
    check_name("interval", interval, INTERVALS, "interval")
    graph = job_graph(session, job.id)
    known: dict[str, Sums] = {}
    further: dict[str, list[Sums]] = {}
    combines = job.estimator(method) == COMBINED and (kind or job.kind) == job.kind
    for site in job.spec.query.sites if sites is None else sites:
        check_name("site of this job", site, job.spec.query.sites, "site")
        first = None if job.estimator(method) == COMBINED else method
        sums = job_sums(session, job, site, kind or job.kind, first)
        if sums is None:
            continue
        known[site] = sums
        rest = job.spec.query.method_names[1:] if combines else ()
        further[site] = [
            more for each in rest if (more := job_sums(session, job, site, job.kind, each)) is not None
        ]
    together = sum(int((sums["n"] > 0).sum()) for sums in known.values()) if simultaneous else 0
    parts = []
    for site, sums in known.items():
        labels = aligned_labels(job.spans, sums.axes[1]) if sums.aligned else []
        population = interval == POPULATION
        found = estimate(sums, population=population, together=together, others=further[site])
        parts.append(Part(site, labels, bool(job.spans), found, graph))
    if discoveries is None:
        return parts
    sites_of_parts = [part.site for part in parts]
    chosen = discoveries.among(
        [known[each] for each in sites_of_parts], [further[each] for each in sites_of_parts], interval
    )
    return [dataclasses.replace(part, chosen=own) for part, own in zip(parts, chosen, strict=True)]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
