"""A server as a backend: the same answers as from its database, over HTTP."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, BinaryIO

import numpy as np

from patchgrid.api.client.backends import documents
from patchgrid.api.client.backends.backend import Reports, Submission
from patchgrid.api.client.backends.documents import Document, read, understood
from patchgrid.api.client.backends.row_count import RowCount
from patchgrid.api.client.backends.sending import send
from patchgrid.api.client.backends.server_following import Following
from patchgrid.api.client.http.errors import NotThere
from patchgrid.api.client.http.service import Service
from patchgrid.core.names import POPULATION, check_name
from patchgrid.core.refinement import Refinement
from patchgrid.core.sites import INDEX_FIELDS, index_of_fields, short_name
from patchgrid.storage.access.submitting import Order
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.standing import Standing
from patchgrid.storage.output.summary import SHOWN_COMPONENTS, SHOWN_ERRORS, Summary
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord
from patchgrid.storage.results.components import ORDERS, ComponentRow, Discoveries
from patchgrid.storage.results.coverage import Coverage
from patchgrid.storage.results.groups import ByGroup
from patchgrid.storage.results.plots import Cells, Heatmap, named_once, strongest_cells
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.verification import Cost
from patchgrid.storage.rounds.requests import RefinementRecord
from patchgrid.storage.subsets.missed import MissedBound, missed_of_json


class ServerBackend:
    """Answers from a server's HTTP API; threads may share it."""

    #: Nothing is measured into a server's database from here.
    database = None
    #: Nobody here knows where its workers are.
    elsewhere = True

    def __init__(self, service: Service, reports: Reports | None = None) -> None:
        self.service = service
        self._reports = reports or Reports()

    @property
    def label(self) -> str:
        """The server's URL."""
        return self.service.connection.address.url

    def jobs(
        self, *, state: str | None = None, model: str | None = None, search: str | None = None
    ) -> Iterator[tuple[JobRecord, Progress]]:
        """List jobs, newest first."""
        for each in self.service.jobs(state=state, model=model, search=search):
            yield _job(each)

    def job(self, name: int | str) -> JobRecord:
        """Find a job."""
        return documents.job(self.service.job(name))

    def progress(self, job: JobRecord) -> Progress:
        """Count a job's pairs and chunks by state."""
        return documents.progress(self.service.job(job.id))

    def task(self, job: JobRecord) -> Document | None:
        """Tell whether the model does the task."""
        return self.standing(job).task

    def rounding(self, job: JobRecord) -> Document | None:
        """Return the rounding floor."""
        return self.standing(job).rounding

    def standing(self, job: JobRecord) -> Standing:
        """Return a job with its progress, workers and warnings, without its results."""
        return documents.standing(self.service.job(job.id))

    def summary(self, job_id: int) -> Summary:
        """Return a job's state and its main results."""
        standing = documents.standing(self.service.job(job_id))
        job = standing.now.job
        agreement, cost = self.verification(job)
        return Summary(
            job=job,
            progress=standing.now.progress,
            task=standing.task,
            rounding=standing.rounding,
            top=self.top(job, SHOWN_COMPONENTS),
            coverage=self.coverage(job),
            verification=agreement,
            cost=cost,
            warnings=standing.warnings,
            errors=self.errors(job, SHOWN_ERRORS),
            refinements=self.refinements(job),
        )

    def errors(self, job: JobRecord, limit: int | None = None) -> Sequence[tuple[int | str, str]]:
        """List the pairs that failed, in order, each with its reason."""
        with understood("pair"):
            failed = islice(self.service.pairs(job.id, state="failed", most=limit), limit)
            return [(each["pair"], each["error"] or "") for each in failed]

    def follow(self, job: JobRecord, *, every: float = 1.0) -> Iterator[Snapshot]:
        """Yield the job now, at regular intervals, and a last time when it has ended."""
        return Following(self.service, job.id).snapshots(every=every)

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
        _check(job, site, method)
        parameters: dict[str, Any] = {
            "site": site,
            "method": method,
            "kind": kind,
            "search": search,
            "by": by,
        }
        if discoveries is not None:
            parameters |= {"effect_above": discoveries.above, "fdr": discoveries.rate}
        rows = self.service.components(
            job.id, most=limit, interval=interval, simultaneous=simultaneous, **parameters
        )
        return [documents.component(ComponentRow, each) for each in islice(rows, limit)]

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
        check_name("order", by, ORDERS, "by")
        return self.components(
            job, site=site, method=method, interval=interval, simultaneous=simultaneous, by=by, limit=k
        )

    def furthest(
        self, job: JobRecord, site: str, method: str | None = None, *, limit: int
    ) -> Sequence[Mapping[str, object]]:
        """Return a site's cells whose scores are furthest from their effects, one per component."""
        _check(job, site, method)
        return self.service.furthest(job.id, site=site, method=method, limit=limit)

    def missed(
        self, job: JobRecord, site: str | None = None, *, confidence: float, limit: int
    ) -> Sequence[MissedBound]:
        """Return bounds on the effects of rarely patched components, one per site."""
        _check(job, site, None)
        items = self.service.missed(job.id, site=site, confidence=confidence, limit=limit)
        with understood("bound"):
            return missed_of_json(items)

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
        _check(job, site, method)
        answer = self.service.groups(job.id, site=site, method=method, component=component, limit=limit)
        with understood("groups"):
            return read(ByGroup, answer)

    def exact(self, job: JobRecord, *, component: str, method: str | None = None) -> Iterator[Document]:
        """Yield the exactly patched cells of one component, in order of pair."""
        _check(job, None, method)
        return self.service.exact(job.id, method=method, component=component)

    def coverage(self, job: JobRecord, site: str | None = None) -> Coverage:
        """Count the exactly patched cells, and all cells."""
        _check(job, site, None)
        return read(Coverage, self.service.coverage(job.id, site).get("coverage"))

    def verification(
        self, job: JobRecord, top_k: int = 10, method: str | None = None
    ) -> tuple[Sequence[SiteAgreement], Cost]:
        """Compare scores with exact patching; return the cost of both, too."""
        _check(job, None, method)
        answer = self.service.verification(job.id, top_k=top_k, method=method)
        with understood("verification"):
            return [read(SiteAgreement, each) for each in answer["items"]], read(Cost, answer["cost"])

    def heatmap(self, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
        """Return a site's heatmap: kind `whole` or `aligned`."""
        _check(job, site, method)
        return read(Heatmap, self.service.heatmap(job.id, site=site, kind=kind, method=method))

    def cells(self, job: JobRecord, site: str, method: str | None = None, *, limit: int) -> Cells:
        """Return the first exactly patched cells of a site, in order of pair."""
        _check(job, site, method)
        exact_cells = islice(self.service.exact(job.id, most=limit, site=site, method=method), limit)
        with understood("cell"):
            rows = list(exact_cells)
            parts = [(each["score"], each["effect"], each["inclusion"]) for each in rows]
            columns = np.array(parts, np.float64).reshape(-1, 3)
            score, effect, inclusion = np.ascontiguousarray(columns.T)
            names = {index: _component(rows[index]) for index in strongest_cells(effect)}
        return Cells(score, effect, inclusion, named_once(names))

    def pair(self, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
        """Return one pair by its id, else by its row number."""
        _check(job, None, method)
        row = self.service.row_of(job.id, name)
        if row is None:
            raise NotThere(
                f"job {job.id} has no pair {str(name)!r}: give an id from its file, "
                f"or a row (0 to {job.pairs - 1})"
            )
        numbering = documents.graph(self.standing(job).made_by) if "edge" in job.spec.query.sites else None
        return documents.pair_view(self.service.pair(job.id, row, method), job, numbering)

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
        """Write an export; return its number of rows if they can be counted."""
        count = RowCount(form)
        with self.service.export(job.id, what, form, method, normalise=normalise) as answer:
            for part in answer.iter_bytes():
                count.add(part)
                file.write(part)
        return count.rows

    def submit(self, order: Order) -> Submission:
        """Send the pair file, or find its job."""
        with self._reports.sending() as passed:
            answer = send(self.service, order, passed)
        for note in answer.get("notes", ()):
            if note not in order.summary.notes:
                self._reports.say(f"Note: {note}")
        now = documents.snapshot(self.service.job(answer["job"]))
        return Submission(now, bool(answer["created"]), bool(answer.get("reopened")))

    def weights(self, job: JobRecord) -> set[str]:
        """Return the hashes of the weights that the job's numbers so far were measured with."""
        return {made.weights_hash for made in self.standing(job).made_by}

    def wake(self, job_id: int) -> None:
        """The server does that by itself."""

    def pause(self, name: int | str) -> tuple[JobRecord, Progress]:
        """Pause a job and return it."""
        return _job(self.service.change(name, "pause"))

    def cancel(self, name: int | str, *, everyone: bool) -> tuple[JobRecord, Progress, Sequence[str]]:
        """Cancel a job, or withdraw from it; return it and the owners for whom it continues."""
        answer = self.service.change(name, "cancel", everyone=everyone)
        with understood("job"):
            return *_job(answer), tuple(answer["remaining_owners"])

    def resume(self, name: int | str) -> tuple[JobRecord, Progress]:
        """Resume a paused job and return it."""
        return _job(self.service.change(name, "resume"))

    def retry(self, name: int | str) -> tuple[JobRecord, Progress, int]:
        """Retry failed or cancelled chunks; return the job and the number of such chunks."""
        answer = self.service.change(name, "retry")
        with understood("job"):
            return *_job(answer), int(answer["chunks_retried"])

    def refine(self, job: JobRecord, asked: Refinement) -> JobRecord:
        """Patch more of a job that is done; return it."""
        return _job(self.service.refine(job.id, asked.as_dict()))[0]

    def refinements(self, job: JobRecord) -> Sequence[RefinementRecord]:
        """List the job's refinements in order, each with what came of it."""
        return [read(RefinementRecord, each) for each in self.service.refinements(job.id)]

    def delete(self, job: JobRecord, *, everyone: bool) -> Sequence[str]:
        """Delete a job with all its results, or withdraw from it; return the owners for whom it is kept."""
        return self.service.delete(job.id, everyone=everyone)

    def workers(self) -> Sequence[WorkerRecord]:
        """List the workers, in the order of their names."""
        return [read(WorkerRecord, each) for each in self.service.workers()]

    def models(self) -> Mapping[str, int]:
        """Return the models that jobs can be submitted for, with the number of workers serving each."""
        with understood("model"):
            return {each["model"]: each["serving"] for each in self.service.models()}

    def queues(self) -> Sequence[ModelQueue]:
        """List the queue of each model."""
        return [read(ModelQueue, each) for each in self.service.queue()]

    def metrics(self) -> str:
        """Return metrics in Prometheus' text format."""
        return self.service.metrics()

    def close(self) -> None:
        """Close all connections."""
        self.service.connection.close()


def _job(document: Document) -> tuple[JobRecord, Progress]:
    return documents.job(document), documents.progress(document)


def _component(cell: Document) -> str:
    """Name a cell's component, at all positions at once unless these are spans."""
    span = cell["position"] if isinstance(cell["position"], str) else None
    index = index_of_fields(cell[field] for field in INDEX_FIELDS)
    return short_name(cell["site"], cell["layer"], index, span, cell["edge"])


def _check(job: JobRecord, site: str | None, method: str | None) -> None:
    """Refuse what the job does not have in storage's own words, without asking."""
    if site is not None:
        check_name("site of this job", site, job.spec.query.sites, "site")
    job.estimator(method)
