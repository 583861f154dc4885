"""Jobs whose pairs share groups: their intervals, results and checks, against the exact effects."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sqlalchemy import select

from patchgrid.storage import Database
from patchgrid.storage.tables import exact, pair
from support.cli.commands import FinishedJob, patchgrid, refused, write_pairs

GROUPS = 5


def grouped_job(folder: Path, model: Path, *options: object, groups: int = GROUPS) -> FinishedJob:
    """Measure forty pairs of some groups."""
    pairs = write_pairs(folder / "pairs.jsonl", 40)
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    named = [row | {"group": f"template {number % groups}"} for number, row in enumerate(rows)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in named))
    command = ("run", pairs, "-m", model, "--db", folder / "jobs.db", "--chunk-size", 8, *options)
    job = FinishedJob(folder / "jobs.db", pairs, model, command, patchgrid(*command))
    assert job.result.exit_code == 0, job.result.stderr
    return job


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedJob:
    """Return a job whose every cell was patched."""
    return grouped_job(tmp_path_factory.mktemp("whole"), tiny_model, "--exact", 1)


def effects_of(job: FinishedJob, component: str) -> np.ndarray:
    """Read a component's effects by pair."""
    with Database.open(f"sqlite:///{job.database}") as database, database.read() as session:
        query = select(exact.c.effect).where(exact.c.component == component).order_by(exact.c.pair_index)
        return np.array(session.scalars(query).all())


def test_intervals_are_cluster_robust(whole: FinishedJob) -> None:
    """For every component of the table; and the table says of how many groups."""
    for row in whole.ask_items("results", "top", "last", "-k", 6):
        effects = effects_of(whole, row["component"])
        totals = (effects - effects.mean()).reshape(-1, GROUPS).sum(axis=0)
        error = np.sqrt((totals**2).sum() / 40**2 * GROUPS / (GROUPS - 1))
        assert row["ci_high"] - row["estimate"] == pytest.approx(stats.t.ppf(0.975, GROUPS - 1) * error)
        assert row["pairs_high"] == pytest.approx(row["estimate"])
    said = whole.ask("results", "top", "last").stderr
    assert "for the population that these 40 pairs, in 5 groups, are a sample of" in said


def test_results_by_group_are_the_groups_means(whole: FinishedJob) -> None:
    """The one that was asked for, and those of largest spread first."""
    found = whole.ask_json("results", "groups", "last", "-k", 5)
    spreads = [each["spread"] for each in found["items"]]
    assert spreads == sorted(spreads, reverse=True)
    assert (found["groups"], found["compared"], len(spreads)) == (5, 15, 5)
    name = found["items"][0]["component"]
    [one] = whole.ask_items("results", "groups", "last", "--component", name)
    means = effects_of(whole, name).reshape(-1, GROUPS).mean(axis=0)
    assert [each["group"] for each in one["groups"]] == [f"template {number}" for number in range(GROUPS)]
    assert [each["mean"] for each in one["groups"]] == pytest.approx(means.tolist())
    assert [each["n"] for each in one["groups"]] == [8] * GROUPS
    shown = whole.ask("results", "groups", "last", "--component", name)
    assert "template 3" in shown.stdout
    assert "between groups: spread" in shown.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--detail", "summary"),
        ("--positions", "keep", "--method", "atp,relp"),
        ("--positions", "keep", "--detail", "positions"),
        ("--sites", "z,mlp_post", "--exact-per-component", 4),
        ("--exact", 0),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_sums_by_group_hold_over_chunks_and_rounds(
    tmp_path: Path, tiny_model: Path, options: tuple[object, ...]
) -> None:
    """Of a job that is refined, `db check` makes them again; whole components have the same as at once."""
    job = grouped_job(tmp_path, tiny_model, *([] if "--exact" in options else ["--exact", 0.2]), *options)
    names = [row["component"] for row in job.ask_items("results", "top", "last", "--site", "z", "-k", 2)]
    stems = ",".join(name.split("@")[0] for name in names)
    more = () if "keep" not in options else ("--positions", "-1")
    assert job.ask("job", "refine", "last", "--components", stems, *more).exit_code == 0
    checked = job.ask("db", "check")
    assert (checked.exit_code, "0 problems found" in checked.output) == (0, True), checked.output
    if "keep" in options:
        return
    [row] = [row for row in job.ask_items("results", "top", "last", "-k", 20) if row["component"] == names[0]]
    totals = effects_of(job, names[0])
    assert row["exact_n"] == len(totals) == 40
    totals = (totals - totals.mean()).reshape(-1, GROUPS).sum(axis=0)
    error = np.sqrt((totals**2).sum() / 40**2 * GROUPS / (GROUPS - 1))
    assert row["ci_high"] - row["estimate"] == pytest.approx(stats.t.ppf(0.975, GROUPS - 1) * error)


