"""The plans of rounds that patch what was asked for: more cells, the largest components, named ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from patchgrid.core.names import PAIRS, suggestion
from patchgrid.core.refinement import Refinement
from patchgrid.estimates import Sums, top_up
from patchgrid.storage.chunks.naming import read_name, site_names
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.errors import AllPatched, NothingToRefine
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import Part, by_site, job_sums
from patchgrid.storage.sampling.plans import Plan, SitePlan

Floats = NDArray[np.float64]


def plan_for(session: Session, job: JobRecord, asked: Refinement) -> Plan:
    """Return what the job's next round patches for a request that is no certificate.

    Raises `AllPatched`, or `NothingToRefine` if the job has no such component.
    """
    make = {"exact": _more, "top": _largest, "components": _named}[asked.kind]
    shares = make(session, job, asked)
    number = job.rounds + 1
    plan = {
        site: SitePlan(number, share, scales=_scales(session, job, site) if asked.exact else None)
        for site, share in shares.items()
        if share.any()
    }
    if not plan:
        raise AllPatched(f"job {job.id}: all of these cells are already patched")
    return plan


def totals(session: Session, job: JobRecord) -> dict[str, Sums]:
    """Return the job's sums by site, by its first method."""
    found = {site: job_sums(session, job, site, job.kind) for site in job.spec.query.sites}
    return {site: sums for site, sums in found.items() if sums is not None}


def whole(sums: Sums) -> NDArray[np.bool_]:
    """Tell of which components every cell is patched."""
    if not sums.sampled:
        return np.zeros(sums.axes, np.bool_)
    return (sums["sure"] >= sums["n"]) & (sums["n"] > 0)


def _more(session: Session, job: JobRecord, asked: Refinement) -> dict[str, Floats]:
    """Spread a share of all cells over components, where estimates gain most."""
    return top_up(totals(session, job), asked.exact)


def _largest(session: Session, job: JobRecord, asked: Refinement) -> dict[str, Floats]:
    """Patch every pair of the components of largest |estimate|, or |mean score| where there is none."""
    parts = by_site(session, job, None, None, None, interval=PAIRS)
    sizes = np.concatenate([np.where(_there(part), part.size("estimate"), -np.inf) for part in parts])
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[np.argsort(-sizes, kind="stable")[: asked.top]] = True
    chosen &= np.isfinite(sizes)
    ends = np.cumsum([part.estimates.n.size for part in parts])[:-1]
    return {
        part.site: _unpatched(session, job, part.site, own.reshape(part.estimates.n.shape))
        for part, own in zip(parts, np.split(chosen, ends), strict=True)
    }


def _named(session: Session, job: JobRecord, asked: Refinement) -> dict[str, Floats]:
    """Patch every pair of these components; one without a position stands for all of its positions."""
    parts = {part.site: part for part in by_site(session, job, None, None, None, interval=PAIRS)}
    chosen = {site: np.zeros(part.estimates.n.size, np.bool_) for site, part in parts.items()}
    for name in asked.components:
        named = read_name(name)
        part = None if named is None else parts.get(named.site)
        numbers = [] if part is None else part.numbers(named, None).tolist()
        if part is None or not numbers:
            raise NothingToRefine(_unknown(session, job, name, list(parts.values())))
        chosen[part.site][numbers] = True
    return {
        site: _unpatched(session, job, site, own.reshape(parts[site].estimates.n.shape))
        for site, own in chosen.items()
    }


def _there(part: Part) -> NDArray[np.bool_]:
    return part.estimates.n.ravel() > 0


def _unpatched(session: Session, job: JobRecord, site: str, chosen: NDArray[np.bool_]) -> Floats:
    """Return share 1 for the chosen components, 0 where all is patched."""
    sums = job_sums(session, job, site, job.kind)
    assert sums is not None, "its components were just listed"
    return (chosen & ~whole(sums)).astype(np.float64)


def _scales(session: Session, job: JobRecord, site: str) -> Floats:
    sums = job_sums(session, job, site, job.kind)
    assert sums is not None, "its cells were just counted"
    return sums["abs_a"] / np.maximum(sums["n"], 1)


def _unknown(session: Session, job: JobRecord, name: str, parts: Sequence[Part]) -> str:
    graph = job_graph(session, job.id)
    names = [
        each for part in parts for each in site_names(part.site, part.estimates.n.shape, part.labels, graph)
    ]
    sites = ", ".join(job.spec.query.sites)
    hint = suggestion("component", name, names)
    return f"job {job.id} has no component {name!r}: {hint}its sites are {sites}"
