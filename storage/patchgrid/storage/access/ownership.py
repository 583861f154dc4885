"""Owners of a job: everybody who submitted it.

A job may have several owners: anyone who submits the pairs and settings of a job that is there becomes one.
An owner who cancels or deletes such a job withdraws, and the job continues for the others; the last one's
cancel ends it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from patchgrid.core.states import ENDED_JOBS, FINISHED_JOBS, OPEN_JOBS
from patchgrid.storage.db.dialects import insert_or_update, now
from patchgrid.storage.db.locks import lock_unfinished, lock_whole
from patchgrid.storage.errors import JobShared
from patchgrid.storage.jobs import deletion, jobs
from patchgrid.storage.queue import control
from patchgrid.storage.tables import job, submission, token

#: The owner of jobs submitted over HTTP while the service is open.
OPEN = "open"
_USER = "user "


@dataclass(frozen=True, slots=True)
class Submitter:
    """The submitter: a token over HTTP, a user of the database, or unknown."""

    #: Token, or None.
    token_id: int | None = None
    #: The client's idempotency key, or None.
    idempotency_key: str | None = None
    #: Most open (unfinished) jobs of the owner, or None: no limit.
    most_open: int | None = None
    #: User, or None.
    user: str | None = None
    #: Most bytes of the owner's jobs, or None: no limit.
    most_bytes: int | None = None

    @property
    def owner(self) -> str:
        """The owner's name in the database."""
        if self.user is not None:
            return f"{_USER}{self.user}"
        return OPEN if self.token_id is None else token_owner(self.token_id)


def token_owner(token_id: int) -> str:
    """Return a token's name as an owner."""
    return f"token {token_id}"


def add_owner(session: Session, job_id: int, by: Submitter) -> None:
    """Add an owner to a job, or restore one that had withdrawn."""
    row = {"job_id": job_id, "owner": by.owner, "token_id": by.token_id, "submitted_at": now()}
    key = (submission.c.job_id, submission.c.owner)
    insert_or_update(session, submission, row, key=key, update={"withdrawn_at": None})


def is_owner(session: Session, job_id: int, owner: str) -> bool:
    """Return whether someone owns a job and has not withdrawn."""
    mine = (submission.c.job_id == job_id) & (submission.c.owner == owner) & _ACTIVE
    return session.scalar(select(submission.c.job_id).where(mine)) is not None


def may_steer(session: Session, job_id: int, owner: str) -> bool:
    """Return whether someone may control a job: an owner, or a former owner if all have withdrawn."""
    rows = session.execute(_OWNERS.where(submission.c.job_id == job_id)).all()
    mine = [row for row in rows if row.owner == owner]
    return any(row.withdrawn_at is None for row in mine) or (
        bool(mine) and all(row.withdrawn_at is not None for row in rows)
    )


def owners_of(session: Session, job_id: int) -> list[str]:
    """Return the names in the database of owners who have not withdrawn, the first one first."""
    rows = session.execute(_OWNERS.where(submission.c.job_id == job_id)).all()
    return [row.owner for row in rows if row.withdrawn_at is None]


def owner_names(session: Session, job_ids: Collection[int]) -> dict[int, tuple[str, ...]]:
    """Return the names of jobs' owners: of tokens, or of users; the first one first.

    For a job that all withdrew from, the names of the former owners. Jobs without known owners are omitted.
    """
    by_job: dict[int, tuple[list[str], list[str]]] = {}
    rows = session.execute(_OWNERS.where(submission.c.job_id.in_(job_ids), submission.c.owner != OPEN))
    for row in rows if job_ids else ():
        active, withdrawn = by_job.setdefault(row.job_id, ([], []))
        name = row.name or row.owner.removeprefix(_USER)
        (active if row.withdrawn_at is None else withdrawn).append(name)
    return {job_id: tuple(active or withdrawn) for job_id, (active, withdrawn) in by_job.items()}