def test_a_changed_group_is_found(tmp_path: Path, tiny_model: Path) -> None:
    """Its name by the job's key, its number by the sums."""
    job = grouped_job(tmp_path, tiny_model, "--exact", 0.5)
    with Database.open(f"sqlite:///{job.database}") as database, database.write() as session:
        session.execute(pair.update().where(pair.c.pair_index == 3).values(group_number=0))
    result = job.ask("db", "check")
    assert result.exit_code == 1
    assert "do not match the pairs' groups" in result.output
    with Database.open(f"sqlite:///{job.database}") as database, database.write() as session:
        session.execute(
            pair.update().where(pair.c.pair_index == 3).values(group_number=3, group_name="template 9")
        )
    result = job.ask("db", "check")
    assert result.exit_code == 1
    assert "does not match its pairs" in result.output


def test_jobs_without_results_by_group_say_why(
    finished: FinishedJob, tmp_path: Path, tiny_model: Path
) -> None:
    """No groups, too many, a component that is not there, a site that keeps none."""
    assert refused(finished.ask("results", "groups", "last")).startswith("Error: job 1 has no groups: give")
    many = grouped_job(tmp_path, tiny_model, "--exact", 0.5, "--sites", "z,mlp_post", groups=38)
    assert "has 38 groups: results by group are for up to 32" in refused(
        many.ask("results", "groups", "last")
    )
    assert many.ask_items("results", "top", "last")[0]["ci_low"] is not None
    few = tmp_path / "few"
    few.mkdir()
    job = grouped_job(few, tiny_model, "--sites", "z,mlp_post", "--exact", 0.5)
    for asked, said in (
        (("--component", "a9.h9"), "has no component 'a9.h9'"),
        (("--site", "mlp_post"), "neurons and edges have none"),
    ):
        assert said in refused(job.ask("results", "groups", "last", *asked))


def test_pairs_check_counts_groups(whole: FinishedJob, pairs: Path) -> None:
    """As named, or each pair its own."""
    checked = patchgrid("pairs", "check", whole.pairs)
    assert "5, as named" in checked.stdout
    assert "none: each pair is its own" in patchgrid("pairs", "check", pairs).stdout
    assert whole.ask_json("job", "show", "last")["groups"] == 5
    assert "template 2" in whole.ask("results", "pair", "last", "pair-7").stdout
    exported = whole.ask("results", "export", "last", "--what", "pairs").stdout.splitlines()
    assert [json.loads(row)["group"] for row in exported[:6]] == [f"template {n % 5}" for n in range(6)]


def test_a_job_that_says_nothing_of_other_pairs_says_why(tmp_path: Path, tiny_model: Path) -> None:
    """One group, or one pair: there are intervals for these pairs alone."""
    job = grouped_job(tmp_path, tiny_model, "--exact", 0.5, groups=1)
    said = job.ask("results", "top", "last").stderr
    assert "No intervals for the population: all pairs are of one group (--interval pairs" in said
    assert patchgrid(*job.command, "--limit", 1).exit_code == 0
    said = job.ask("results", "top", "last").stderr
    assert "No intervals for the population: one pair says nothing of others" in said
