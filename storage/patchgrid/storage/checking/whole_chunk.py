"""Checking one chunk: its state, outcomes, checksum, and recomputed numbers."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from patchgrid.core.graph import Graph
from patchgrid.core.states import FINISHED_CHUNKS, ChunkState, PairState
from patchgrid.estimates import Sums
from patchgrid.storage import tables
from patchgrid.storage.checking.findings import RESULT, STATE, Findings
from patchgrid.storage.checking.numbers import Numbers
from patchgrid.storage.checking.task_counts import task_problems
from patchgrid.storage.chunks import checksums
from patchgrid.storage.chunks.checksums import BY_CHUNK, BY_PAIR
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue.splitting import MAX_ATTEMPTS
from patchgrid.storage.sampling.plans import Plan
from patchgrid.storage.tables import checksum, chunk, outcome


@dataclass(frozen=True, slots=True)
class Context:
    """What a job's chunks have in common."""

    job: JobRecord
    #: The job's pilot by site; None: it cannot be read, and the sample not be drawn again.
    pilot: Mapping[str, Sums] | None
    #: How the job's edges are numbered, if it has any.
    graph: Graph | None
    #: The plans of its later rounds.
    plans: Mapping[int, Plan]


@dataclass(slots=True)
class Seen:
    """How much was looked at."""

    chunks: int = 0
    blobs: int = 0
    cells: int = 0


def check_chunk(session: Session, context: Context, chunk_id: int, findings: Findings, seen: Seen) -> None:
    """Check one chunk, in the session's transaction."""
    row = session.execute(select(chunk).where(chunk.c.id == chunk_id)).first()
    if row is None:
        return  # deleted since
    seen.chunks += 1
    name, job_id = f"chunk {row.id} of job {row.job_id}", row.job_id
    later = row.round is not None
    problems = [*_lease(row), *(() if later else _outcomes(session, row))]
    for text in problems:
        findings.add(STATE, job_id, f"{name}: {text}")
    if row.state not in FINISHED_CHUNKS:
        for text in _results_of_none(session, row):
            findings.add(RESULT, job_id, f"{name}: {text}")
        return
    sealed = session.scalar(
        select(checksum.c.digest).where(
            checksum.c.job_id == job_id, checksum.c.what == checksums.CHUNK, checksum.c.chunk_id == row.id
        )
    )
    if sealed is None:
        findings.add(RESULT, job_id, f"{name}: its checksum is missing")
    elif sealed != checksums.chunk_digest(session, row):
        findings.add(RESULT, job_id, f"{name}: checksum mismatch (its row or its results)")
    if later:
        # Its numbers are checked with those of the chunk that scored the pairs.
        return
    with findings.reading(RESULT, job_id, f"the results of {name}"):
        numbers = Numbers(session, context.job, row, context.pilot, context.graph, context.plans)
        for text in (*numbers.problems(), *task_problems(session, row)):
            findings.add(RESULT, job_id, f"{name}: {text}")
        seen.blobs, seen.cells = seen.blobs + numbers.blobs, seen.cells + numbers.cells


def _lease(row: Row[Any]) -> Iterator[str]:
    """Compare a chunk's columns with each other."""
    if row.state not in tuple(ChunkState):
        yield f"unknown state {row.state!r}"
    if not 0 <= row.first < row.last:
        yield f"impossible range of pairs: {row.first} to {row.last - 1}"
    leased = row.state == ChunkState.LEASED
    if leased != (row.worker is not None) or leased != (row.lease_until is not None):
        yield f"state is {row.state}, but worker is {row.worker} and lease_until is {row.lease_until}"
    if row.at_pair is not None and not (leased and row.first <= row.at_pair < row.last):
        yield f"state is {row.state}, but at_pair is {row.at_pair}"
    if row.epoch < leased or not 0 <= row.attempts <= MAX_ATTEMPTS:
        yield f"impossible epoch {row.epoch} or attempts {row.attempts}"
    counts = (row.done, row.failed, row.skipped)
    whole = sum(counts) == row.last - row.first
    if min(counts) < 0 or whole != (row.state in FINISHED_CHUNKS):
        yield f"state is {row.state}, but {sum(counts)} of its pairs are counted as finished"
    done = row.state == ChunkState.DONE
    ended = (row.finished_at is not None) == (row.state in FINISHED_CHUNKS)
    if not ended or done != (row.provenance_id is not None) or done != (row.seconds is not None):
        yield f"state is {row.state}, but finished_at is {row.finished_at} and seconds is {row.seconds}"
    columns = (row.finished_at, row.seconds, row.lease_until, row.not_before)
    times = [each for each in columns if each is not None]
    if not all(math.isfinite(each) and each >= 0 for each in times):
        yield f"impossible times: {times}"


def _outcomes(session: Session, row: Row[Any]) -> Iterator[str]:
    """Compare what a chunk says of its pairs with the rows there are."""
    inside = outcome.c.pair_index.between(row.first, row.last - 1)
    rows = checksums.stored_rows(session, outcome, outcome.c.job_id == row.job_id, inside)
    columns = [column.name for column in outcome.columns]
    outcomes = [dict(zip(columns, each, strict=True)) for each in rows]
    states = dict(Counter(each["state"] for each in outcomes))
    counted = {"done": row.done, "failed": row.failed, "skipped": row.skipped}
    if {state: states.get(state, 0) for state in counted} != counted:
        counts = f"{row.done} done, {row.failed} failed, {row.skipped} skipped"
        yield f"its counts are {counts}; its outcome rows give {states}"
    for each in outcomes:
        yield from (f"pair {each['pair_index']}: {text}" for text in _outcome(each))


def _outcome(outcome: Mapping[str, Any]) -> Iterator[str]:
    state, metrics = outcome["state"], (outcome["clean_metric"], outcome["corrupted_metric"])
    if state in (PairState.DONE, PairState.SKIPPED):
        if outcome["error"] is not None:
            yield f"state is {state}, but it has the error {outcome['error']!r}"
        if not all(isinstance(value, float) and math.isfinite(value) for value in metrics):
            yield f"state is {state}, but its metrics are {metrics}"
    elif state == PairState.FAILED:
        if not outcome["error"]:
            yield "state is failed, but it has no error"
        if metrics != (None, None):
            yield f"state is failed, but its metrics are {metrics}"
    else:
        yield f"unknown state {state!r}"
    tokens = [_read_json(outcome[name]) for name in ("tokens", "corrupted_tokens")]
    if not all(isinstance(listed, list) for listed in tokens):
        yield "its tokens cannot be read"
    elif len(tokens[0]) != len(tokens[1]):
        yield f"its prompts have {len(tokens[0])} and {len(tokens[1])} tokens"


def _read_json(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return None


def _results_of_none(session: Session, row: Row[Any]) -> Iterator[str]:
    """Look for results of a chunk that is not finished."""
    for table in (*BY_PAIR, *BY_CHUNK):
        if table in BY_PAIR:
            where = (table.c.job_id == row.job_id) & table.c.pair_index.between(row.first, row.last - 1)
            if "round" in table.c:
                where &= table.c.round.is_not_distinct_from(row.round)
            elif row.round is not None:
                continue
        else:
            where = table.c.chunk_id == row.id
        count = session.scalar(select(func.count()).select_from(table).where(where))
        # A given-up chunk that is restarted keeps nothing; a cancelled one never had anything.
        if count and table is not tables.outcome:
            yield f"state is {row.state}, but it has {count} rows in table {table.name}"
