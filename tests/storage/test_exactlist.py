"""A job's exactly patched cells page by page."""

import random
from typing import Any

import pytest

from patchgrid.engine.errors import SpecError
from patchgrid.engine.names import EDGE
from patchgrid.storage import Database, errors, exactlist
from patchgrid.storage.export import export_rows
from patchgrid.storage.jobs import JobRecord
from support.chunk_results import make_pairs, make_spec
from support.storage_backends import run_chunk, run_job, submit_job


def page(database: Database, job: JobRecord, **options: object) -> exactlist.ExactPage:
    """Give a page."""
    with database.read() as session:
        return exactlist.page(session, job, **options)  # type: ignore[arg-type]


def exported(database: Database, job: JobRecord, method: str | None = None) -> list[dict[str, Any]]:
    """Give all cells, as an export has them."""
    with database.read() as session:
        rows = list(export_rows(session, job, "exact", method))
    return [{EDGE: None} | row for row in rows]


def paged(database: Database, job: JobRecord, **options: object) -> list[dict[str, Any]]:
    """Give the cells of all pages together."""
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
    for method in (None, *job.spec.methods):
        cells = exported(database, job, method)
        assert len(cells) > 20
        for site in (None, *job.spec.sites):
            wanted = [cell for cell in cells if site in (None, cell["site"])]
            monkeypatch.setattr(exactlist, "LOOKED_AT", 10_000)
            assert page(database, job, site=site, method=method) == exactlist.ExactPage(wanted, None)
            for _ in range(4):
                monkeypatch.setattr(exactlist, "LOOKED_AT", random_.choice([1, 3, 10, 10_000]))
                limit = random_.choice([1, 2, 7, 50, 20_000])
                assert paged(database, job, site=site, method=method, limit=limit) == wanted


def test_a_site_is_looked_for_among_so_many_cells_at_most(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may then be short, or empty, and yet say where to go on."""
    monkeypatch.setattr(exactlist, "LOOKED_AT", 2)
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


def test_a_page_has_so_many_cells_at_most(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are asked for, and wherever they are to begin."""
    job = run_job(database, submit_job(database, 8))
    monkeypatch.setattr(exactlist, "MOST", 5)
    assert len(page(database, job, limit=1000).items) == 5
    assert len(page(database, job, limit=0).items) == 1
    assert page(database, job, after=(2**70, 2**70)) == exactlist.ExactPage([], None)
    assert page(database, job, after=(-(2**70), 3)) == page(database, job)


def test_cells_are_there_as_chunks_are_finished(database: Database) -> None:
    """None at first."""
    job = submit_job(database, 8)
    assert page(database, job) == page(database, job, site="z") == exactlist.ExactPage([], None)
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
