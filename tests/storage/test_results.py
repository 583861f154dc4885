"""A job's answers are those of its pairs, however they were chunked."""

import math

import numpy as np
import pytest

from patchgrid.engine.errors import ComponentError, SpecError
from patchgrid.engine.names import REST
from patchgrid.estimates import Sums, agreement, estimate, top_overlap
from patchgrid.storage import Database, components, errors, pairview, plots, sums, tables, verification
from patchgrid.storage.components import ComponentRow
from patchgrid.storage.coverage import coverage
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.leases import Lease
from patchgrid.storage.pairscores import exact_grid
from support import chunk_results
from support.chunk_results import (
    HEADS,
    LAYERS,
    chunk_result,
    effect_of,
    make_pairs,
    make_spec,
    pair_cells,
    pair_scores,
)
from support.storage_backends import run_chunk, run_job, submit_job


def rows_of(database: Database, job: JobRecord, **options: object) -> dict[tuple[object, ...], ComponentRow]:
    """Give a job's components by site, layer, head and position."""
    with database.read() as session:
        rows = components.components(session, job, **options)  # type: ignore[arg-type]
    return {(row.site, row.layer, row.head, row.position): row for row in rows}


def whole_scores(indices: range, site: str) -> np.ndarray:
    """Give the scores `[pair, layer(, head)]`, straight from their source."""
    return np.stack([pair_scores(index, site).sum(axis=1) for index in indices]).astype(np.float64)


def test_means_are_those_of_the_pairs(database: Database) -> None:
    """Failed pairs left out."""
    job = run_job(database, submit_job(database, 11), failed={3})
    rows = rows_of(database, job)
    indices = [index for index in range(11) if index != 3]
    for site in job.spec.sites:
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
    rows = rows_of(database, job)
    for site in job.spec.sites:
        wanted = estimate(whole.sums[site, "whole"])
        for place in np.ndindex(wanted.n.shape):
            row = rows[site, place[0], place[1] if len(place) > 1 else None, None]
            assert row.exact_n == wanted.exact_n[place]
            assert row.estimate == pytest.approx(wanted.estimate[place])
            assert row.ci_low == pytest.approx(wanted.ci_low[place])
            assert row.ci_high == pytest.approx(wanted.ci_high[place])
    wider = rows_of(database, job, population=True)
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
        for site in job.spec.sites:
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
            with pytest.raises(SpecError, match="known: z"):
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


def test_verification_agrees_with_the_cells(database: Database) -> None:
    """Weighted by 1 / inclusion; its effects are a line of slope 1.25."""
    job = run_job(database, submit_job(database, 40))
    with database.read() as session:
        found = verification.verification(session, job, top_k=3)
        for site, row in zip(job.spec.sites, found, strict=True):
            cells = plots.cells(session, job, site)
            wanted = agreement(cells.score, cells.effect, cells.inclusion)
            assert (row.site, row.n, row.spearman_n) == (site, wanted.n, wanted.n)
            for name in ("pearson", "spearman", "slope", "intercept", "sign_agreement"):
                assert getattr(row, name) == pytest.approx(getattr(wanted, name)), name
            total = components.job_sums(session, job, site, "whole")
            assert total is not None
            estimates = estimate(total)
            assert row.top_k == min(3, row.components)
            overlap = top_overlap(estimates.mean, estimates.estimate, 3)
            assert row.top_overlap == (None if np.isnan(overlap) else pytest.approx(overlap))
            assert (row.top_overlap is None) == (row.components <= 3)
            assert row.cells == job.pairs * estimates.n.size
            assert row.components == int(np.isfinite(estimates.estimate).sum())
            assert row.slope == pytest.approx(1.25)
            assert row.intercept == pytest.approx(0.1)


def test_agreement_that_the_cells_do_not_determine_is_none(database: Database) -> None:
    """One cell has no correlation."""
    job = submit_job(database, 1, spec=make_spec(exact=0.2, seed=3))
    job = run_job(database, job)
    with database.read() as session:
        rows = verification.verification(session, job)
        single = [row for row in rows if row.n == 1]
        assert all(row.pearson is None and row.slope is None for row in single)
        for row in rows:
            assert all(
                value is None or math.isfinite(value) for value in (row.pearson, row.spearman, row.slope)
            )


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


