"""Chunk results as an engine would make them, from nothing but each pair's row number: no model is needed.

A pair's numbers are the same in whatever chunk it is, and in whatever process.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.graph import Graph
from patchgrid.core.names import REST
from patchgrid.core.sites import EDGE, WIDE_SITES
from patchgrid.core.types import JobSpec, Pair
from patchgrid.estimates import Sums, sample
from patchgrid.estimates.rounding import Rounding
from patchgrid.storage.chunks.chunk_result import ChunkResult, ExactCell, PairOutcome, Scored
from patchgrid.storage.chunks.naming import has_inner, indexed
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue.leases import Lease

LAYERS, HEADS, NEURONS = 2, 3, 25
GRAPH = Graph(LAYERS, HEADS, HEADS)
SITES = ("z", "mlp_out")

PROVENANCE = Provenance(
    model="a/model",
    revision="abc",
    config_hash="config",
    weights_hash="weights",
    versions={"patchgrid": "0.1.0", "torch": "2.13.0"},
    dtype="float32",
    device="cpu",
    seed=0,
)


def make_spec(**values: object) -> JobSpec:
    """Return a spec with two sites and half of all cells patched exactly."""
    return JobSpec.of(**({"model": "a/model", "sites": SITES, "exact": 0.5} | values))  # type: ignore[arg-type]


def make_pairs(count: int, *, named: bool = False, spans: bool = False) -> list[Pair]:
    """Return pairs that differ from each other; `spans` names their first token."""
    return [
        Pair(
            clean=f"clean {index}",
            corrupted=f"corrupted {index}",
            correct=(" a",),
            incorrect=(" b", 7),
            id=f"pair-{index}" if named else None,
            spans={"subject": (0, 1)} if spans else None,
        )
        for index in range(count)
    ]


def pair_scores(index: int, site: str, method: str = "atp") -> NDArray[np.float32]:
    """Return a pair's scores at a site, `[layer, position(, inner)]`; it has 3 to 5 positions.

    Those by another method than the first are other numbers, near the first's.
    """
    positions = 3 + index % 3
    inner = (NEURONS if site in WIDE_SITES else HEADS,) if has_inner(site) else ()
    shape = (GRAPH.count if site == EDGE else LAYERS, positions, *inner)
    scores = np.random.default_rng([index, len(site)]).normal(size=shape)
    if method not in ("atp", "eap"):
        scores = 0.75 * scores + 0.25 * np.random.default_rng([index, *method.encode()]).normal(size=shape)
    return scores.astype(np.float32)


def effect_of(score: float) -> float:
    """Return the exact effect that belongs to a score."""
    return 1.25 * score + 0.1


def chunk_result(
    job: JobRecord,
    lease: Lease,
    *,
    failed: Collection[int] = (),
    skipped: Collection[int] = (),
    warned: Mapping[int, str] | None = None,
    provenance: Provenance = PROVENANCE,
    rounding: Rounding = Rounding(),  # noqa: B008
) -> ChunkResult:
    """Return a worker's result for a lease; pairs in `failed` fail, those in `skipped` are skipped."""
    indices = range(lease.first, lease.last)
    done = [index for index in indices if index not in {*failed, *skipped}]
    exact = [cell for site in job.spec.query.sites for index in done for cell in pair_cells(job, index, site)]
    by_method = {method: _scored(job, done, method) for method in job.spec.query.method_names}
    first = by_method.pop(job.method())
    if EDGE in job.spec.query.sites:
        provenance = dataclasses.replace(provenance, graph=GRAPH.as_dict())
    return ChunkResult(
        provenance=provenance,
        outcomes=[
            _outcome(index, index in failed, index in skipped, (warned or {}).get(index)) for index in indices
        ],
        sums=first.sums,
        scores=first.scores,
        exact=exact,
        seconds=0.5,
        methods=job.spec.query.method_names,
        others=by_method,
        rounding=rounding,
        cost={"exact": 2.0, "shared": 0.5, **dict.fromkeys(job.spec.query.method_names, 0.25)},
    )


