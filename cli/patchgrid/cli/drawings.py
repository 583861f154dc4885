"""A job's pictures: the numbers from the database, drawn by `plots`."""

from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from patchgrid.cli import plots
from patchgrid.cli.errors import UsageError
from patchgrid.cli.jobview import short_model
from patchgrid.cli.pairscores import position_scores, whole_scores
from patchgrid.cli.screen import counted, say
from patchgrid.engine.names import HEAD_SITES, check_name
from patchgrid.storage import jobs, pairview
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.pairview import PairView
from patchgrid.storage.plots import Heatmap, cells, heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Points of a scatter plot; more cannot be told apart.
MOST_POINTS = 200_000
_QUANTITY = {"estimate": "estimated mean effect", "mean": "mean score"}


def draw_heads(session: Session, job: JobRecord, site: str, pair: str | None = None) -> "Figure":
    """Draw layer by head: the job's means, or one pair's scores."""
    check_name("site of this job", site, job.spec.sites)
    if site not in HEAD_SITES:
        raise UsageError(f"site {site!r} has no heads: draw it with --what positions, or take --site z")
    if pair is None:
        found = heatmap(session, job, site, "whole")
        return plots.layer_head_heatmap(
            found.values, title=_title(session, job, site), unit=job.spec.metric, quantity=_quantity(found)
        )
    view = pairview.pair(session, job, pair)
    return plots.layer_head_heatmap(
        whole_scores(view, site), title=_pair_title(job, site, view), unit=job.spec.metric, quantity="score"
    )


def draw_positions(session: Session, job: JobRecord, site: str, pair: str | None = None) -> "Figure":
    """Draw layer by position: the job's means by aligned position or span, or one pair's scores by token."""
    check_name("site of this job", site, job.spec.sites)
    if pair is None:
        found = heatmap(session, job, site, "aligned")
        return plots.layer_position_heatmap(
            found.values,
            [str(label) for label in found.columns],
            title=_title(session, job, site),
            unit=job.spec.metric,
            quantity=_quantity(found),
            axis="span" if job.spans else "position from the end",
        )
    view = pairview.pair(session, job, pair)
    return plots.layer_position_heatmap(
        position_scores(view, site),
        _token_labels(view),
        title=_pair_title(job, site, view),
        unit=job.spec.metric,
        quantity="score",
    )


def draw_scatter(session: Session, job: JobRecord, site: str) -> "Figure":
    """Draw score against exact effect, a point a cell that was patched exactly."""
    found = cells(session, job, site, limit=MOST_POINTS)
    if not len(found.score):
        raise NothingKept(f"job {job.id} patched nothing exactly at {site}: run it with --exact above 0")
    if len(found.score) == MOST_POINTS:
        say(f"Drawn are the first {counted(MOST_POINTS, 'cell')}")
    return plots.score_effect_scatter(
        found.score,
        found.effect,
        found.inclusion,
        title=_title(session, job, site),
        unit=job.spec.metric,
    )


def default_site(job: JobRecord, what: str) -> str:
    """Give the site that is drawn where none is named: heads where the job has them."""
    if what == "heads" or "z" in job.spec.sites:
        return "z"
    return job.spec.sites[0]


def _token_labels(view: PairView) -> list[str]:
    both = zip(view.tokens, view.corrupted_tokens, strict=True)
    return [clean if clean == corrupted else f"{clean}/{corrupted}" for clean, corrupted in both]


def _quantity(found: Heatmap) -> str:
    return _QUANTITY[found.measure]


def _title(session: Session, job: JobRecord, site: str) -> str:
    done = jobs.progress(session, job.id).done
    return f"{_what(job, site)}; {counted(done, 'pair')}"


def _pair_title(job: JobRecord, site: str, view: PairView) -> str:
    return f"{_what(job, site)}; pair {view.name}"


def _what(job: JobRecord, site: str) -> str:
    spec = job.spec
    return f"{short_model(spec.model)}: {site}, {spec.method}, {spec.metric}, {spec.direction}"