def test_a_heatmap_is_layer_by_head(database: Database) -> None:
    """Estimates where every component has one; a site without heads has one column."""
    job = run_job(database, submit_job(database, 40))
    rows = rows_of(database, job)
    with database.read() as session:
        heads = plots.heatmap(session, job, "z", "whole")
        single = plots.heatmap(session, job, "mlp_out", "whole")
    assert (heads.measure, heads.values.shape, heads.columns) == ("estimate", (LAYERS, HEADS), (0, 1, 2))
    assert heads.values[1, 2] == pytest.approx(rows["z", 1, 2, None].estimate)
    assert (single.values.shape, single.columns) == ((LAYERS, 1), ("",))
    assert single.values[1, 0] == pytest.approx(rows["mlp_out", 1, None, None].estimate)


def test_a_heatmap_is_layer_by_position_summed_over_heads(database: Database) -> None:
    """Means where positions were not sampled; columns in the order of the prompt."""
    job = run_job(database, submit_job(database, 12))
    with database.read() as session:
        found = plots.heatmap(session, job, "z", "aligned")
    assert (found.measure, found.columns) == ("mean", (-5, -4, -3, -2, -1))
    second = [pair_scores(index, "z")[0, -2].sum() for index in range(12)]
    assert found.values[0, 3] == pytest.approx(np.mean(second))
    fifth = [pair_scores(index, "z")[0, -5].sum() for index in range(12) if index % 3 == 2]
    assert found.values[0, 0] == pytest.approx(np.mean(fifth))


def test_a_heatmap_by_spans_keeps_their_order(database: Database) -> None:
    """The rest comes last."""
    job = submit_job(database, pairs=make_pairs(6, spans=True), spec=make_spec(exact=0), spans=("subject",))
    run_job(database, job)
    with database.read() as session:
        found = plots.heatmap(session, job, "mlp_out", "aligned")
    assert found.columns == ("subject", REST)
    assert found.values[1, 0] == pytest.approx(np.mean([pair_scores(n, "mlp_out")[1, 0] for n in range(6)]))


