"""Submits that a client repeats: the key it gives them, and the job that they gave."""

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


def is_repeated(session: Session, by: Submitter) -> bool:
    """Tell whether they gave a key that is known."""
    known = select(idempotency.c.id).where(_given(by))
    return by.idempotency_key is not None and session.scalar(known) is not None


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


def _given(by: Submitter) -> ColumnElement[bool]:
    # Compared with None, SQLAlchemy asks whether a column is NULL.
    theirs = idempotency.c.token_id == by.token_id
    return (idempotency.c.hash == _hash(by.idempotency_key or "")) & theirs


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
