"""Effects as shares of the difference between the unpatched runs."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from patchgrid.storage import Database
from patchgrid.storage.errors import NotNormalised
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.export import export_rows, fields_of
from patchgrid.storage.pair_results import pair_view
from patchgrid.storage.results import components
from patchgrid.storage.results.normalised import (
    Share,
    job_share,
    normalised_heatmap,
    normalised_pair,
    pair_share,
    share_warning,
)
from patchgrid.storage.results.plots import heatmap
from patchgrid.storage.results.task import job_task, task_json
from patchgrid.storage.results.verification import verification
from support.storage.storage_backends import run_job, submit_job

#: Pair i has the metrics i and -i: over pairs 0 to 9 the mean difference is 9.
DIFFERENCE = 9.0


def a_task(clean: float, corrupted: float, error: float | None) -> dict[str, Any]:
    """Return the used part of a task's document."""
    sides = {"clean_metric": clean, "corrupted_metric": corrupted}
    return sides | {"difference": clean - corrupted, "difference_error": error}


@pytest.fixture
def job(database: Database) -> JobRecord:
    """Return a finished job."""
    return run_job(database, submit_job(database, 10))


def test_components_are_divided_by_the_mean_difference_of_the_job(database: Database, job: JobRecord) -> None:
    """Every number in metric units, and no other."""
    with database.read() as session:
        share = job_share(job, task_json(job_task(session, job)))
        rows = components.components(session, job)
        grid = heatmap(session, job, "z", "whole")
        agreements = verification(session, job)
    assert share.difference == DIFFERENCE
    for row in rows:
        found = share.row(row)
        assert (found.name, found.n, found.exact_n) == (row.name, row.n, row.exact_n)
        for field in ("mean", "mean_abs", "std", "estimate", "ci_low", "ci_high"):
            value = getattr(row, field)
            assert getattr(found, field) == (None if value is None else pytest.approx(value / DIFFERENCE))
    assert np.array_equal(normalised_heatmap(grid, share).values, grid.values / DIFFERENCE, equal_nan=True)
    for row in agreements:
        assert share.row(row).pearson == row.pearson
        for field in ("bias", "bias_se", "intercept", "intercept_se"):
            assert getattr(share.row(row), field) == pytest.approx(getattr(row, field) / DIFFERENCE)


def test_a_difference_below_0_turns_signs_and_intervals_and_leaves_sizes(
    database: Database, job: JobRecord
) -> None:
    """As that of `kl`, which is 0 for the clean run: restoring all of it is 1 there, too."""
    with database.read() as session:
        row = next(
            row for row in components.components(session, job) if row.ci_low not in (None, row.ci_high)
        )
    found = Share(-4.0).row(row)
    assert found.mean == pytest.approx(row.mean / -4)
    assert found.mean_abs == pytest.approx(row.mean_abs / 4)
    assert (found.ci_low, found.ci_high) == (pytest.approx(row.ci_high / -4), pytest.approx(row.ci_low / -4))
    assert found.ci_low < found.estimate < found.ci_high
    assert Share(-4.0).rounding({"floor": 0.2, "cells": 7}) == {"floor": pytest.approx(0.05), "cells": 7}
    assert Share(-4.0).rounding(None) is None


def test_a_single_pair_is_divided_by_its_own_difference(database: Database, job: JobRecord) -> None:
    """Pair 3's is 6; of pair 0 there is none."""
    with database.read() as session:
        view, without = pair_view.pair(session, job, 3), pair_view.pair(session, job, 0)
    found = normalised_pair(job, view)
    assert np.allclose(found.scores["z"], view.scores["z"] / 6)
    assert [cell.effect for cell in found.exact] == pytest.approx([cell.effect / 6 for cell in view.exact])
    assert [one.score for one in found.top] == pytest.approx([one.score / 6 for one in view.top])
    assert (found.clean_metric, found.corrupted_metric) == (3, -3)
    with pytest.raises(NotNormalised, match="pair 0's clean - corrupted logit_diff is 0"):
        normalised_pair(job, without)
    with pytest.raises(NotNormalised, match="no metrics"):
        pair_share(job, dataclasses.replace(view, clean_metric=None, state="pending"))


@pytest.mark.parametrize("what", ["scores", "exact", "components"])
def test_exports_hold_shares_and_what_they_were_divided_by(
    database: Database, job: JobRecord, what: str
) -> None:
    """So that nobody takes them for metric units, or cannot go back to these."""
    rows = list(export_rows(database, job, what))
    shares = list(export_rows(database, job, what, normalise=True))
    assert tuple(shares[0]) == fields_of(job, what, normalise=True) == (*fields_of(job, what), "divided_by")
    assert len(shares) == len(rows) > 0
    for share, row in zip(shares, rows, strict=True):
        assert share["divided_by"] == DIFFERENCE
        for field in {
            "score",
            "effect",
            "mean",
            "mean_abs",
            "std",
            "estimate",
            "ci_low",
            "ci_high",
        } & row.keys():
            value = row[field]
            assert share[field] == (None if value is None else pytest.approx(value / DIFFERENCE))
        for field in {"pair", "site", "layer", "head", "position", "inclusion", "n", "exact_n"} & row.keys():
            assert share[field] == row[field]


def test_pairs_have_no_effects_to_normalise(database: Database, job: JobRecord) -> None:
    """Their metrics are what shares are of."""
    with pytest.raises(NotNormalised, match="does not apply to pairs"):
        export_rows(database, job, "pairs", normalise=True)


def test_nothing_is_a_share_of_nothing(database: Database) -> None:
    """Of a difference of 0, or of one that nobody knows."""
    job = submit_job(database, 4)
    with pytest.raises(NotNormalised, match="nothing is measured yet"):
        job_share(job, None)
    for task in (a_task(2.5, 2.5, 0.0), a_task(1e-9, -1e-9, 3.0)):
        with pytest.raises(NotNormalised, match="clean - corrupted logit_diff is 0"):
            job_share(job, task)
    assert job_share(job, a_task(0.5, 0.0, 0.4)).difference == 0.5
    assert share_warning(a_task(0.5, 0.0, 0.1)) is None
    warning = share_warning(a_task(0.5, 0.0, 0.4))
    assert warning is not None
    assert "+0.5 with a standard error of 0.4" in warning
