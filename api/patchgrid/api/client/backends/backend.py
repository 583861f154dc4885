"""What a workspace, the command line and pictures ask, whatever stores the jobs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from patchgrid.core.refinement import Refinement
from patchgrid.core.types import Pair
from patchgrid.storage import Database
from patchgrid.storage.access.submitting import Order
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.standing import Standing
from patchgrid.storage.output.summary import Summary
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord
from patchgrid.storage.results.coverage import Coverage
from patchgrid.storage.results.groups import ByGroup
from patchgrid.storage.results.normalised import Numbers
from patchgrid.storage.rounds.requests import RefinementRecord
from patchgrid.storage.subsets.missed import MissedBound

#: Takes how much is done of how much.
Counter = Callable[[int, int], None]


def _unheard(_text: str) -> None:
    """Drop a message."""


def _uncounted(_done: int, _total: int) -> None:
    """Drop a count."""


@dataclass(frozen=True, slots=True)
class Reports:
    """What a backend tells while it works; the default tells nothing."""

    #: Takes a message of one line: that the database is busy, that the server asks to wait.
    say: Callable[[str], None] = _unheard
    #: Passes pairs on as they are stored, with their total.
    storing: Callable[[Iterable[Pair], int], Iterable[Pair]] = lambda pairs, _total: pairs
    #: Returns a callback that takes the bytes sent, and their total.
    sending: Callable[[], AbstractContextManager[Counter]] = lambda: nullcontext(_uncounted)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a submit did."""

    #: The job as it is now.
    snapshot: Snapshot
    #: The job is new.
    created: bool
    #: The job was cancelled, and is queued again.
    reopened: bool


class Backend(Numbers, Protocol):
    """A database, or a server in front of one.

    `name` is a job's id, its name where one job alone has it, or `last`.
    """

    @property
    def label(self) -> str:
        """The database without its password, or the server's URL."""

    @property
    def database(self) -> Database | None:
        """The database, where this process can measure into it; None for a server."""

    @property
    def elsewhere(self) -> bool:
        """Whether workers may run on other machines."""

    def jobs(
        self, *, state: str | None = None, model: str | None = None, search: str | None = None
    ) -> Iterator[tuple[JobRecord, Progress]]:
        """List jobs, newest first; `search` looks in ids, names and models."""

    def job(self, name: int | str) -> JobRecord:
        """Find a job; a `LookupError` if there is none."""

    def standing(self, job: JobRecord) -> Standing:
        """Return a job with its progress, workers and warnings, without its results."""

    def summary(self, job_id: int) -> Summary:
        """Return a job's state and its main results."""

    def errors(self, job: JobRecord, limit: int | None = None) -> Sequence[tuple[int | str, str]]:
        """List the pairs that failed, in order, each with its reason."""

    def follow(self, job: JobRecord, *, every: float = 1.0) -> Iterator[Snapshot]:
        """Yield the job now, at regular intervals, and a last time when it has ended."""

    def furthest(
        self, job: JobRecord, site: str, method: str | None = None, *, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return a site's cells whose scores are furthest from their effects, one per component."""

    def missed(
        self, job: JobRecord, site: str | None = None, *, confidence: float, limit: int
    ) -> Sequence[MissedBound]:
        """Return bounds on the effects of rarely patched components, one per site; see `job missed`.

        `limit` is how many components stand with it, besides those that stand out.
        """

    def groups(
        self,
        job: JobRecord,
        *,
        site: str | None = None,
        method: str | None = None,
        component: str | None = None,
        limit: int = 20,
    ) -> ByGroup:
        """Return the components whose effects differ most between groups of pairs, or one component."""

    def exact(
        self, job: JobRecord, *, component: str, method: str | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the exactly patched cells of one component, in order of pair."""

    def coverage(self, job: JobRecord, site: str | None = None) -> Coverage:
        """Count the exactly patched cells, and all cells."""

    def export(
        self,
        job: JobRecord,
        what: str,
        form: str,
        method: str | None,
        file: BinaryIO,
        *,
        normalise: bool = False,
    ) -> int | None:
        """Write an export; return its number of rows, None if not counted."""

    def submit(self, order: Order) -> Submission:
        """Store a job, or find it; the submitter becomes an owner."""

    def weights(self, job: JobRecord) -> set[str]:
        """Return the hashes of the weights that the job's numbers so far were measured with."""

    def wake(self, job_id: int) -> None:
        """Notify the workers that a job is stored."""

    def pause(self, name: int | str) -> tuple[JobRecord, Progress]:
        """Pause a job and return it."""

    def cancel(self, name: int | str, *, everyone: bool) -> tuple[JobRecord, Progress, Sequence[str]]:
        """Cancel a job, or withdraw from it; return it and the owners for whom it continues."""

    def resume(self, name: int | str) -> tuple[JobRecord, Progress]:
        """Resume a paused job and return it."""

    def retry(self, name: int | str) -> tuple[JobRecord, Progress, int]:
        """Retry failed or cancelled chunks; return the job and the number of such chunks."""

    def refine(self, job: JobRecord, asked: Refinement) -> JobRecord:
        """Patch more of a job that is done; return it. Raises `NothingToRefine`, or a server's refusal."""

    def refinements(self, job: JobRecord) -> Sequence[RefinementRecord]:
        """List the job's refinements in order, each with what came of it."""

    def delete(self, job: JobRecord, *, everyone: bool) -> Sequence[str]:
        """Delete a job with all its results, or withdraw from it; return the owners for whom it is kept."""

    def workers(self) -> Sequence[WorkerRecord]:
        """List the workers, in the order of their names."""

    def models(self) -> Mapping[str, int]:
        """Return the models that jobs can be submitted for, with the number of workers serving each."""

    def queues(self) -> Sequence[ModelQueue]:
        """List the queue of each model."""

    def metrics(self) -> str:
        """Return metrics in Prometheus' text format."""

    def close(self) -> None:
        """Close all connections."""
