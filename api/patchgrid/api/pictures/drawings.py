"""A job's pictures: its numbers, from wherever they come, drawn by `plots`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchgrid.api.pictures import plots
from patchgrid.api.pictures.bars import MOST_BARS, component_bars
from patchgrid.api.pictures.errors import PictureError
from patchgrid.api.pictures.labels import pair_labels
from patchgrid.api.pictures.look import Look
from patchgrid.api.pictures.scatter import score_effect_scatter
from patchgrid.core.names import check_name
from patchgrid.core.sites import EDGE, HEAD_SITES, WIDE_SITES
from patchgrid.core.text.wording import counted, short_model
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.pair_results.pair_scores import (
    exact_grid,
    position_scores,
    whole_scores,
)
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.results.normalised import Numbers
from patchgrid.storage.results.plots import Heatmap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Kinds of pictures.
PICTURES = ("heads", "positions", "exact", "scatter", "top")
#: Those that cannot be of one pair, with the words for it.
_OF_ALL_PAIRS = {"scatter": "a scatter plot is", "top": "the strongest components are"}
#: Points of a scatter plot; more cannot be distinguished.
MOST_POINTS = 200_000
_QUANTITY = {"estimate": "estimated mean effect", "mean": "mean score", "mixed": "estimated mean effect"}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A site of a job, by one of its methods, to be drawn."""

    numbers: Numbers
    job: JobRecord
    #: None: all sites, where these can be ranked together.
    site: str | None
    #: None: the job's first.
    method: str | None = None
    look: Look = field(default_factory=Look)
    #: Axes to draw heatmaps on, in place of a figure of their own.
    on: "Axes | None" = None
    #: What the numbers are in; None: units of the job's metric.
    unit: str | None = None

    def draw(
        self, what: str, pair: int | str | None = None, note: Callable[[str], None] = lambda _: None
    ) -> "Figure":
        """Draw one of `PICTURES`; `note` hears what should be known of it."""
        check_name("picture", what, PICTURES)
        if what in _OF_ALL_PAIRS and pair is not None:
            raise PictureError(
                f"--pair works with heads, positions and exact: {_OF_ALL_PAIRS[what]} of all pairs"
            )
        if what in _OF_ALL_PAIRS and self.on is not None:
            raise PictureError(f"ax works with heads, positions and exact, not with {what}")
        match what:
            case "scatter":
                return self.scatter(note)
            case "top":
                return self.top()
            case "exact":
                return self.exact(pair, note)
            case "heads":
                return self.heads(pair)
            case _:
                return self.positions(pair)

    @property
    def _unit(self) -> str:
        return self.unit or self.job.spec.metric

    def heads(self, pair: int | str | None = None) -> "Figure":
        """Draw layer by head: the job's means, or one pair's scores."""
        job, site = self.job, self._site()
        if site not in HEAD_SITES:
            what = "top" if site in WIDE_SITES else "positions"
            having = next((each for each in ("z", *HEAD_SITES) if each in job.spec.query.sites), None)
            other = "" if having is None else f", or take --site {having}"
            raise PictureError(f"site {site!r} has no heads: draw it with --what {what}{other}")
        unit = self._unit
        if pair is None:
            numbers = self.numbers.heatmap(job, site, "whole", self.method)
            quantity = _QUANTITY[numbers.measure]
            return plots.layer_head_heatmap(
                numbers.values,
                title=self._of_job(),
                unit=unit,
                quantity=quantity,
                vmax=self.look.vmax,
                stroked=_stroked(numbers),
                on=self.on,
            )
        view = self.numbers.pair(job, pair, self.method)
        return plots.layer_head_heatmap(
            whole_scores(view, site),
            title=self._of_pair(view),
            unit=unit,
            quantity="score",
            vmax=self.look.vmax,
            on=self.on,
        )

    def positions(self, pair: int | str | None = None) -> "Figure":
        """Draw layer by position: the job's means, aligned or by span, or one pair's scores by token."""
        job, site = self.job, self._site()
        if site == EDGE:
            raise PictureError(
                "edges have no layer: draw them with --what top, or see `patchgrid results top`"
            )
        unit = self._unit
        if pair is None:
            numbers = self.numbers.heatmap(job, site, "aligned", self.method)
            return plots.layer_position_heatmap(
                numbers.values,
                numbers.columns,
                title=self._of_job(),
                unit=unit,
                quantity=_QUANTITY[numbers.measure],
                axis="span" if job.spans else "position from the end",
                vmax=self.look.vmax,
                stroked=_stroked(numbers),
                on=self.on,
            )
        view = self.numbers.pair(job, pair, self.method)
        return plots.layer_position_heatmap(
            position_scores(view, site),
            pair_labels(view.tokens, view.corrupted_tokens),
            title=self._of_pair(view),
            unit=unit,
            quantity="score",
            vmax=self.look.vmax,
            on=self.on,
        )

    def exact(self, pair: int | str | None, note: Callable[[str], None] = lambda _: None) -> "Figure":
        """Draw one pair's exact effects: layer by token or span, or by head where positions were summed."""
        if pair is None:
            raise PictureError("exact effects are drawn for one pair: give --pair")
        view, site = self.numbers.pair(self.job, pair, self.method), self._site()
        grid = exact_grid(self.job, view, site)
        if grid.patched < grid.values.size:
            cells = counted(grid.values.size, "cell")
            note(f"{grid.patched:,} of {cells} were patched: use --exact 1 to patch all")
        title, unit, quantity = self._of_pair(view, "exact effects of "), self._unit, "exact effect"
        vmax, on = self.look.vmax, self.on
        if grid.axis == "head":
            return plots.layer_head_heatmap(
                grid.values, title=title, unit=unit, quantity=quantity, vmax=vmax, on=on
            )
        labels, axis = (
            (pair_labels(view.tokens, view.corrupted_tokens), "token")
            if grid.axis == "position"
            else (grid.columns, "span")
        )
        return plots.layer_position_heatmap(
            grid.values, labels, title=title, unit=unit, quantity=quantity, axis=axis, vmax=vmax, on=on
        )

    def top(self) -> "Figure":
        """Draw the strongest components, of all sites or one: estimates with intervals over mean scores."""
        site = None if self.site is None else self._site()
        numbers = self.numbers.top(self.job, MOST_BARS, site=site, method=self.method)
        if not numbers:
            raise NothingKept(f"job {self.job.id} has no results{f' for {site}' if site else ''} yet")
        return component_bars(numbers, title=self._of_job(), unit=self._unit, vmax=self.look.vmax)

    def scatter(self, note: Callable[[str], None] = lambda _: None) -> "Figure":
        """Draw score against exact effect, a point a cell that was patched exactly."""
        site = self._site()
        numbers = self.numbers.cells(self.job, site, self.method, limit=MOST_POINTS)
        if not len(numbers.score):
            raise NothingKept(
                f"job {self.job.id} patched nothing exactly at {site}: run it with --exact above 0"
            )
        if len(numbers.score) == MOST_POINTS:
            note(f"Showing the first {counted(MOST_POINTS, 'cell')}")
        unit = self._unit
        return score_effect_scatter(
            numbers.score,
            numbers.effect,
            numbers.inclusion,
            title=self._of_job(),
            unit=unit,
            names=numbers.strongest,
            vmax=self.look.vmax,
        )

    def _site(self) -> str:
        assert self.site is not None, "all sites at once are ranked, not drawn"
        check_name("site of this job", self.site, self.job.spec.query.sites)
        return self.site

    def _of_job(self) -> str:
        """Say which job is shown, what of it, and of how many pairs."""
        if self.look.title is not None:
            return self.look.title
        return self._title(self._method(), counted(self.numbers.progress(self.job).done, "pair"))

    def _of_pair(self, view: PairView, quantity: str = "") -> str:
        """Say which job is shown, what of it, and of which pair."""
        if self.look.title is not None:
            return self.look.title
        return self._title("" if quantity else self._method(), f"pair {view.name}", quantity)

    def _title(self, method: str, pairs: str, quantity: str = "") -> str:
        job, spec = self.job, self.job.spec
        site = f"{quantity}{self.site or 'all sites'}"
        what = ", ".join(part for part in (site, method, spec.metric, spec.query.direction) if part)
        return f"{job.name or f'job {job.id}'}\n{short_model(spec.model)}: {what}; {pairs}"

    def _method(self) -> str:
        return self.job.method(self.method)


def _stroked(heatmap: Heatmap) -> NDArray[np.bool_] | None:
    """Return the cells that show a mean score among estimates."""
    return ~heatmap.estimated if heatmap.measure == "mixed" else None


def default_site(job: JobRecord, what: str) -> str | None:
    """Return the default site to draw: the strongest components of all sites, else heads, preferably z.

    Exact effects of a job that kept positions: the first that has no heads.
    """
    if what == "top":
        return None
    heads = [site for site in ("z", *HEAD_SITES) if site in job.spec.query.sites]
    if what == "exact" and job.kind == "aligned":
        heads = [site for site in job.spec.query.sites if site not in (*HEAD_SITES, *WIDE_SITES)] or heads
    return heads[0] if heads else job.spec.query.sites[0]


def default_picture(job: JobRecord, site: str | None) -> str:
    """Return the default picture: heads, or the strongest components of a job without heads."""
    return "heads" if (site or default_site(job, "heads")) in HEAD_SITES else "top"
