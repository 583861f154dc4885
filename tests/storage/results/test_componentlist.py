"""A job's components page by page: named, searched for, sorted."""

import math
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from patchgrid.core.errors import SpecError
from patchgrid.core.sites import EDGE, SITES
from patchgrid.estimates import Sums
from patchgrid.storage import Database, errors, tables
from patchgrid.storage.chunks.naming import has_inner, index_of, read_name, site_names
from patchgrid.storage.chunks.sums import pack_sums
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results import component_list, components
from patchgrid.storage.results.components import ComponentRow
from support.storage.chunk_results import GRAPH, make_pairs, make_spec
from support.storage.storage_backends import run_chunk, run_job, submit_job

#: Jobs of every kind: (spec, options).
JOBS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "methods": ({"method": "atp,relp"}, {}),
    "spans": ({"positions": "keep"}, {"spans": ("subject",)}),
    "positions": ({"positions": "keep", "sites": ("z", "mlp_post")}, {}),
    "edges": ({"method": "eap", "sites": (EDGE,)}, {}),
    "edges by position": ({"method": "eap", "sites": (EDGE,), "positions": "keep"}, {}),
}


def page(database: Database, job: JobRecord, **options: Any) -> component_list.ComponentPage:
    """Return a page."""
    with database.read() as session:
        return component_list.page(session, job, **options)


def every(database: Database, job: JobRecord, **options: Any) -> list[ComponentRow]:
    """Return all components, unpaged."""
    with database.read() as session:
        return components.components(session, job, **options)


@pytest.fixture(params=JOBS)
def job(request: pytest.FixtureRequest, database: Database) -> JobRecord:
    """Return a finished job of each kind, between two others."""
    spec, options = JOBS[request.param]
    submit_job(database, 4, key="before")
    pairs = make_pairs(9, spans="spans" in options)
    made = submit_job(database, spec=make_spec(**spec), pairs=pairs, **options)
    run_job(database, submit_job(database, 4, key="behind"))
    return run_job(database, made, failed=(2,))


def test_pages_of_any_size_are_together_all(database: Database, job: JobRecord) -> None:
    """In order, with the number of all on each."""
    rows = every(database, job)
    for limit in (1, 7, len(rows), 10_000):
        found: list[ComponentRow] = []
        start: int | None = 0
        while start is not None:
            each = page(database, job, start=start, limit=limit)
            assert each.total == len(rows)
            found += each.items
            start = each.next
        assert found == rows
    assert page(database, job, down=True).items == rows[::-1]
    beyond = page(database, job, start=2**31 - 1)
    assert (beyond.items, beyond.total, beyond.next) == ([], len(rows), None)


def test_every_component_is_found_by_its_name(database: Database, job: JobRecord) -> None:
    """Of both kinds, and alone; by each method."""
    for kind in job.kinds(job.spec.query.sites[-1]):
        for method in job.spec.query.method_names:
            for row in every(database, job, kind=kind, method=method)[::7]:
                found = page(database, job, component=row.name, method=method)
                assert (found.items, found.total, found.next) == ([row], 1, None)


def test_what_no_component_is_named_is_not_found(database: Database, job: JobRecord) -> None:
    """Beyond the model, of another site, or no name at all."""
    others = ("a0.h3", "a2.h0", "a00.h1", "a0", "m0.n", "a9.h9->m0", "->", "h", "", "\0", "m" * 999)
    for name in (*others, "m0@-99", "m0@", "m0@-1@-1", "m0@0"):
        assert page(database, job, component=name) == component_list.ComponentPage([], 0, None), name


def test_a_search_finds_part_of_a_name(database: Database, job: JobRecord) -> None:
    """Whatever the case of its letters; together with an order and pages. A position's is one by position."""
    with database.read() as session:
        aligned = components.components(session, job, kind="aligned")
    for text in ("a1.", "H1", "1", "@-1", "@SUB", "->M", "M1", ">a1.h2<q", "%", "_", "nothing"):
        rows = aligned if "@" in text else every(database, job)
        wanted = [row for row in rows if text.lower() in row.name.lower()]
        found = page(database, job, search=text)
        assert (found.items, found.total) == (wanted, len(wanted)), text
        largest = page(database, job, search=text, by="mean", limit=2)
        assert largest.items == sorted(wanted, key=lambda row: -abs(row.mean or 0))[:2]
        assert largest.total == len(wanted)


def _figure(row: ComponentRow, by: str) -> float | None:
    """Return a component's sort key, None for those that come last."""
    if by in components.ORDERS:
        value = getattr(row, by)
        return abs(row.mean if value is None else value)  # type: ignore[arg-type]
    if by in ("ci_low", "ci_high", "width"):
        if row.ci_low is None or row.ci_high is None:
            return None
        size = max(0.001, abs(row.estimate or 0), row.mean_abs or 0)
        if (row.ci_high - row.ci_low) / 2 > 1000 * size:
            return None
        return row.ci_high - row.ci_low if by == "width" else float(getattr(row, by))
    return None if getattr(row, by) is None else float(getattr(row, by))


