"""JSON documents: what the command line prints with `--json`, and the HTTP service answers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from patchgrid.core.names import POPULATION
from patchgrid.core.plain import plain
from patchgrid.storage.chunks.naming import with_index_fields
from patchgrid.storage.jobs.chunk_notes import chunk_counts
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.refinements import latest_json
from patchgrid.storage.pair_results.exact_scores import cell_name
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.pair_results.strongest import kept_alone, whole_components
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.results.advice import advise
from patchgrid.storage.results.components import ComponentRow, Discoveries
from patchgrid.storage.results.coverage import Coverage
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.verification import Cost

#: Components in a pair's document where the rows that were kept do not tell.
TOP = 5


def pair_counts(progress: Progress) -> dict[str, int]:
    """Return the numbers of a job's pairs by outcome."""
    return {name: getattr(progress, name) for name in ("total", "done", "failed", "skipped")}


def job_json(record: JobRecord, progress: Progress) -> dict[str, Any]:
    """Return a job as JSON."""
    return {
        "job": record.id,
        "name": record.name,
        "state": record.state,
        "key": record.key,
        "spec": record.spec.as_dict(),
        "methods": list(record.spec.query.method_names),
        "spans": list(record.spans),
        "pairs": pair_counts(progress),
        "chunks": chunk_counts(progress),
        "chunk_size": record.chunk_size,
        "priority": record.priority,
        "bytes": record.bytes,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "error": record.error,
        "rounds": record.rounds,
        "groups": record.groups,
    }


def snapshot_json(now: Snapshot) -> dict[str, Any]:
    """Return a job's state and counts."""
    progress = now.progress
    return {
        "job": now.job.id,
        "state": now.job.state,
        "pairs": pair_counts(progress),
        "chunks": chunk_counts(progress),
        "workers": [each.name for each in now.at_work],
        "rounds": now.job.rounds,
        "refinement": latest_json(now.refinement),
    }


def component_json(row: ComponentRow) -> dict[str, object]:
    """Return a component's fields: its short name first, the share of its cells that were patched last."""
    return {
        "component": row.name,
        **with_index_fields(plain(row)),
        "exact_share": row.exact_n / row.n if row.n else None,
    }


def coverage_json(coverage: Coverage) -> dict[str, Any]:
    """Return how many cells were patched exactly, of how many."""
    return {"patched": coverage.patched, "cells": coverage.cells, "share": coverage.share}


def components_json(
    job: JobRecord,
    method: str | None,
    rows: Iterable[ComponentRow],
    found: Coverage,
    *,
    task: Mapping[str, Any] | None,
    rounding: Mapping[str, Any] | None,
    interval: str = POPULATION,
    simultaneous: bool = False,
    discoveries: Discoveries | None = None,
) -> dict[str, Any]:
    """Return a list of a job's components with notes on its numbers.

    `rounding` is the floor in words too (`results.rounding.shown_rounding`).
    """
    return {
        "job": job.id,
        "method": job.estimator(method),
        "interval": interval,
        "simultaneous": simultaneous,
        "effect_above": None if discoveries is None else discoveries.above,
        "fdr": None if discoveries is None else discoveries.rate,
        "task": task,
        "coverage": coverage_json(found),
        "rounding": rounding,
        "items": list(map(component_json, rows)),
    }


def agreement_json(row: SiteAgreement, cost: Cost) -> dict[str, Any]:
    """Return a row with the times of its method and of exact patching, in seconds per 1,000 pairs."""
    values: dict[str, Any] = plain(row)
    share = row.n / row.cells if row.cells else None
    return values | {"exact_share": share, "seconds": cost.scores[row.method], "exact_seconds": cost.exact}


def verification_json(
    job: JobRecord,
    rows: Sequence[SiteAgreement],
    cost: Cost,
    *,
    task: Mapping[str, Any] | None,
    rounding: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return how scores and exact effects agree, by site and method, what both cost, and what follows."""
    return {
        "job": job.id,
        "task": task,
        "rounding": rounding,
        "items": [agreement_json(row, cost) for row in rows],
        "cost": plain(cost),
        "advice": plain(advise(job, rows, cost)),
    }


def furthest_json(
    job: JobRecord, site: str, method: str | None, cells: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the cells of a site whose scores are furthest from their effects."""
    return {"job": job.id, "site": site, "method": job.method(method), "items": list(cells)}


def pair_json(job: JobRecord, view: PairView) -> dict[str, Any]:
    """Return everything stored about a pair as JSON."""
    strongest = whole_components(view, len(view.top) or TOP)
    # Of sites with very many components nothing else was kept.
    strongest += [each for each in kept_alone(view) if each not in strongest]
    return {
        "job": job.id,
        "pair": view.name,
        "row": view.index,
        "state": view.state,
        "error": view.error,
        "warning": view.warning,
        "clean": view.pair.clean,
        "corrupted": view.pair.corrupted,
        "correct": plain(view.pair.correct),
        "incorrect": plain(view.pair.incorrect),
        "correct_tokens": list(view.correct_tokens),
        "incorrect_tokens": list(view.incorrect_tokens),
        "spans": plain(view.spans),
        "group": view.pair.group,
        "tokens": list(view.tokens),
        "corrupted_tokens": list(view.corrupted_tokens),
        "method": view.method,
        "metric": job.spec.metric,
        "clean_metric": view.clean_metric,
        "corrupted_metric": view.corrupted_metric,
        "prefix": view.prefix,
        "clean_preference": view.clean_preference,
        "corrupted_preference": view.corrupted_preference,
        "top": [{"component": one.name, **with_index_fields(plain(one))} for one in strongest],
        "scores": plain(view.scores),
        "exact": [
            {"component": cell_name(each, len(view.tokens)), **with_index_fields(plain(each))}
            for each in view.exact
        ],
    }
