"""A job on a server: followed, steered, and its results as dataframes and pictures."""

import time
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from patchgrid.api.client import frames, html
from patchgrid.api.client.http.errors import JobFailed, OutOfTime
from patchgrid.api.client.http.service import Document, Service
from patchgrid.api.client.wait_bar import bar
from patchgrid.core.sites import INDEX_FIELDS
from patchgrid.core.states import ENDED_JOBS, JobState
from patchgrid.core.types import Component
from patchgrid.storage.output.export import FIELDS
from patchgrid.storage.results.normalised import UNIT, Normalised

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from patchgrid.storage.pair_results.pair_view import PairView

#: Failed pairs whose reasons an error tells.
_REASONS = 3
_COMPONENT: tuple[str, ...] = (
    *("component", "site", "layer", *INDEX_FIELDS, "position", "n", "mean", "mean_abs", "std"),
    *("estimate", "ci_low", "ci_high", "exact_n", "exact_share"),
)
_AGREEMENT: tuple[str, ...] = (
    *("site", "method", "n", "cells", "pearson", "spearman", "spearman_n", "slope", "intercept", "bias"),
    *("sign_agreement", "top_k", "top_overlap", "components", "exact_share", "seconds", "exact_seconds"),
)


class Job:
    """A job as it was when it was last asked after: `refresh` asks again.

    Dataframes are pandas', or polars' where only that is installed or `frame="polars"` asks for it.
    """

    def __init__(self, service: Service, found: Document) -> None:
        self._service = service
        self._found = found

    @property
    def id(self) -> int:
        """Its number."""
        return int(self._found["job"])

    @property
    def name(self) -> str | None:
        """The name it was given, or None."""
        name: str | None = self._found["name"]
        return name

    @property
    def state(self) -> str:
        """`pending`, `running`, `paused`, `done`, `failed` (every pair failed) or `cancelled`."""
        return str(self._found["state"])

    @property
    def progress(self) -> dict[str, int]:
        """Its pairs: `total`, `done`, `failed` and `skipped`."""
        return dict(self._found["pairs"])

    @property
    def spec(self) -> dict[str, Any]:
        """What it measures."""
        return dict(self._found["spec"])

    def task(self) -> Document | None:
        """Give whether the model does the task: metrics, shares, swapped pairs; `line` says it in words.

        None as long as it is not known. `refresh` asks again.
        """
        if "task" not in self._found:
            self.refresh()
        found = self._found["task"]
        return None if found is None else dict(found)

    def rounding(self) -> Document | None:
        """Give how much of an effect may be rounding: `floor`, in units of the metric, over so many `cells`.

        None as long as nothing was patched. `refresh` asks again.
        """
        if "rounding" not in self._found:
            self.refresh()
        found = self._found["rounding"]
        return None if found is None else dict(found)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED_JOBS

    @property
    def info(self) -> Document:
        """All that the server tells of it."""
        return dict(self._found)

    def refresh(self) -> Self:
        """Ask the server how it stands; give the job."""
        self._found = self._service.job(self.id)
        return self

    def wait(self, *, progress: bool = True, timeout: float | None = None) -> Self:
        """Wait until it ends, with a bar unless `progress` is False; give the job.

        Raises
        ------
        ServerUnreachable
            The server is not there to begin with. One that is away later is asked again.
        JobFailed
            It failed or was cancelled; with the reasons of the first pairs that failed.
        OutOfTime
            It had not ended after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        known = self.refresh().info
        with bar(shown=progress) as show, closing(self._service.follow(self.id, known=known)) as states:
            for found in states:
                show(found)
                if end is not None and time.monotonic() >= end and found["state"] not in ENDED_JOBS:
                    raise OutOfTime(f"job {self.id} is {found['state']} still: waited {timeout:g} s for it")
        self.refresh()
        if self.state in (JobState.FAILED, JobState.CANCELLED):
            raise self._failure()
        return self

    def top(
        self,
        k: int = 20,
        *,
        by: str = "estimate",
        site: str | None = None,
        method: str | None = None,
        population: bool = False,
        search: str | None = None,
        normalise: bool = False,
        frame: str | None = None,
    ) -> Any:
        """Give its k strongest components with their intervals, the strongest first.

        `search`: of those with this text in their names, as `a9.` for a layer's heads. `normalise`: numbers
        are shares of the job's mean clean - corrupted metric.
        """
        kind = frames.library(frame)
        asked = {"by": by, "site": site, "method": method, "search": search}
        found = self._service.components(self.id, most=k, population=population, normalise=normalise, **asked)
        return frames.frame_of(islice(found, k), self._fields(_COMPONENT), kind)

    def components(
        self,
        *,
        site: str | None = None,
        method: str | None = None,
        kind: str | None = None,
        population: bool = False,
        search: str | None = None,
        normalise: bool = False,
        frame: str | None = None,
    ) -> Any:
        """Give every component with its mean, estimate and interval, by site, layer and head.

        `kind` is `whole` (all positions at once) or `aligned`; None: as the job was asked for. `search` gives
        those with this text in their names. `normalise`: numbers are shares of the job's mean
        clean - corrupted metric.
        """
        library = frames.library(frame)
        asked: Document = {"site": site, "method": method, "kind": kind, "search": search}
        asked["normalise"] = normalise
        found = self._service.components(self.id, population=population, **asked)
        return frames.frame_of(found, self._fields(_COMPONENT), library)

    def scores(self, method: str | None = None, *, normalise: bool = False, frame: str | None = None) -> Any:
        """Give the scores that were kept of each pair, a row a pair and component.

        `normalise`: as shares of the job's mean clean - corrupted metric, which is in `divided_by`.
        """
        return self._exported("scores", method, frame, normalise=normalise)

    def exact(
        self,
        method: str | None = None,
        *,
        component: Component | str | None = None,
        normalise: bool = False,
        frame: str | None = None,
    ) -> Any:
        """Give the cells that were patched exactly: score, effect, and the probability of being drawn.

        `component`: those of one component alone, or of its name, as `a9.h6`. `normalise`: as shares of the
        job's mean clean - corrupted metric.
        """
        if component is None:
            return self._exported("exact", method, frame, normalise=normalise)
        library = frames.library(frame)
        name = component.name if isinstance(component, Component) else component
        found = self._service.exact(self.id, method=method, component=name, normalise=normalise)
        return frames.frame_of(found, self._fields(FIELDS["exact"]), library)

    def pairs(self, *, frame: str | None = None) -> Any:
        """Give a row a pair: its state, tokens and metrics, or why it failed."""
        return self._exported("pairs", None, frame)

    def verification(
        self,
        *,
        top_k: int = 10,
        method: str | None = None,
        normalise: bool = False,
        frame: str | None = None,
    ) -> Any:
        """Give how well scores agree with exact patching, a row a site and method.

        `normalise`: bias and intercept are shares of the job's mean clean - corrupted metric.
        """
        kind = frames.library(frame)
        found = self._service.verification(self.id, top_k=top_k, method=method, normalise=normalise)
        return frames.frame_of(found["items"], _AGREEMENT, kind)

    def pair(self, name: int | str, *, method: str | None = None, normalise: bool = False) -> "PairView":
        """Give all that is kept of one pair, by its id or row: tokens, metrics, scores, exact effects.

        `normalise`: scores and effects are shares of the pair's own clean - corrupted metric.
        """
        from patchgrid.api.client.numbers import RemoteNumbers

        numbers = RemoteNumbers(self._service)
        job = numbers.job(self.id)
        return (Normalised(numbers) if normalise else numbers).pair(job, name, method)

    def plot(
        self,
        what: str | None = None,
        site: str | None = None,
        *,
        pair: int | str | None = None,
        method: str | None = None,
        normalise: bool = False,
        title: str | None = None,
        vmax: float | None = None,
        dpi: float | None = None,
        ax: "Axes | None" = None,
    ) -> "Figure":
        """Draw its heatmaps, its strongest components, or its scores against the exact effects.

        `what` is `heads` (layer by head), `positions` (layer by position), `exact` (one pair's exact effects,
        layer by token), `scatter` or `top`; None: heads, or the top of a job without any. Heatmaps are of
        estimated mean effects (stroked: mean scores), or of one `pair`'s scores. `vmax` is the end of the
        scale, in units of what is drawn: of the metric or, by `normalise` shares of clean - corrupted. `ax`
        are axes to draw a heatmap on, in place of a figure of its own. Needs matplotlib.
        """
        from patchgrid.api.client.numbers import RemoteNumbers
        from patchgrid.api.pictures.drawings import Drawing, default_picture, default_site
        from patchgrid.api.pictures.look import Look

        remote = RemoteNumbers(self._service)
        job = remote.job(self.id)
        numbers = Normalised(remote) if normalise else remote
        unit = UNIT if normalise else None
        picture = what or default_picture(job, site)
        chosen = site or default_site(job, picture)
        figure = Drawing(numbers, job, chosen, method, Look(title, vmax), ax, unit).draw(picture, pair)
        if dpi is not None:
            figure.set_dpi(dpi)
        return figure

    def pause(self) -> Self:
        """Pause it: chunks that workers have now are finished, no others are begun."""
        return self._changed("pause")

    def resume(self) -> Self:
        """Give it back to its workers after a pause."""
        return self._changed("resume")

    def cancel(self, *, everyone: bool = False) -> Self:
        """Cancel it: nothing more of it is measured. Submitting the same pairs, or `retry`, reopens it.

        A job that others own, too, goes on for them. `everyone`: end it for them, too (admins).
        """
        self._service.change(self.id, "cancel", everyone=everyone)
        return self.refresh()

    def retry(self) -> Self:
        """Try again what was given up or cancelled."""
        return self._changed("retry")

    def delete(self, *, everyone: bool = False) -> None:
        """Delete it with its pairs and all its results.

        A job that others own, too, is kept for them. `everyone`: delete it for them, too (admins).
        """
        self._service.delete(self.id, everyone=everyone)

    def __repr__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        pairs = self.progress
        told = "".join(f"\n  {line}" for line in self._task_lines())
        measured = f"{pairs['done']:,} of {pairs['total']:,} pairs measured{self._skipped()}"
        return f"<Job {self.id}{name} {self.state}: {measured}{told}>"

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
            ("error", self._found.get("error")),
        ]
        return html.table(row for row in rows if row[1] is not None)

    def _skipped(self) -> str:
        count = self.progress["skipped"]
        return f", {count:,} skipped" if count else ""

    def _task_lines(self) -> list[str]:
        """Say whether the model does the task, where the server told with the rest."""
        found = self._found.get("task") or {"line": None, "warnings": []}
        lines = [] if found["line"] is None else [found["line"]]
        return [*lines, *(f"Warning: {warning}" for warning in found["warnings"])]

    def _exported(self, what: str, method: str | None, frame: str | None, *, normalise: bool = False) -> Any:
        kind = frames.library(frame)
        return frames.exported(self._service, self.id, what, method, kind, normalise=normalise)

    def _fields(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        return (*fields, "edge") if "edge" in self._found["spec"]["sites"] else fields

    def _changed(self, what: str) -> Self:
        self._service.change(self.id, what)
        return self.refresh()

    def _failure(self) -> JobFailed:
        failed = islice(self._service.pairs(self.id, state="failed", most=_REASONS), _REASONS)
        reasons = [(each["pair"], each["error"] or "") for each in failed]
        told = "".join(f"; pair {pair}: {error}" for pair, error in reasons)
        why = f": {self._found['error']}" if self._found.get("error") else ""
        return JobFailed(f"job {self.id} is {self.state}{why}{told}", reasons)
