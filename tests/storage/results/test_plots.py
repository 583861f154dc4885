"""What pictures are drawn from: heatmaps, cells, and a pair's exact effects."""

import numpy as np
import pytest

from patchgrid.core.errors import ComponentError
from patchgrid.core.names import REST
from patchgrid.storage import Database, errors
from patchgrid.storage.pair_results import pair_view
from patchgrid.storage.pair_results.pair_scores import exact_grid
from patchgrid.storage.results import plots
from support.storage import chunk_results
from support.storage.chunk_results import (
    HEADS,
    LAYERS,
    effect_of,
    make_pairs,
    make_spec,
    pair_cells,
    pair_scores,
)
from support.storage.storage_backends import rows_of, run_job, submit_job


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
        first.setdefault(f"a{cells[index].layer}.h{cells[index].index}", index)
    expected = {index: name for name, index in first.items()}
    assert dict(found.strongest) == dict(list(expected.items())[: plots.NAMED])


def test_a_pairs_exact_effects_are_laid_out_by_layer_and_position(database: Database) -> None:
    """Where they were patched, NaN where not."""
    for share in (1, 0.3):
        spec = make_spec(exact=share, positions="keep")
        job = run_job(database, submit_job(database, 6, spec=spec, key=f"{share}"))
        with database.read() as session:
            view = pair_view.pair(session, job, 5)
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
        heads = exact_grid(job, pair_view.pair(session, job, 2), "z")
        spans = exact_grid(spanned, pair_view.pair(session, spanned, 2), "mlp_out")
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
            pair_view.pair(session, of, name) for of, name in ((job, 2), (job, 3), (kept, 2))
        )
    for view, why in ((done, "none was drawn"), (failed, "pair 3 is failed")):
        with pytest.raises(errors.NothingKept, match=rf"\({why}\): run the job with --sites z --exact 1"):
            exact_grid(job, view, "z")
    with pytest.raises(ComponentError, match="run it with --positions keep --exact 1"):
        exact_grid(job, done, "mlp_out")
    with pytest.raises(ComponentError, match=r"heads at each position.*use one of mlp_out"):
        exact_grid(kept, at_each, "z")


def test_a_heatmap_of_nothing_is_refused(database: Database) -> None:
    """Until the first chunk is done."""
    job = submit_job(database)
    with database.read() as session, pytest.raises(errors.NothingKept, match="no results for z yet"):
        plots.heatmap(session, job, "z", "whole")


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
