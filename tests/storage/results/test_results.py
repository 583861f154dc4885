"""A job's answers are those of its pairs, however they were chunked."""

import numpy as np
import pytest

from patchgrid.core.errors import SpecError
from patchgrid.core.names import REST
from patchgrid.estimates import Sums, estimate
from patchgrid.storage import Database, errors, tables
from patchgrid.storage.chunks import sums
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.results import components, plots, verification
from patchgrid.storage.results.coverage import coverage
from support.storage.chunk_results import (
    HEADS,
    LAYERS,
    chunk_result,
    make_pairs,
    make_spec,
    pair_cells,
    pair_scores,
)
from support.storage.storage_backends import rows_of, run_chunk, run_job, submit_job


def whole_scores(indices: range, site: str) -> np.ndarray:
    """Return the scores `[pair, layer(, head)]`, straight from their source."""
    return np.stack([pair_scores(index, site).sum(axis=1) for index in indices]).astype(np.float64)


def test_means_are_those_of_the_pairs(database: Database) -> None:
    """Failed pairs left out."""
    job = run_job(database, submit_job(database, 11), failed={3})
    rows = rows_of(database, job)
    indices = [index for index in range(11) if index != 3]
    for site in job.spec.query.sites:
        scores = np.stack([pair_scores(index, site).sum(axis=1) for index in indices]).astype(np.float64)
        for place in np.ndindex(scores.shape[1:]):
            row = rows[site, place[0], place[1] if len(place) > 1 else None, None]
            mine = scores[(slice(None), *place)]
            assert row.n == 10
            assert row.mean == pytest.approx(mine.mean())
            assert row.mean_abs == pytest.approx(np.abs(mine).mean())
            assert row.std == pytest.approx(mine.std(ddof=1))
    assert len(rows) == LAYERS * HEADS + LAYERS


def test_estimates_are_those_of_one_chunk_with_all_pairs(database: Database) -> None:
    """Chunks add up."""
    job = run_job(database, submit_job(database, 30))
    whole = chunk_result(job, Lease(1, job.id, 1, 1, 0, job.pairs, "worker"))
    rows = rows_of(database, job, interval="pairs")
    for site in job.spec.query.sites:
        wanted = estimate(whole.sums[site, "whole"])
        for place in np.ndindex(wanted.n.shape):
            row = rows[site, place[0], place[1] if len(place) > 1 else None, None]
            assert row.exact_n == wanted.exact_n[place]
            assert row.estimate == pytest.approx(wanted.estimate[place])
            assert row.ci_low == pytest.approx(wanted.ci_low[place])
            assert row.ci_high == pytest.approx(wanted.ci_high[place])
    wider = rows_of(database, job)
    assert all(wider[key].ci_high > row.ci_high for key, row in rows.items())  # type: ignore[operator]


def test_positions_are_aligned_from_the_end(database: Database) -> None:
    """Pairs of 3, 4 and 5 tokens: the fifth from the end is a third of the pairs'."""
    job = run_job(database, submit_job(database, 12, spec=make_spec(positions="keep")))
    rows = rows_of(database, job)
    assert [key[3] for key in rows if key[:3] == ("z", 0, 0)] == [-5, -4, -3, -2, -1]
    last = [pair_scores(index, "z")[1, -1, 2] for index in range(12)]
    assert rows["z", 1, 2, -1].n == 12
    assert rows["z", 1, 2, -1].mean == pytest.approx(np.mean(last))
    fifth = [pair_scores(index, "z")[1, -5, 2] for index in range(12) if index % 3 == 2]
    assert rows["z", 1, 2, -5].n == 4
    assert rows["z", 1, 2, -5].mean == pytest.approx(np.mean(fifth))
    assert any(row.exact_n for row in rows.values())


def test_positions_are_aligned_by_spans_where_pairs_have_them(database: Database) -> None:
    """In the order of the spans, the rest last."""
    pairs = make_pairs(9, spans=True)
    job = submit_job(database, pairs=pairs, spec=make_spec(positions="keep"), spans=("subject",))
    rows = rows_of(database, run_job(database, job))
    assert [key[3] for key in rows if key[:2] == ("mlp_out", 1)] == ["subject", REST]
    first = [pair_scores(index, "mlp_out")[1, 0] for index in range(9)]
    assert rows["mlp_out", 1, None, "subject"].mean == pytest.approx(np.mean(first))
    rest = [pair_scores(index, "mlp_out")[1, 1:].sum() for index in range(9)]
    assert rows["mlp_out", 1, None, REST].mean == pytest.approx(np.mean(rest))
    assert rows["mlp_out", 1, None, "subject"].name == "m1@subject"


def test_whole_components_can_be_asked_for_where_positions_are_kept(database: Database) -> None:
    """Without estimates: their cells were not patched."""
    job = run_job(database, submit_job(database, 6, spec=make_spec(positions="keep")))
    rows = rows_of(database, job, kind="whole", sites=("z",))
    assert len(rows) == LAYERS * HEADS
    assert rows["z", 0, 1, None].mean == pytest.approx(whole_scores(range(6), "z")[:, 0, 1].mean())
    assert {row.estimate for row in rows.values()} == {None}


