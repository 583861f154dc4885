"""Quotas of owners: open jobs, and stored bytes."""

from collections.abc import Collection

from sqlalchemy import case, func, or_, select, text
from sqlalchemy.orm import Session

from patchgrid.core.refinement import Refinement
from patchgrid.core.states import ENDED_JOBS, JobState
from patchgrid.core.text.wording import size
from patchgrid.storage.access import ownership
from patchgrid.storage.access.ownership import Submitter, count_open
from patchgrid.storage.db.locks import lock_unfinished
from patchgrid.storage.errors import QuotaExceeded, TooManyOpenJobs
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.rounds import requests
from patchgrid.storage.tables import chunk, job, submission

_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(7349022, :token)")


def check_limits(session: Session, by: Submitter, job_key: str) -> None:
    """Raise `TooManyOpenJobs` or `QuotaExceeded` at the limit, except for an existing job."""
    try:
        check_open(session, by)
        check_bytes(session, by)
    except (TooManyOpenJobs, QuotaExceeded):
        # In this order: had it been stored in between, it would be found.
        if jobs.find_by_key(session, job_key) is None:
            raise


def reopen(session: Session, job_id: int, by: Submitter) -> int:
    """Reopen a job as `ownership.reopen` does; `TooManyOpenJobs` or `QuotaExceeded` for one that ended."""
    check_begin_again(session, job_id, by)
    return ownership.reopen(session, job_id, by)


def refine(session: Session, job_id: int, asked: Refinement, by: Submitter) -> JobRecord:
    """Refine a job for an owner, new or old; raises as `reopen` and `rounds.requests.refine` do."""
    check_begin_again(session, job_id, by)
    record = requests.refine(session, job_id, asked)
    ownership.add_owner(session, job_id, by)
    return record


def check_begin_again(session: Session, job_id: int, by: Submitter) -> None:
    """Raise `TooManyOpenJobs` or `QuotaExceeded` if a job that ended may not be begun again."""
    if lock_unfinished(session, job_id) in ENDED_JOBS:
        take_turns(session, by)
        check_open(session, by)
        check_bytes(session, by)


def take_turns(session: Session, by: Submitter) -> None:
    """Serialize a token's submits; on SQLite all writers are serialized anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_TAKE_TURNS, {"token": by.token_id or 0})


def check_open(session: Session, by: Submitter) -> None:
    """Raise `TooManyOpenJobs` at the limit of open jobs."""
    if by.most_open is None:
        return
    count = count_open(session, by.owner)
    if count >= by.most_open:
        raise TooManyOpenJobs(
            f"you have {count} open jobs; the limit is {by.most_open}: wait for one to end, or cancel one"
        )


def check_bytes(session: Session, by: Submitter, new_bytes: int = 0) -> None:
    """Raise `QuotaExceeded` if `new_bytes` more would exceed the limit."""
    if by.most_bytes is None:
        return
    used = stored_bytes(session, [by.owner]).get(by.owner, 0)
    if used + new_bytes > by.most_bytes:
        pairs = f", these pairs need {size(new_bytes)}" if new_bytes else ""
        raise QuotaExceeded(
            f"quota exceeded: your jobs use {size(used)} of {size(by.most_bytes)}{pairs}; delete jobs you no "
            "longer need (`patchgrid job delete JOB`)"
        )


def stored_bytes(session: Session, owners: Collection[str]) -> dict[str, int]:
    """Return the bytes of each owner's jobs; owners without jobs are omitted.

    Of an unfinished job the bytes of its chunks are added up; an ended one stores the sum. A cancelled job
    counts for all its former owners.
    """
    so_far = (
        select(func.coalesce(func.sum(chunk.c.bytes), 0))
        .where(chunk.c.job_id == job.c.id)
        .correlate(job)
        .scalar_subquery()
    )
    results = case((job.c.result_bytes.is_(None), so_far), else_=job.c.result_bytes)
    query = (
        select(submission.c.owner, func.sum(job.c.pair_bytes + results))
        .join(job, job.c.id == submission.c.job_id)
        .where(submission.c.owner.in_(owners), _is_charged)
        .group_by(submission.c.owner)
    )
    return {owner: int(used) for owner, used in session.execute(query)} if owners else {}


_is_charged = or_(submission.c.withdrawn_at.is_(None), job.c.state == JobState.CANCELLED)
