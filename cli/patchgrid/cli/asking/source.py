"""What commands ask, and get the same answers to whatever it is that they ask."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from patchgrid.core.types import Pair
from patchgrid.storage.access.submitting import Order
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs.chunk_notes import Troubles
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.summary import Summary
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.coverage import Coverage
from patchgrid.storage.results.plots import Cells, Heatmap
from patchgrid.storage.results.verification import Cost, SiteAgreement

#: Passes pairs on, and says now and then how far they are.
Aloud = Callable[[Iterable[Pair], int, str], Iterator[Pair]]


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is known of a job but its components."""

    now: Snapshot
    made_by: Sequence[Provenance]
    agreement: Sequence[SiteAgreement]
    cost: Cost
    #: Each kind of warning with the number of pairs it was given for.
    warnings: Sequence[tuple[str, int]]
    troubles: Troubles
    #: Whether the model does the task, as `storage.task.task_json` gives it.
    task: Mapping[str, Any] | None
    #: How much of an effect may be rounding, as `storage.rounding.rounding_json` gives it.
    rounding: Mapping[str, Any] | None
    #: The names of its owners, the first one first.
    owners: Sequence[str]


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a submit."""

    #: How the job stands.
    found: Snapshot
    #: Whether it is new.
    created: bool
    #: Whether it was cancelled, and goes on now.
    reopened: bool


class Source(Protocol):
    """A database, or a server in front of one."""

    @property
    def elsewhere(self) -> bool:
        """Whether workers may be on other machines than this one."""

    def jobs(self) -> Sequence[tuple[JobRecord, Progress]]:
        """Give all jobs, the oldest first."""

    def job(self, name: int | str) -> JobRecord:
        """Give a job by id, by name if only one has it, or the newest for `last`."""

    def progress(self, job: JobRecord) -> Progress:
        """Give how far a job is."""

    def task(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Give whether the model does the task, as `storage.task.task_json` does."""

    def rounding(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Give how much of an effect may be rounding, as `storage.rounding.rounding_json` does."""

    def standing(self, job: JobRecord) -> Standing:
        """Give all that is known of a job but its components."""

    def summary(self, job_id: int) -> Summary:
        """Give a job's state and its main results."""

    def errors(self, job: JobRecord) -> Sequence[tuple[int | str, str]]:
        """Give the pairs that failed, in order, each with its reason."""

    def follow(self, job: JobRecord) -> Iterator[Snapshot]:
        """Give how the job stands again and again, the last time when it has ended."""

    def top(
        self,
        job: JobRecord,
        k: int = 20,
        by: str = "estimate",
        *,
        site: str | None = None,
        population: bool = False,
        method: str | None = None,
    ) -> Sequence[ComponentRow]:
        """Give the k strongest components, the strongest first."""

    def furthest(
        self, job: JobRecord, site: str, method: str | None = None, *, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Give a site's cells whose scores are furthest from their effects, one a component."""

    def coverage(self, job: JobRecord, site: str | None = None) -> Coverage:
        """Give how many cells were patched exactly, of how many."""

    def verification(self, job: JobRecord, top_k: int = 10) -> tuple[Sequence[SiteAgreement], Cost]:
        """Give how scores agree with exact patching, and what both cost."""

    def pair(self, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
        """Give one pair by its id, else by its row number."""

    def heatmap(self, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
        """Give a site's heatmap: kind `whole` or `aligned`."""

    def cells(self, job: JobRecord, site: str, method: str | None = None, *, limit: int) -> Cells:
        """Give the first exactly patched cells of a site, in order of pair."""

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
        """Write an export; give the number of its rows, None if it was not counted."""

    def submit(self, order: Order, aloud: Aloud) -> Submission:
        """Store a job, or find it; whoever submits it becomes an owner of it."""

    def weights(self, job: JobRecord) -> set[str]:
        """Give the hashes of the weights that made the job's numbers so far."""

    def wake(self, job_id: int) -> None:
        """Wake the workers for a job that is stored."""

    def pause(self, name: str) -> tuple[JobRecord, Progress]:
        """Pause a job; give it as it is then."""

    def cancel(self, name: str, *, everyone: bool) -> tuple[JobRecord, Progress, Sequence[str]]:
        """Cancel a job, or withdraw from it; give it as it is then, and the owners for whom it goes on."""

    def check_here(self, job: JobRecord) -> None:
        """Refuse to work a job off in this process where that cannot be."""

    def resume(self, name: str) -> tuple[JobRecord, Progress]:
        """Give a paused job back to its workers; give it as it is then."""

    def retry(self, name: str) -> tuple[JobRecord, Progress, int]:
        """Try again what was given up or cancelled; give the job then, and the number of such chunks."""

    def delete(self, job: JobRecord, *, everyone: bool) -> Sequence[str]:
        """Delete a job with all its results, or withdraw from it; give the owners for whom it is kept."""

    def workers(self) -> Sequence[WorkerRecord]:
        """Give the workers, in the order of their names."""

    def queues(self) -> Sequence[ModelQueue]:
        """Give what waits for each model."""

    def metrics(self) -> str:
        """Give metrics in Prometheus' text format."""
