"""One pair, with all that is kept of it."""

import numpy as np
import pytest

from patchgrid.storage import Database, errors
from patchgrid.storage.pair_results import pair_view
from patchgrid.storage.results import components
from support.storage.chunk_results import (
    HEADS,
    LAYERS,
    make_pairs,
    make_spec,
    pair_cells,
    pair_scores,
)
from support.storage.storage_backends import run_job, submit_job


@pytest.mark.parametrize("detail", ["pairs", "positions"])
def test_a_pair_is_shown_with_all_that_is_kept_of_it(database: Database, detail: str) -> None:
    """Input, outcome, scores, top components, exact cells."""
    pairs = make_pairs(6, named=True, spans=True)
    job = submit_job(database, pairs=pairs, spec=make_spec(detail=detail))
    run_job(database, job, failed={4}, warned={5: "no leading space"})
    with database.read() as session:
        view = pair_view.pair(session, job, "pair-5")
        assert [pair_view.pair(session, job, row).name for row in (5, "5")] == ["pair-5", "pair-5"]
    assert (view.index, view.name, view.pair, view.state) == (5, "pair-5", pairs[5], "done")
    assert (view.error, view.warning, view.spans) == (None, "no leading space", {"subject": (0, 1)})
    assert view.tokens == ("t0", "t1", "t2", "t3", "t4")
    assert view.corrupted_tokens == ("T0", "T1", "T2", "T3", "T4")
    assert (view.clean_metric, view.corrupted_metric) == (5.0, -5.0)
    assert list(view.scores) == ["z", "mlp_out"]
    for site, scores in view.scores.items():
        wanted = pair_scores(5, site)
        np.testing.assert_array_equal(scores, wanted if detail == "positions" else wanted.sum(axis=1))
    assert [cell.site for cell in view.exact] == sorted(
        (cell.site for cell in view.exact), key=("z", "mlp_out").index
    )
    cells = pair_cells(job, 5, "z") + pair_cells(job, 5, "mlp_out")
    assert [(cell.site, cell.layer, cell.index) for cell in view.exact] == [
        (c.site, c.layer, c.index) for c in cells
    ]


@pytest.mark.parametrize("detail", ["pairs", "positions"])
def test_a_pairs_top_components_are_its_largest_over_all_sites(database: Database, detail: str) -> None:
    """Summed over positions, the largest first."""
    job = run_job(database, submit_job(database, 6, spec=make_spec(detail=detail)))
    every = [
        (site, *place, pair_scores(2, site).sum(axis=1)[place])
        for site in ("z", "mlp_out")
        for place in np.ndindex((LAYERS, HEADS) if site == "z" else (LAYERS,))
    ]
    every.sort(key=lambda entry: -abs(entry[-1]))
    with database.read() as session:
        view = pair_view.pair(session, job, 2)
    found = [
        (top.site, top.layer, *(() if top.index is None else (top.index,)), top.score) for top in view.top
    ]
    assert [entry[:-1] for entry in found] == [entry[:-1] for entry in every[:5]]
    assert [entry[-1] for entry in found] == pytest.approx([entry[-1] for entry in every[:5]])
    assert view.top[0].name.startswith(("a", "m"))


def test_a_failed_pair_shows_its_reason_and_nothing_else(database: Database) -> None:
    """The pairs beside it in its chunk are not mixed up with it."""
    job = run_job(database, submit_job(database, 4), failed={1})
    with database.read() as session:
        view = pair_view.pair(session, job, 1)
        beside = pair_view.pair(session, job, 2)
    assert (view.state, view.error) == ("failed", "the prompts differ in length")
    assert (view.tokens, view.clean_metric, view.scores, view.top, view.exact) == ((), None, {}, (), ())
    np.testing.assert_array_equal(beside.scores["z"], pair_scores(2, "z").sum(axis=1))


def test_a_pair_still_to_do_is_pending(database: Database) -> None:
    """Its input is there already."""
    job = submit_job(database, 4)
    with database.read() as session:
        view = pair_view.pair(session, job, 3)
    assert (view.state, view.pair.clean, view.scores) == ("pending", "clean 3", {})


def test_a_summary_keeps_no_scores_of_pairs(database: Database) -> None:
    """Only their outcomes and exact cells; the job's answers are the same."""
    kept = run_job(database, submit_job(database, 6))
    job = run_job(database, submit_job(database, 6, spec=make_spec(detail="summary")))
    with database.read() as session:
        view = pair_view.pair(session, job, 0)
        assert components.components(session, job) == components.components(session, kept)
    assert (view.scores, view.top, view.tokens) == ({}, (), ("t0", "t1", "t2"))


@pytest.mark.parametrize("name", [10, "10", "pair-1", "-1", -1, "", "²"])
def test_a_pair_that_does_not_exist_is_not_found(database: Database, name: int | str) -> None:
    """The rows there are, are said."""
    job = submit_job(database)
    with database.read() as session, pytest.raises(errors.PairNotFound, match=r"a row \(0 to 9\)"):
        pair_view.pair(session, job, name)


def test_an_id_goes_before_a_row_number(database: Database) -> None:
    """Ids may be numbers."""
    pairs = make_pairs(3)
    pairs = [
        type(pair)(pair.clean, pair.corrupted, (1,), (2,), id=str(2 - n)) for n, pair in enumerate(pairs)
    ]
    job = submit_job(database, pairs=pairs)
    with database.read() as session:
        assert pair_view.pair(session, job, "0").index == 2
