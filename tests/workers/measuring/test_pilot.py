"""The pilot of a job as workers make it and use it."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchgrid.engine import Engine, JobSpec
from patchgrid.estimates import estimate, pilot_rows
from patchgrid.storage import Database, checking
from patchgrid.storage.chunks.sums import pack_sums
from patchgrid.storage.sampling.pilot import keep_first_pilot, read_pilot
from patchgrid.storage.tables import pilot
from patchgrid.workers.measuring.db_retry import Waiting
from patchgrid.workers.measuring.pilot import make_pilot, measure_pilot
from patchgrid.workers.runner import run_job
from support.workers.working import LONG_ANSWER, MISMATCHED, exported, job_of, make_pairs, submit

SITES = ("z", "mlp_out")


def url_in(folder: Path) -> str:
    """Return the URL of `database`."""
    return f"sqlite:///{folder / 'jobs.db'}"


def spec_of(**values: object) -> JobSpec:
    """Return a spec that patches half of the cells, and more of short jobs."""
    given = {"model": "tiny", "sites": SITES, "exact": 0.5, "exact_per_component": 30}
    return JobSpec.of(**(given | values))  # type: ignore[arg-type]


def test_a_pilot_sums_its_pairs_scores(engine: Engine) -> None:
    """Of whole components, and of positions counted from the end; pairs that fail are left out."""
    pairs = make_pairs(9)
    results = engine.attribute(pairs, sites=SITES)
    mixed = [MISMATCHED, *pairs, LONG_ANSWER]
    whole = measure_pilot(engine, job_of(spec_of(), 200), range(11), mixed)
    sizes = np.stack([np.abs(result.scores["atp"]["z"].sum(axis=1)) for result in results])
    assert (whole["z"]["n"] == 9).all()
    np.testing.assert_allclose(whole["z"]["abs_a"], sizes.sum(axis=0), rtol=1e-5, atol=1e-6)
    aligned = measure_pilot(engine, job_of(spec_of(positions="keep"), 200), range(11), mixed)
    last = np.stack([np.abs(result.scores["atp"]["mlp_out"][:, -1]) for result in results])
    np.testing.assert_allclose(aligned["mlp_out"]["abs_a"][:, 0], last.sum(axis=0), rtol=1e-5, atol=1e-6)
    assert aligned["mlp_out"]["n"][0, 17] < 9


def test_the_pairs_scored_are_spread_over_the_job(database: Database, engine: Engine) -> None:
    """Row numbers 0, 2, 5, 7 and so on, and not the first 64."""
    pairs = make_pairs(160)
    job = submit(database, spec_of(), pairs)
    found = make_pilot(Waiting(database, seconds=0), engine, job)
    rows = pilot_rows(160)
    wanted = measure_pilot(engine, job, rows, [pairs[row] for row in rows])
    for site in SITES:
        np.testing.assert_array_equal(found[site].to_array(), wanted[site].to_array())
        assert found[site]["n"].max() == 64


def test_a_pilot_is_made_once(database: Database, engine: Engine) -> None:
    """A later worker, and every later chunk, takes the one that there is."""
    job = submit(database, spec_of(), make_pairs(70), chunk_size=30)
    first = make_pilot(Waiting(database, seconds=0), engine, job)
    forwards: list[int] = []
    with engine._model.envoy._module.register_forward_pre_hook(lambda *_: forwards.append(1)):
        again = make_pilot(Waiting(database, seconds=0), engine, job)
    assert not forwards
    for site in SITES:
        np.testing.assert_array_equal(again[site].to_array(), first[site].to_array())


def test_the_sample_follows_the_pilot_there_is(database: Database, engine: Engine) -> None:
    """With another pilot the same seed draws other cells."""
    pairs = make_pairs(70)
    own, given = (submit(database, spec_of(), pairs, key=key) for key in ("own", "given"))
    run_job(database, engine, own)
    with database.read() as session:
        pilot = read_pilot(session, own.id)
    for sums in pilot.values():
        sums.values[2] *= np.arange(1, 1 + sums.axes[0]).reshape(-1, *(1,) * (len(sums.axes) - 1)) ** 3
    with database.write() as session:
        keep_first_pilot(session, given.id, pilot)
    run_job(database, engine, given)
    cells = [{tuple(row.values())[:5] for row in exported(database, job)["exact"]} for job in (own, given)]
    assert cells[0] != cells[1]


def test_a_few_cells_of_each_component_are_patched(engine: Engine) -> None:
    """Eight, and their effects are those of exact patching; of neurons, and by score, none."""
    pairs = make_pairs(64)
    spec = spec_of(sites=("z", "mlp_post"))
    found = measure_pilot(engine, job_of(spec, 300), pilot_rows(300), pairs)
    z = found["z"]
    assert z["m"].mean() == pytest.approx(8, abs=2)
    assert not found["mlp_post"].sampled
    layers, heads = z.axes
    names = [f"a{layer}.h{head}" for layer in range(layers) for head in range(heads)]
    mean = engine.patch(pairs, names).mean(axis=0).reshape(z.axes)
    ends = estimate(z)
    assert ((ends.ci_low <= mean) & (mean <= ends.ci_high)).mean() > 0.7
    by_score = measure_pilot(engine, job_of(spec.changed(allocate="score"), 300), range(64), pairs)
    assert not by_score["z"].sampled


def test_pairs_that_fail_only_when_patched_are_left_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if all do."""
    whole = engine.measure

    def fails(pairs: Any, choose: Any, query: Any, **options: Any) -> Any:
        found = whole(pairs, choose, query, **options)
        if query.methods:
            return found
        return [replace(each, components=(), effects=np.empty(0, np.float32)) for each in found]

    monkeypatch.setattr(engine, "measure", fails)
    found = measure_pilot(engine, job_of(spec_of(), 300), range(12), make_pairs(12))
    assert found["z"]["n"].min() == 12
    assert found["z"]["m"].max() == 0


