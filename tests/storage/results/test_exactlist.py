"""A job's exactly patched cells page by page."""

import random
from collections import Counter
from typing import Any

import pytest

from patchgrid.core.errors import SpecError
from patchgrid.core.sites import EDGE, INDEX_FIELDS, index_of_fields, short_name
from patchgrid.storage import Database, errors
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.export import export_rows
from patchgrid.storage.pair_results import exact_list, pair_view
from patchgrid.storage.results import components
from patchgrid.storage.results.furthest import furthest
from support.storage.chunk_results import make_pairs, make_spec
from support.storage.storage_backends import run_chunk, run_job, submit_job


def page(database: Database, job: JobRecord, **options: object) -> exact_list.ExactPage:
    """Return a page."""
    with database.read() as session:
        return exact_list.page(session, job, **options)  # type: ignore[arg-type]


def exported(database: Database, job: JobRecord, method: str | None = None) -> list[dict[str, Any]]:
    """Return all cells, as exported."""
    rows = list(export_rows(database, job, "exact", method))
    return [{EDGE: None} | row for row in rows]


def paged(database: Database, job: JobRecord, **options: object) -> list[dict[str, Any]]:
    """Return the cells of all pages together."""
    found: list[dict[str, Any]] = []
    after: tuple[int, int] | None = None
    while True:
        each = page(database, job, after=after, **options)
        found += each.items
        if each.next is None:
            return found
        assert after is None or each.next > after
        after = each.next


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ({"method": "atp,relp"}, {}),
        ({"positions": "keep"}, {"spans": ("subject",)}),
        ({"positions": "keep", "sites": ("z",)}, {}),
        ({"method": "eap", "sites": (EDGE,)}, {}),
    ],
    ids=["methods", "spans", "one site", "edges"],
)
def test_pages_of_any_size_are_together_the_export(
    database: Database, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], options: dict[str, Any]
) -> None:
    """By each method and of each site, however few cells are looked at for a page."""
    random_ = random.Random(5)
    submit_job(database, 4, key="before")
    pairs = make_pairs(9, named=True, spans="spans" in options)
    job = submit_job(database, spec=make_spec(**spec), pairs=pairs, **options)
    run_job(database, job, failed=(2,))
    run_job(database, submit_job(database, 4, key="behind"))
    for method in (None, *job.spec.query.method_names):
        cells = exported(database, job, method)
        assert len(cells) > 20
        for site in (None, *job.spec.query.sites):
            wanted = [cell for cell in cells if site in (None, cell["site"])]
            monkeypatch.setattr(exact_list, "LOOKED_AT", 10_000)
            assert page(database, job, site=site, method=method) == exact_list.ExactPage(wanted, None)
            for _ in range(4):
                monkeypatch.setattr(exact_list, "LOOKED_AT", random_.choice([1, 3, 10, 10_000]))
                limit = random_.choice([1, 2, 7, 50, 20_000])
                assert paged(database, job, site=site, method=method, limit=limit) == wanted


