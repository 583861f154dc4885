"""Jobs: submitting, finding, retrying and deleting them."""

import dataclasses
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, case, func, select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from patchgrid.core.names import COMBINED, check_name
from patchgrid.core.sites import WIDE_SITES
from patchgrid.core.states import DELETING, ChunkState, JobState
from patchgrid.core.types import JobSpec, Pair
from patchgrid.pairs.records.digest import Digest
from patchgrid.pairs.records.groups import GroupNumbers
from patchgrid.storage import tables
from patchgrid.storage.chunks.checksums import HASH_KEY, break_end, seal_job
from patchgrid.storage.chunks.inputs import pair_row
from patchgrid.storage.chunks.provenance import canonical_json, delete_unused, used_ids
from patchgrid.storage.chunks.sums import KINDS
from patchgrid.storage.db.bulk import insert_rows
from patchgrid.storage.db.dialects import insert_new, now
from patchgrid.storage.db.locks import lock_unfinished, lock_whole
from patchgrid.storage.errors import JobNotFound, PairsRefused
from patchgrid.storage.jobs import fair_share
from patchgrid.storage.jobs.fair_share import Queue
from patchgrid.storage.tables import job as table

#: Pairs inserted at a time: bounds a submit's memory.
_BATCH = 2000
#: Characters of prompts inserted at a time.
_BATCH_TEXT = 4_000_000
#: Largest integer of the databases.
_LARGEST = 2**31 - 1
#: The condition that a job is not being deleted.
THERE = table.c.state != DELETING
#: Columns that a record does not have.
_SIZES = ("pair_bytes", "result_bytes")
#: Pairs a chunk by default, at least and at most, and the chunks that a short job has.
_SMALLEST_CHUNK, _LARGEST_CHUNK, _CHUNKS = 16, 64, 8


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job's current state."""

    #: Number given at submission, never used again.
    id: int
    #: Hash of pairs and spec.
    key: str
    #: Name given by the user, or None.
    name: str | None
    #: What is measured.
    spec: JobSpec
    #: What it is doing.
    state: JobState
    #: Span names that positions are aligned by; empty: from the end.
    spans: tuple[str, ...]
    #: Number of pairs.
    pairs: int
    #: Pairs a chunk.
    chunk_size: int
    #: Jobs of higher priority are claimed first.
    priority: int
    #: Times in seconds since 1970 by the database's clock.
    created_at: float
    started_at: float | None
    finished_at: float | None
    #: Why the job failed, else None.
    error: str | None
    #: About how many bytes its pairs take, and its results once it has ended.
    bytes: int = 0
    #: Rounds of exact patching after the scores, the one that runs included.
    rounds: int = 0
    #: Number of groups that its pairs are of; None: each pair is its own.
    groups: int | None = None

    @property
    def kind(self) -> str:
        """Which of the sums the job samples: `whole`, or `aligned` when positions are kept."""
        return "whole" if self.spec.positions == "sum" else "aligned"

    @property
    def patched(self) -> bool:
        """Whether some cells are patched exactly: with the scores, or in a later round."""
        return self.spec.patches or self.rounds > 0

    @property
    def queue(self) -> Queue:
        """The queue that its chunks wait in."""
        return Queue(self.spec.model, self.priority)

    def method(self, name: str | None = None) -> str:
        """Return the requested method, the first by default; `SpecError` for one that the job lacks."""
        methods = self.spec.query.method_names
        return methods[0] if name is None else check_name("method of this job", name, methods, "method")

    def estimator(self, name: str | None = None) -> str:
        """Return the requested method, or `combined`: all of a job's, the default where it has several.

        `SpecError` for a method that the job lacks.
        """
        several = len(self.spec.query.method_names) > 1 and self.patched
        return COMBINED if several and name in (None, COMBINED) else self.method(name)

    @property
    def estimators(self) -> tuple[str, ...]:
        """What a job's components can be estimated by: its methods, and all of them together."""
        methods = self.spec.query.method_names
        return (*methods, COMBINED) if self.estimator() == COMBINED else methods

    def kinds(self, site: str) -> tuple[str, ...]:
        """Which sums exist at a site: both, except at sites whose positions were not requested."""
        return KINDS if site not in WIDE_SITES or self.kind == "aligned" else KINDS[:1]


