"""Idempotency keys: repeated submits return the same job."""

import hashlib

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from patchgrid.storage.access.ownership import Submitter
from patchgrid.storage.db.dialects import insert_new
from patchgrid.storage.db.locks import keep
from patchgrid.storage.errors import IdempotencyKeyReused
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.tables import idempotency, job


def check_key(session: Session, by: Submitter, job_key: str) -> None:
    """Raise `IdempotencyKeyReused` if the key was used for another job."""
    if by.idempotency_key is None:
        return
    query = select(job.c.id, job.c.key).join(idempotency, idempotency.c.job_id == job.c.id)
    previous = session.execute(query.where(_has_key(by))).first()
    if previous is not None and previous.key != job_key:
        raise IdempotencyKeyReused(
            f"the idempotency key {by.idempotency_key[:64]!r} was used for job {previous.id}, which has "
            "different pairs or settings: choose another key"
        )


def is_repeated(session: Session, by: Submitter) -> bool:
    """Return whether the key was used before."""
    query = select(idempotency.c.id).where(_has_key(by))
    return by.idempotency_key is not None and session.scalar(query) is not None


def note_key(session: Session, by: Submitter, record: JobRecord) -> bool:
    """Record the key of a job; raises `IdempotencyKeyReused` if another job has it.

    Returns whether the job still exists, if there is a key to record.
    """
    if by.idempotency_key is None:
        return True
    if not keep(session, record.id):
        return False
    row = {"hash": _hash(by.idempotency_key), "token_id": by.token_id, "job_id": record.id}
    if not insert_new(session, idempotency, row):
        check_key(session, by, record.key)
    return True


def _has_key(by: Submitter) -> ColumnElement[bool]:
    # SQLAlchemy turns a comparison with None into IS NULL.
    theirs = idempotency.c.token_id == by.token_id
    return (idempotency.c.hash == _hash(by.idempotency_key or "")) & theirs


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