def test_a_pilot_that_cannot_be_patched_plans_by_trend_alone(
    database: Database,
    tmp_path: Path,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The job is measured all the same; a line tells."""
    whole = engine.measure

    def fails(pairs: Any, choose: Any, query: Any, **options: Any) -> Any:
        if not query.methods:
            raise ValueError("no memory for that")
        return whole(pairs, choose, query, **options)

    monkeypatch.setattr(engine, "measure", fails)
    job = submit(database, spec_of(), make_pairs(70))
    assert not run_job(database, engine, job).stopped
    assert "nothing of the pilot of job 1 is patched: ValueError: no memory for that" in caplog.text
    with database.read() as session:
        assert all(sums["m"].sum() == 0 for sums in read_pilot(session, job.id).values())
    assert len(exported(database, job)["exact"]) > 0
    assert checking.check(url_in(tmp_path)).problems == ()


@pytest.mark.parametrize("positions", ["sum", "keep"])
def test_a_check_draws_the_same_cells_again(
    database: Database, tmp_path: Path, engine: Engine, positions: str
) -> None:
    """From the stored pilot; with another one they are others, if scores by position are kept."""
    spec = spec_of(sites=(*SITES, "mlp_post"), positions=positions, detail="positions")
    job = submit(database, spec, make_pairs(70))
    run_job(database, engine, job)
    assert checking.check(url_in(tmp_path)).problems == ()
    with database.write() as session:
        [sums] = [read_pilot(session, job.id)["z"]]
        sums.values[5:] *= np.linspace(1, 30, sums.axes[0]).reshape(-1, *(1,) * (len(sums.axes) - 1))
        changed = {"data": pack_sums(sums)}
        session.execute(pilot.update().where(pilot.c.job_id == job.id, pilot.c.site == "z").values(changed))
    assert any("exact cell" in problem for problem in checking.check(url_in(tmp_path)).problems)


@pytest.mark.parametrize(("exact", "count"), [(0.0, 100), (1.0, 100), (0.05, 30)])
def test_no_pilot_is_made_where_none_is_needed(
    database: Database, engine: Engine, exact: float, count: int
) -> None:
    """Nothing, or everything, is patched."""
    draws = 30 if exact else 0
    job = submit(database, spec_of(exact=exact, exact_per_component=draws), make_pairs(count))
    assert make_pilot(Waiting(database, seconds=0), engine, job) == {}
    with database.read() as session:
        assert read_pilot(session, job.id) == {}


def test_pairs_that_all_fail_give_a_pilot_that_says_nothing(database: Database, engine: Engine) -> None:
    """It is kept all the same, and the job ends."""
    pairs = [replace(MISMATCHED, id=None)] * 70
    job = submit(database, spec_of(), pairs)
    assert not run_job(database, engine, job).stopped
    with database.read() as session:
        assert set(read_pilot(session, job.id)) == set(SITES)
    assert {row["state"] for row in exported(database, job)["pairs"]} == {"failed"}


def test_a_run_can_be_stopped_within_its_pilot(database: Database, engine: Engine) -> None:
    """The chunk is handed back, and the next run makes the pilot."""
    job = submit(database, spec_of(), make_pairs(70))
    stop = threading.Event()

    def stop_at_once(*_: object) -> None:
        stop.set()

    with engine._model.envoy._module.register_forward_pre_hook(stop_at_once):
        assert run_job(database, engine, job, batch_tokens=64, stop=stop).stopped
    with database.read() as session:
        assert read_pilot(session, job.id) == {}
    assert not run_job(database, engine, job).stopped
