"""A job's results as dataframes and pictures."""

import dataclasses
from typing import TYPE_CHECKING, Any

from patchgrid.api.client import frames
from patchgrid.api.client.backends.backend import Backend
from patchgrid.api.client.comparison import FIELDS as COMPARED
from patchgrid.api.client.comparison import Side, compared
from patchgrid.core.names import POPULATION
from patchgrid.core.plain import plain
from patchgrid.core.sites import HEAD_SITES, INDEX_FIELDS
from patchgrid.core.types import Component
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.documents import agreement_json, component_json
from patchgrid.storage.output.export import FIELDS
from patchgrid.storage.results.advice import advise
from patchgrid.storage.results.components import Discoveries
from patchgrid.storage.results.normalised import UNIT, Normalised, job_share
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.subsets.missed import CONFIDENCE, MISSED_FIELDS, missed_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from patchgrid.storage.pair_results.pair_view import PairView

_GROUP = (
    *("component", "site", "group", "n", "mean", "ci_low", "ci_high"),
    *("estimate", "spread", "p", "differs"),
)
_COMPONENT: tuple[str, ...] = (
    *("component", "site", "layer", *INDEX_FIELDS, "position", "n", "mean", "mean_abs", "std"),
    *(
        "estimate",
        "ci_low",
        "ci_high",
        "exact_n",
        "pairs_low",
        "pairs_high",
        "heavy",
        "shrunk",
        "exact_share",
    ),
)
_AGREEMENT: tuple[str, ...] = (
    *(field.name for field in dataclasses.fields(SiteAgreement)),
    *("exact_share", "seconds", "exact_seconds"),
)


