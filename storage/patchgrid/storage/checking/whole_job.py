"""A job without its chunks' results: its key, its pairs, its state, its counts, its blobs, its totals."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from patchgrid.core.names import check_name
from patchgrid.core.sites import SITES
from patchgrid.core.states import DELETING, ENDED_JOBS, FINISHED_JOBS, OPEN_CHUNKS, ChunkState, JobState
from patchgrid.pairs.records.digest import Digest
from patchgrid.storage import tables
from patchgrid.storage.checking.estimate_rows import estimate_problems
from patchgrid.storage.checking.findings import INPUT, RESULT, STATE, TOTAL, Findings
from patchgrid.storage.chunks import checksums
from patchgrid.storage.chunks.checksums import HASH_KEY
from patchgrid.storage.chunks.inputs import read_pair
from patchgrid.storage.chunks.provenance import provenances
from patchgrid.storage.chunks.sums import KINDS, add_up, pack_sums, read_sums
from patchgrid.storage.db.blobs import unpack
from patchgrid.storage.db.dialects import now
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.tables import checksum, chunk, component_estimate, job, pair, total

#: States of chunks that a job in a state cannot have.
_NOT_BESIDE = {
    JobState.PENDING: (ChunkState.DONE, ChunkState.FAILED, ChunkState.HELD, ChunkState.CANCELLED),
    JobState.RUNNING: (ChunkState.HELD, ChunkState.CANCELLED),
    JobState.PAUSED: (ChunkState.PENDING, ChunkState.CANCELLED),
    JobState.DONE: (*OPEN_CHUNKS, ChunkState.CANCELLED),
    JobState.FAILED: (*OPEN_CHUNKS, ChunkState.CANCELLED),
    JobState.CANCELLED: OPEN_CHUNKS,
}
#: 2020-01-01: before that there was no patchgrid.
_EARLIEST = 1_577_836_800.0
#: Seconds by which a machine's clock may be put back.
_SLACK = 86_400.0
_BATCH = 1000


class WholeJob:
    """Checks one job in one transaction."""

    def __init__(self, session: Session, job_id: int, findings: Findings) -> None:
        self._session, self._id, self._findings = session, job_id, findings

    def check(self, *, inputs: bool, totals: bool) -> JobRecord | None:
        """Check the job; pairs against the key if `inputs`, totals if asked. None: it cannot be read."""
        row = self._session.execute(select(job).where(job.c.id == self._id)).mappings().first()
        if row is None or row["state"] == DELETING:
            return None
        record = jobs.record(row)
        of_job = (checksum.c.job_id == self._id) & (checksum.c.what != checksums.CHUNK)
        seals = {row.what: row.digest for row in self._session.execute(select(checksum).where(of_job))}
        if inputs:
            self._check_inputs(record, seals)
        for text in (*self._states(record, seals), *self._times(record), *self._counts(record)):
            self._findings.add(STATE, self._id, f"job {self._id}: {text}")
        for text in self._provenance(record):
            self._findings.add(RESULT, self._id, f"job {self._id}: {text}")
        self._check_blobs()
        if totals:
            self._check_totals()
            self._check_estimates(record)
        return record

    def _check_inputs(self, record: JobRecord, seals: dict[str, str]) -> None:
        as_submitted = seals.get(checksums.JOB) == checksums.job_digest(self._session, self._id)
        if not as_submitted:
            mismatch = "checksum mismatch (settings, key, name or spans)"
            text = mismatch if checksums.JOB in seals else "its checksum is missing"
            self._findings.add(INPUT, self._id, f"job {self._id}: {text}")
        digest = self._pairs_digest()
        if HASH_KEY.fullmatch(record.key):
            key = jobs.job_key(record.spec, digest)
            same = key == record.key
            what = "its pairs" if as_submitted else "its pairs and settings"
            text = f"the key {record.key[:12]}… does not match {what} (hash {key[:12]}…)"
        else:
            same = checksums.PAIRS not in seals or seals[checksums.PAIRS] == digest
            text = "checksum mismatch (pairs)"
        if not same:
            self._findings.add(INPUT, self._id, f"job {self._id}: {text}")

    def _pairs_digest(self) -> str:
        digest = Digest()
        query = select(pair).where(pair.c.job_id == self._id).order_by(pair.c.pair_index)
        for row in self._session.execute(query, execution_options={"yield_per": _BATCH}):
            digest.add(read_pair(row))
        return digest.value

    def _states(self, record: JobRecord, seals: dict[str, str]) -> Iterator[str]:
        there = select(chunk.c.state).where(chunk.c.job_id == self._id).distinct()
        for state in sorted({*self._session.scalars(there)} & {*_NOT_BESIDE[record.state]}):
            yield f"state is {record.state}, but some chunks are {state}"
        if record.state == JobState.CANCELLED and ChunkState.CANCELLED not in set(
            self._session.scalars(there)
        ):
            yield "state is cancelled, but no chunk is cancelled"
        finished = record.state in FINISHED_JOBS
        if checksums.END in seals:
            if not finished:
                yield f"state is {record.state}, but it has the checksum of an ended job"
            elif seals[checksums.END] != checksums.end_digest(self._session, self._id):
                yield "checksum mismatch (state, times, error, totals, estimates, pilot, means or rounds)"
        elif finished:
            yield f"state is {record.state}, but the checksum of its end is missing"
        if (record.finished_at is None) == (record.state in ENDED_JOBS):
            yield f"state is {record.state}, but finished_at is {record.finished_at}"
        if record.state == JobState.FAILED and not record.error:
            yield "state is failed, but it has no error"

    def _times(self, record: JobRecord) -> Iterator[str]:
        clock = self._session.scalar(select(now())) or 0.0
        times = [record.created_at, record.started_at, record.finished_at]
        set_times = [each for each in times if each is not None]
        if not all(math.isfinite(each) and _EARLIEST < each < clock + _SLACK for each in set_times):
            yield f"impossible times (created, started, finished): {set_times}"
        elif any(later < earlier - _SLACK for earlier, later in itertools.pairwise(set_times)):
            yield f"times out of order (created, started, finished): {set_times}"

    def _counts(self, record: JobRecord) -> Iterator[str]:
        rows, first, last = self._session.execute(
            select(func.count(), func.min(pair.c.pair_index), func.max(pair.c.pair_index)).where(
                pair.c.job_id == self._id
            )
        ).one()
        if rows != record.pairs:
            yield f"{rows} pairs are stored, expected {record.pairs}"
        elif rows and (first, last) != (0, rows - 1):
            yield f"pairs are numbered {first} to {last}, expected 0 to {rows - 1}"
        expected, covered = 0, 0
        query = select(chunk).where(chunk.c.job_id == self._id).order_by(chunk.c.first)
        rounds = query.where(chunk.c.round.is_not(None))
        for row in self._session.execute(rounds, execution_options={"yield_per": _BATCH}):
            if not 1 <= row.round <= record.rounds:
                yield f"chunk {row.id} is of round {row.round}, and the job has {record.rounds}"
            yield from self._of_job(record, row)
        query = query.where(chunk.c.round.is_(None))
        for row in self._session.execute(query, execution_options={"yield_per": _BATCH}):
            if row.first != expected:
                yield f"chunk {row.id} starts at pair {row.first}, expected {expected}"
            expected, covered = row.last, covered + row.last - row.first
            yield from self._of_job(record, row)
        if covered != record.pairs:
            yield f"chunks cover {covered} pairs, expected {record.pairs}"
        if record.chunk_size < 1:
            yield f"chunk size is {record.chunk_size}"

    def _of_job(self, record: JobRecord, row: Row[Any]) -> Iterator[str]:
        for name, expected in (("priority", record.priority), ("model", record.spec.model)):
            if getattr(row, name) != expected:
                yield f"{name} is {expected!r}, but chunk {row.id} has {getattr(row, name)!r}"

    def _provenance(self, record: JobRecord) -> Iterator[str]:
        table = tables.provenance
        used = select(chunk.c.provenance_id).where(chunk.c.job_id == self._id).distinct()
        stored = self._session.scalars(
            select(table.c.hash).where(table.c.id.in_(used)).order_by(table.c.id)
        ).all()
        for made_by, stored_hash in zip(provenances(self._session, self._id), stored, strict=True):
            if made_by.hash != stored_hash:
                yield "provenance hash mismatch (model, weights, versions, device or seed)"
            if made_by.seed != record.spec.seed:
                yield f"seed is {record.spec.seed}, but its results were made with seed {made_by.seed}"

    def _check_blobs(self) -> None:
        subsets = ((tables.missed, "effects of subsets"), (tables.missed_design, "subsets"))
        kept = ((tables.pilot, "pilot"), (tables.mean, "means"), (tables.plan, "plan"), *subsets)
        for table, name in kept:
            for row in self._session.execute(select(table).where(table.c.job_id == self._id)):
                what = f"the {name} of job {self._id}, {row.site}"
                with self._findings.reading(RESULT, self._id, what):
                    check_name("site", row.site, SITES)
                    (read_sums if table is tables.pilot else unpack)(row.data, what)

    def _check_estimates(self, record: JobRecord) -> None:
        """Compute the rows for SQL again."""
        what = f"job {self._id}: table {component_estimate.name}"
        with self._findings.reading(TOTAL, self._id, what):
            for text in estimate_problems(self._session, record):
                self._findings.add(TOTAL, self._id, f"job {self._id}: {text}")

    def _check_totals(self) -> None:
        """Add up the chunks again."""
        for row in self._session.execute(select(total).where(total.c.job_id == self._id)):
            name = f"job {self._id}: the total of {row.site} ({row.kind}, {row.method})"
            with self._findings.reading(TOTAL, self._id, name):
                added = add_up(self._session, self._id, row.site, row.kind, row.method)
                if row.kind not in KINDS or added is None or pack_sums(added) != row.data:
                    self._findings.add(TOTAL, self._id, f"{name} does not match its chunks")
