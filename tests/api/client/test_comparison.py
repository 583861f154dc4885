"""Two jobs compared, against the numbers of each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchgrid.api import Job, Workspace
from patchgrid.api.client.comparison import difference_interval
from patchgrid.core.errors import SpecError
from support.api.lab import Lab
from support.storage.method_jobs import fill
from support.storage.storage_backends import sqlite_url


def by_name(job: Job, **options: Any) -> dict[str, dict[str, Any]]:
    """Return a job's components by their names."""
    return {row["component"]: row for row in job.components(frame="polars", **options).to_dicts()}


def test_the_interval_of_a_difference_holds_as_often_as_its_parts() -> None:
    """Over draws of two independent normal means whose 95 % intervals are of unequal width."""
    draws, rng = 20_000, np.random.default_rng(0)
    one, other = rng.normal(1.0, 0.5, draws), rng.normal(-0.5, 2.0, draws)
    ends = [(float(x - 1.96 * sd), float(x + 1.96 * sd)) for xs, sd in ((one, 0.5), (other, 2.0)) for x in xs]
    intervals = [
        difference_interval(float(a), left, float(b), right)
        for a, left, b, right in zip(one, ends[:draws], other, ends[draws:], strict=True)
    ]
    held = np.mean([low <= 1.5 <= high for low, high in intervals])
    assert held == pytest.approx(0.95, abs=0.005)
    low, high = difference_interval(3.0, (2.0, 7.0), 1.0, (-2.0, 1.5))
    assert (low, high) == pytest.approx((2 - (1 + 0.25) ** 0.5, 2 + (16 + 9) ** 0.5))


def test_two_jobs_are_compared_component_by_component(lab: Lab, workspace: Workspace, job: Job) -> None:
    """A finished job against one that is still empty; never against itself."""
    empty = workspace.submit(lab.pairs, model=str(lab.model), direction="noise", sites="z")
    rows = job.compare(empty, frame="polars").to_dicts()
    assert {row["component"] for row in rows} == set(job.components()["component"])
    assert all(row["difference"] is None and row["other_estimate"] is None for row in rows)
    with pytest.raises(SpecError, match="with itself"):
        job.compare(job)
    empty.delete()


@pytest.mark.parametrize("interval", ["pairs", "population"])
def test_the_numbers_compared_are_those_of_each_job(tmp_path: Path, interval: str) -> None:
    """The largest difference first."""
    fill(sqlite_url(tmp_path))
    with Workspace(tmp_path / "test.db") as workspace:
        one, other = workspace.job("nodes"), workspace.job("neurons")
        rows = one.compare(other, site="z", interval=interval, frame="polars").to_dicts()
        sides = [by_name(job, site="z", interval=interval) for job in (one, other)]
        for row in rows:
            ours, theirs = (side[row["component"]] for side in sides)
            assert (row["mean"], row["ci_low"]) == (ours["mean"], ours["ci_low"])
            assert row["other_ci_high"] == theirs["ci_high"]
            assert row["difference"] == ours["estimate"] - theirs["estimate"]
            low, high = row["difference_low"], row["difference_high"]
            assert low <= row["difference"] <= high
            # What is patched in every pair of both jobs is known of these pairs, not of a population.
            assert low < high or interval == "pairs"
        sizes = [abs(row["difference"]) for row in rows]
        assert sizes == sorted(sizes, reverse=True)
        assert len(rows) == 6
        methods = one.compare(other_method="relp", frame="polars").to_dicts()
        scores = by_name(one, method="relp")
        assert all(row["difference"] == row["mean"] - scores[row["component"]]["mean"] for row in methods)
        assert {row["difference_low"] for row in methods} == {None}
