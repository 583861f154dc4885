"""The whole check: the file, each job, each chunk, each in its own short transaction."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from sqlalchemy import ColumnElement, Table, and_, func, select
from sqlalchemy.orm import Session

from patchgrid.core.states import FINISHED_CHUNKS
from patchgrid.estimates import Sums
from patchgrid.storage import tables
from patchgrid.storage.checking import sampled
from patchgrid.storage.checking.file import file_problems
from patchgrid.storage.checking.findings import FILE, INPUT, RESULT, Findings
from patchgrid.storage.checking.sampled import Sample
from patchgrid.storage.checking.whole_chunk import Context, Seen, check_chunk
from patchgrid.storage.checking.whole_job import WholeJob
from patchgrid.storage.chunks import checksums
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.db.database import Database
from patchgrid.storage.db.schema import REVISIONS
from patchgrid.storage.errors import CorruptData
from patchgrid.storage.sampling.pilot import read_pilot
from patchgrid.storage.sampling.plans import read_plans
from patchgrid.storage.tables import checksum, chunk, job, pair

#: Keys read at a time.
_BATCH = 500
#: Called with the number of checked chunks and the total.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check."""

    #: The database's revision.
    revision: str
    #: Jobs checked.
    jobs: int
    #: Chunks checked.
    chunks: int
    #: Chunks in total.
    chunks_total: int
    #: Blobs of chunks whose checksums were computed.
    blobs: int
    #: Exactly patched cells that were compared.
    cells: int
    #: Seconds that it took.
    seconds: float
    #: Problems, one line each.
    problems: tuple[str, ...]
    #: What to do about it, one line for each kind of damage.
    advice: tuple[str, ...]


def check(
    url: str,
    *,
    sample: Sample | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
    timeout: float = 30,
) -> CheckReport:
    """Check a database: every checksum, key, count, state, sum, sampled cell and total.

    With a sample, only those chunks, and the pairs and totals of the same share of jobs. Memory is bounded by
    the largest chunk. Raises as `Database.open` does for a database of another version, or none at all.
    """
    began = time.monotonic()
    findings, seen = Findings(), Seen()
    jobs = total = 0
    with (
        findings.reading(FILE, None, "the file"),
        Database.open(url, create=False, timeout=timeout) as database,
    ):
        checking = _Check(database, sample, on_progress, findings, seen)
        # Damaged numbers may have any size: sums that overflow are compared like others.
        with np.errstate(over="ignore", invalid="ignore"):
            checking.run()
        jobs, total = checking.jobs, checking.chunks_total
    return CheckReport(
        revision=REVISIONS[-1],
        jobs=jobs,
        chunks=seen.chunks,
        chunks_total=total,
        blobs=seen.blobs,
        cells=seen.cells,
        seconds=time.monotonic() - began,
        problems=tuple(each.text for each in findings.problems),
        advice=findings.advice(),
    )


class _Check:
    def __init__(
        self,
        database: Database,
        sample: Sample | None,
        on_progress: OnProgress,
        findings: Findings,
        seen: Seen,
    ) -> None:
        self._database, self._sample, self._on_progress = database, sample, on_progress
        self.findings, self.seen = findings, seen
        self.jobs = self.chunks_total = 0
        self._bound = self._expected = 0

    def run(self) -> None:
        """Check everything; a damaged file is not read further, because none of it can be trusted."""
        with self.findings.reading(FILE, None, "the file"), self._database.read() as session:
            for text in file_problems(session, quick=self._sample is not None):
                self.findings.add(FILE, None, text)
        if self.findings.problems:
            return
        with self._database.read() as session:
            self.chunks_total = session.scalar(select(func.count()).select_from(chunk)) or 0
            self._bound = sampled.bound(session, self._sample)
            for text in _orphans(session) if self._sample is None else ():
                self.findings.add(RESULT, None, text)
        share = 1.0 if self._sample is None else self._bound / sampled.ALL
        self._expected = round(share * self.chunks_total)
        for job_id in self._keys(job):
            self._check_job(job_id)
        self._on_progress(self.seen.chunks, self.seen.chunks)

    def _check_job(self, job_id: int) -> None:
        everything = self._sample is None or self._is_sampled(-job_id)
        context = None
        with (
            self.findings.reading(INPUT, job_id, f"job {job_id}"),
            self._database.read() as session,
        ):
            record = WholeJob(session, job_id, self.findings).check(inputs=everything, totals=everything)
            self.jobs += record is not None
            if record is not None:
                plans = read_plans(session, job_id)
                context = Context(record, _pilot(session, job_id), job_graph(session, job_id), plans)
        if context is None:
            return
        for chunk_id in self._keys(chunk, job_id):
            if self._is_sampled(chunk_id):
                what = f"chunk {chunk_id} of job {job_id}"
                with self.findings.reading(RESULT, job_id, what), self._database.read() as session:
                    check_chunk(session, context, chunk_id, self.findings, self.seen)
                self._on_progress(self.seen.chunks, max(self._expected, self.seen.chunks))

    def _is_sampled(self, key: int) -> bool:
        seed = 0 if self._sample is None else self._sample.seed
        return sampled.place(key, seed) < self._bound

    def _keys(self, table: Table, job_id: int | None = None) -> Iterator[int]:
        """Yield the ids of jobs, or of a job's chunks, in batches."""
        last = 0
        while True:
            query = select(table.c.id).where(table.c.id > last).order_by(table.c.id).limit(_BATCH)
            if job_id is not None:
                query = query.where(table.c.job_id == job_id)
            with self._database.read() as session:
                keys = session.scalars(query).all()
            yield from keys
            if len(keys) < _BATCH:
                return
            last = keys[-1]


def _pilot(session: Session, job_id: int) -> dict[str, Sums] | None:
    """Return a job's pilot; None if it is damaged, which `WholeJob` reports."""
    try:
        return read_pilot(session, job_id)
    except CorruptData:
        return None


def _orphans(session: Session) -> Iterator[str]:
    """Find rows of jobs, pairs or chunks that do not exist."""
    for table in (tables.outcome, tables.exact, tables.top_component, tables.method_score):
        same = and_(pair.c.job_id == table.c.job_id, pair.c.pair_index == table.c.pair_index)
        if count := _lost(session, table, pair, same):
            yield f"{count} rows of table {table.name} belong to pairs that do not exist"
    if count := _lost(session, pair, job, job.c.id == pair.c.job_id):
        yield f"{count} rows of table pair belong to jobs that do not exist"
    for table in checksums.BY_CHUNK:
        same = and_(chunk.c.id == table.c.chunk_id, chunk.c.job_id == table.c.job_id)
        if count := _lost(session, table, chunk, same):
            yield f"{count} rows of table {table.name} belong to chunks that do not exist"
    same = and_(chunk.c.id == checksum.c.chunk_id, chunk.c.job_id == checksum.c.job_id)
    finished = chunk.c.state.in_(FINISHED_CHUNKS)
    of_chunks = checksum.c.what.not_in([checksums.JOB, checksums.PAIRS, checksums.END])
    if count := _lost(session, checksum, chunk, and_(same, finished), of_chunks):
        yield f"{count} rows of table checksum belong to chunks that do not exist or are not finished"


def _lost(
    session: Session, table: Table, owner: Table, same: ColumnElement[bool], *where: ColumnElement[bool]
) -> int:
    """Count the rows of a table whose parent row is missing."""
    key = next(iter(owner.primary_key.columns))
    lost = select(func.count()).select_from(table).outerjoin(owner, same).where(key.is_(None), *where)
    return session.scalar(lost) or 0