def test_a_site_is_looked_for_among_so_many_cells_at_most(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may then be short, or empty, and yet say where to go on."""
    monkeypatch.setattr(exact_list, "LOOKED_AT", 2)
    job = run_job(database, submit_job(database, 8))
    cells = exported(database, job)
    counts, after = [], None
    while True:
        found = page(database, job, site="mlp_out", after=after)
        counts.append(len(found.items))
        after = found.next
        if after is None:
            break
    assert sum(counts) == sum(cell["site"] == "mlp_out" for cell in cells)
    assert 0 in counts
    assert max(counts) <= 2
    assert len(counts) == len(cells) // 2 + 1


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ({"method": "atp,relp"}, {}),
        ({"positions": "keep"}, {"spans": ("subject",)}),
        ({"positions": "keep", "sites": ("z", "mlp_post")}, {}),
        ({"method": "eap", "sites": (EDGE,)}, {}),
    ],
    ids=["methods", "spans", "positions", "edges"],
)
def test_a_components_cells_are_found_by_its_name(
    database: Database, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], options: dict[str, Any]
) -> None:
    """At all positions, at one as cells are named, or by its index; however few cells are looked at."""
    submit_job(database, 4, key="before")
    pairs = make_pairs(9, named=True, spans="spans" in options)
    job = run_job(database, submit_job(database, spec=make_spec(**spec), pairs=pairs, **options), failed=(2,))
    run_job(database, submit_job(database, 4, key="behind"))
    for method in job.spec.query.method_names:
        names: dict[str, list[dict[str, Any]]] = {}
        for cell in exported(database, job, method):
            place = {name: cell[name] for name in ("site", "layer", "edge")}
            place["index"] = index_of_fields(cell[field] for field in INDEX_FIELDS)
            own = {short_name(**place, position=position) for position in (None, cell["position"])}
            for name in own | {cell["component"]}:
                names.setdefault(name, []).append(cell)
        assert len(names) > 5
        for name, wanted in names.items():
            monkeypatch.setattr(exact_list, "LOOKED_AT_FOR_ONE", 10_000)
            found = page(database, job, component=name, method=method)
            assert found == exact_list.ExactPage(wanted, None)
        for looked_at, limit in ((1, 20), (7, 2), (10_000, 1)):
            monkeypatch.setattr(exact_list, "LOOKED_AT_FOR_ONE", looked_at)
            assert paged(database, job, component=name, method=method, limit=limit) == wanted
        site = wanted[0]["site"]
        assert paged(database, job, component=name, method=method, site=site) == wanted


def test_what_has_no_cells_is_answered_with_none(database: Database) -> None:
    """Beyond the model, of another site, at no position of the job's, or no name at all."""
    job = run_job(database, submit_job(database, 8))
    names = (
        "a0.h3",
        "m2",
        "a0",
        "resid_post0",
        "m0@3",
        "n0.3",
        "a0.h0->m1",
        "a9999999999->m1",
        "",
        "\0",
        "@",
    )
    for name in names:
        assert page(database, job, component=name) == exact_list.ExactPage([], None), name
    assert page(database, job, component="m0", site="z") == exact_list.ExactPage([], None)
    spans = {"pairs": make_pairs(4, spans=True), "spans": ("subject",)}
    kept = run_job(database, submit_job(database, spec=make_spec(positions="keep"), key="kept", **spans))
    assert page(database, kept, component="m0@\0") == exact_list.ExactPage([], None)
    assert page(database, kept, component="m0@subject").items


def test_a_cell_has_the_name_of_its_component(database: Database) -> None:
    """Positions count from the end of its pair's own tokens, as in the job's list of components."""
    job = run_job(database, submit_job(database, 9, spec=make_spec(positions="keep", exact=1.0)))
    cells = exported(database, job)
    with database.read() as session:
        rows = components.components(session, job)
        counts = {index: len(pair_view.pair_at(session, job, index).tokens) for index in range(9)}
    assert {cell["component"] for cell in cells} == {row.name for row in rows}
    assert len(set(counts.values())) > 1
    for cell in cells:
        assert cell["component"].endswith(f"@{cell['position'] - counts[cell['pair']]}")
    for row in rows:
        assert len(paged(database, job, component=row.name)) == row.exact_n


def test_a_position_that_is_no_number_is_refused_for_cells(database: Database) -> None:
    """The words say what to ask for."""
    job = submit_job(database, 4)
    with pytest.raises(SpecError, match="-1 is the last token") as refused:
        page(database, job, component="m0@last")
    assert refused.value.field == "component"


def test_a_page_has_so_many_cells_at_most(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are asked for, and wherever they are to begin."""
    job = run_job(database, submit_job(database, 8))
    monkeypatch.setattr(exact_list, "MOST", 5)
    assert len(page(database, job, limit=1000).items) == 5
    assert len(page(database, job, limit=0).items) == 1
    assert page(database, job, after=(2**70, 2**70)) == exact_list.ExactPage([], None)
    assert page(database, job, after=(-(2**70), 3)) == page(database, job)


def test_cells_are_there_as_chunks_are_finished(database: Database) -> None:
    """None at first."""
    job = submit_job(database, 8)
    assert page(database, job) == page(database, job, site="z") == exact_list.ExactPage([], None)
    run_chunk(database, job)
    assert {cell["pair"] for cell in page(database, job).items} == {0, 1, 2, 3}


def test_what_the_job_does_not_have_is_refused(database: Database) -> None:
    """Another's site or method; cells, where nothing was patched."""
    job = submit_job(database)
    for options in ({"site": "resid_post"}, {"method": "ig"}):
        with pytest.raises(SpecError, match="of this job"):
            page(database, job, **options)
    unpatched = submit_job(database, spec=make_spec(exact=0.0))
    with pytest.raises(errors.NothingKept, match="patched nothing exactly"):
        page(database, unpatched)


@pytest.mark.parametrize("method", ["atp", "relp"])
def test_the_cells_furthest_off_are_of_all_cells_and_one_a_component(database: Database, method: str) -> None:
    """Held to every cell that is exported, the largest |effect - score| first."""
    job = run_job(database, submit_job(database, 30, spec=make_spec(method="atp,relp", exact=0.5)))
    best: dict[str, dict[str, Any]] = {}
    every = exported(database, job, method)
    for cell in every:
        off = abs(cell["effect"] - cell["score"])
        if cell["site"] == "z" and off > best.get(cell["component"], {"off": -1})["off"]:
            best[cell["component"]] = cell | {"off": off}
    wanted = sorted(best.values(), key=lambda cell: -cell["off"])
    with database.read() as session:
        found = furthest(session, job, "z", method, limit=4)
    assert [cell["component"] for cell in found] == [cell["component"] for cell in wanted[:4]]
    assert [cell["off"] for cell in found] == pytest.approx([cell["off"] for cell in wanted[:4]])
    assert [cell["pair"] for cell in found] == [cell["pair"] for cell in wanted[:4]]
    counts = Counter(cell["component"] for cell in every)
    assert [cell["cells"] for cell in found] == [counts[cell["component"]] for cell in wanted[:4]]
