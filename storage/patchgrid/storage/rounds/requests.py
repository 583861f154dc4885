"""Requests to refine a job: stored, begun, and carried on from round to round.

A round begins in the transaction that ends the one before it, which holds the job's lock: its plan is made
once, from committed sums alone. If the process that makes it dies, its plan is gone with the results of its
last chunk, and the worker that measures that chunk again makes the same plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.core.refinement import Refinement
from patchgrid.core.states import FINISHED_CHUNKS, OPEN_JOBS, JobState
from patchgrid.storage import tables
from patchgrid.storage.chunks.checksums import break_end, seal_end
from patchgrid.storage.db.dialects import now
from patchgrid.storage.db.locks import lock_unfinished
from patchgrid.storage.errors import AllPatched, NothingKept, NothingToRefine
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.rounds.certificates import Race
from patchgrid.storage.rounds.planning import plan_for
from patchgrid.storage.sampling.plans import Plan, write_plan

_WHY_NOT = {
    JobState.PENDING: "is not measured yet: refine it when it is done",
    JobState.RUNNING: "is still running: refine it when it is done",
    JobState.PAUSED: "is paused: `patchgrid job resume {id}`, then refine it when it is done",
    JobState.CANCELLED: "is cancelled: `patchgrid job retry {id}`, then refine it when it is done",
    JobState.FAILED: "has no measured pair: there is nothing to patch",
}


@dataclass(frozen=True, slots=True)
class RefinementRecord:
    """A request to refine a job, and what came of it."""

    #: Number of the request in its job, from 1.
    number: int
    request: Refinement
    #: What came of it so far; a certificate, for `certify`.
    result: Mapping[str, Any] | None
    #: Times in seconds since 1970.
    created_at: float
    finished_at: float | None

    @property
    def state(self) -> str:
        """`pending`, `running`, `done`, `cancelled`, or `failed`: it could not be begun."""
        found = self.result or {}
        if self.finished_at is None:
            return "pending" if self.result is None else "running"
        return "failed" if "error" in found else "cancelled" if found.get("cancelled") else "done"

    @property
    def certificate(self) -> Mapping[str, Any] | None:
        """The certificate so far, or None."""
        return self.result if self.request.certify and self.state not in ("pending", "failed") else None


def latest(session: Session, job_id: int) -> RefinementRecord | None:
    """Return the request whose round runs or will run next, else the last one; None: there is none."""
    records = list_refinements(session, job_id)
    waiting = [record for record in records if record.finished_at is None]
    return waiting[0] if waiting else records[-1] if records else None


def find_certificate(
    job_id: int, records: Sequence[RefinementRecord], number: int | None = None
) -> RefinementRecord:
    """Return the latest certificate of a job's refinements, or that of a number; else raise `NothingKept`."""
    certificates = [each for each in records if each.certificate is not None]
    found = [each for each in certificates if number in (None, each.number)]
    if found:
        return found[-1]
    numbers = ", ".join(str(each.number) for each in certificates)
    if numbers:
        raise NothingKept(f"refinement {number} of job {job_id} is no certificate; certificates: {numbers}")
    raise NothingKept(
        f"job {job_id} has no certificate: make one with `patchgrid job refine {job_id} --certify top=10`"
    )


def list_refinements(session: Session, job_id: int) -> list[RefinementRecord]:
    """Return the job's requests in order."""
    table = tables.refinement
    rows = session.execute(select(table).where(table.c.job_id == job_id).order_by(table.c.number))
    return [
        RefinementRecord(
            row.number, Refinement.from_dict(row.request), row.result, row.created_at, row.finished_at
        )
        for row in rows
    ]


def ask(session: Session, job_id: int, asked: Refinement) -> JobRecord:
    """Store a request for a job that is submitted: it is begun when the job's scores are done."""
    table = tables.refinement
    last = session.scalar(select(func.max(table.c.number)).where(table.c.job_id == job_id)) or 0
    values = {"job_id": job_id, "number": last + 1, "request": asked.as_dict(), "created_at": now()}
    session.execute(table.insert().values(values))
    return jobs.get(session, job_id)


def check(session: Session, job: JobRecord, asked: Refinement) -> None:
    """Raise `NothingToRefine` if the job is not done, or if nothing of what is asked is left to patch."""
    if job.state != JobState.DONE:
        raise NothingToRefine(f"job {job.id} " + _WHY_NOT[job.state].format(id=job.id))
    if asked.certify:
        Race(session, job, asked).check()
    else:
        plan_for(session, job, asked)


def under_way(session: Session, job: JobRecord, asked: Refinement) -> int | None:
    """Return the number of an equal request that is not finished, of a job that may be run; else None."""
    if job.state not in OPEN_JOBS:
        return None
    records = list_refinements(session, job.id)
    same = [each for each in records if each.request == asked and each.finished_at is None]
    return same[0].number if same else None


