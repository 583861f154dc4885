"""A job's pictures: its numbers, from wherever they come, drawn by `plots`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from patchgrid.api.pictures import plots
from patchgrid.api.pictures.bars import MOST_BARS, component_bars
from patchgrid.api.pictures.errors import PictureError
from patchgrid.engine.names import EDGE, HEAD_SITES, WIDE_SITES, check_name
from patchgrid.storage.components import ComponentRow
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs import JobRecord, Progress
from patchgrid.storage.pairscores import position_scores, whole_scores
from patchgrid.storage.pairview import PairView
from patchgrid.storage.plots import Cells, Heatmap
from patchgrid.storage.wording import counted, short_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Points of a scatter plot; more cannot be told apart.
MOST_POINTS = 200_000
_QUANTITY = {"estimate": "estimated mean effect", "mean": "mean score"}


class Numbers(Protocol):
    """Where the numbers of jobs come from."""

    def progress(self, job: JobRecord) -> Progress:
        """Give how far a job is."""

    def heatmap(self, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
        """Give a site's heatmap."""

    def cells(self, job: JobRecord, site: str, method: str | None = None, *, limit: int) -> Cells:
        """Give a site's exactly patched cells."""

    def pair(self, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
        """Give one pair."""

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
        """Give the strongest components."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A site of a job, by one of its methods, to be drawn."""

    numbers: Numbers
    job: JobRecord
    site: str
    #: None: the job's first.
    method: str | None = None
    #: Axes to draw heatmaps on, in place of a figure of their own.
    on: "Axes | None" = None

    def heads(self, pair: int | str | None = None) -> "Figure":
        """Draw layer by head: the job's means, or one pair's scores."""
        job, site = self.job, self.site
        check_name("site of this job", site, job.spec.sites)
        if site not in HEAD_SITES:
            what = "top" if site in WIDE_SITES else "positions"
            having = next((each for each in ("z", *HEAD_SITES) if each in job.spec.sites), None)
            other = "" if having is None else f", or take --site {having}"
            raise PictureError(f"site {site!r} has no heads: draw it with --what {what}{other}")
        unit = job.spec.metric
        if pair is None:
            found = self.numbers.heatmap(job, site, "whole", self.method)
            quantity = _QUANTITY[found.measure]
            return plots.layer_head_heatmap(
                found.values, title=self._of_job(), unit=unit, quantity=quantity, on=self.on
            )
        view = self.numbers.pair(job, pair, self.method)
        return plots.layer_head_heatmap(
            whole_scores(view, site), title=self._of_pair(view), unit=unit, quantity="score", on=self.on
        )

    def positions(self, pair: int | str | None = None) -> "Figure":
        """Draw layer by position: the job's means, aligned or by span, or one pair's scores by token."""
        job, site = self.job, self.site
        check_name("site of this job", site, job.spec.sites)
        if site == EDGE:
            raise PictureError(
                "edges lie in no layer: draw them with --what top, or see `patchgrid results top`"
            )
        unit = job.spec.metric
        if pair is None:
            found = self.numbers.heatmap(job, site, "aligned", self.method)
            return plots.layer_position_heatmap(
                found.values,
                [str(label) for label in found.columns],
                title=self._of_job(),
                unit=unit,
                quantity=_QUANTITY[found.measure],
                axis="span" if job.spans else "position from the end",
                on=self.on,
            )
        view = self.numbers.pair(job, pair, self.method)
        return plots.layer_position_heatmap(
            position_scores(view, site),
            _token_labels(view),
            title=self._of_pair(view),
            unit=unit,
            quantity="score",
            on=self.on,
        )

    def top(self) -> "Figure":
        """Draw the strongest components of the site as bars: estimates with intervals over mean scores."""
        check_name("site of this job", self.site, self.job.spec.sites)
        found = self.numbers.top(self.job, MOST_BARS, site=self.site, method=self.method)
        if not found:
            raise NothingKept(f"job {self.job.id} has no results for {self.site} yet")
        return component_bars(found, title=self._of_job(), unit=self.job.spec.metric)

    def scatter(self, note: Callable[[str], None] = lambda _: None) -> "Figure":
        """Draw score against exact effect, a point a cell that was patched exactly."""
        found = self.numbers.cells(self.job, self.site, self.method, limit=MOST_POINTS)
        if not len(found.score):
            raise NothingKept(
                f"job {self.job.id} patched nothing exactly at {self.site}: run it with --exact above 0"
            )
        if len(found.score) == MOST_POINTS:
            note(f"Drawn are the first {counted(MOST_POINTS, 'cell')}")
        unit = self.job.spec.metric
        return plots.score_effect_scatter(
            found.score, found.effect, found.inclusion, title=self._of_job(), unit=unit
        )

    def _of_job(self) -> str:
        """Say what is shown, and of how many pairs."""
        return f"{self._what()}; {counted(self.numbers.progress(self.job).done, 'pair')}"

    def _of_pair(self, view: PairView) -> str:
        """Say what is shown, and of which pair."""
        return f"{self._what()}; pair {view.name}"

    def _what(self) -> str:
        spec, method = self.job.spec, self.job.method(self.method)
        return f"{short_model(spec.model)}: {self.site}, {method}, {spec.metric}, {spec.direction}"


def default_site(job: JobRecord, what: str) -> str:
    """Give the site that is drawn where none is named: heads where the job has them, above all z."""
    having = [site for site in ("z", *HEAD_SITES) if site in job.spec.sites]
    if what == "top":
        having = [site for site in WIDE_SITES if site in job.spec.sites] + having
    return having[0] if having else job.spec.sites[0]


def default_picture(job: JobRecord, site: str | None) -> str:
    """Give the picture that is drawn where none is named: heads, or the top of what has none."""
    return "heads" if (site or default_site(job, "heads")) in HEAD_SITES else "top"


def _token_labels(view: PairView) -> list[str]:
    both = zip(view.tokens, view.corrupted_tokens, strict=True)
    return [clean if clean == corrupted else f"{clean}/{corrupted}" for clean, corrupted in both]
