"""Measuring a job in this process: submit it, load its model, run it to its end."""

import dataclasses
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from patchgrid.api.client.errors import JobPaused
from patchgrid.core.names import IN_MEMORY
from patchgrid.core.query import Query
from patchgrid.core.refinement import Refinement
from patchgrid.core.states import FINISHED_JOBS, OPEN_JOBS, JobState
from patchgrid.engine.checkpoint.quiet import quietly
from patchgrid.engine.checkpoint.weights import folder_hash
from patchgrid.storage import Database
from patchgrid.storage.access import quotas
from patchgrid.storage.access.submitting import Order, Submitter, check_refinements, lacking, store
from patchgrid.storage.chunks import provenance
from patchgrid.storage.errors import DatabaseMissing, FolderMissing
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.rounds.requests import check, list_refinements, under_way
from patchgrid.workers.errors import ModelChangedError
from patchgrid.workers.progress import RunProgress

if TYPE_CHECKING:
    from patchgrid.engine import Engine

#: Returns a callback for a run's progress; called with the job's progress before it.
Shown = Callable[[Progress, threading.Event], AbstractContextManager[Callable[[RunProgress], None]]]


Opened = TypeVar("Opened")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did."""

    job: JobRecord
    #: Seconds that it took; None: the job was finished before.
    seconds: float | None


def load_once(load: Callable[[], "Engine"], query: Query) -> Callable[[], "Engine"]:
    """Return a function that loads a model on its first call, and checks that it supports a query."""

    @cache
    def loaded() -> "Engine":
        engine = load()
        engine.check_query(query)
        return engine

    return loaded


def open_for(load: Callable[[], "Engine"], opened: Callable[[bool], Opened]) -> Opened:
    """Open a database for a run; one that does not exist is created only once the model is loaded.

    `opened` takes whether to create it.
    """
    try:
        return opened(False)
    except FolderMissing:
        raise
    except DatabaseMissing:
        load()
        return opened(True)


def run_order(
    database: Database,
    order: Order,
    by: Submitter,
    load: Callable[[], "Engine"],
    *,
    shown: Shown,
    stop: Callable[[], AbstractContextManager[threading.Event]],
    batch_tokens: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """Submit pairs, or find their job, and measure what it still lacks.

    `load` (as `load_once` gives it) is called only where something is left to measure. Raises `JobPaused`,
    `ModelChangedError` where the weights are not those the job's numbers came from, and `SpecError` for what
    the model does not support: then nothing is stored.
    """
    with database.read() as session:
        job = jobs.find_by_key(session, order.key)
        measured = set() if job is None else provenance.weights_hashes(session, job.id)
        more = () if job is None else lacking(session, job, order.refinements)
    if job is not None and job.state in FINISHED_JOBS and (not more or job.state == JobState.FAILED):
        check_unchanged(job, measured)
        store(database, dataclasses.replace(order, refinements=()), by=by)
        say(f"Job {job.id} already measured these pairs with these settings; showing its results")
        return Run(job, None)
    if job is not None and job.state == JobState.PAUSED:
        raise JobPaused(job.id)
    check_refinements(order.spec, order.summary.count, order.refinements)
    engine = load()
    if job is not None:
        check_same_weights(job, measured, engine)
    stored = store(database, order, by=by)
    if stored.reopened:
        say(f"Job {stored.job.id} already measures these pairs; it was cancelled and is now reopened")
    taken = run_here(database, engine, stored.job, shown=shown, stop=stop, batch_tokens=batch_tokens, say=say)
    return Run(stored.job, taken)


def refine_here(
    database: Database,
    job: JobRecord,
    asked: Refinement,
    by: Submitter,
    load: Callable[[], "Engine"],
    *,
    shown: Shown,
    stop: Callable[[], AbstractContextManager[threading.Event]],
    batch_tokens: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Patch more of a job, or resume that where it was interrupted; return the refinement's number.

    Raises `NothingToRefine`, and `ModelChangedError` where the weights are not those that the job's numbers
    came from: then nothing is stored.
    """
    with database.read() as session:
        number = under_way(session, job, asked)
        if number is None:
            check(session, job, asked)
        measured = provenance.weights_hashes(session, job.id)
    check_unchanged(job, measured)
    engine = load()
    check_same_weights(job, measured, engine)
    if number is None:
        with database.write() as session:
            job = quotas.refine(session, job.id, asked, by)
            number = list_refinements(session, job.id)[-1].number
    if job.state in OPEN_JOBS:
        run_here(database, engine, job, shown=shown, stop=stop, batch_tokens=batch_tokens, say=say)
    return number


def run_here(
    database: Database,
    engine: "Engine",
    job: JobRecord,
    *,
    shown: Shown,
    stop: Callable[[], AbstractContextManager[threading.Event]],
    batch_tokens: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> float:
    """Measure what a job still lacks, until it is done or `stop` is set; return the seconds it took."""
    from patchgrid.workers.runner import run_job

    with database.read() as session:
        begun = job_progress(session, job.id)
    if begun.reached:
        which = f" with round {job.rounds}" if job.rounds else ""
        say(f"Job {job.id} resumed{which}: {begun.reached:,} of {begun.total:,} pairs are done")
    start = time.monotonic()
    with quietly(), stop() as stopped, shown(begun, stopped) as report:
        run_job(database, engine, job, batch_tokens=batch_tokens, stop=stopped, on_progress=report)
    return time.monotonic() - start


def check_same_weights(job: JobRecord, measured: set[str], engine: "Engine") -> None:
    """Refuse to add to a job's results with another model's; nothing is stored then."""
    if measured and engine.provenance.weights_hash not in measured:
        raise ModelChangedError(job.id, job.spec.model)


def check_unchanged(job: JobRecord, measured: set[str]) -> None:
    """Refuse a finished job's results for a model folder whose weights are others by now."""
    if (job.spec.revision or "").startswith(IN_MEMORY):
        return  # named by its weights
    folder = Path(job.spec.model)
    if measured and folder.is_dir() and folder_hash(folder) not in measured:
        raise ModelChangedError(job.id, job.spec.model)
