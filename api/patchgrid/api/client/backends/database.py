"""A database as a backend."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from sqlalchemy.orm import Session

from patchgrid.api.client.backends.backend import Reports, Submission
from patchgrid.api.client.backends.database_following import follow
from patchgrid.api.client.backends.notify import message_counter, notify_workers
from patchgrid.core.names import POPULATION
from patchgrid.core.refinement import Refinement
from patchgrid.storage import Database
from patchgrid.storage.access import ownership, quotas
from patchgrid.storage.access.submitting import Order, Submitter, store
from patchgrid.storage.chunks import provenance
from patchgrid.storage.jobs import deletion, job_list, jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.output.export import export_rows, fields_of
from patchgrid.storage.output.row_files import write_rows
from patchgrid.storage.output.standing import Standing, standing
from patchgrid.storage.output.summary import Summary, summarize
from patchgrid.storage.pair_results import exact_list, pair_view
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.queue import control, metrics, workers
from patchgrid.storage.queue.job_status import Snapshot, look
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord
from patchgrid.storage.results import component_list, components, plots, verification
from patchgrid.storage.results.components import ComponentRow, Discoveries
from patchgrid.storage.results.coverage import Coverage, coverage
from patchgrid.storage.results.furthest import furthest
from patchgrid.storage.results.groups import ByGroup, by_group
from patchgrid.storage.results.plots import Cells, Heatmap
from patchgrid.storage.results.rounding import job_rounding, rounding_json
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.task import job_task, task_json
from patchgrid.storage.results.verification import Cost
from patchgrid.storage.rounds.requests import RefinementRecord, list_refinements
from patchgrid.storage.subsets.missed import MissedBound, missed


class DatabaseBackend:
    """Answers from an open database, for one of its users; threads may share it."""

    def __init__(
        self, database: Database, broker: str | None = None, *, user: str, reports: Reports | None = None
    ) -> None:
        self.database = database
        self.user = Submitter(user=user)
        self._broker = broker
        self._reports = reports or Reports()
        self._shared: ExitStack | None = None
        self._session: Session | None = None

    @property
    def label(self) -> str:
        """The file, or the URL without its password."""
        return self.database.label

    @property
    def elsewhere(self) -> bool:
        """An SQLite file's workers are on this machine."""
        return not self.database.url.startswith("sqlite")

    @contextmanager
    def one_state(self) -> Iterator["DatabaseBackend"]:
        """Answer every question of a block from one state of the database, until the block changes it.

        Not for several threads. Elsewhere each question reads the newest state.
        """
        with ExitStack() as shared:
            self._shared = shared
            try:
                yield self
            finally:
                self._shared = self._session = None

    def jobs(
        self, *, state: str | None = None, model: str | None = None, search: str | None = None
    ) -> Iterator[tuple[JobRecord, Progress]]:
        """List jobs, newest first."""
        before = None
        while True:
            with self._reading() as session:
                records = job_list.page(
                    session, before=before, limit=job_list.MOST, state=state, model=model, search=search
                )
            yield from records
            if len(records) < job_list.MOST:
                return
            before = records[-1][0].id

    def job(self, name: int | str) -> JobRecord:
        """Find a job."""
        with self._reading() as session:
            return job_list.find(session, name, self.user.owner)

    def progress(self, job: JobRecord) -> Progress:
        """Count a job's pairs and chunks by state."""
        with self._reading() as session:
            return job_progress(session, job.id)

    def task(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Tell whether the model does the task."""
        with self._reading() as session:
            return task_json(job_task(session, job))

    def rounding(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Return the rounding floor."""
        with self._reading() as session:
            return rounding_json(job_rounding(session, job))

    def standing(self, job: JobRecord) -> Standing:
        """Return a job with its progress, workers and warnings, without its results."""
        with self._reading() as session:
            return standing(session, job)

    def summary(self, job_id: int) -> Summary:
        """Return a job's state and its main results."""
        with self._reading() as session:
            return summarize(session, job_id)

    def errors(self, job: JobRecord, limit: int | None = None) -> Sequence[tuple[int | str, str]]:
        """List the pairs that failed, in order, each with its reason."""
        with self._reading() as session:
            return jobs.errors(session, job.id)[:limit]

    def follow(self, job: JobRecord, *, every: float = 1.0) -> Iterator[Snapshot]:
        """Yield the job now, at regular intervals, and a last time when it has ended."""
        self._end_state()
        return follow(self.database, job.id, every=every, say=self._reports.say)

    def components(
        self,
        job: JobRecord,
        *,
        site: str | None = None,
        method: str | None = None,
        kind: str | None = None,
        interval: str = POPULATION,
        simultaneous: bool = False,
        search: str | None = None,
        by: str | None = None,
        discoveries: Discoveries | None = None,
        limit: int | None = None,
    ) -> Sequence[ComponentRow]:
        """List components by site, layer, head and position, or with `by` the largest first."""
        rows: list[ComponentRow] = []
        start: int | None = 0
        most = component_list.MOST if limit is None else min(limit, component_list.MOST)
        with self._reading() as session:
            while start is not None and (limit is None or len(rows) < limit):
                page = component_list.page(
                    session,
                    job,
                    sites=None if site is None else (site,),
                    kind=kind,
                    interval=interval,
                    simultaneous=simultaneous,
                    method=method,
                    search=search,
                    by=by,
                    discoveries=discoveries,
                    start=start,
                    limit=most,
                )
                rows += page.items
                start = page.next
        return rows[:limit]

    def top(
        self,
        job: JobRecord,
        k: int = 20,
        by: str = "estimate",
        *,
        site: str | None = None,
        interval: str = POPULATION,
        simultaneous: bool = False,
        method: str | None = None,
    ) -> Sequence[ComponentRow]:
        """Return the k strongest components, the strongest first."""
        sites = None if site is None else (site,)
        with self._reading() as session:
            return components.top(
                session, job, k, by, sites=sites, interval=interval, simultaneous=simultaneous, method=method
            )

    def furthest(
        self, job: JobRecord, site: str, method: str | None = None, *, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return a site's cells whose scores are furthest from their effects, one per component."""
        with self._reading() as session:
            return furthest(session, job, site, method, limit)

    def exact(
        self, job: JobRecord, *, component: str, method: str | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the exactly patched cells of one component, in order of pair."""
        after = None
        while True:
            with self._reading() as session:
                page = exact_list.page(
                    session, job, method=method, component=component, after=after, limit=exact_list.MOST
                )
            yield from page.items
            after = page.next
            if after is None:
                return

    def coverage(self, job: JobRecord, site: str | None = None) -> Coverage:
        """Count the exactly patched cells, and all cells."""
        with self._reading() as session:
            return coverage(session, job, site)

    def missed(
        self, job: JobRecord, site: str | None = None, *, confidence: float, limit: int
    ) -> Sequence[MissedBound]:
        """Return bounds on the effects of rarely patched components, one per site."""
        with self._reading() as session:
            return missed(session, job, site, confidence=confidence, limit=limit)

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
        with self._reading() as session:
            return by_group(session, job, site=site, method=method, component=component, limit=limit)

    def verification(
        self, job: JobRecord, top_k: int = 10, method: str | None = None
    ) -> tuple[Sequence[SiteAgreement], Cost]:
        """Compare scores with exact patching; return the cost of both, too."""
        with self._reading() as session:
            rows = verification.verification(session, job, top_k=top_k, method=method)
            return rows, verification.cost(session, job)

    def pair(self, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
        """Return one pair by its id, else by its row number."""
        with self._reading() as session:
            return pair_view.pair(session, job, name, method)

    def heatmap(self, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
        """Return a site's heatmap: kind `whole` or `aligned`."""
        with self._reading() as session:
            return plots.heatmap(session, job, site, kind, method)

    def cells(self, job: JobRecord, site: str, method: str | None = None, *, limit: int) -> Cells:
        """Return the first exactly patched cells of a site, in order of pair."""
        with self._reading() as session:
            return plots.cells(session, job, site, method, limit=limit)

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
        """Write an export; return its number of rows."""
        self._end_state()
        rows = export_rows(self.database, job, what, method, normalise=normalise)
        fields = fields_of(job, what, normalise=normalise)
        return write_rows(file, form, fields, rows, text_positions=bool(job.spans))

    def submit(self, order: Order) -> Submission:
        """Store a job, or find it, for the user."""
        self._end_state()
        pairs, count = order.file, order.summary.count
        passing = self._reports.storing
        stored = store(self.database, order, pairs=lambda: passing(pairs, count), by=self.user)
        with self._reading() as session:
            return Submission(look(session, stored.job.id), stored.created, stored.reopened)

    def weights(self, job: JobRecord) -> set[str]:
        """Return the hashes of the weights that the job's numbers so far were measured with."""
        with self._reading() as session:
            return provenance.weights_hashes(session, job.id)

    def wake(self, job_id: int) -> None:
        """Notify the workers that a job is stored."""
        notify_workers(self.database, self._broker, job_id, self._reports.say)

    def pause(self, name: int | str) -> tuple[JobRecord, Progress]:
        """Pause a job and return it."""
        return self._change(name, control.pause)

    def cancel(self, name: int | str, *, everyone: bool) -> tuple[JobRecord, Progress, Sequence[str]]:
        """Cancel a job, or withdraw from it; return it and the owners for whom it continues."""
        with self._changing(name) as (session, job_id):
            left = ownership.cancel(session, job_id, self.user.owner, everyone=everyone)
            return *_as_it_is(session, job_id), left

    def resume(self, name: int | str) -> tuple[JobRecord, Progress]:
        """Resume a paused job and return it."""
        return self._change(name, control.unpause)

    def retry(self, name: int | str) -> tuple[JobRecord, Progress, int]:
        """Retry failed or cancelled chunks; return the job and the number of such chunks."""
        with self._changing(name) as (session, job_id):
            again = ownership.reopen(session, job_id, self.user)
            return *_as_it_is(session, job_id), again

    def refine(self, job: JobRecord, asked: Refinement) -> JobRecord:
        """Patch more of a job that is done; return it."""
        with self._changing(job.id) as (session, job_id):
            return quotas.refine(session, job_id, asked, self.user)

    def refinements(self, job: JobRecord) -> Sequence[RefinementRecord]:
        """List the job's refinements in order, each with what came of it."""
        with self._reading() as session:
            return list_refinements(session, job.id)

    def delete(self, job: JobRecord, *, everyone: bool) -> Sequence[str]:
        """Delete a job with all its results, or withdraw from it; return the owners for whom it is kept."""
        self._end_state()
        with self.database.write() as session:
            left = ownership.delete(session, job.id, self.user.owner, everyone=everyone)
        deletion.finish(self.database)
        return left

    def workers(self) -> Sequence[WorkerRecord]:
        """List the workers, in the order of their names."""
        with self._reading() as session:
            return workers.list_workers(session)

    def models(self) -> Mapping[str, int]:
        """Return the models of the last day's workers, with the number of workers serving each."""
        with self._reading() as session:
            return workers.serving(session)

    def queues(self) -> Sequence[ModelQueue]:
        """List the queue of each model."""
        with self._reading() as session:
            found = metrics.queues(session)
        return metrics.with_messages(found, message_counter(self._broker))

    def metrics(self) -> str:
        """Return metrics in Prometheus' text format."""
        with self._reading() as session:
            found, records = metrics.queues(session), workers.list_workers(session)
        served = metrics.with_served(found, records)
        return metrics.prometheus_text(metrics.with_messages(served, message_counter(self._broker)), records)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        """Yield a session for one query, or that of the block (`one_state`)."""
        if self._shared is None:
            with self.database.read() as session:
                yield session
            return
        if self._session is None:
            self._session = self._shared.enter_context(self.database.read())
        yield self._session

    def _end_state(self) -> None:
        """Let the next question see the newest state."""
        if self._shared is not None:
            self._session = None
            self._shared.close()

    @contextmanager
    def _changing(self, name: int | str) -> Iterator[tuple[Session, int]]:
        self._end_state()
        with self.database.write() as session:
            yield session, job_list.find(session, name, self.user.owner).id

    def _change(self, name: int | str, change: Callable[[Session, int], None]) -> tuple[JobRecord, Progress]:
        with self._changing(name) as (session, job_id):
            change(session, job_id)
            return _as_it_is(session, job_id)


def _as_it_is(session: Session, job_id: int) -> tuple[JobRecord, Progress]:
    return jobs.get(session, job_id), job_progress(session, job_id)
