"""A job's results: components, heatmaps, scores against exact effects."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from patchgrid.api.schemas.request_models import Interval, Kind, Order, Sort, Word
from patchgrid.api.schemas.results import (
    Agreement,
    Component,
    Components,
    ExactCell,
    ExactCells,
    FurthestCell,
    FurthestCells,
    Grouped,
    Heatmap,
    MissedBounds,
    Verification,
)
from patchgrid.api.service.access import Reader, Shared
from patchgrid.api.service.asking import (
    Cursor,
    Form,
    JobName,
    as_csv,
    as_json,
    ask,
    listed,
    listings,
    refusals,
)
from patchgrid.api.web import cursors
from patchgrid.api.web.answers import Answer
from patchgrid.core.plain import plain
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.documents import (
    components_json,
    furthest_json,
    verification_json,
)
from patchgrid.storage.pair_results import exact_list
from patchgrid.storage.results import component_list, verification
from patchgrid.storage.results.components import Discoveries
from patchgrid.storage.results.coverage import coverage
from patchgrid.storage.results.furthest import MOST as MOST_FURTHEST
from patchgrid.storage.results.furthest import furthest
from patchgrid.storage.results.groups import by_group
from patchgrid.storage.results.normalised import (
    FLOOR_UNIT,
    UNIT,
    Share,
    job_share,
    normalised_heatmap,
)
from patchgrid.storage.results.plots import heatmap
from patchgrid.storage.results.rounding import (
    job_rounding,
    rounding_json,
    shown_rounding,
)
from patchgrid.storage.results.task import job_task, task_json
from patchgrid.storage.subsets.missed import CONFIDENCE, missed, missed_json

router = APIRouter(tags=["results"])

Site = Annotated[Word | None, Query(description="One of the job's sites. Default: all")]
Normalise = Annotated[
    bool,
    Query(description="Show numbers as shares of the mean clean - corrupted metric"),
]
Method = Annotated[Word | None, Query(description="One of the job's methods. Default: its first")]
Estimator = Annotated[
    Word | None,
    Query(description="One of the job's methods, or `combined`: all of them. Default: all of them"),
]


@router.get("/v1/jobs/{job}/components", response_model=Components, responses=listings(404))
def list_components(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    site: Site = None,
    method: Estimator = None,
    kind: Kind | None = None,
    interval: Annotated[
        Interval,
        Query(description="Intervals for the population that the pairs are a sample of, or for these pairs"),
    ] = "population",
    simultaneous: Annotated[
        bool, Query(description="Intervals of all listed components hold at once")
    ] = False,
    effect_above: Annotated[
        float | None, Query(ge=0, description="Only components whose mean effect certainly exceeds this size")
    ] = None,
    fdr: Annotated[float, Query(gt=0, lt=1, description="False discovery rate of that list")] = 0.05,
    component: Annotated[Word | None, Query(description="Only the component of this name")] = None,
    search: Annotated[Word | None, Query(description="Part of the name, case-insensitive")] = None,
    by: Annotated[Sort | None, Query(description="Sort by, largest first")] = None,
    order: Annotated[Order | None, Query(description="Sort order: down or up")] = None,
    normalise: Normalise = False,
    limit: Annotated[int, Query(ge=1, le=component_list.MOST)] = 1000,
    cursor: Cursor = None,
    form: Form = "json",
) -> Response:
    """List a job's components with their means, estimates and intervals.

    By site, layer, head and position, or with `by` the largest first, estimates and means by their size;
    missing values and unbounded intervals come last. A `component` with a position in its name is of the kind
    `aligned`, another one of the kind `whole`, unless `kind` is given.
    """
    place = cursors.read(cursor, 1)
    start = 0 if place is None else place[0]

    def make(session: Session, record: JobRecord) -> Answer:
        task = task_json(job_task(session, record))
        share = job_share(record, task) if normalise else None
        kind_of: dict[str, Any] = {
            "interval": interval,
            "simultaneous": simultaneous,
            "discoveries": _discoveries(effect_above, fdr, share),
        }
        down = None if order is None else order == "down"
        page = component_list.page(
            session,
            record,
            sites=None if site is None else (site,),
            kind=kind,
            **kind_of,
            method=method,
            component=component,
            search=search,
            **_sorted(by, down, share),
            start=start,
            limit=limit,
        )
        rows = [row if share is None else share.row(row) for row in page.items]
        unit = record.spec.metric if share is None else FLOOR_UNIT
        floor = shown_rounding(_rounding(session, record, share), rows, unit)
        patched = coverage(session, record, site)
        document = {
            **components_json(record, method, rows, patched, task=task, rounding=floor, **kind_of),
            "total": page.total,
            "next": cursors.write(None if page.next is None else (page.next,)),
        }
        return listed(form, document, f"job-{record.id}-components", Component)

    return ask(service, request, caller, job, make)


def _discoveries(above: float | None, rate: float, share: Share | None) -> Discoveries | None:
    """Return the list to make; its size is a share where the other numbers are shares."""
    if above is None:
        return None
    return Discoveries(above * (1.0 if share is None else abs(share.difference)), rate)


def _rounding(session: Session, record: JobRecord, share: Share | None) -> dict[str, Any] | None:
    """Return a job's rounding floor, as a share if the other numbers are shares."""
    rounding = rounding_json(job_rounding(session, record))
    return rounding if share is None else share.rounding(rounding)