def job_key(spec: JobSpec, pairs_digest: str) -> str:
    """Hash the pairs' digest and the spec: the same pairs under the same spec are the same job."""
    return hashlib.sha256(
        canonical_json({"pairs": pairs_digest, "spec": spec.identity()}).encode()
    ).hexdigest()


def default_chunk_size(count: int) -> int:
    """Return the default number of pairs per chunk: an eighth of the job's pairs, from 16 to 64.

    A killed process loses one chunk, and a job of one chunk uses one worker; a model measures few pairs at a
    time slowly. Chunks of a short job are of equal size: fewer than 32 pairs are one chunk.
    """
    chunks = max(1, min(_CHUNKS, count // _SMALLEST_CHUNK))
    return min(_LARGEST_CHUNK, -(-count // chunks))


def submit(
    session: Session,
    spec: JobSpec,
    pairs: Iterable[Pair],
    *,
    key: str,
    count: int,
    spans: tuple[str, ...] = (),
    groups: int | None = None,
    name: str | None = None,
    chunk_size: int | None = None,
    priority: int = 0,
    owners: Collection[str] = (),
) -> JobRecord:
    """Write a job, its pairs and its chunks, or return the job that already has this key.

    All of it belongs to the session's one transaction, so a killed submit leaves nothing. `pairs` is read
    once, in batches; `PairsRefused` if it does not yield `count` pairs. `groups` is the number of groups that
    they are of, None if each is its own. Its chunks take turns with those of the `owners`' other jobs;
    `chunk_size` changes no result.
    """
    row = {
        "key": key,
        "name": name,
        "spec": spec.as_dict(),
        "state": JobState.PENDING,
        "spans": list(spans),
        "pairs": count,
        "groups": groups,
        "chunk_size": chunk_size or default_chunk_size(count),
        "priority": priority,
        "created_at": now(),
        "pair_bytes": 0,
    }
    job = None
    while job is None:
        is_new = insert_new(session, table, row)
        # One that was there may have been deleted since.
        job = find_by_key(session, key)
    if is_new:
        digest = None if HASH_KEY.fullmatch(key) else Digest()
        job = dataclasses.replace(job, bytes=_insert_pairs(session, job, pairs, digest))
        firsts = range(0, job.pairs, job.chunk_size)
        ranges = [(first, min(first + job.chunk_size, job.pairs)) for first in firsts]
        insert_chunks(session, job, owners, ranges)
        seal_job(session, job.id, None if digest is None else digest.value)
    return job


def find_by_key(session: Session, key: str) -> JobRecord | None:
    """Return the job with this key, or None."""
    row = session.execute(select(table).where(table.c.key == key)).mappings().first()
    return None if row is None else record(row)


def get(session: Session, job: int | str, owner: str | None = None) -> JobRecord:
    """Return a job by its id (a number, or its digits) or its name; an owner's jobs come first.

    `JobNotFound` if none has it, or if several have the name.
    """
    if isinstance(job, int) or (job.isascii() and job.isdigit()):
        by_id = select(table).where(table.c.id == min(int(job), _LARGEST), THERE)
        row = session.execute(by_id).mappings().first()
        if row is not None:
            return record(row)
    by_name = select(table).where(table.c.name == str(job), THERE).order_by(table.c.id)
    own = [] if owner is None else session.execute(by_name.where(is_of(owner))).mappings().all()
    rows = own or session.execute(by_name).mappings().all()
    if not rows:
        raise JobNotFound(f"no job {job!r}: see `patchgrid job list`")
    if len(rows) > 1:
        ids = ", ".join(str(row["id"]) for row in rows)
        whose = " of yours" if own else ""
        raise JobNotFound(f"{len(rows)} jobs{whose} are named {job!r}: give an id ({ids})")
    return record(rows[0])


def is_of(owner: str) -> ColumnElement[bool]:
    """Return the condition that a job belongs, or belonged, to a user."""
    return table.c.id.in_(select(tables.submission.c.job_id).where(tables.submission.c.owner == owner))


def pair_bytes(session: Session, job_id: int) -> int:
    """Return the size of a job's pairs, in bytes."""
    return session.scalar(select(table.c.pair_bytes).where(table.c.id == job_id)) or 0


def errors(session: Session, job_id: int) -> list[tuple[int | str, str]]:
    """Return the failed pairs, ordered by name (the pair's id, else its row number), with their reasons."""
    pair, outcome, key = tables.pair, tables.outcome, tables.failed_pair
    failed = (
        select(key.c.pair_index, pair.c.name, outcome.c.error)
        .join_from(key, pair, (pair.c.job_id == key.c.job_id) & (pair.c.pair_index == key.c.pair_index))
        .join(outcome, (outcome.c.job_id == key.c.job_id) & (outcome.c.pair_index == key.c.pair_index))
        .where(key.c.job_id == job_id, tables.HAS_FAILED)
        .order_by(key.c.pair_index)
    )
    return [(pair_name(row.pair_index, row.name), row.error or "") for row in session.execute(failed)]


def warnings(session: Session, job_id: int) -> list[tuple[str, int]]:
    """Return each distinct warning of the job's pairs with the number of pairs that have it."""
    outcome = tables.outcome
    given = (
        select(outcome.c.warning, func.count())
        .where(outcome.c.job_id == job_id, outcome.c.warning.is_not(None))
        .group_by(outcome.c.warning)
        .order_by(func.min(outcome.c.pair_index))
    )
    return [(warning, count) for warning, count in session.execute(given)]


def reopen(session: Session, job_id: int) -> int:
    """Restart failed or cancelled chunks; return their number.

    Their error rows are removed and the job continues. Pairs with a permanent error (an answer of several
    tokens) stay as they are. Chunks still to do get all their attempts back. A paused job stays paused.
    """
    chunk, outcome = tables.chunk, tables.outcome
    paused = lock_unfinished(session, job_id) == JobState.PAUSED
    of_job = chunk.c.job_id == job_id
    ended = session.execute(
        select(chunk.c.id, chunk.c.first, chunk.c.last, chunk.c.round)
        .where(of_job, chunk.c.state.in_([ChunkState.FAILED, ChunkState.CANCELLED]))
        .order_by(chunk.c.first)
    ).all()
    for row in ended:
        if row.round is not None:
            continue
        inside = outcome.c.pair_index.between(row.first, row.last - 1)
        session.execute(outcome.delete().where(outcome.c.job_id == job_id, inside))
    if ended:
        wait_again(session, job_id, [row.id for row in ended])
    values: dict[str, Any] = {
        "state": ChunkState.HELD if paused else ChunkState.PENDING,
        "attempts": 0,
        "not_before": 0,
        "failed": 0,
    }
    values |= {"error": None, "finished_at": None}
    session.execute(
        chunk.update()
        .where(of_job, chunk.c.state.not_in([ChunkState.DONE, ChunkState.LEASED]))
        .values(values)
    )
    if ended:
        break_end(session, job_id, [row.id for row in ended])
    if ended and not paused:
        for each in (tables.total, tables.component_estimate):
            session.execute(each.delete().where(each.c.job_id == job_id))
        goes_on = case((table.c.started_at.is_(None), JobState.PENDING), else_=JobState.RUNNING)
        values = {"state": goes_on, "finished_at": None, "error": None, "result_bytes": None}
        session.execute(table.update().where(table.c.id == job_id).values(values))
    return len(ended)


def set_priority(session: Session, job_id: int, priority: int) -> None:
    """Set the priority of a job and its chunks."""
    for rows, of_job in ((table, table.c.id), (tables.chunk, tables.chunk.c.job_id)):
        session.execute(rows.update().where(of_job == job_id).values(priority=priority))


def wait_again(session: Session, job_id: int, chunk_ids: Sequence[int]) -> None:
    """Assign new turns to chunks that are queued again: their old ones are long past."""
    owners = select(tables.submission.c.owner).where(
        tables.submission.c.job_id == job_id, tables.submission.c.withdrawn_at.is_(None)
    )
    queue = get(session, job_id).queue
    fair_share.give_turns_again(session, queue, session.scalars(owners).all(), chunk_ids)


def delete(session: Session, job_id: int) -> None:
    """Remove a job and everything of it in one transaction; see `deletion` for large ones.

    Its workers' late results will be turned away.
    """
    lock_whole(session, job_id)
    delete_rows(session, job_id)
    at_it = tables.worker.c.job_id == job_id
    session.execute(tables.worker.update().where(at_it).values(job_id=None, chunk_id=None))
    session.execute(table.delete().where(table.c.id == job_id))


def delete_rows(session: Session, job_id: int, chunk_ids: Sequence[int] | None = None) -> None:
    """Remove what there is of a job, or of some of its chunks, which follow each other by their pairs."""
    used = used_ids(session, job_id)
    chunk = tables.chunk
    of_pairs = (tables.top_component, tables.method_score, tables.exact, tables.outcome, tables.pair)
    of_chunks = (
        *(tables.scores, tables.sums, tables.race, tables.cost, tables.task, tables.rounding),
        tables.checksum,
    )
    if chunk_ids is None:
        others = (
            tables.total,
            tables.component_estimate,
            tables.pilot,
            tables.plan,
            tables.refinement,
            tables.mean,
            tables.missed,
            tables.missed_design,
            tables.idempotency,
            tables.submission,
        )
        for each in (*of_pairs, *of_chunks, *others, chunk):
            session.execute(each.delete().where(each.c.job_id == job_id))
    else:
        inside = select(func.min(chunk.c.first), func.max(chunk.c.last)).where(chunk.c.id.in_(chunk_ids))
        first, last = session.execute(inside).one()
        for each in of_pairs:
            rows = (each.c.job_id == job_id) & each.c.pair_index.between(first, last - 1)
            session.execute(each.delete().where(rows))
        for each in of_chunks:
            session.execute(each.delete().where(each.c.chunk_id.in_(chunk_ids)))
        session.execute(chunk.delete().where(chunk.c.id.in_(chunk_ids)))
    delete_unused(session, used)


def pair_name(index: int, own_id: str | None) -> int | str:
    """Return the name that a pair is shown by: its id, else its row number."""
    return index if own_id is None else own_id


def _batches(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows of pairs in batches, limited by number and text size."""
    batch: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[3]) + len(row[4])
        if len(batch) >= _BATCH or size >= _BATCH_TEXT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _insert_pairs(session: Session, job: JobRecord, pairs: Iterable[Pair], digest: Digest | None) -> int:
    """Write a job's pairs; return their size in bytes."""
    taken = pairs if digest is None else _digested(pairs, digest)
    groups = None if job.groups is None else GroupNumbers()
    rows = (
        pair_row(job.id, index, pair, None if groups is None else groups.of(pair))
        for index, pair in enumerate(taken)
    )
    count = size = 0
    for batch in _batches(rows):
        try:
            insert_rows(session, (tables.pair, batch))
        except (UnicodeEncodeError, DataError) as error:
            reason = str(error).splitlines()[0]
            raise PairsRefused(f"a pair holds text that a database cannot store: {reason}") from error
        count += len(batch)
        size += sum(_bytes_of(row) for row in batch)
    session.execute(table.update().where(table.c.id == job.id).values(pair_bytes=size))
    if count != job.pairs or not count:
        raise PairsRefused(f"{job.pairs} pairs were expected, {count} received: did the pair file change?")
    return size


def _bytes_of(row: tuple[Any, ...]) -> int:
    return sum(len(each) for each in row[2:] if isinstance(each, str))


def _digested(pairs: Iterable[Pair], digest: Digest) -> Iterator[Pair]:
    for pair in pairs:
        digest.add(pair)
        yield pair


def insert_chunks(
    session: Session,
    job: JobRecord,
    owners: Collection[str],
    ranges: Sequence[tuple[int, int]],
    *,
    round_: int | None = None,
) -> None:
    """Write chunks of these ranges of pairs (the first, and the one after the last), to be claimed."""
    fresh: dict[str, Any] = {
        "job_id": job.id,
        "state": ChunkState.PENDING,
        "priority": job.priority,
        "epoch": 0,
        "attempts": 0,
    }
    fresh |= {"model": job.spec.model, "not_before": 0.0}
    fresh |= dict.fromkeys(("done", "failed", "skipped", "bytes"), 0)
    turns = fair_share.give_turns(session, job.queue, owners, len(ranges))
    rows = [
        fresh | {"first": first, "last": last, "turn": turn, "round": round_}
        for (first, last), turn in zip(ranges, turns, strict=True)
    ]
    session.execute(tables.chunk.insert(), rows)


def record(row: RowMapping) -> JobRecord:
    """Read a row of the table."""
    values = {name: value for name, value in row.items() if name not in _SIZES}
    read: dict[str, Any] = {
        "state": JobState(row["state"]),
        "spec": JobSpec.stored(row["spec"]),
        "spans": tuple(row["spans"]),
    }
    read["rounds"] = row["rounds"] or 0
    return JobRecord(**{**values, **read, "bytes": row["pair_bytes"] + (row["result_bytes"] or 0)})