def test_a_rest_of_nothing_is_left_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that cover all that differs leave a column without a value, or of zeros."""
    spanned = make_pairs(6, spans=True)
    job = submit_job(database, pairs=spanned, spec=make_spec(exact=0), spans=("subject",))

    def within_the_span(index: int, site: str, method: str = "atp") -> np.ndarray:
        scores = pair_scores(index, site, method)
        scores[:, 1:] = 0
        return scores

    monkeypatch.setattr(chunk_results, "pair_scores", within_the_span)
    run_job(database, job)
    with database.read() as session:
        found = plots.heatmap(session, job, "mlp_out", "aligned")
    assert found.columns == ("subject",)
    assert found.values.shape == (LAYERS, 1)


def test_the_strongest_cells_are_named_once_each(database: Database) -> None:
    """By their components, at the index of the strongest cell of each."""
    job = run_job(database, submit_job(database, 10))
    cells = [cell for index in range(10) for cell in pair_cells(job, index, "z")]
    with database.read() as session:
        found = plots.cells(session, job, "z")
    order = sorted(range(len(cells)), key=lambda index: -abs(cells[index].effect))
    first: dict[str, int] = {}
    for index in order:
        first.setdefault(f"a{cells[index].layer}.h{cells[index].head}", index)
    expected = {index: name for name, index in first.items()}
    assert dict(found.strongest) == dict(list(expected.items())[: plots.NAMED])


def test_a_pairs_exact_effects_are_laid_out_by_layer_and_position(database: Database) -> None:
    """Where they were patched, NaN where not."""
    for share in (1, 0.3):
        spec = make_spec(exact=share, positions="keep")
        job = run_job(database, submit_job(database, 6, spec=spec, key=f"{share}"))
        with database.read() as session:
            view = pairview.pair(session, job, 5)
        grid = exact_grid(job, view, "mlp_out")
        effects = np.full((LAYERS, 5), np.nan)
        for cell in pair_cells(job, 5, "mlp_out"):
            effects[cell.layer, cell.position] = cell.effect
        assert (grid.axis, grid.columns) == ("position", (0, 1, 2, 3, 4))
        np.testing.assert_allclose(grid.values, effects[: len(grid.values)], rtol=1e-6)
        assert grid.patched == np.isfinite(effects).sum()
        assert np.isfinite(grid.values).all() == (share == 1)


def test_a_pairs_exact_effects_are_laid_out_by_head_and_by_span(database: Database) -> None:
    """By head where positions were summed."""
    job = run_job(database, submit_job(database, 6, spec=make_spec(exact=1)))
    spec = make_spec(exact=1, positions="keep")
    spanned = submit_job(database, pairs=make_pairs(6, spans=True), spec=spec, spans=("subject",), key="s")
    run_job(database, spanned)
    with database.read() as session:
        heads = exact_grid(job, pairview.pair(session, job, 2), "z")
        spans = exact_grid(spanned, pairview.pair(session, spanned, 2), "mlp_out")
    assert (heads.axis, heads.columns, heads.values.shape) == ("head", (0, 1, 2), (LAYERS, HEADS))
    np.testing.assert_allclose(heads.values, effect_of(pair_scores(2, "z").sum(axis=1)), rtol=1e-5)
    assert (spans.axis, spans.columns) == ("span", ("subject", REST))
    np.testing.assert_allclose(spans.values[:, 0], effect_of(pair_scores(2, "mlp_out")[:, 0]), rtol=1e-5)


def test_exact_effects_that_no_grid_shows_are_refused(database: Database) -> None:
    """With what to do instead."""
    job = run_job(database, submit_job(database, 6, spec=make_spec(exact=0)), failed={3})
    kept = submit_job(database, 6, spec=make_spec(exact=1, positions="keep"), key="kept")
    run_job(database, kept)
    with database.read() as session:
        done, failed, at_each = (
            pairview.pair(session, of, name) for of, name in ((job, 2), (job, 3), (kept, 2))
        )
    for view, why in ((done, "none of them was drawn"), (failed, "pair 3 is failed")):
        with pytest.raises(errors.NothingKept, match=rf"\({why}\): run the job with --sites z --exact 1"):
            exact_grid(job, view, "z")
    with pytest.raises(ComponentError, match="run it with --positions keep --exact 1"):
        exact_grid(job, done, "mlp_out")
    with pytest.raises(ComponentError, match=r"heads at each position.*take one of mlp_out"):
        exact_grid(kept, at_each, "z")


def test_a_heatmap_of_nothing_is_refused(database: Database) -> None:
    """Until the first chunk is done."""
    job = submit_job(database)
    with database.read() as session, pytest.raises(errors.NothingKept, match="no results for z yet"):
        plots.heatmap(session, job, "z", "whole")


@pytest.mark.parametrize("detail", ["pairs", "positions"])
def test_a_pair_is_shown_with_all_that_is_kept_of_it(database: Database, detail: str) -> None:
    """Input, outcome, scores, top components, exact cells."""
    pairs = make_pairs(6, named=True, spans=True)
    job = submit_job(database, pairs=pairs, spec=make_spec(detail=detail))
    run_job(database, job, failed={4}, warned={5: "no leading space"})
    with database.read() as session:
        view = pairview.pair(session, job, "pair-5")
        assert [pairview.pair(session, job, row).name for row in (5, "5")] == ["pair-5", "pair-5"]
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
    assert [(cell.site, cell.layer, cell.head) for cell in view.exact] == [
        (c.site, c.layer, c.head) for c in cells
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
        view = pairview.pair(session, job, 2)
    found = [(top.site, top.layer, *(() if top.head is None else (top.head,)), top.score) for top in view.top]
    assert [entry[:-1] for entry in found] == [entry[:-1] for entry in every[:5]]
    assert [entry[-1] for entry in found] == pytest.approx([entry[-1] for entry in every[:5]])
    assert view.top[0].name.startswith(("a", "m"))


def test_a_failed_pair_shows_its_reason_and_nothing_else(database: Database) -> None:
    """The pairs beside it in its chunk are not mixed up with it."""
    job = run_job(database, submit_job(database, 4), failed={1})
    with database.read() as session:
        view = pairview.pair(session, job, 1)
        beside = pairview.pair(session, job, 2)
    assert (view.state, view.error) == ("failed", "the prompts differ in length")
    assert (view.tokens, view.clean_metric, view.scores, view.top, view.exact) == ((), None, {}, (), ())
    np.testing.assert_array_equal(beside.scores["z"], pair_scores(2, "z").sum(axis=1))


def test_a_pair_still_to_do_is_pending(database: Database) -> None:
    """Its input is there already."""
    job = submit_job(database, 4)
    with database.read() as session:
        view = pairview.pair(session, job, 3)
    assert (view.state, view.pair.clean, view.scores) == ("pending", "clean 3", {})


def test_a_summary_keeps_no_scores_of_pairs(database: Database) -> None:
    """Only their outcomes and exact cells; the job's answers are the same."""
    kept = run_job(database, submit_job(database, 6))
    job = run_job(database, submit_job(database, 6, spec=make_spec(detail="summary")))
    with database.read() as session:
        view = pairview.pair(session, job, 0)
        assert components.components(session, job) == components.components(session, kept)
    assert (view.scores, view.top, view.tokens) == ({}, (), ("t0", "t1", "t2"))


