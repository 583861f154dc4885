"""A job's pairs page by page."""

import random
from collections.abc import Iterator

import pytest

from patchgrid.core.errors import SpecError
from patchgrid.core.types import Pair
from patchgrid.storage import Database, errors
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.pair_results import pair_list, pair_view
from patchgrid.storage.pair_results.pair_list import PairLine
from support.storage.chunk_results import make_pairs
from support.storage.storage_backends import run_chunk, submit_job
from support.storage.watching import plan, statements


def page(database: Database, job: JobRecord, **options: object) -> pair_list.PairPage:
    """Return a page."""
    with database.read() as session:
        return pair_list.page(session, job, **options)  # type: ignore[arg-type]


def rows(database: Database, job: JobRecord, **options: object) -> list[int]:
    """Return the rows of all pages together."""
    return [line.row for lines in pages(database, job, **options) for line in lines]


def pages(database: Database, job: JobRecord, **options: object) -> Iterator[tuple[PairLine, ...]]:
    """Go through the pages."""
    after: int | None = -1
    while after is not None:
        found = page(database, job, after=after, **options)
        yield found.items
        assert found.next is None or found.next > after
        after = found.next


def whole(database: Database, job: JobRecord) -> list[PairLine]:
    """Return all pairs, each as shown by itself."""
    with database.read() as session:
        views = [pair_view.pair(session, job, index) for index in range(job.pairs)]
    return [
        PairLine(
            pair=view.name,
            row=view.index,
            state=view.state,
            error=view.error,
            warning=view.warning,
            clean=view.pair.clean,
            corrupted=view.pair.corrupted,
            clean_metric=view.clean_metric,
            corrupted_metric=view.corrupted_metric,
            clean_preference=view.clean_preference,
            corrupted_preference=view.corrupted_preference,
        )
        for view in views
    ]


def half_done(database: Database, count: int = 30, *, chunks: int = 4, named: bool = True) -> JobRecord:
    """Return a job with done and failed pairs and one with a warning; there are other jobs beside it."""
    submit_job(database, 50, key="before")
    job = submit_job(database, pairs=make_pairs(count, named=named))
    for _ in range(chunks):
        assert run_chunk(database, job, failed=(1, 2, 9, 12), warned={3: "no space"})
    other = submit_job(database, 50, key="behind")
    assert run_chunk(database, other, failed=(0, 1, 2, 3))
    return job


@pytest.mark.parametrize("named", [True, False])
def test_pairs_come_with_what_became_of_them(database: Database, named: bool) -> None:
    """As each is shown alone, in the order of the file."""
    job = half_done(database, named=named)
    found = page(database, job)
    assert (list(found.items), found.next) == (whole(database, job), None)
    assert {line.state for line in found.items} == {"pending", "done", "failed"}


def test_pages_of_any_size_are_together_all_pairs_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few pairs are looked at for a page."""
    random_ = random.Random(3)
    job = half_done(database)
    lines = whole(database, job)
    for _ in range(60):
        monkeypatch.setattr(pair_list, "LOOKED_AT", random_.choice([1, 2, 7, 30, 1000]))
        state = random_.choice([None, "pending", "done", "failed"])
        search = random_.choice([None, "", "clean 1", "PAIR-2", "corrupted", "zebra", "9"])
        limit = random_.randint(1, 12)
        wanted = [
            line
            for line in lines
            if state in (None, line.state)
            and (search or "").lower() in f"{line.pair}\n{line.clean}\n{line.corrupted}".lower()
        ]
        found = list(pages(database, job, state=state, search=search, limit=limit))
        assert max(map(len, found)) <= limit
        assert [line for each in found for line in each] == wanted, (state, search, limit)


def test_a_search_looks_at_so_many_pairs_at_most(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page may then be empty and yet say where to go on; so where pairs in a state are asked for."""
    monkeypatch.setattr(pair_list, "LOOKED_AT", 10)
    job = half_done(database)
    for options in ({"search": "zebra"}, {"state": "pending", "search": "zebra"}):
        found = [page(database, job, after=after, **options) for after in (-1, 9, 19)]
        assert [(each.items, each.next) for each in found] == [((), 9), ((), 19), ((), None)]
    assert page(database, job, state="pending") == pair_list.PairPage((), 9)
    assert page(database, job, search="clean 25", after=9) == pair_list.PairPage((), 19)
    assert [line.row for line in page(database, job, search="clean 25", after=19).items] == [25]
    monkeypatch.setattr(pair_list, "LOOKED_AT", 3)
    assert page(database, job, state="failed", search="zebra") == pair_list.PairPage((), 9)
    assert page(database, job, state="failed", search="zebra", after=9) == pair_list.PairPage((), None)
    assert [line.row for line in page(database, job, state="failed").items] == [1, 2, 9, 12]


