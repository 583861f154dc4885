"""A database, asked without anything in between."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, Self

from sqlalchemy.orm import Session

from patchgrid.cli.asking.broker import ring
from patchgrid.cli.asking.following import follow
from patchgrid.cli.asking.source import Aloud, Standing, Submission
from patchgrid.storage import Database
from patchgrid.storage.access import ownership
from patchgrid.storage.access.submitting import Order, Submitter, store
from patchgrid.storage.chunks import provenance
from patchgrid.storage.jobs import deletion, job_list, jobs
from patchgrid.storage.jobs.chunk_notes import troubles
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.pair_notes import warnings_by_kind
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.output.export import export_rows, fields_of
from patchgrid.storage.output.row_files import write_rows
from patchgrid.storage.output.summary import Summary, summarize
from patchgrid.storage.pair_results import pair_view
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.queue import control, metrics, workers
from patchgrid.storage.queue.job_status import Snapshot, look
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord
from patchgrid.storage.results import components, plots, verification
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.coverage import Coverage, coverage
from patchgrid.storage.results.furthest import furthest
from patchgrid.storage.results.plots import Cells, Heatmap
from patchgrid.storage.results.rounding import job_rounding, rounding_json
from patchgrid.storage.results.task import job_task, task_json
from patchgrid.storage.results.verification import Cost, SiteAgreement


class LocalSource:
    """Answers from an open database; until something is changed, all of them see one state of it."""

    def __init__(self, database: Database, broker: str | None = None, *, user: str) -> None:
        self.database = database
        self._broker = broker
        self._by = Submitter(user=user)
        self._reading = ExitStack()
        self._session: Session | None = None

    @property
    def elsewhere(self) -> bool:
        """A file's workers are on this machine."""
        return not self.database.url.startswith("sqlite")

    def jobs(self) -> Sequence[tuple[JobRecord, Progress]]:
        """Give all jobs, the oldest first."""
        return list(job_list.every(self._read()))[::-1]

    def job(self, name: int | str) -> JobRecord:
        """Give a job by id, by name if only one has it, or the newest for `last`."""
        return job_list.find(self._read(), name, self._by.owner)

    def progress(self, job: JobRecord) -> Progress:
        """Give how far a job is."""
        return job_progress(self._read(), job.id)

    def task(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Give whether the model does the task."""
        return task_json(job_task(self._read(), job))

    def rounding(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Give how much of an effect may be rounding."""
        return rounding_json(job_rounding(self._read(), job))

    def standing(self, job: JobRecord) -> Standing:
        """Give all that is known of a job but its components."""
        session, now = self._read(), look(self._read(), job.id)
        agreement, cost = self.verification(job)
        return Standing(
            now=now,
            made_by=provenance.provenances(session, job.id),
            agreement=agreement,
            cost=cost,
            warnings=warnings_by_kind(session, job.id),
            troubles=troubles(session, job, now.progress),
            task=self.task(job),
            rounding=self.rounding(job),
            owners=ownership.owner_names(session, [job.id]).get(job.id, ()),
        )

    def summary(self, job_id: int) -> Summary:
        """Give a job's state and its main results."""
        return summarize(self._read(), job_id)

    def errors(self, job: JobRecord) -> Sequence[tuple[int | str, str]]:
        """Give the pairs that failed, in order, each with its reason."""
        return jobs.errors(self._read(), job.id)

    def follow(self, job: JobRecord) -> Iterator[Snapshot]:
        """Give how the job stands again and again, the last time when it has ended."""
        self.close()
        return follow(self.database, job.id)

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
        sites = None if site is None else (site,)
        return components.top(self._read(), job, k, by, sites=sites, population=population, method=method)

    def furthest(
        self, job: JobRecord, site: str, method: str | None = None, *, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Give a site's cells whose scores are furthest from their effects, one a component."""
        return furthest(self._read(), job, site, method, limit)

    def coverage(self, job: JobRecord, site: str | None = None) -> Coverage:
        """Give how many cells were patched exactly, of how many."""
        return coverage(self._read(), job, site)

    def verification(self, job: JobRecord, top_k: int = 10) -> tuple[Sequence[SiteAgreement], Cost]:
        """Give how scores agree with exact patching, and what both cost."""
        session = self._read()
        return verification.verification(session, job, top_k=top_k), verification.cost(session, job)

    def pair(self, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
        """Give one pair by its id, else by its row number."""
        return pair_view.pair(self._read(), job, name, method)

    def heatmap(self, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
        """Give a site's heatmap: kind `whole` or `aligned`."""
        return plots.heatmap(self._read(), job, site, kind, method)

    def cells(self, job: JobRecord, site: str, method: str | None = None, *, limit: int) -> Cells:
        """Give the first exactly patched cells of a site, in order of pair."""
        return plots.cells(self._read(), job, site, method, limit=limit)

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
        """Write an export; give the number of its rows."""
        self.close()
        rows = export_rows(self.database, job, what, method, normalise=normalise)
        fields = fields_of(job, what, normalise=normalise)
        return write_rows(file, form, fields, rows, text_positions=bool(job.spans))

    def submit(self, order: Order, aloud: Aloud) -> Submission:
        """Store a job, or find it, for the user."""
        self.close()
        pairs, count = order.file, order.summary.count
        stored = store(self.database, order, pairs=lambda: aloud(pairs, count, "stored"), by=self._by)
        return Submission(look(self._read(), stored.job.id), stored.created, stored.reopened)

    def weights(self, job: JobRecord) -> set[str]:
        """Give the hashes of the weights that made the job's numbers so far."""
        return provenance.weights_hashes(self._read(), job.id)

    def wake(self, job_id: int) -> None:
        """Wake the workers for a job that is stored."""
        ring(self._broker, job_id)

    def pause(self, name: str) -> tuple[JobRecord, Progress]:
        """Pause a job; give it as it is then."""
        return self._change(name, control.pause)

    def cancel(self, name: str, *, everyone: bool) -> tuple[JobRecord, Progress, Sequence[str]]:
        """Cancel a job, or withdraw from it; give it as it is then, and the owners for whom it goes on."""
        self.close()
        with self.database.write() as session:
            job_id = self._find(session, name)
            left = ownership.cancel(session, job_id, self._by.owner, everyone=everyone)
            return *_as_it_is(session, job_id), left

    def check_here(self, job: JobRecord) -> None:
        """A database's jobs can be worked off in this process."""

    def resume(self, name: str) -> tuple[JobRecord, Progress]:
        """Give a paused job back to its workers; give it as it is then."""
        return self._change(name, control.unpause)

    def retry(self, name: str) -> tuple[JobRecord, Progress, int]:
        """Try again what was given up or cancelled; give the job then, and the number of such chunks."""
        self.close()
        with self.database.write() as session:
            job_id = self._find(session, name)
            again = ownership.reopen(session, job_id, self._by)
            return *_as_it_is(session, job_id), again

    def delete(self, job: JobRecord, *, everyone: bool) -> Sequence[str]:
        """Delete a job with all its results, or withdraw from it; give the owners for whom it is kept."""
        self.close()
        with self.database.write() as session:
            left = ownership.delete(session, job.id, self._by.owner, everyone=everyone)
        deletion.finish(self.database)
        return left

    def workers(self) -> Sequence[WorkerRecord]:
        """Give the workers, in the order of their names."""
        return workers.list_workers(self._read())

    def queues(self) -> Sequence[ModelQueue]:
        """Give what waits for each model."""
        return metrics.queues(self._read())

    def metrics(self) -> str:
        """Give metrics in Prometheus' text format."""
        return metrics.prometheus_text(self._read())

    def close(self) -> None:
        """Let go of the state that is seen; the next question sees a newer one."""
        self._session = None
        self._reading.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The database's own errors become ours on the way out.
        self._reading.__exit__(kind, error, trace)

    def _read(self) -> Session:
        if self._session is None:
            self._session = self._reading.enter_context(self.database.read())
        return self._session

    def _change(self, name: str, change: Callable[[Session, int], None]) -> tuple[JobRecord, Progress]:
        self.close()
        with self.database.write() as session:
            job_id = self._find(session, name)
            change(session, job_id)
            return _as_it_is(session, job_id)

    def _find(self, session: Session, name: str) -> int:
        return job_list.find(session, name, self._by.owner).id


def _as_it_is(session: Session, job_id: int) -> tuple[JobRecord, Progress]:
    return jobs.get(session, job_id), job_progress(session, job_id)