def cancel(session: Session, job_id: int, owner: str, *, everyone: bool = False) -> tuple[str, ...]:
    """Cancel a job; one of several owners only withdraws, unless for `everyone`.

    Returns the names of the remaining owners; empty: it is cancelled. In a later round the round is: the job
    is done, and keeps its owners.
    """
    state = lock_unfinished(session, job_id)
    if state in OPEN_JOBS and jobs.get(session, job_id).rounds:
        control.cancel(session, job_id)
        return ()
    left = () if everyone or state in (None, *FINISHED_JOBS) else _withdraw(session, job_id, owner)
    if not left:
        control.cancel(session, job_id)
        _leave(session, job_id, _ACTIVE)
    return left


def delete(session: Session, job_id: int, owner: str, *, everyone: bool = False) -> tuple[str, ...]:
    """Start deleting a job; one of several owners only withdraws, unless for `everyone`.

    Returns the names of the owners who still have it; none: nobody finds it any more, and `deletion.finish`
    has to be called once this is committed.
    """
    lock_whole(session, job_id)
    left = () if everyone else _withdraw(session, job_id, owner)
    if not left:
        deletion.begin(session, job_id)
    return left


def pause(session: Session, job_id: int, owner: str, *, everyone: bool = False) -> None:
    """Pause a job; raises `JobShared` if it has other owners, unless for `everyone`."""
    lock_unfinished(session, job_id)
    others = [] if everyone else _others(session, job_id, owner)
    if others and _is_known(session, job_id, owner):
        names = ", ".join(_names(session, job_id, others))
        raise JobShared(f"job {job_id} is shared with {names}, who would lose it too; cancel it to withdraw")
    control.pause(session, job_id)


def reopen(session: Session, job_id: int, by: Submitter) -> int:
    """Reopen a job for a new or old owner; return the number of its chunks to retry."""
    lock_unfinished(session, job_id)
    add_owner(session, job_id, by)
    return jobs.reopen(session, job_id)


def count_open(session: Session, owner: str) -> int:
    """Count an owner's unfinished jobs."""
    theirs = select(func.count()).select_from(submission).join(job, job.c.id == submission.c.job_id)
    return (
        session.scalar(theirs.where(submission.c.owner == owner, _ACTIVE, job.c.state.not_in(ENDED_JOBS)))
        or 0
    )


_ACTIVE = submission.c.withdrawn_at.is_(None)
_OWNERS = (
    select(submission.c.job_id, submission.c.owner, submission.c.withdrawn_at, token.c.name)
    .outerjoin(token, token.c.id == submission.c.token_id)
    .order_by(submission.c.job_id, submission.c.submitted_at, submission.c.owner)
)


def _withdraw(session: Session, job_id: int, owner: str) -> tuple[str, ...]:
    """Withdraw from a job with other owners, and return their names; the job is locked.

    Does nothing for those who never were owners: admins, or users of the database.
    """
    others = _others(session, job_id, owner)
    if not others or not _is_known(session, job_id, owner):
        return ()
    _leave(session, job_id, submission.c.owner == owner)
    return _names(session, job_id, others)


def _leave(session: Session, job_id: int, who: ColumnElement[bool]) -> None:
    session.execute(submission.update().where(submission.c.job_id == job_id, who).values(withdrawn_at=now()))


def _others(session: Session, job_id: int, owner: str) -> list[str]:
    return [each for each in owners_of(session, job_id) if each != owner]


def _is_known(session: Session, job_id: int, owner: str) -> bool:
    """Return whether someone owns or owned a job."""
    mine = (submission.c.job_id == job_id) & (submission.c.owner == owner)
    return session.scalar(select(submission.c.job_id).where(mine)) is not None


def _names(session: Session, job_id: int, owners: Collection[str]) -> tuple[str, ...]:
    rows = session.execute(_OWNERS.where(submission.c.job_id == job_id, submission.c.owner.in_(owners)))
    return tuple(row.name or row.owner.removeprefix(_USER) for row in rows)