class Results:
    """A job's results: dataframes are pandas', or polars' where only that is there or `frame="polars"`.

    In all methods `method` is one of the job's methods, its first by default; `normalise` gives shares of
    the job's mean clean - corrupted metric in place of units of the metric.
    """

    def __init__(self, backend: Backend, record: JobRecord) -> None:
        self._backend, self._record = backend, record

    def top(
        self,
        k: int = 20,
        *,
        by: str = "estimate",
        site: str | None = None,
        method: str | None = None,
        interval: str = POPULATION,
        simultaneous: bool = False,
        effect_above: float | None = None,
        fdr: float = 0.05,
        search: str | None = None,
        normalise: bool = False,
        frame: str | None = None,
    ) -> Any:
        """Return its k strongest components with their intervals, the strongest first.

        `by`: `estimate`, `mean` or `mean_abs`. `interval`: what intervals are for, the
        `population` that the pairs are a sample of, or these `pairs`; `simultaneous`: those of all
        components hold at once. `effect_above`: those whose mean effect exceeds this size,
        with a false discovery rate of `fdr`.
        `search`: of those with this text in their names, as `a9.` for a layer's heads.
        """
        kind = frames.library(frame)
        rows = self._numbers(normalise=normalise).components(
            self._record,
            site=site,
            method=method,
            interval=interval,
            simultaneous=simultaneous,
            search=search,
            by=by,
            discoveries=None if effect_above is None else Discoveries(effect_above, fdr),
            limit=k,
        )
        return frames.frame_of(map(component_json, rows), self._fields(_COMPONENT), kind)

    def components(
        self,
        *,
        site: str | None = None,
        method: str | None = None,
        kind: str | None = None,
        interval: str = POPULATION,
        simultaneous: bool = False,
        search: str | None = None,
        normalise: bool = False,
        frame: str | None = None,
    ) -> Any:
        """Return every component with its mean, estimate and interval, by site, layer and head.

        `kind` is `whole` (all positions at once) or `aligned` (by position); by default the job's own.
        """
        library = frames.library(frame)
        rows = self._numbers(normalise=normalise).components(
            self._record,
            site=site,
            method=method,
            kind=kind,
            interval=interval,
            simultaneous=simultaneous,
            search=search,
        )
        return frames.frame_of(map(component_json, rows), self._fields(_COMPONENT), library)

    def scores(self, method: str | None = None, *, normalise: bool = False, frame: str | None = None) -> Any:
        """Return the stored scores of each pair, one row per pair and component."""
        return self._exported("scores", method, frame, normalise=normalise)

    def exact(
        self,
        method: str | None = None,
        *,
        component: Component | str | None = None,
        normalise: bool = False,
        frame: str | None = None,
    ) -> Any:
        """Return the exactly patched cells: score, effect, and the probability of being drawn.

        `component`: those of one component alone, or of its name, as `a9.h6`.
        """
        if component is None:
            return self._exported("exact", method, frame, normalise=normalise)
        kind = frames.library(frame)
        name = component.name if isinstance(component, Component) else component
        rows: Iterable[Any] = self._backend.exact(self._record, component=name, method=method)
        if normalise:
            rows = map(job_share(self._record, self._backend.task(self._record)).fields, rows)
        return frames.frame_of(rows, self._fields(FIELDS["exact"]), kind)

    def pairs(self, *, frame: str | None = None) -> Any:
        """Return one row per pair: its state, tokens and metrics, or why it failed."""
        return self._exported("pairs", None, frame)

    def verification(
        self,
        *,
        top_k: int = 10,
        method: str | None = None,
        normalise: bool = False,
        frame: str | None = None,
    ) -> Any:
        """Return how well scores agree with exact patching, one row per site and method (all by default).

        Columns that end in `_se` are standard errors. `advice` says what follows.
        """
        kind = frames.library(frame)
        rows, cost = self._numbers(normalise=normalise).verification(self._record, top_k, method)
        return frames.frame_of((agreement_json(row, cost) for row in rows), _AGREEMENT, kind)

    def advice(self) -> list[str]:
        """Say for each site which method to use, and what to patch before relying on its top list."""
        rows, cost = self._backend.verification(self._record)
        return [
            each.text + ("" if each.command is None else f": patchgrid {each.command}")
            for each in advise(self._record, rows, cost)
        ]

    def missed(
        self,
        site: str | None = None,
        *,
        confidence: float = CONFIDENCE,
        k: int = 10,
        frame: str | None = None,
    ) -> Any:
        """Return bounds on the effects of rarely patched components, as `job missed` measured them.

        One row per component, those that stand out and the k with the largest bounds: `none_above` is what no
        other component's |mean effect| exceeds with this confidence.
        """
        library = frames.library(frame)
        found = self._backend.missed(self._record, site, confidence=confidence, limit=k)
        rows = (
            {"site": each["site"], **row, "none_above": each["bound"]}
            for each in missed_json(found)
            for row in each["largest"]
        )
        return frames.frame_of(rows, MISSED_FIELDS, library)

    def groups(
        self,
        *,
        site: str | None = None,
        method: str | None = None,
        component: str | None = None,
        k: int = 20,
        frame: str | None = None,
    ) -> Any:
        """Return mean effects by group of pairs, of the k components whose groups differ most or of one.

        One row per component and group: `mean` with its 95 % interval for all pairs of this group's kind;
        `estimate` over all pairs, the `spread` of the groups' true means, `p` against groups that are alike,
        and `differs`.
        """
        library = frames.library(frame)
        found = self._backend.groups(self._record, site=site, method=method, component=component, limit=k)
        rows = (
            {
                "component": each.component,
                "site": each.site,
                **plain(group),
                **{name: getattr(each, name) for name in ("estimate", "spread", "p", "differs")},
            }
            for each in found.items
            for group in each.groups
        )
        return frames.frame_of(rows, _GROUP, library)

    def compare(
        self,
        other: "Results | None" = None,
        *,
        method: str | None = None,
        other_method: str | None = None,
        site: str | None = None,
        interval: str = POPULATION,
        frame: str | None = None,
    ) -> Any:
        """Compare its components with those of another job, or by two of its own methods.

        One row per component that either has: mean score, estimate and interval of both (`other_…` are the
        other's), and `difference`, estimate - other's estimate, the largest first. Its interval takes the two
        samples as independent, which is cautious where both jobs have the same pairs. By two methods of one
        job both estimates are of the same effects from the same cells: there, `difference` is that of the
        mean scores, without an interval.
        """
        kind = frames.library(frame)
        rows = compared(self.side(method), (other or self).side(other_method), site=site, interval=interval)
        return frames.frame_of(rows, self._fields(COMPARED), kind)

    def side(self, method: str | None = None) -> Side:
        """Return a side of `compare`: where the job is, the job, one of its methods."""
        return self._backend, self._record, method

    def pair(self, name: int | str, *, method: str | None = None, normalise: bool = False) -> "PairView":
        """Return everything stored about one pair, by id or row: tokens, metrics, scores, exact effects.

        `normalise`: scores and effects are shares of the pair's own clean - corrupted metric.
        """
        return self._numbers(normalise=normalise).pair(self._record, name, method)

    def heatmap(
        self,
        site: str | None = None,
        *,
        pair: int | str | None = None,
        method: str | None = None,
        normalise: bool = False,
        **look: Any,
    ) -> "Figure":
        """Draw a site by layer: by head where it has heads, else by position.

        `look` is as for `plot`: `title`, `vmax`, `dpi`, `ax`. Needs matplotlib.
        """
        chosen = site or next(iter(self._record.spec.query.sites))
        what = "heads" if chosen in HEAD_SITES else "positions"
        return self.plot(what, chosen, pair=pair, method=method, normalise=normalise, **look)

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
        from patchgrid.api.pictures.drawings import Drawing, default_picture, default_site
        from patchgrid.api.pictures.look import Look

        job, numbers = self._record, self._numbers(normalise=normalise)
        picture = what or default_picture(job, site)
        chosen = site or default_site(job, picture)
        unit = UNIT if normalise else None
        figure = Drawing(numbers, job, chosen, method, Look(title, vmax), ax, unit).draw(picture, pair)
        if dpi is not None:
            figure.set_dpi(dpi)
        return figure

    def _numbers(self, *, normalise: bool) -> "Backend | Normalised":
        return Normalised(self._backend) if normalise else self._backend

    def _exported(self, what: str, method: str | None, frame: str | None, *, normalise: bool = False) -> Any:
        kind = frames.library(frame)
        return frames.exported(self._backend, self._record, what, method, kind, normalise=normalise)

    def _fields(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        return (*fields, "edge") if "edge" in self._record.spec.query.sites else fields
