"""A server, asked over HTTP: the same answers as from its database."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from patchgrid.api.client import reading as read
from patchgrid.api.client.counting import RowCount
from patchgrid.api.client.following import Following
from patchgrid.api.client.http.service import Service
from patchgrid.api.client.numbers import RemoteNumbers
from patchgrid.api.client.submission import send
from patchgrid.cli.asking.source import Aloud, Standing, Submission
from patchgrid.cli.asking.uploading import shown_upload
from patchgrid.cli.errors import UsageError
from patchgrid.cli.terminal.screen import say
from patchgrid.core.states import JobState
from patchgrid.storage.access.submitting import Order
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.summary import SHOWN_COMPONENTS, SHOWN_ERRORS, Summary
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord


class RemoteSource(RemoteNumbers):
    """Answers from a server's HTTP API."""

    #: Nobody here knows where its workers are.
    elsewhere = True

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._service = service

    def jobs(self) -> Sequence[tuple[JobRecord, Progress]]:
        """Give all jobs, the oldest first."""
        return [(read.job(each), read.progress(each)) for each in self._service.jobs()][::-1]

    def standing(self, job: JobRecord) -> Standing:
        """Give all that is known of a job but its components."""
        found = self._service.job(job.id)
        agreement, cost = self.verification(job)
        return Standing(
            now=read.snapshot(found),
            made_by=read.provenance(found),
            agreement=agreement,
            cost=cost,
            warnings=read.warnings(found),
            troubles=read.troubles(found),
            task=read.task(found),
            rounding=read.rounding(found),
            owners=read.owners(found),
        )

    def summary(self, job_id: int) -> Summary:
        """Give a job's state and its main results."""
        found = self._service.job(job_id)
        job = read.job(found)
        agreement, cost = self.verification(job)
        failed = self._service.pairs(job_id, state="failed", most=SHOWN_ERRORS)
        return Summary(
            job=job,
            progress=read.progress(found),
            task=read.task(found),
            rounding=read.rounding(found),
            top=self.top(job, SHOWN_COMPONENTS),
            coverage=self.coverage(job),
            verification=agreement,
            cost=cost,
            warnings=read.warnings(found),
            errors=[read.failed_pair(each) for each, _ in zip(failed, range(SHOWN_ERRORS), strict=False)],
        )

    def errors(self, job: JobRecord) -> Sequence[tuple[int | str, str]]:
        """Give the pairs that failed, in order, each with its reason."""
        return [read.failed_pair(each) for each in self._service.pairs(job.id, state="failed")]

    def follow(self, job: JobRecord) -> Iterator[Snapshot]:
        """Give how the job stands again and again, the last time when it has ended."""
        return Following(self._service, job.id).snapshots()

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
        """Write an export; give the number of its rows where they can be counted as they pass."""
        count = RowCount(form)
        with self._service.export(job.id, what, form, method, normalise=normalise) as answer:
            for part in answer.iter_bytes():
                count.add(part)
                file.write(part)
        return count.rows

    def submit(self, order: Order, _aloud: Aloud) -> Submission:
        """Send the pair file, or find its job."""
        with shown_upload() as passed:
            found = send(self._service, order, passed)
        for note in found.get("notes", ()):
            if note not in order.summary.notes:
                say(f"Note: {note}")
        now = read.snapshot(self._service.job(found["job"]))
        return Submission(now, bool(found["created"]), bool(found.get("reopened")))

    def weights(self, job: JobRecord) -> set[str]:
        """Give the hashes of the weights that made the job's numbers so far."""
        return {made.weights_hash for made in read.provenance(self._service.job(job.id))}

    def wake(self, job_id: int) -> None:
        """The server does that by itself."""

    def pause(self, name: str) -> tuple[JobRecord, Progress]:
        """Pause a job; give it as it is then."""
        return _job(self._service.change(name, "pause"))

    def cancel(self, name: str, *, everyone: bool) -> tuple[JobRecord, Progress, Sequence[str]]:
        """Cancel a job, or withdraw from it; give it as it is then, and the owners for whom it goes on."""
        found = self._service.change(name, "cancel", everyone=everyone)
        return *_job(found), read.goes_on_for(found)

    def check_here(self, job: JobRecord) -> None:
        """Refuse: what measures writes to the database itself."""
        instead = (
            "without --here it is given back to its workers"
            if job.state == JobState.PAUSED
            else "workers do that"
        )
        raise UsageError(
            f"job {job.id} is {job.state} and cannot be worked off here through a server: {instead}, or this "
            "command where the database is, with --db"
        )

    def resume(self, name: str) -> tuple[JobRecord, Progress]:
        """Give a paused job back to its workers; give it as it is then."""
        return _job(self._service.change(name, "resume"))

    def retry(self, name: str) -> tuple[JobRecord, Progress, int]:
        """Try again what was given up or cancelled; give the job then, and the number of such chunks."""
        found = self._service.change(name, "retry")
        return *_job(found), read.chunks_again(found)

    def delete(self, job: JobRecord, *, everyone: bool) -> Sequence[str]:
        """Delete a job with all its results, or withdraw from it; give the owners for whom it is kept."""
        return self._service.delete(job.id, everyone=everyone)

    def workers(self) -> Sequence[WorkerRecord]:
        """Give the workers, in the order of their names."""
        return [read.worker(each) for each in self._service.workers()]

    def queues(self) -> Sequence[ModelQueue]:
        """Give what waits for each model."""
        return [read.queue(each) for each in self._service.queue()]

    def metrics(self) -> str:
        """Give metrics in Prometheus' text format."""
        return self._service.metrics()


def _job(found: Any) -> tuple[JobRecord, Progress]:
    return read.job(found), read.progress(found)
