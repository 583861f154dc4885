"""Chunk results as an engine would make them, from nothing but each pair's row number: no model is needed.

A pair's numbers are the same in whatever chunk it is, and in whatever process.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.engine.names import HEAD_SITES, REST
from patchgrid.engine.types import JobSpec, Pair
from patchgrid.estimates import Sums, sample
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.leases import Lease
from patchgrid.storage.provenance import Provenance
from patchgrid.storage.sums import KINDS
from patchgrid.storage.writing import ChunkResult, ExactCell, PairOutcome

LAYERS, HEADS = 2, 3
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
    """Give a spec with two sites and half of all cells patched exactly."""
    return JobSpec(**({"model": "a/model", "sites": SITES, "exact": 0.5} | values))  # type: ignore[arg-type]


def make_pairs(count: int, *, named: bool = False, spans: bool = False) -> list[Pair]:
    """Give pairs that differ from each other; `spans` names their first token."""
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


def pair_scores(index: int, site: str) -> NDArray[np.float32]:
    """Give a pair's scores at a site, `[layer, position(, head)]`; it has 3 to 5 positions."""
    positions = 3 + index % 3
    shape = (LAYERS, positions, HEADS) if site in HEAD_SITES else (LAYERS, positions)
    return np.random.default_rng([index, len(site)]).normal(size=shape).astype(np.float32)


def effect_of(score: float) -> float:
    """Give the exact effect that goes with a score."""
    return 1.25 * score + 0.1


def chunk_result(
    job: JobRecord,
    lease: Lease,
    *,
    failed: Collection[int] = (),
    warned: Mapping[int, str] | None = None,
    provenance: Provenance = PROVENANCE,
) -> ChunkResult:
    """Give what a worker would hand in for a lease; the pairs in `failed` fail."""
    indices = range(lease.first, lease.last)
    done = [index for index in indices if index not in failed]
    detail = job.spec.detail
    scores = {site: [pair_scores(index, site) for index in done] for site in job.spec.sites}
    kept = {"summary": {}, "positions": scores}.get(detail)
    if kept is None:
        kept = {site: [array.sum(axis=1) for array in arrays] for site, arrays in scores.items()}
    exact = [cell for site in job.spec.sites for index in done for cell in pair_cells(job, index, site)]
    return ChunkResult(
        provenance=provenance,
        outcomes=[_outcome(index, index in failed, (warned or {}).get(index)) for index in indices],
        sums={(site, kind): _sums(job, done, site, kind) for site in job.spec.sites for kind in KINDS},
        scores=kept,
        exact=exact,
        seconds=0.5,
    )


def pair_cells(job: JobRecord, index: int, site: str) -> list[ExactCell]:
    """Give the cells of a pair that are patched exactly."""
    scores, chosen, inclusion = _sample(job, index, site)
    cells = []
    for place in zip(*np.nonzero(chosen), strict=True):
        position, span = _position(job, index, int(place[1])) if job.kind == "aligned" else (None, None)
        cells.append(
            ExactCell(
                index=index,
                site=site,
                layer=int(place[0]),
                head=int(place[-1]) if site in HEAD_SITES else None,
                neuron=None,
                position=position,
                span=span,
                score=scores[place],
                effect=effect_of(scores[place]),
                inclusion=inclusion[place],
            )
        )
    return cells


def _sample(job: JobRecord, index: int, site: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Give a pair's scores, which of them are patched exactly, and the probabilities of that."""
    scores = _components(job, index, site, job.kind)
    # A floor of 1 leaves cells out even in the short jobs of tests.
    chosen, inclusion = sample(
        scores, rate=job.spec.exact, pairs=job.pairs, seed=job.spec.seed, site=site, pair=index, floor=1
    )
    return scores, chosen, inclusion


def _position(job: JobRecord, index: int, place: int) -> tuple[int | None, str | None]:
    if job.spans:
        return None, [*job.spans, REST][place]
    return 2 + index % 3 - place, None


def _components(job: JobRecord, index: int, site: str, kind: str) -> NDArray[np.float32]:
    """Give a pair's scores with the axes of the job's sums of this kind."""
    scores = pair_scores(index, site)
    if kind == "whole":
        return scores.sum(axis=1)
    if job.spans:
        return np.stack([scores[:, 0], scores[:, 1:].sum(axis=1)], axis=1)
    return scores[:, ::-1]


def _sums(job: JobRecord, done: list[int], site: str, kind: str) -> Sums:
    shape = (LAYERS, *(1,) * (kind == "aligned"), *(HEADS,) * (site in HEAD_SITES))
    if kind == "aligned" and job.spans:
        shape = (LAYERS, len(job.spans) + 1, *shape[2:])
    sums = Sums.zeros(shape, sampled=kind == job.kind and job.spec.exact > 0, aligned=kind == "aligned")
    for index in done:
        scores = _components(job, index, site, kind)
        sums.add_pair(scores, total_effect=2.0 * index)
        if sums.sampled:
            scores, chosen, inclusion = _sample(job, index, site)
            a = scores[chosen].astype(np.float64)
            totals = np.full(len(a), 2.0 * index)
            sums.add_cells(np.nonzero(chosen), a, effect_of(a), inclusion[chosen], totals)
    return sums


def _outcome(index: int, failed: bool, warning: str | None) -> PairOutcome:
    if failed:
        return PairOutcome(index, "failed", error="the prompts differ in length")
    tokens = tuple(f"t{position}" for position in range(3 + index % 3))
    return PairOutcome(
        index=index,
        state="done",
        warning=warning,
        tokens=tokens,
        corrupted_tokens=tuple(token.upper() for token in tokens),
        clean_metric=float(index),
        corrupted_metric=-float(index),
    )