def _scored(job: JobRecord, done: list[int], method: str) -> Scored:
    sites, detail = job.spec.query.sites, job.spec.detail
    places = [(site, kind) for site in sites for kind in job.kinds(site) if done]
    sums = {(site, kind): _sums(job, done, site, kind, method) for site, kind in places}
    if detail == "summary":
        return Scored(sums)
    scores = {site: [pair_scores(index, site, method) for index in done] for site in sites}
    if detail == "pairs":
        kept = [site for site in sites if method == job.method() or site not in WIDE_SITES]
        scores = {site: [array.sum(axis=1) for array in scores[site]] for site in kept}
    return Scored(sums, scores)


def pair_cells(job: JobRecord, index: int, site: str) -> list[ExactCell]:
    """Return the cells of a pair that are patched exactly."""
    scores, chosen, inclusion = _sample(job, index, site)
    cells = []
    for place in zip(*np.nonzero(chosen), strict=True):
        position, span = _position(job, index, int(place[1])) if job.kind == "aligned" else (None, None)
        at = indexed(site, [int(place[0]), *([int(place[-1])] if has_inner(site) else [])], GRAPH)
        others = (
            _components(job, index, site, job.kind, method)[place]
            for method in job.spec.query.method_names[1:]
        )
        cells.append(
            ExactCell(
                row=index,
                site=site,
                layer=at.layer,
                index=at.index,
                position=position,
                span=span,
                score=float(scores[place]),
                effect=effect_of(float(scores[place])),
                inclusion=inclusion[place],
                edge=at.edge,
                others=tuple(others),
            )
        )
    return cells


def _sample(job: JobRecord, index: int, site: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return a pair's scores, which of them are patched exactly, and the probabilities of that."""
    scores = _components(job, index, site, job.kind, job.method())
    budget = {"rate": job.spec.share, "floor": job.spec.draws(site)}
    chosen, inclusion = sample(scores, pairs=job.pairs, seed=job.spec.seed, site=site, pair=index, **budget)
    return scores, chosen, inclusion


def _position(job: JobRecord, index: int, place: int) -> tuple[int | None, str | None]:
    if job.spans:
        return None, [*job.spans, REST][place]
    return 2 + index % 3 - place, None


def _components(job: JobRecord, index: int, site: str, kind: str, method: str = "atp") -> NDArray[np.float32]:
    """Return a pair's scores with the axes of the job's sums of this kind."""
    scores = pair_scores(index, site, method)
    if kind == "whole":
        return scores.sum(axis=1)
    if job.spans:
        return np.stack([scores[:, 0], scores[:, 1:].sum(axis=1)], axis=1)
    return scores[:, ::-1]


def _sums(job: JobRecord, done: list[int], site: str, kind: str, method: str) -> Sums:
    first, *inner = pair_scores(0, site).sum(axis=1).shape
    columns = (len(job.spans) + 1,) if job.spans else (1,)
    shape = (first, *columns * (kind == "aligned"), *inner)
    methods = job.spec.query.method_names
    earlier = methods[: methods.index(method)]
    sampled = kind == job.kind and job.spec.patches
    sums = Sums.zeros(shape, sampled=sampled, aligned=kind == "aligned", crosses=len(earlier))
    for index in done:
        scores = _components(job, index, site, kind, method)
        sums.add_pairs(scores[None], total_effects=np.array([2.0 * index]))
        if sums.sampled:
            by_first, chosen, inclusion = _sample(job, index, site)
            a, effects = scores[chosen].astype(np.float64), effect_of(by_first[chosen].astype(np.float64))
            totals = np.full(len(a), 2.0 * index)
            others = [_components(job, index, site, kind, each)[chosen] for each in earlier]
            sums.add_cells(
                np.nonzero(chosen), a, effects, inclusion[chosen], totals, others=np.array(others, np.float64)
            )
    return sums


def _outcome(index: int, failed: bool, skipped: bool, warning: str | None) -> PairOutcome:
    if failed:
        return PairOutcome(index, "failed", error="the prompts differ in length")
    tokens = tuple(f"t{position}" for position in range(3 + index % 3))
    return PairOutcome(
        index=index,
        state="skipped" if skipped else "done",
        warning=warning,
        tokens=tokens,
        corrupted_tokens=tuple(token.upper() for token in tokens),
        clean_metric=float(index),
        corrupted_metric=-float(index),
        clean_preference=-1.5 if skipped else 1.5,
        corrupted_preference=-0.5,
        correct_tokens=(" a",),
        incorrect_tokens=(" b", " seven"),
    )
