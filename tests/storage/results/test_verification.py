"""Scores against exact effects by site, from what is stored."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from patchgrid.estimates import agreement
from patchgrid.storage import Database
from patchgrid.storage.output.export import export_rows
from patchgrid.storage.results import components, verification
from patchgrid.storage.results.sampled_cells import sampled_cells
from support.storage.chunk_results import make_pairs, make_spec
from support.storage.storage_backends import run_job, submit_job


def test_verification_agrees_with_the_cells(database: Database) -> None:
    """With those that are exported; its effects are a line of slope 1.25."""
    job = run_job(database, submit_job(database, 40))
    with database.read() as session:
        found = verification.verification(session, job, top_k=3)
    assert [row.site for row in found] == list(job.spec.query.sites)
    for row in found:
        own = [each for each in export_rows(database, job, "exact") if each["site"] == row.site]
        names = sorted({(each["layer"], each["head"] or 0) for each in own})
        wanted = agreement(
            *([each[name] for each in own] for name in ("score", "effect", "inclusion", "pair")),
            [names.index((each["layer"], each["head"] or 0)) for each in own],
        )
        assert (row.n, row.compared, row.pairs) == (wanted.n, wanted.n, len({each["pair"] for each in own}))
        for field in dataclasses.fields(wanted):
            value = getattr(wanted, field.name)
            if field.name != "n" and not math.isnan(value):
                assert getattr(row, field.name) == pytest.approx(value, abs=1e-6), field.name
        assert row.cells == job.pairs * row.components
        assert (row.top_k, row.top_patched) == (3, min(3, row.components))
        assert (row.top_overlap is None) == (row.components <= 3)
        assert row.mean_n == row.components
        assert (row.slope, row.within_slope) == pytest.approx((1.25, 1.25))
        assert row.intercept == pytest.approx(0.1)
        if row.components > 2:
            assert (row.mean_slope, row.mean_pearson, row.mean_error) == pytest.approx((1.25, 1, 0.2))


@pytest.mark.parametrize(
    ("settings", "spans"), [({}, False), ({"positions": "keep"}, False), ({"positions": "keep"}, True)]
)
def test_cells_belong_to_the_components_of_the_sums(
    database: Database, settings: dict[str, Any], spans: bool
) -> None:
    """Each component's cells add up to its sums, by position from the end and by span too."""
    more = {"pairs": make_pairs(20, spans=True), "spans": ("subject",)} if spans else {}
    job = run_job(database, submit_job(database, 20, spec=make_spec(**settings), **more))
    with database.read() as session:
        for site in job.spec.query.sites:
            sums = components.job_sums(session, job, site, job.kind)
            assert sums is not None
            cells = sampled_cells(session, job, site, job.method(), sums.axes)
            count = np.bincount(cells.component, minlength=sums["m"].size)
            effects = np.bincount(cells.component, cells.effect / cells.inclusion, sums["m"].size)
            np.testing.assert_array_equal(count, sums["m"].ravel())
            np.testing.assert_allclose(effects, (sums["wa"] + sums["wr"]).ravel(), rtol=1e-5, atol=1e-5)
            half = sampled_cells(session, job, site, job.method(), sums.axes, every=2)
            assert set(half.pair.tolist()) == {pair for pair in cells.pair.tolist() if pair % 2 == 0}


def test_edges_belong_to_the_components_of_their_sums(database: Database) -> None:
    """By the numbers of the model's graph."""
    job = run_job(database, submit_job(database, 20, spec=make_spec(sites=("edge",), method="eap")))
    with database.read() as session:
        sums = components.job_sums(session, job, "edge", job.kind)
        assert sums is not None
        cells = sampled_cells(session, job, "edge", "eap", sums.axes)
    np.testing.assert_array_equal(np.bincount(cells.component, minlength=sums["m"].size), sums["m"])


def test_of_very_many_cells_those_of_evenly_spaced_pairs_are_compared(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are counted."""
    job = run_job(database, submit_job(database, 40))
    with database.read() as session:
        everything = verification.verification(session, job)
        monkeypatch.setattr(verification, "MOST", everything[0].n // 3 + 1)
        (some, *_) = verification.verification(session, job)
    assert some.n == everything[0].n
    assert 0 < some.compared < 0.5 * some.n
    assert some.pairs == 14
    assert some.pearson_se is not None


def test_agreement_that_the_cells_do_not_determine_is_none(database: Database) -> None:
    """One cell has no correlation, one pair no standard error."""
    job = run_job(database, submit_job(database, 1, spec=make_spec(exact=0.2, seed=3)))
    with database.read() as session:
        rows = verification.verification(session, job)
    assert rows
    for row in rows:
        assert all(row.n > 1 or value is None for value in (row.pearson, row.slope, row.spearman))
        assert row.pearson_se is None
        assert row.mean_pearson is None
        values = (getattr(row, field.name) for field in dataclasses.fields(row))
        assert all(math.isfinite(value) for value in values if isinstance(value, float))
