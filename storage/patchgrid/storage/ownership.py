"""Whose a job is that came through the HTTP service, and submits that a client repeats.

A job belongs to the token that made it first; one that was there already stays whose it was.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from patchgrid.storage import jobs
from patchgrid.storage._dialects import insert_new
from patchgrid.storage._locks import keep
from patchgrid.storage.errors import IdempotencyKeyReused, TooManyOpenJobs
from patchgrid.storage.jobs import ENDED, JobRecord
from patchgrid.storage.tables import idempotency, job, submission, token

_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(7349022, :token)")


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who submits through the HTTP service."""

    #: Token, or None: the service is open to everybody.
    token_id: int | None
    #: What the client calls this submit, so that repeating it gives the same job, or None.
    idempotency_key: str | None = None
    #: Most jobs of the token's that may be open (not ended) at a time, or None: any number.
    most_open: int | None = None


def owner(session: Session, job_id: int) -> int | None:
    """Give the token that a job belongs to, or None: it came otherwise, or while the service was open."""
    return session.scalar(select(submission.c.token_id).where(submission.c.job_id == job_id))


def submitters(session: Session, job_ids: Collection[int]) -> dict[int, str]:
    """Give the names of the tokens that jobs belong to; those of nobody's are left out."""
    query = (
        select(submission.c.job_id, token.c.name)
        .join(token, token.c.id == submission.c.token_id)
        .where(submission.c.job_id.in_(job_ids))
    )
    return {job_id: name for job_id, name in session.execute(query)}  # noqa: C416 (rows are no tuples to mypy)


def check_key(session: Session, by: Submitter, job_key: str) -> None:
    """Raise `IdempotencyKeyReused` if they gave their key to another job."""
    if by.idempotency_key is None:
        return
    query = select(job.c.id, job.c.key).join(idempotency, idempotency.c.job_id == job.c.id)
    found = session.execute(query.where(_given(by))).first()
    if found is not None and found.key != job_key:
        raise IdempotencyKeyReused(
            f"the idempotency key {by.idempotency_key[:64]!r} was given to job {found.id}, which has other "
            "pairs or settings: choose another key"
        )


def is_noted(session: Session, by: Submitter) -> bool:
    """Tell whether their key, if they gave one, is known."""
    known = select(idempotency.c.id).where(_given(by))
    return by.idempotency_key is None or session.scalar(known) is not None


def check_open(session: Session, by: Submitter, job_key: str) -> None:
    """Raise `TooManyOpenJobs` if they may have no more jobs, unless this one is there already."""
    if by.most_open is None:
        return
    count = _count_open(session, by)
    # In this order: had it been stored in between, it would be found.
    if count >= by.most_open and jobs.find_by_key(session, job_key) is None:
        raise _too_many(count, by.most_open)


def note_owner(session: Session, by: Submitter, made: JobRecord) -> None:
    """Note whose a job is that this transaction has written, and the key it goes by.

    Raises what `check_open` and `check_key` do: a token's submits take turns here, not while they write.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_TAKE_TURNS, {"token": by.token_id or 0})
    if by.most_open is not None and (count := _count_open(session, by)) >= by.most_open:
        raise _too_many(count, by.most_open)
    session.execute(submission.insert().values(job_id=made.id, token_id=by.token_id))
    note_key(session, by, made)


def note_key(session: Session, by: Submitter, known: JobRecord) -> bool:
    """Note the key that they gave a job; `IdempotencyKeyReused` if another has it.

    Tells whether the job is still there, where there is a key to note.
    """
    if by.idempotency_key is None:
        return True
    if not keep(session, known.id):
        return False
    row = {"hash": _hash(by.idempotency_key), "token_id": by.token_id, "job_id": known.id}
    if not insert_new(session, idempotency, row):
        check_key(session, by, known.key)
    return True


def _count_open(session: Session, by: Submitter) -> int:
    theirs = select(func.count()).select_from(submission).join(job, job.c.id == submission.c.job_id)
    return session.scalar(theirs.where(submission.c.token_id == by.token_id, job.c.state.not_in(ENDED))) or 0


def _too_many(count: int, most: int) -> TooManyOpenJobs:
    return TooManyOpenJobs(
        f"{count} of your jobs are not ended, and at most {most} may be: wait for one, or cancel one"
    )


def _given(by: Submitter) -> ColumnElement[bool]:
    # Compared with None, SQLAlchemy asks whether a column is NULL.
    theirs = idempotency.c.token_id == by.token_id
    return (idempotency.c.hash == _hash(by.idempotency_key or "")) & theirs


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
