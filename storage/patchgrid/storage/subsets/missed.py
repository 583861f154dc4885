"""What components may do that were hardly ever patched alone: bounds from random subsets of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from patchgrid.core.graph import Graph
from patchgrid.core.names import check_name
from patchgrid.core.sites import (
    EDGE,
    INDEX_FIELDS,
    SITES,
    WIDE_SITES,
    index_fields,
    index_of_fields,
    short_name,
)
from patchgrid.estimates.missed import Missed, bounds, slope_of
from patchgrid.storage.chunks.naming import indexed
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import job_sums
from patchgrid.storage.subsets.subset_rows import designed_sites, read_design, read_effects

#: Fewest pairs that a bound is made from.
FEWEST_PAIRS = 2
#: A component that was patched in fewer pairs, of more, counts as not patched: they say little of it.
FEWEST_CELLS = 3
#: What is said with a bound by default.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Unpatched:
    """One component that was patched alone in fewer than three pairs; metric units."""

    site: str
    layer: int
    index: int | None
    #: Its mean score.
    mean: float
    #: Its effect among others: see `estimates.missed`.
    estimate: float
    #: An interval; those of all components hold together.
    ci_low: float
    ci_high: float
    #: What its |mean effect| is below.
    bound: float
    #: Its effect is not what its score says: the score missed it.
    stands_out: bool
    #: The name of an edge, else None.
    edge: str | None = None

    @property
    def name(self) -> str:
        """The short name the field writes."""
        return short_name(self.site, self.layer, self.index, edge=self.edge)


@dataclass(frozen=True, slots=True)
class MissedBound:
    """What the components of a site may do that were patched alone in fewer than three pairs."""

    site: str
    #: How many there are.
    components: int
    #: No |mean effect| is above this, but for components that stand out; metric units.
    bound: float
    confidence: float
    #: Pairs whose subsets were patched, subsets of each, and how many a round deals the components into.
    pairs: int
    subsets: int
    blocks: int
    #: Those that stand out, and others of largest bound, the largest first.
    largest: Sequence[Unpatched]

    @property
    def standing_out(self) -> list[Unpatched]:
        """The components whose effect is not what their score says."""
        return [each for each in self.largest if each.stands_out]


@dataclass(frozen=True, slots=True, eq=False)
class SiteState:
    """Which components of a site were hardly patched alone, and every mean score: flat arrays."""

    #: Axes of a component: layer, index.
    axes: tuple[int, ...]
    unpatched: NDArray[np.bool_]
    mean_scores: NDArray[np.float64]
    #: Pairs that were measured.
    pairs: int


def site_state(session: Session, job: JobRecord, site: str) -> SiteState:
    """Read a site's state off the job's sums; `NothingKept` where the job has none."""
    whole, own = job_sums(session, job, site, "whole"), job_sums(session, job, site, job.kind)
    if whole is None or own is None:
        raise NothingKept(f"job {job.id} has measured nothing of {site} yet")
    cells = own["m"] if own.sampled else np.zeros(own.axes)
    if own.aligned:
        cells = cells.sum(1)
    means = whole["a"] / np.maximum(whole["n"], 1)
    unpatched = cells < np.minimum(FEWEST_CELLS, whole["n"])
    return SiteState(whole.axes, unpatched.ravel(), means.ravel(), int(whole["n"].max(initial=0)))


def site_of(job: JobRecord, site: str | None) -> str:
    """Return the site to bound: by default neurons, else the first with several components a layer."""
    own = job.spec.query.sites
    if site is not None:
        check_name("site of this job", site, own, "site")
        chosen = site
    else:
        nodes = [each for each in own if each != EDGE]
        chosen = min(nodes or own, key=lambda each: (each not in WIDE_SITES, SITES[each].index is None))
    return chosen


def missed(
    session: Session,
    job: JobRecord,
    site: str | None = None,
    *,
    confidence: float = CONFIDENCE,
    limit: int = 10,
) -> list[MissedBound]:
    """Return the bound of a site, or of each that has one, with at least `limit` of its components."""
    sites = designed_sites(session, job.id) if site is None else [site_of(job, site)]
    found = (_of_site(session, job, each, confidence, limit) for each in sites)
    return [each for each in found if each is not None]


def _of_site(
    session: Session, job: JobRecord, site: str, confidence: float, limit: int
) -> MissedBound | None:
    design = read_design(session, job.id, site)
    if design is None:
        return None
    measured = list(read_effects(session, job, design))
    if len(measured) < FEWEST_PAIRS:
        return None
    state = site_state(session, job, site)
    left = design.members & state.unpatched
    result = bounds(
        measured,
        state.mean_scores,
        slope=slope_of(measured),
        of_pairs=state.pairs,
        members=design.members,
        confidence=confidence,
    )
    apart = result.apart & left
    order = np.flatnonzero(left)[np.argsort(-result.bound[left], kind="stable")]
    chosen = [*order[apart[order]], *order[~apart[order]][: max(0, limit - int(apart.sum()))]]
    chosen.sort(key=lambda number: -result.bound[number])
    graph = job_graph(session, job.id) if site == EDGE else None
    return MissedBound(
        site=site,
        components=int(left.sum()),
        bound=result.largest(left & ~apart),
        confidence=confidence,
        pairs=result.pairs,
        subsets=result.subsets,
        blocks=design.blocks,
        largest=[_row(site, state, result, int(number), graph) for number in chosen],
    )


def _row(site: str, state: SiteState, result: Missed, number: int, graph: Graph | None) -> Unpatched:
    place = indexed(site, [int(each) for each in np.unravel_index(number, state.axes)], graph)
    estimate, half = float(result.estimate[number]), float(result.half[number])
    return Unpatched(
        site=site,
        layer=place.layer,
        index=place.index,
        mean=float(state.mean_scores[number]),
        estimate=estimate,
        ci_low=estimate - half,
        ci_high=estimate + half,
        bound=float(result.bound[number]),
        stands_out=bool(result.apart[number]),
        edge=place.edge,
    )


#: Columns of a table of components, with their site and its bound.
MISSED_FIELDS = (
    *("site", "component", "layer", *INDEX_FIELDS, "mean", "estimate", "ci_low", "ci_high", "bound"),
    *("stands_out", "none_above"),
)


def missed_json(found: Sequence[MissedBound]) -> list[dict[str, Any]]:
    """Write bounds as plain values."""
    return [
        {
            "site": each.site,
            "components": each.components,
            "bound": each.bound,
            "confidence": each.confidence,
            "pairs": each.pairs,
            "subsets": each.subsets,
            "blocks": each.blocks,
            "largest": [_unpatched_json(row) for row in each.largest],
        }
        for each in found
    ]


def _unpatched_json(row: Unpatched) -> dict[str, Any]:
    numbers = ("mean", "estimate", "ci_low", "ci_high", "bound", "stands_out")
    place = {"component": row.name, "layer": row.layer, **index_fields(row.site, row.index)}
    return place | {name: getattr(row, name) for name in numbers}


def missed_of_json(documents: Sequence[dict[str, Any]]) -> list[MissedBound]:
    """Read back what `missed_json` wrote."""
    found = []
    for each in documents:
        rows = [
            Unpatched(
                site=each["site"],
                layer=row["layer"],
                index=index_of_fields(row[name] for name in INDEX_FIELDS),
                edge=row["component"] if each["site"] == EDGE else None,
                **{
                    name: row[name]
                    for name in ("mean", "estimate", "ci_low", "ci_high", "bound", "stands_out")
                },
            )
            for row in each["largest"]
        ]
        found.append(MissedBound(**{**each, "largest": rows}))
    return found