def test_components_are_sorted_by_any_of_their_figures(database: Database, job: JobRecord) -> None:
    """Both ways; what is missing comes last in both."""
    rows = every(database, job)
    for by in component_list.SORTS:
        figures = [_figure(row, by) for row in rows]
        missing = [row for row, figure in zip(rows, figures, strict=True) if figure is None]
        for down in (True, False):
            sign = -1 if down else 1
            there = [(sign * each, at) for at, each in enumerate(figures) if each is not None]
            assert (
                page(database, job, by=by, down=down).items == [rows[at] for _, at in sorted(there)] + missing
            )
        assert page(database, job, by=by, limit=3).items == page(database, job, by=by, down=True).items[:3]


def test_the_largest_are_those_of_the_command(database: Database, job: JobRecord) -> None:
    """`components.top` orders as a page does."""
    for by in components.ORDERS:
        with database.read() as session:
            assert page(database, job, by=by, limit=9).items == components.top(session, job, 9, by)


def test_an_interval_that_says_nothing_comes_last(database: Database) -> None:
    """It is a thousand times as wide as its component is large."""
    job = run_job(database, submit_job(database, 8, spec=make_spec(sites=("mlp_out",))))
    sums = Sums.zeros((4,), sampled=True)
    for pair in range(40):
        sums.add_pairs(np.full((1, 4), 0.01))
        for component in range(3):
            # Of one component some effects are enormous: its own size stays that of its scores.
            effect = (1e9 if component == 1 else 0.01) * (-1) ** pair
            sums.add_cells((np.array([component]),), *np.array([[0.01], [effect], [0.5], [0.0]]))
    with database.write() as session:
        session.execute(
            tables.total.update().values(data=pack_sums(sums)).where(tables.total.c.kind == "whole")
        )
    for by in ("ci_low", "ci_high", "width"):
        for down in (True, False):
            rows = page(database, job, by=by, down=down).items
            assert {row.layer for row in rows[:2]} == {0, 2}
            assert {row.layer for row in rows[2:]} == {1, 3}


def test_a_named_component_takes_its_own_sites_sums_alone(database: Database) -> None:
    """The others' are not read."""
    job = run_job(database, submit_job(database, 8))
    read: list[Any] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "total" in statement:
            read.append(parameters)

    with database.read() as session:
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", note)
        try:
            found = component_list.page(session, job, component="m1")
            assert [row.name for row in found.items] == ["m1"]
            assert len(read) == 1
            assert "mlp_out" in str(read)
            assert component_list.page(session, job, component="resid_post1").total == 0
            assert len(read) == 1
        finally:
            event.remove(engine, "before_cursor_execute", note)


def test_components_are_listed_as_chunks_are_finished(database: Database) -> None:
    """None at first."""
    job = submit_job(database, 8)
    assert page(database, job, search="a") == component_list.ComponentPage([], 0, None)
    run_chunk(database, job)
    assert {row.n for row in page(database, job).items} == {4}


def test_what_cannot_be_asked_is_refused(database: Database) -> None:
    """Another's site or method, an unknown order, a text that is too long; each says of which field."""
    job = run_job(database, submit_job(database, 4))
    for field, options in (
        ("site", {"sites": ("resid_post",)}),
        ("site", {"sites": ("resid_post",), "component": "a0.h0"}),
        ("method", {"method": "ig"}),
        ("by", {"by": "beauty"}),
    ):
        with pytest.raises(SpecError) as refused:
            page(database, job, **options)
        assert refused.value.field == field
    with pytest.raises(errors.SearchRefused):
        page(database, job, search="a" * 1001)


@pytest.mark.parametrize("labels", [[], [-1, -2], ["subject", "(rest)"]])
@pytest.mark.parametrize("site", SITES)
def test_names_are_read_as_they_are_written(site: str, labels: list[int | str]) -> None:
    """Of each site: the name's number is that of its place."""
    axes = {"edge": (GRAPH.count,), "mlp_post": (2, 25)}.get(site, (2, 3) if has_inner(site) else (2,))
    shape = (axes[0], *([len(labels)] if labels else []), *axes[1:])
    names = site_names(site, shape, labels, GRAPH)
    assert len(set(names)) == len(names) == math.prod(shape)
    for number, name in enumerate(names):
        read = read_name(name)
        assert read is not None
        assert read.site == site
        place = index_of(read.place, GRAPH)
        if labels:
            place.insert(1, [str(label) for label in labels].index(str(read.position)))
        assert np.ravel_multi_index(place, shape) == number


def test_a_name_without_a_position_gives_all_of_its_positions_where_these_are_asked_for(
    database: Database,
) -> None:
    """And a search for one of them looks among positions by itself."""
    job = run_job(database, submit_job(database, 9, spec=make_spec(positions="keep")))
    with database.read() as session:
        rows = components.components(session, job)
        for whole in {row.name.partition("@")[0] for row in rows}:
            found = component_list.page(session, job, component=whole, kind="aligned").items
            assert [row.name for row in found] == [
                row.name for row in rows if row.name.partition("@")[0] == whole
            ]
        summed = run_job(database, submit_job(database, 9, key="summed"))
    with database.read() as session:
        found = component_list.page(session, summed, search="a1.h0@-1").items
        assert [row.name for row in found] == ["a1.h0@-1"]