def test_no_character_of_a_search_stands_for_another(database: Database) -> None:
    """Nor ends the statement."""
    texts = ["100% sure", "a_b", "back\\slash", "sla/sh", "it's", "ÄRGER", "x"]
    pairs = [Pair(text, f"other {at}", ("a",), ("b",), id=f"ID {at}") for at, text in enumerate(texts)]
    job = submit_job(database, pairs=pairs)
    for search, wanted in {
        "0% S": [0],
        "%": [0],
        "_": [1],
        "\\": [2],
        "/": [3],
        "'": [4],
        "gER": [5],
        "Ä": [5],
        "id 6": [6],
        "OTHER 2": [2],
        "a%b": [],
        "\0": [],
        "\ud800": [],
        "' OR '1'='1": [],
    }.items():
        assert rows(database, job, search=search) == wanted, search
    with pytest.raises(errors.SearchRefused):
        page(database, job, search="x" * 1001)


def test_a_name_gives_the_one_pair(database: Database) -> None:
    """Its id first, else its row number; one that there is not gives none."""
    pairs = make_pairs(4)
    pairs[2] = Pair("clean 2", "corrupted 2", (" a",), (" b",), id="3")
    job = submit_job(database, pairs=pairs)
    for name, wanted in {"3": [2], 3: [2], "2": [2], 0: [0], "1": [1], 4: [], -1: [], "x": []}.items():
        found = page(database, job, name=name)
        assert ([line.row for line in found.items], found.next) == (wanted, None), name
    for odd in ("", "9" * 5000, "٣", "\0", "\ud800", 2**70):
        assert rows(database, job, name=odd) == []
    assert rows(database, job, name=1, state="done") == []
    assert rows(database, job, name=1, state="pending", search="CLEAN") == [1]
    assert page(database, job, name=1, after=1) == pair_list.PairPage((), None)


def test_pages_stay_within_the_job(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they are to begin and however long they are to be."""
    job = half_done(database)
    assert page(database, job, after=29) == page(database, job, after=2**70) == pair_list.PairPage((), None)
    assert page(database, job, after=-(2**70)) == page(database, job)
    monkeypatch.setattr(pair_list, "MOST", 5)
    assert len(page(database, job, limit=1000).items) == 5
    assert len(page(database, job, limit=0).items) == 1
    with pytest.raises(SpecError, match="did you mean 'failed'"):
        page(database, job, state="fail")


@pytest.mark.fresh_database  # what is known of the tables decides how they are read
def test_failed_pairs_are_found_by_their_index(database: Database, backend: str) -> None:
    """A page of them, and all of them: the other pairs of the job are not read."""
    job = half_done(database)
    asked = []
    for ask in (
        lambda session: pair_list.page(session, job, state="failed", after=1),
        lambda session: pair_list.page(session, job, state="failed", search="zebra"),
        lambda session: jobs.errors(session, job.id),
    ):
        with database.read() as session, statements(database) as seen:
            ask(session)
        asked += [each for each in seen if each[0].startswith("SELECT")]
    assert len(asked) == 4
    for statement, parameters in asked:
        how = plan(database, statement, parameters)
        assert "ix_outcome_failed" in how, how
        # PostgreSQL forgets a parameter's value once it has planned a statement for any.
        assert "state = 'failed'" in statement
        assert backend == "postgresql" or "SCAN outcome" not in how
    with database.read() as session:
        assert [pair for pair, _ in jobs.errors(session, job.id)] == [f"pair-{row}" for row in (1, 2, 9, 12)]
