"""Jobs: submitting, finding, following and deleting them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from patchgrid.engine.types import JobSpec, Pair


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it stands."""

    #: Number given at submission, never used again.
    id: int
    #: Hash of pairs and spec.
    key: str
    #: Name given by the user, or None.
    name: str | None
    #: What is measured.
    spec: JobSpec
    #: `pending`, `running`, `done`, `failed` (every pair failed) or `cancelled`.
    state: str
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

    @property
    def kind(self) -> str:
        """Which of the sums the job samples: `whole`, or `aligned` when positions are kept."""
        return "whole" if self.spec.positions == "sum" else "aligned"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    #: Pairs in the job.
    total: int
    #: Pairs measured.
    done: int
    #: Pairs that failed.
    failed: int
    #: Chunks in the job.
    chunks_total: int
    #: Chunks measured.
    chunks_done: int
    #: Chunks given up after too many attempts (their pairs count as failed).
    chunks_failed: int

    @property
    def left(self) -> int:
        """Pairs still to do."""
        return self.total - self.done - self.failed


def job_key(spec: JobSpec, pairs_digest: str) -> str:
    """Hash the pairs' digest and the spec: the same pairs under the same spec are the same job."""
    raise NotImplementedError


def submit(
    session: Session,
    spec: JobSpec,
    pairs: Iterable[Pair],
    *,
    key: str,
    count: int,
    spans: tuple[str, ...] = (),
    name: str | None = None,
    chunk_size: int = 64,
    priority: int = 0,
) -> JobRecord:
    """Write a job, its pairs and its chunks, or give the job that has this key already.

    All of it belongs to the session's one transaction, so a killed submit leaves nothing. `pairs` is read
    once, in batches; `PairsRefused` if it does not give `count` pairs.
    """
    raise NotImplementedError


def find_by_key(session: Session, key: str) -> JobRecord | None:
    """Give the job of this key, or None."""
    raise NotImplementedError


def get(session: Session, job: int | str) -> JobRecord:
    """Give a job by its id (a number, or its digits) or its name; `JobNotFound` if none or several have it."""
    raise NotImplementedError


def list_jobs(session: Session) -> list[JobRecord]:
    """Give all jobs, the oldest first."""
    raise NotImplementedError


def progress(session: Session, job_id: int) -> Progress:
    """Count a job's pairs and chunks by what became of them; cheap at any size."""
    raise NotImplementedError


def errors(session: Session, job_id: int) -> list[tuple[int | str, str]]:
    """Give the failed pairs, by name (the given id, else the row number) in order, each with its reason."""
    raise NotImplementedError


def warnings(session: Session, job_id: int) -> list[tuple[str, int]]:
    """Give each distinct warning of the job's pairs with the number of pairs it was given for."""
    raise NotImplementedError


def reopen(session: Session, job_id: int) -> int:
    """Give the chunks that were given up a fresh start; return how many.

    Their error rows are removed and the job is `running` again. Pairs that failed by themselves (an answer of
    several tokens) stay as they are.
    """
    raise NotImplementedError


def delete(session: Session, job_id: int) -> None:
    """Remove a job and everything of it; its workers' late results will be turned away."""
    raise NotImplementedError