def is_met(session: Session, job: JobRecord, asked: Refinement) -> bool:
    """Tell whether a job has been asked for the same, or has all of it: nothing need be done for it.

    Raises `NothingToRefine` if a job that is done cannot be refined so.
    """
    same = [each for each in list_refinements(session, job.id) if each.request == asked]
    if any(each.state in ("pending", "running", "done") for each in same):
        return True
    if job.state != JobState.DONE:
        return False
    try:
        check(session, job, asked)
    except AllPatched:
        return True
    return False


def ensure(session: Session, job_id: int, asked: Sequence[Refinement]) -> JobRecord:
    """Store the requests that a job lacks: those that a submit of the same pairs brings.

    They begin at once if the job is done. Raises `NothingToRefine` for what it cannot be refined by.
    """
    for each in asked:
        state = lock_unfinished(session, job_id)
        job = jobs.get(session, job_id)
        if is_met(session, job, each):
            continue
        if state == JobState.DONE:
            refine(session, job_id, each)
        elif state in OPEN_JOBS:
            ask(session, job_id, each)
    return jobs.get(session, job_id)


def refine(session: Session, job_id: int, asked: Refinement) -> JobRecord:
    """Store a request for a job that is done, and begin its first round.

    Raises `NothingToRefine` if the job is not done, or if nothing of what is asked is left to patch.
    """
    lock_unfinished(session, job_id)
    check(session, jobs.get(session, job_id), asked)
    ask(session, job_id, asked)
    if not advance(session, job_id):
        # A certificate that needs no patch: it is known already.
        break_end(session, job_id, [])
        seal_end(session, job_id)
    return jobs.get(session, job_id)


def advance(session: Session, job_id: int) -> bool:
    """Note what the round that has just ended found, and begin the next one; False: nothing is left to do.

    The caller holds the job's lock, and has stored the totals of the rounds so far.
    """
    for record in list_refinements(session, job_id):
        if record.finished_at is not None:
            continue
        plan, result = _step(session, job_id, record)
        table = tables.refinement
        own = (table.c.job_id == job_id) & (table.c.number == record.number)
        done = {} if plan is not None else {"finished_at": now()}
        session.execute(table.update().where(own).values({"result": result} | done))
        if plan is not None:
            _begin(session, job_id, record.number, plan)
            return True
    return False


def end_open(session: Session, job_id: int) -> None:
    """End the requests that are under way: nothing more is patched for them."""
    table = tables.refinement
    for record in list_refinements(session, job_id):
        if record.finished_at is None:
            mine = (table.c.job_id == job_id) & (table.c.number == record.number)
            values = {"result": {**(record.result or {}), "cancelled": True}, "finished_at": now()}
            session.execute(table.update().where(mine).values(values))


def _step(
    session: Session, job_id: int, record: RefinementRecord
) -> tuple[Plan | None, dict[str, Any] | None]:
    """Return a request's next plan, None if it has no more; and what came of it."""
    job = jobs.get(session, job_id)
    try:
        if record.request.certify:
            race = Race(session, job, record.request)
            if record.result is None:
                race.check()
            return race.next_plan(), race.certificate()
        if record.result is None:
            plan = plan_for(session, job, record.request)
            return plan, {"round": job.rounds + 1}
    except NothingToRefine as error:
        return None, {"error": str(error)}
    number = record.result["round"]
    cells = select(func.count()).select_from(tables.exact)
    mine = (tables.exact.c.job_id == job_id) & (tables.exact.c.round == number)
    return None, {"round": number, "cells": session.scalar(cells.where(mine))}


def _begin(session: Session, job_id: int, number: int, plan: Plan) -> None:
    """Store the plan of the job's next round, and its chunks: those of the scores again."""
    job, chunk = jobs.get(session, job_id), tables.chunk
    write_plan(session, job_id, number, plan)
    ranges = session.execute(
        select(chunk.c.first, chunk.c.last)
        .where(chunk.c.job_id == job_id, chunk.c.round.is_(None), chunk.c.state.in_(FINISHED_CHUNKS))
        .order_by(chunk.c.first)
    ).all()
    owners = select(tables.submission.c.owner).where(
        tables.submission.c.job_id == job_id, tables.submission.c.withdrawn_at.is_(None)
    )
    jobs.insert_chunks(
        session,
        job,
        session.scalars(owners).all(),
        [(row.first, row.last) for row in ranges],
        round_=job.rounds + 1,
    )
    break_end(session, job_id, [])
    values: dict[str, Any] = {"state": JobState.RUNNING, "rounds": job.rounds + 1}
    if job.finished_at is not None:
        values |= {"started_at": now(), "finished_at": None, "result_bytes": None}
    session.execute(tables.job.update().where(tables.job.c.id == job_id).values(values))