def test_an_unfinished_job_answers_from_what_is_done(database: Database) -> None:
    """Nothing at all at first."""
    job = submit_job(database, 12)
    assert rows_of(database, job) == {}
    run_chunk(database, job)
    assert {row.n for row in rows_of(database, job).values()} == {4}


def test_a_finished_jobs_totals_are_its_chunks_sums(database: Database) -> None:
    """To the last bit: an answer does not change when the job ends."""
    job = run_job(database, submit_job(database, 30))
    with database.read() as session:
        for site in job.spec.query.sites:
            for kind in sums.KINDS:
                total = components.job_sums(session, job, site, kind)
                added = sums.add_up(session, job.id, site, kind, "atp")
                assert total is not None
                assert added is not None
                np.testing.assert_array_equal(total.values, added.values)


def test_a_job_without_exact_patching_has_means_only(database: Database) -> None:
    """Its top components are those of largest mean."""
    job = run_job(database, submit_job(database, 6, spec=make_spec(exact=0)))
    with database.read() as session:
        rows = components.top(session, job, 3)
        assert verification.verification(session, job) == []
    assert all(row.estimate is None and row.ci_low is None and row.exact_n == 0 for row in rows)
    means = sorted((abs(row.mean or 0) for row in rows_of(database, job).values()), reverse=True)
    assert [abs(row.mean or 0) for row in rows] == means[:3]


def test_top_components_are_the_largest_of_all_sites(database: Database) -> None:
    """By |estimate|, |mean| or mean |score|."""
    job = run_job(database, submit_job(database, 20))
    every = list(rows_of(database, job).values())
    with database.read() as session:
        for by in ("estimate", "mean", "mean_abs"):
            sizes = sorted((abs(getattr(row, by)) for row in every), reverse=True)
            found = components.top(session, job, 5, by=by)
            assert [abs(getattr(row, by)) for row in found] == sizes[:5]
        assert len(components.top(session, job)) == len(every)
        with pytest.raises(SpecError, match="'estimate'"):
            components.top(session, job, by="estimates")


def test_sites_that_the_job_does_not_have_are_refused(database: Database) -> None:
    """With those it has."""
    job = run_job(database, submit_job(database, 2, spec=make_spec(sites=("z",))))
    with database.read() as session:
        for ask in (
            lambda: components.components(session, job, sites=("mlp_out",)),
            lambda: plots.heatmap(session, job, "mlp_out", "whole"),
            lambda: plots.cells(session, job, "mlp_out"),
        ):
            with pytest.raises(SpecError, match="available: z"):
                ask()


def test_damaged_sums_are_an_error_not_an_answer(database: Database) -> None:
    """Which chunk's, is said."""
    job = submit_job(database, 8)
    run_chunk(database, job)
    with database.write() as session:
        session.execute(
            tables.sums.update().where(tables.sums.c.site == "z").values(data=b"PGB1 but no more")
        )
    with database.read() as session, pytest.raises(errors.CorruptData, match="chunk 1, z are damaged"):
        components.top(session, job)


def test_cells_are_those_that_were_patched(database: Database) -> None:
    """In order of pair; a limit takes the first."""
    job = run_job(database, submit_job(database, 10))
    cells = [cell for index in range(10) for cell in pair_cells(job, index, "z")]
    with database.read() as session:
        found = plots.cells(session, job, "z")
        first = plots.cells(session, job, "z", limit=3)
    np.testing.assert_allclose(found.score, [cell.score for cell in cells])
    np.testing.assert_allclose(found.effect, [cell.effect for cell in cells])
    np.testing.assert_allclose(found.inclusion, [cell.inclusion for cell in cells])
    np.testing.assert_array_equal(first.score, found.score[:3])


def test_sums_of_nothing_are_none(database: Database) -> None:
    """No chunk has committed any."""
    job = submit_job(database)
    with database.read() as session:
        assert components.job_sums(session, job, "z", "whole") is None


def test_blobs_keep_sums_as_they_are() -> None:
    """Sampled or not, aligned or not."""
    for sampled in (True, False):
        for aligned in (True, False):
            given = Sums.zeros((2, 3), sampled=sampled, aligned=aligned)
            given.add_pairs(np.arange(6.0).reshape(1, 2, 3))
            found = sums.read_sums(sums.pack_sums(given), "sums")
            assert (found.names, found.aligned) == (given.names, aligned)
            np.testing.assert_array_equal(found.values, given.values)


def test_coverage_counts_the_cells_that_were_patched_and_all_that_there_are(database: Database) -> None:
    """Over all sites or one; failed pairs have no cells."""
    job = run_job(database, submit_job(database, 40))
    with database.read() as session:
        by_site = {site: coverage(session, job, site) for site in job.spec.query.sites}
        for site, found in by_site.items():
            assert found.patched == len(plots.cells(session, job, site).effect) > 0
            assert found.cells == sum(row.n for row in components.components(session, job, sites=(site,)))
            assert found.share == found.patched / found.cells
        whole = coverage(session, job)
        assert whole.patched == sum(found.patched for found in by_site.values())
        assert whole.cells == sum(found.cells for found in by_site.values())
        with pytest.raises(SpecError, match="unknown site of this job 'q'"):
            coverage(session, job, "q")
