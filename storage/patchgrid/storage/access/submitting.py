"""Submitting a job, once."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.errors import SpecError
from patchgrid.core.refinement import Refinement
from patchgrid.core.states import JobState
from patchgrid.core.types import JobSpec, Pair
from patchgrid.pairs import PairFile, PairSummary
from patchgrid.pairs.records.digest import Digest
from patchgrid.storage import tables
from patchgrid.storage.access import idempotency, ownership, quotas
from patchgrid.storage.access.ownership import Submitter as Submitter
from patchgrid.storage.chunks.checksums import HASH_KEY
from patchgrid.storage.chunks.inputs import read_pair
from patchgrid.storage.db.database import Database
from patchgrid.storage.db.locks import lock_unfinished
from patchgrid.storage.errors import KeyTaken
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.rounds.requests import ask, ensure, is_met

#: Pairs read from the database at a time.
_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Order:
    """A job to submit."""

    spec: JobSpec
    file: PairFile
    summary: PairSummary
    name: str | None = None
    #: The user's own key, or None: the hash of pairs and spec.
    own_key: str | None = None
    priority: int = 0
    #: Pairs per chunk, or None: the default for this number of pairs.
    chunk_size: int | None = None
    #: What to patch exactly after the scores; not part of the key.
    refinements: tuple[Refinement, ...] = ()

    @property
    def key(self) -> str:
        """The job's key."""
        return self.own_key or jobs.job_key(self.spec, self.summary.digest)


class Stored(NamedTuple):
    """The result of submitting."""

    job: JobRecord
    #: Whether the job is new.
    created: bool
    #: Whether it was cancelled, and is now reopened.
    reopened: bool = False


def store(
    database: Database,
    order: Order,
    *,
    pairs: Callable[[], Iterable[Pair]] | None = None,
    by: Submitter | None = None,
) -> Stored:
    """Store a job in one transaction, or find it; the submitter (`by`) becomes an owner.

    An existing job that was cancelled is reopened, unless its idempotency key marks a repeated submit; one
    that lacks a refinement of the order gets it. `pairs` yields the file's pairs, for progress. Raises
    `KeyTaken` if the user's key is another job's key or hash, `TooManyOpenJobs` or `QuotaExceeded` at a
    limit, `IdempotencyKeyReused` if the key was used for another job, and `NothingToRefine` for a refinement
    that an existing job does not allow.
    """
    _check_own(order)
    check_refinements(order.spec, order.summary.count, order.refinements)
    with database.read() as session:
        if by is not None:
            idempotency.check_key(session, by, order.key)
        existing = jobs.find_by_key(session, order.key)
    taken = _Taken(pairs or (lambda: order.file))
    if existing is None:
        with database.write() as session:
            existing = _submit(session, order, taken, by)
    if taken.begun:
        return Stored(existing, created=True)
    with database.read() as session:
        _check_same(session, order, existing)
    if by is None:
        return Stored(existing, created=False)
    # None: it was deleted since it was found.
    joined = _join(database, existing, by, order)
    return store(database, order, pairs=pairs, by=by) if joined is None else joined


def check_refinements(spec: JobSpec, pairs: int, asked: Iterable[Refinement]) -> None:
    """Raise `SpecError` for a refinement that no job of `pairs` pairs under this spec allows."""
    for each in asked:
        why_not = each.unsupported(spec.query.sites) or each.too_small(pairs, spec.exact or 0.0)
        if why_not is not None:
            raise SpecError(why_not, "refinements")


def lacking(session: Session, job: JobRecord, asked: Iterable[Refinement]) -> tuple[Refinement, ...]:
    """Return the refinements that a job was not asked for yet, and has something left for."""
    return tuple(each for each in asked if not is_met(session, job, each))


