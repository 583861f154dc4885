"""A job in a workspace: followed, steered, and its results as dataframes and pictures."""

import time
from collections.abc import Sequence
from typing import Any, Self

from patchgrid.api.client import html
from patchgrid.api.client.backends.backend import Backend
from patchgrid.api.client.errors import JobFailed, OutOfTime
from patchgrid.api.client.orders.pair_warnings import warn_of_results
from patchgrid.api.client.pace import Speed
from patchgrid.api.client.progress_bar import progress_bar
from patchgrid.api.client.results import Results
from patchgrid.core.errors import SpecError
from patchgrid.core.names import check_name
from patchgrid.core.query import as_names
from patchgrid.core.refinement import CERTIFY_SETTINGS, Refinement, with_positions
from patchgrid.core.states import ENDED_JOBS, JobState
from patchgrid.core.text.wording import counted
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.documents import pair_counts
from patchgrid.storage.output.refinements import boundary_words, refinement_json
from patchgrid.storage.output.standing import Standing, standing_json
from patchgrid.storage.rounds.requests import find_certificate

#: Failed pairs whose reasons an error tells.
_REASONS = 3


class Job(Results):
    """A job as it was when it was last looked at (`refresh` looks again), with its results."""

    def __init__(
        self, backend: Backend, record: JobRecord, progress: Progress, standing: Standing | None = None
    ) -> None:
        super().__init__(backend, record)
        self._progress, self._standing = progress, standing

    @classmethod
    def find(cls, backend: Backend, name: int | str) -> Self:
        """Find a job by its id, its name, or `last`."""
        record = backend.job(name)
        standing = backend.standing(record)
        return cls(backend, standing.now.job, standing.now.progress, standing)

    @property
    def id(self) -> int:
        """Its number."""
        return self._record.id

    @property
    def name(self) -> str | None:
        """The name it was given, or None."""
        return self._record.name

    @property
    def state(self) -> str:
        """`pending`, `running`, `paused`, `done`, `failed` (every pair failed) or `cancelled`."""
        return self._record.state

    @property
    def progress(self) -> dict[str, int]:
        """Its pairs: `total`, `done`, `failed` and `skipped`."""
        return pair_counts(self._progress)

    @property
    def spec(self) -> dict[str, Any]:
        """What it measures."""
        return self._record.spec.as_dict()

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED_JOBS

    @property
    def info(self) -> dict[str, Any]:
        """All that is known of it but its results: owners, workers, provenance, warnings, …"""
        return standing_json(self._standing_now())

    def task(self) -> dict[str, Any] | None:
        """Tell whether the model does the task: metrics, shares, swapped pairs; `line` says it in words.

        None as long as it is not known. `refresh` looks again.
        """
        task = self._standing_now().task
        return None if task is None else dict(task)

    def rounding(self) -> dict[str, Any] | None:
        """Return the rounding floor of its effects: `floor`, in units of the metric, over `cells` cells.

        None as long as nothing was patched. `refresh` looks again.
        """
        rounding = self._standing_now().rounding
        return None if rounding is None else dict(rounding)

    def _standing_now(self) -> Standing:
        if self._standing is None:
            self.refresh()
        assert self._standing is not None, "just read"
        return self._standing

    def refresh(self) -> Self:
        """Fetch its current state; return the job."""
        standing = self._backend.standing(self._record)
        self._record, self._progress, self._standing = standing.now.job, standing.now.progress, standing
        return self

    def wait(self, *, progress: bool = True, timeout: float | None = None) -> Self:
        """Wait until it ends, with a bar unless `progress` is False; return the job.

        Warns (`PairWarning`) of pairs that failed or whose tokens may not be those meant, and of a model that
        does not do the task.

        Raises
        ------
        ServerUnreachable
            The server is unavailable at the start. Later, requests to it are retried.
        JobFailed
            It failed or was cancelled; with the reasons of the first pairs that failed.
        OutOfTime
            It had not ended after `timeout` seconds; a `TimeoutError`.
        """
        end = None if timeout is None else time.monotonic() + timeout
        speed = Speed()
        with progress_bar(shown=progress) as show:
            for now in self._backend.follow(self._record, every=_interval(timeout)):
                pace, workers = speed.pace(now), counted(len(now.at_work), "worker")
                words = f"job {self.id} {now.job.state}: {pace.words}, {workers}"
                if now.refinement is not None and now.refinement.certificate and not now.ended:
                    words += f"; {boundary_words(now.refinement.certificate)}"
                show(pace.reached, pace.total, words)
                if end is not None and time.monotonic() >= end and not now.ended:
                    raise OutOfTime(f"job {self.id} is still {now.job.state} after {timeout:g} s")
        self.refresh()
        if self.state in (JobState.FAILED, JobState.CANCELLED):
            raise self._failure()
        warn_of_results(self._standing_now())
        return self

    def pause(self) -> Self:
        """Pause it: chunks that workers have now are finished, no others are started."""
        self._backend.pause(self.id)
        return self.refresh()

    def resume(self) -> Self:
        """Resume the job after a pause."""
        self._backend.resume(self.id)
        self._backend.wake(self.id)
        return self.refresh()

    def cancel(self, *, everyone: bool = False) -> Self:
        """Cancel it: nothing more of it is measured. Submitting the same pairs, or `retry`, reopens it.

        A job that others own, too, continues for them. `everyone`: end it for them (admins).
        """
        self._backend.cancel(self.id, everyone=everyone)
        return self.refresh()

    def retry(self) -> Self:
        """Retry failed or cancelled chunks."""
        self._backend.retry(self.id)
        self._backend.wake(self.id)
        return self.refresh()

    def refine(
        self,
        *,
        exact: float = 0.0,
        top: int = 0,
        components: Sequence[str] | str = (),
        positions: Sequence[str | int] = (),
        certify: int = 0,
        signed: bool = False,
        **settings: float,
    ) -> Self:
        """Patch more of a job that is done, by its workers; `wait` waits for them. Nothing is patched twice.

        Give one of `exact`, an additional share of all cells, patched where it improves estimates most;
        `top`, the number of components with the largest |estimate| to patch in every pair; `components`,
        names of components to patch in every pair, at `positions` alone if these are given; and `certify`,
        K: patch until it is certain which K components have the largest |mean effect| (`signed`: mean
        effect). `settings` are those of a certificate: `confidence`, `tolerance`, `max_exact`.

        Raises
        ------
        SpecError
            None or several of these, or a value out of range.
        NothingToRefine, ServerError
            The job is not done, has no such component, or nothing is left to patch.
        """
        names = as_names(components) if isinstance(components, str) else tuple(components)
        values: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
        for name in values:
            check_name("setting of a certificate", name, CERTIFY_SETTINGS[:-1], name)
        if (values or signed) and not certify:
            raise SpecError(f"{next(iter(values), 'signed')} is a setting of certify", "certify")
        asked = Refinement(
            exact=exact,
            top=top,
            components=with_positions(names, map(str, positions)),
            certify=certify,
            ranking="signed" if signed else "size",
            **values,
        )
        if self._backend.refine(self._record, asked).state not in ENDED_JOBS:
            self._backend.wake(self.id)
        return self.refresh()

    @property
    def refinements(self) -> list[dict[str, Any]]:
        """What was patched beyond the sample: each `refine` with its state and what came of it."""
        return [refinement_json(each) for each in self._backend.refinements(self._record)]

    def certificate(self, number: int | None = None) -> dict[str, Any]:
        """Return the latest certificate, or that of a refinement's number.

        `components` are its rows, with `state`, `estimate`, `low` and `high`; `holds` tells whether nothing
        is undecided; no component that is not `in` is larger than `above`. A `LookupError` if there is none.
        """
        records = self._backend.refinements(self._record)
        return dict(find_certificate(self.id, records, number).certificate or {})

    def delete(self, *, everyone: bool = False) -> None:
        """Delete it with its pairs and all its results.

        A job that others own, too, is kept for them. `everyone`: delete it for them, too (admins).
        """
        self._backend.delete(self._record, everyone=everyone)

    def __repr__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        pairs = self.progress
        lines = "".join(f"\n  {line}" for line in self._task_lines())
        measured = f"{pairs['done']:,} of {pairs['total']:,} pairs measured{self._skipped()}"
        return f"<Job {self.id}{name} {self.state}: {measured}{lines}>"

    def _repr_html_(self) -> str:
        pairs = self.progress
        rows = [
            ("job", self.id),
            ("name", self.name),
            ("state", self.state),
            ("task", " ".join(self._task_lines()).removeprefix("Task: ") or None),
            (
                "pairs",
                f"{pairs['done']:,} of {pairs['total']:,} measured, {pairs['failed']:,} failed"
                + self._skipped(),
            ),
            *(
                (key, ", ".join(value) if isinstance(value, list) else value)
                for key, value in self.spec.items()
            ),
            ("error", self._record.error),
        ]
        return html.table(row for row in rows if row[1] is not None)

    def _skipped(self) -> str:
        count = self._progress.skipped
        return f", {count:,} skipped" if count else ""

    def _task_lines(self) -> list[str]:
        """Say whether the model does the task, where that was read with the rest."""
        task = None if self._standing is None else self._standing.task
        if task is None:
            return []
        lines = [] if task["line"] is None else [task["line"]]
        return [*lines, *(f"Warning: {warning}" for warning in task["warnings"])]

    def _failure(self) -> JobFailed:
        reasons = self._backend.errors(self._record, _REASONS)
        details = "".join(f"; pair {pair}: {error}" for pair, error in reasons)
        why = f": {self._record.error}" if self._record.error else ""
        return JobFailed(f"job {self.id} is {self.state}{why}{details}", reasons)


def _interval(timeout: float | None) -> float:
    """Return the seconds between two polls: short enough to notice a short timeout."""
    return 1.0 if timeout is None else max(0.05, min(1.0, timeout / 4))