def _sorted(by: Sort | None, down: bool | None, share: Share | None) -> dict[str, Any]:
    """Return what components are sorted by before they are divided: one below 0 turns intervals over."""
    other = {"ci_low": "ci_high", "ci_high": "ci_low"}
    if share is None or share.difference > 0 or by not in other:
        return {"by": by, "down": down}
    return {"by": other[by], "down": down is False}


@router.get("/v1/jobs/{job}/heatmap", response_model=Heatmap, responses=listings(404))
def show_heatmap(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    site: Annotated[Word, Query(description="One of the job's sites")],
    kind: Kind = "whole",
    method: Method = None,
    normalise: Normalise = False,
    form: Form = "json",
) -> Response:
    """Return a site's estimated mean effects, with the mean score in each cell that has none.

    `estimated` says which cells are estimates, `measure` whether all are (`estimate`), none (`mean`) or some.
    whole: layer by head; aligned: layer by position from the end, or by span, summed over heads.
    """

    def make(session: Session, record: JobRecord) -> Answer:
        grid = heatmap(session, record, site, kind, method)
        if normalise:
            share = job_share(record, task_json(job_task(session, record)))
            grid = normalised_heatmap(grid, share)
        if form == "csv":
            rows: list[dict[str, Any]] = [
                {
                    "layer": layer,
                    **dict(zip(map(str, grid.columns), values, strict=True)),
                    "estimated": which,
                }
                for layer, (values, which) in enumerate(
                    zip(plain(grid.values), plain(grid.estimated), strict=True)
                )
            ]
            columns = ("layer", *map(str, grid.columns), "estimated")
            return as_csv(rows, columns, f"job-{record.id}-{site}-{kind}")
        about = {"job": record.id, "site": site, "kind": kind, "method": record.method(method)}
        unit = {"measure": grid.measure, "unit": UNIT if normalise else record.spec.metric}
        return as_json(
            {
                **about,
                **unit,
                "columns": grid.columns,
                "values": plain(grid.values),
                "estimated": plain(grid.estimated),
            }
        )

    return ask(service, request, caller, job, make)