def _join(database: Database, existing: JobRecord, by: Submitter, order: Order) -> Stored | None:
    """Add the submitter to the owners of an existing job, and what it lacks; None if it was deleted.

    One that was cancelled is reopened with their priority: that of its former owners is not theirs.
    """
    with database.read() as session:
        repeated = idempotency.is_repeated(session, by)
        theirs = existing.state != JobState.CANCELLED and ownership.is_owner(session, existing.id, by.owner)
        more = lacking(session, existing, order.refinements)
    if repeated or (theirs and by.idempotency_key is None and not more):
        return Stored(existing, created=False)
    with database.write() as session:
        state = lock_unfinished(session, existing.id)
        if state is None or not idempotency.note_key(session, by, existing):
            return None
        reopened = state == JobState.CANCELLED
        if reopened:
            jobs.set_priority(session, existing.id, order.priority)
            quotas.reopen(session, existing.id, by)
        else:
            if more:
                quotas.check_begin_again(session, existing.id, by)
            ownership.add_owner(session, existing.id, by)
        return Stored(ensure(session, existing.id, more), created=False, reopened=reopened)


def _submit(session: Session, order: Order, taken: "_Taken", by: Submitter | None) -> JobRecord:
    """Write the job and its owner, unless another process has just written it."""
    if by is not None:
        # Check before writing a million pairs in vain; checked again afterwards.
        quotas.check_limits(session, by, order.key)
    job = jobs.submit(
        session,
        order.spec,
        taken,
        key=order.key,
        count=order.summary.count,
        spans=order.summary.spans,
        groups=order.summary.groups,
        name=order.name,
        chunk_size=order.chunk_size,
        priority=order.priority,
        owners=() if by is None else (by.owner,),
    )
    if by is not None and taken.begun:
        # A token's submits are serialized here, not while writing.
        quotas.take_turns(session, by)
        quotas.check_open(session, by)
        quotas.check_bytes(session, by, jobs.pair_bytes(session, job.id))
        ownership.add_owner(session, job.id, by)
        idempotency.note_key(session, by, job)
    for each in order.refinements if taken.begun else ():
        ask(session, job.id, each)
    return job


class _Taken:
    """The pairs to store; an existing job takes none."""

    def __init__(self, pairs: Callable[[], Iterable[Pair]]) -> None:
        self._pairs = pairs
        #: Whether the pairs were read.
        self.begun = False

    def __iter__(self) -> Iterator[Pair]:
        self.begun = True
        return iter(self._pairs())


def _check_own(order: Order) -> None:
    """Refuse a user's key that is another job's hash: submitting that job would find this one."""
    key = order.own_key
    if key is not None and HASH_KEY.fullmatch(key) and key != dataclasses.replace(order, own_key=None).key:
        raise KeyTaken(
            "a key of 64 hexadecimal digits is what a job without a key of its own is found by, and this is "
            "another's: choose another key"
        )


def _check_same(session: Session, order: Order, existing: JobRecord) -> None:
    """Refuse a user's key that was used for a different job."""
    if order.own_key is None:
        return
    what = f"the key {order.own_key!r} belongs to job {existing.id}"
    theirs, ours = (spec.as_dict() for spec in (existing.spec, order.spec))
    shared = [name for name in ours if name in theirs]  # options of one's methods alone follow from these
    other = [f"{name} {theirs[name]}, not {ours[name]}" for name in shared if theirs[name] != ours[name]]
    if other:
        raise KeyTaken(f"{what}, which has different settings ({'; '.join(other)}): choose another key")
    if existing.pairs != order.summary.count or _digest(session, existing.id) != order.summary.digest:
        raise KeyTaken(f"{what}, which has different pairs: choose another key")


def _digest(session: Session, job_id: int) -> str:
    """Hash a job's stored pairs, as `PairFile.check` hashes a file's."""
    digest, pair = Digest(), tables.pair
    query = select(pair).where(pair.c.job_id == job_id).order_by(pair.c.pair_index)
    for row in session.execute(query, execution_options={"yield_per": _BATCH}):
        digest.add(read_pair(row))
    return digest.value
