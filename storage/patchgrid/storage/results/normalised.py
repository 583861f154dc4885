"""Effects as shares of the difference between the unpatched runs (`--normalise`).

A job's effects, scores, estimates and ends of intervals are divided by its mean clean - corrupted metric over
the measured pairs, a single pair's by the pair's own. So in the denoise direction 1 is all that there is
between the runs, restored, and in the noise direction -1 is all of it lost, whatever the sign of the metric.
A ratio of means, not a mean of ratios: shares still add up over pairs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from patchgrid.core.names import POPULATION
from patchgrid.storage.errors import NotNormalised
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.results.components import ComponentRow, Discoveries
from patchgrid.storage.results.plots import Cells, Heatmap
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.verification import Cost

#: What the numbers are, for axes and headings.
UNIT = "share of clean - corrupted"
#: What it is behind a number in a sentence.
FLOOR_UNIT = "of clean - corrupted"
#: Fields that are divided; of the second kind, which have no sign, by the difference's size.
_ENDS = (("ci_low", "ci_high"), ("pairs_low", "pairs_high"))
_SIGNED = ("mean", "estimate", *_ENDS[0], *_ENDS[1], "score", "effect", "bias", "intercept")
_SIZES = ("mean_abs", "std", "bias_se", "intercept_se")
#: A difference below this part of the metrics' size, or of its own standard error, is rounding.
_ROUNDING = 1e-6
#: A row that is a dataclass.
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Share:
    """Divides by a difference clean - corrupted."""

    #: In units of the metric; not 0.
    difference: float

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Divide those entries of a row that are in units of the metric."""
        divided = dict(values)
        for names, by in ((_SIGNED, self.difference), (_SIZES, abs(self.difference))):
            divided |= {name: values[name] / by for name in names if values.get(name) is not None}
        for low, high in _ENDS if self.difference < 0 else ():
            if low in values:
                divided[low], divided[high] = divided[high], divided[low]
        return divided

    def row(self, row: Row) -> Row:
        """Divide those fields of a dataclass that are in units of the metric."""
        names = {field.name for field in dataclasses.fields(row)} & {*_SIGNED, *_SIZES}  # type: ignore[arg-type]
        divided = self.fields({name: getattr(row, name) for name in names})
        return dataclasses.replace(row, **divided)  # type: ignore[type-var]

    def rounding(self, rounding: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Divide a rounding floor, which has no sign; of None, None."""
        if rounding is None:
            return None
        return {**rounding, "floor": rounding["floor"] / abs(self.difference)}


def job_share(job: JobRecord, task: Mapping[str, Any] | None) -> Share:
    """Return the share of a job whose `task` is the result of `task.task_json`; may raise `NotNormalised`."""
    if task is None or task["difference"] is None:
        raise NotNormalised(
            f"cannot normalise: job {job.id} has no mean clean - corrupted metric; nothing is measured yet"
        )
    sides = {side: task[f"{side}_metric"] for side in ("clean", "corrupted")}
    # Where pairs differ much and cancel, the sides' means may be near 0 themselves.
    size = max(*map(abs, sides.values()), task["difference_error"] or 0.0)
    return _share(f"job {job.id}'s", task["difference"], size, sides, job.spec.metric)


def share_warning(task: Mapping[str, Any]) -> str | None:
    """Say so where the difference that shares are of may be 0: it is within two standard errors of it."""
    error = task["difference_error"]
    if error is None or abs(task["difference"]) >= 2 * error:
        return None
    return (
        f"the mean clean - corrupted difference is {task['difference']:+.3g} with a standard error of "
        f"{error:.2g}: shares are uncertain, and their intervals do not include this uncertainty"
    )


def pair_share(job: JobRecord, view: PairView) -> Share:
    """Return the share of one pair; may raise `NotNormalised`."""
    if view.clean_metric is None or view.corrupted_metric is None:
        raise NotNormalised(f"cannot normalise: pair {view.name} has no metrics, it is {view.state}")
    sides = {"clean": view.clean_metric, "corrupted": view.corrupted_metric}
    difference = view.clean_metric - view.corrupted_metric
    return _share(f"pair {view.name}'s", difference, max(map(abs, sides.values())), sides, job.spec.metric)


def normalised_pair(job: JobRecord, view: PairView) -> PairView:
    """Return a pair with scores and effects as shares of its own difference."""
    share = pair_share(job, view)
    return dataclasses.replace(
        view,
        scores={site: scores / scores.dtype.type(share.difference) for site, scores in view.scores.items()},
        top=tuple(map(share.row, view.top)),
        exact=tuple(map(share.row, view.exact)),
    )


def normalised_heatmap(heatmap: Heatmap, share: Share) -> Heatmap:
    """Return a heatmap as shares."""
    return dataclasses.replace(heatmap, values=heatmap.values / share.difference)


class Numbers(Protocol):
    """Where the numbers of jobs come from: a database or a server."""

    def progress(self, job: JobRecord) -> Progress:
        """Return a job's progress."""

    def task(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Return whether the model does the task."""

    def rounding(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Return the rounding floor of effects."""

    def heatmap(self, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
        """Return a site's heatmap."""

    def cells(self, job: JobRecord, site: str, method: str | None = None, *, limit: int) -> Cells:
        """Return a site's exactly patched cells."""

    def pair(self, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
        """Return one pair."""

    def verification(
        self, job: JobRecord, top_k: int = 10, method: str | None = None
    ) -> tuple[Sequence[SiteAgreement], Cost]:
        """Return how scores agree with exact patching, and what both cost."""

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
        """Return components, in order or with `by` the largest first."""

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
        """Return the strongest components."""


class Normalised:
    """The numbers of jobs as shares."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def progress(self, job: JobRecord) -> Progress:
        """Return a job's progress."""
        return self._numbers.progress(job)

    def task(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Return whether the model does the task."""
        return self._numbers.task(job)

    def rounding(self, job: JobRecord) -> Mapping[str, Any] | None:
        """Return the rounding floor of effects."""
        rounding = self._numbers.rounding(job)
        return None if rounding is None else self._share(job).rounding(rounding)

    def heatmap(self, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
        """Return a site's heatmap."""
        return normalised_heatmap(self._numbers.heatmap(job, site, kind, method), self._share(job))

    def cells(self, job: JobRecord, site: str, method: str | None = None, *, limit: int) -> Cells:
        """Return a site's exactly patched cells."""
        cells, by = self._numbers.cells(job, site, method, limit=limit), self._share(job).difference
        return dataclasses.replace(cells, score=cells.score / by, effect=cells.effect / by)

    def pair(self, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
        """Return one pair, as shares of its own difference."""
        return normalised_pair(job, self._numbers.pair(job, name, method))

    def verification(
        self, job: JobRecord, top_k: int = 10, method: str | None = None
    ) -> tuple[Sequence[SiteAgreement], Cost]:
        """Return how scores agree with exact patching, and what both cost."""
        rows, cost = self._numbers.verification(job, top_k, method)
        return list(map(self._share(job).row, rows)), cost

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
        """Return components, in order or with `by` the largest first."""
        share = self._share(job)
        if discoveries is not None:
            discoveries = dataclasses.replace(discoveries, above=discoveries.above * abs(share.difference))
        rows = self._numbers.components(
            job,
            site=site,
            method=method,
            kind=kind,
            interval=interval,
            simultaneous=simultaneous,
            search=search,
            by=by,
            discoveries=discoveries,
            limit=limit,
        )
        return list(map(share.row, rows))

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
        """Return the strongest components."""
        rows = self._numbers.top(
            job, k, by, site=site, interval=interval, simultaneous=simultaneous, method=method
        )
        return list(map(self._share(job).row, rows))

    def _share(self, job: JobRecord) -> Share:
        return job_share(job, self._numbers.task(job))


def _share(whose: str, difference: float, size: float, sides: Mapping[str, float], metric: str) -> Share:
    if abs(difference) <= _ROUNDING * size:
        means = ", ".join(f"{side} {value:+.4g}" for side, value in sides.items())
        raise NotNormalised(f"cannot normalise: {whose} clean - corrupted {metric} is 0 ({means})")
    return Share(difference)