@pytest.mark.parametrize("name", [10, "10", "pair-1", "-1", -1, "", "²"])
def test_a_pair_that_does_not_exist_is_not_found(database: Database, name: int | str) -> None:
    """The rows there are, are said."""
    job = submit_job(database)
    with database.read() as session, pytest.raises(errors.PairNotFound, match="a row from 0 to 9"):
        pairview.pair(session, job, name)


def test_an_id_goes_before_a_row_number(database: Database) -> None:
    """Ids may be numbers."""
    pairs = make_pairs(3)
    pairs = [
        type(pair)(pair.clean, pair.corrupted, (1,), (2,), id=str(2 - n)) for n, pair in enumerate(pairs)
    ]
    job = submit_job(database, pairs=pairs)
    with database.read() as session:
        assert pairview.pair(session, job, "0").index == 2


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
            given.add_pair(np.arange(6.0).reshape(2, 3))
            found = sums.read_sums(sums.pack_sums(given), "sums")
            assert (found.names, found.aligned) == (given.names, aligned)
            np.testing.assert_array_equal(found.values, given.values)


def test_coverage_counts_the_cells_that_were_patched_and_all_that_there_are(database: Database) -> None:
    """Over all sites or one; failed pairs have no cells."""
    job = run_job(database, submit_job(database, 40))
    with database.read() as session:
        by_site = {site: coverage(session, job, site) for site in job.spec.sites}
        for site, found in by_site.items():
            assert found.patched == len(plots.cells(session, job, site).effect) > 0
            assert found.cells == sum(row.n for row in components.components(session, job, sites=(site,)))
            assert found.share == found.patched / found.cells
        whole = coverage(session, job)
        assert whole.patched == sum(found.patched for found in by_site.values())
        assert whole.cells == sum(found.cells for found in by_site.values())
        with pytest.raises(SpecError, match="unknown site of this job 'q'"):
            coverage(session, job, "q")


def test_each_cell_of_a_heatmap_shows_its_estimate_or_else_its_mean_score(database: Database) -> None:
    """And says which; several heads together are an estimate where all of them are."""
    job = run_job(database, submit_job(database, 3, spec=make_spec(exact=0.02, seed=4)))
    rows = rows_of(database, job, sites=("z",))
    unknown = [key for key, row in rows.items() if row.estimate is None]
    with database.read() as session:
        found = plots.heatmap(session, job, "z", "whole")
        aligned = plots.heatmap(session, job, "z", "aligned")
    assert found.measure == ("mixed" if 0 < len(unknown) < len(rows) else "mean" if unknown else "estimate")
    for (_, layer, head, _), row in rows.items():
        assert bool(found.estimated[layer, head]) is (row.estimate is not None)
        shown = row.mean if row.estimate is None else row.estimate
        assert found.values[layer, head] == pytest.approx(shown)
    assert not aligned.estimated.any()
    assert aligned.measure == "mean"