@router.get("/v1/jobs/{job}/verification", response_model=Verification, responses=listings(404))
def verify(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    top_k: Annotated[int, Query(ge=1, le=1000, description="Length of the top lists to compare")] = 10,
    method: Annotated[Word | None, Query(description="One of the job's methods. Default: all")] = None,
    normalise: Normalise = False,
    form: Form = "json",
) -> Response:
    """Return how well scores agree with exact patching, by site and method, and the cost of both."""

    def make(session: Session, record: JobRecord) -> Answer:
        cost = verification.cost(session, record)
        agreement = verification.verification(session, record, top_k=top_k, method=method)
        task = task_json(job_task(session, record))
        share = job_share(record, task) if normalise else None
        rows = agreement if share is None else list(map(share.row, agreement))
        rounding = _rounding(session, record, share)
        document = verification_json(record, rows, cost, task=task, rounding=rounding)
        return listed(form, document, f"job-{record.id}-verification", Agreement)

    return ask(service, request, caller, job, make)


@router.get("/v1/jobs/{job}/exact", response_model=ExactCells, responses=listings(404))
def list_exact(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    site: Site = None,
    method: Method = None,
    component: Annotated[Word | None, Query(description="Only cells of this component")] = None,
    normalise: Normalise = False,
    limit: Annotated[int, Query(ge=1, le=exact_list.MOST)] = 1000,
    cursor: Cursor = None,
    form: Form = "json",
) -> Response:
    """List the cells that were patched exactly, by pair, each with its score by a method.

    A `component` without a position means all of its cells, at any position; a position after `@` is an
    index into the pair's own tokens, or a span.
    """
    place = cursors.read(cursor, 2)
    after = None if place is None else (place[0], place[1])

    def make(session: Session, record: JobRecord) -> Answer:
        page = exact_list.page(
            session, record, site=site, method=method, component=component, after=after, limit=limit
        )
        items = page.items
        if normalise:
            items = list(map(job_share(record, task_json(job_task(session, record))).fields, items))
        more = {"job": record.id, "method": record.method(method), "next": cursors.write(page.next)}
        return listed(form, {**more, "items": items}, f"job-{record.id}-exact", ExactCell)

    return ask(service, request, caller, job, make)


@router.get("/v1/jobs/{job}/furthest", response_model=FurthestCells, responses=listings(404))
def list_furthest(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    site: Annotated[Word, Query(description="One of the job's sites")],
    method: Method = None,
    limit: Annotated[int, Query(ge=1, le=MOST_FURTHEST)] = 12,
    form: Form = "json",
) -> Response:
    """List the exactly patched cells whose scores are furthest from their effects, one per component.

    Of all of the site's cells, the largest |effect - score| first.
    """

    def make(session: Session, record: JobRecord) -> Answer:
        document = furthest_json(record, site, method, furthest(session, record, site, method, limit))
        return listed(form, document, f"job-{record.id}-furthest", FurthestCell)

    return ask(service, request, caller, job, make)


@router.get("/v1/jobs/{job}/groups", response_model=Grouped, responses=refusals(404, 422))
def list_groups(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    site: Site = None,
    method: Method = None,
    component: Annotated[Word | None, Query(description="Only this component")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Components of largest spread")] = 20,
) -> Response:
    """Show which components' effects differ between groups of pairs, with each group's mean effect."""

    def make(session: Session, record: JobRecord) -> Answer:
        found = by_group(session, record, site=site, method=method, component=component, limit=limit)
        return as_json({"job": record.id, "groups": record.groups, **plain(found)})

    return ask(service, request, caller, job, make)


@router.get("/v1/jobs/{job}/missed", response_model=MissedBounds, responses=refusals(404))
def list_missed(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    site: Annotated[Word | None, Query(description="One of the job's sites; by default, all")] = None,
    confidence: Annotated[float, Query(ge=0.5, le=0.9999)] = CONFIDENCE,
    limit: Annotated[int, Query(ge=0, le=1000, description="Components of largest bound")] = 10,
) -> Response:
    """Show bounds on the effects of rarely patched components, as `patchgrid job missed` measured them."""

    def make(session: Session, record: JobRecord) -> Answer:
        found = missed(session, record, site, confidence=confidence, limit=limit)
        return as_json({"job": record.id, "items": missed_json(found)})

    return ask(service, request, caller, job, make, lasting=False)
