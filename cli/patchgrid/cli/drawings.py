"""A job's pictures: the numbers from the database, drawn by `plots`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from patchgrid.cli import plots
from patchgrid.cli.bars import MOST_BARS, component_bars
from patchgrid.cli.errors import UsageError
from patchgrid.cli.jobview import short_model
from patchgrid.cli.screen import counted, say
from patchgrid.engine.names import EDGE, HEAD_SITES, WIDE_SITES, check_name
from patchgrid.storage import components, jobs, pairview
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.pairscores import position_scores, whole_scores
from patchgrid.storage.pairview import PairView
from patchgrid.storage.plots import cells, heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Points of a scatter plot; more cannot be told apart.
MOST_POINTS = 200_000
_QUANTITY = {"estimate": "estimated mean effect", "mean": "mean score"}


def draw_heads(
    session: Session, job: JobRecord, site: str, pair: str | None = None, method: str | None = None
) -> "Figure":
    """Draw layer by head: the job's means, or one pair's scores."""
    check_name("site of this job", site, job.spec.sites)
    if site not in HEAD_SITES:
        what = "top" if site in WIDE_SITES else "positions"
        having = next((each for each in ("z", *HEAD_SITES) if each in job.spec.sites), None)
        other = "" if having is None else f", or take --site {having}"
        raise UsageError(f"site {site!r} has no heads: draw it with --what {what}{other}")
    title = _Title(session, job, site, job.method(method))
    if pair is None:
        found = heatmap(session, job, site, "whole", method)
        return plots.layer_head_heatmap(
            found.values, title=title.of_job(), unit=job.spec.metric, quantity=_QUANTITY[found.measure]
        )
    view = pairview.pair(session, job, pair, method)
    return plots.layer_head_heatmap(
        whole_scores(view, site), title=title.of_pair(view), unit=job.spec.metric, quantity="score"
    )


def draw_positions(
    session: Session, job: JobRecord, site: str, pair: str | None = None, method: str | None = None
) -> "Figure":
    """Draw layer by position: the job's means by aligned position or span, or one pair's scores by token."""
    check_name("site of this job", site, job.spec.sites)
    if site == EDGE:
        raise UsageError("edges lie in no layer: draw them with --what top, or see `patchgrid results top`")
    title = _Title(session, job, site, job.method(method))
    if pair is None:
        found = heatmap(session, job, site, "aligned", method)
        return plots.layer_position_heatmap(
            found.values,
            [str(label) for label in found.columns],
            title=title.of_job(),
            unit=job.spec.metric,
            quantity=_QUANTITY[found.measure],
            axis="span" if job.spans else "position from the end",
        )
    view = pairview.pair(session, job, pair, method)
    return plots.layer_position_heatmap(
        position_scores(view, site),
        _token_labels(view),
        title=title.of_pair(view),
        unit=job.spec.metric,
        quantity="score",
    )


def draw_top(session: Session, job: JobRecord, site: str, method: str | None = None) -> "Figure":
    """Draw the strongest components of a site as bars: estimates with intervals over mean scores."""
    check_name("site of this job", site, job.spec.sites)
    found = components.top(session, job, MOST_BARS, sites=(site,), method=method)
    if not found:
        raise NothingKept(f"job {job.id} has no results for {site} yet")
    return component_bars(
        found, title=_Title(session, job, site, job.method(method)).of_job(), unit=job.spec.metric
    )


def draw_scatter(session: Session, job: JobRecord, site: str, method: str | None = None) -> "Figure":
    """Draw score against exact effect, a point a cell that was patched exactly."""
    found = cells(session, job, site, method, limit=MOST_POINTS)
    if not len(found.score):
        raise NothingKept(f"job {job.id} patched nothing exactly at {site}: run it with --exact above 0")
    if len(found.score) == MOST_POINTS:
        say(f"Drawn are the first {counted(MOST_POINTS, 'cell')}")
    return plots.score_effect_scatter(
        found.score,
        found.effect,
        found.inclusion,
        title=_Title(session, job, site, job.method(method)).of_job(),
        unit=job.spec.metric,
    )


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


@dataclass(frozen=True, slots=True)
class _Title:
    """What stands over a picture."""

    session: Session
    job: JobRecord
    site: str
    method: str

    def of_job(self) -> str:
        """Say what is shown, and of how many pairs."""
        done = jobs.progress(self.session, self.job.id).done
        return f"{self._what()}; {counted(done, 'pair')}"

    def of_pair(self, view: PairView) -> str:
        """Say what is shown, and of which pair."""
        return f"{self._what()}; pair {view.name}"

    def _what(self) -> str:
        spec = self.job.spec
        return f"{short_model(spec.model)}: {self.site}, {self.method}, {spec.metric}, {spec.direction}"
