"""A job worked off in this process: from start to end, stopped, disturbed, and gone on with."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.engine import Engine, JobSpec
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.queue import control, leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.tables import chunk
from patchgrid.workers.errors import JobCancelledError, ModelChangedError
from patchgrid.workers.measuring.chunk import measure_chunk
from patchgrid.workers.runner import RunEnd, RunProgress, run_job
from support.engine.models import TestModel
from support.machines.servers import wait_for
from support.workers.working import LONG_ANSWER, MISMATCHED, Exported, exported, make_pairs, submit

#: Several batches a chunk, so that there is something to interrupt.
BATCH_TOKENS = 64
PAIRS = [*make_pairs(5), MISMATCHED, *make_pairs(24)[5:]]


@pytest.fixture(scope="module")
def spec(tiny: TestModel) -> JobSpec:
    """Return a spec under which most of the small job's cells are patched."""
    return JobSpec.of(str(tiny.folder), sites=("z", "mlp_out"), seed=5)


@pytest.fixture
def job(database: Database, spec: JobSpec) -> JobRecord:
    """Return a job of 25 pairs in chunks of 9, 9 and 7, one of which will fail."""
    return submit(database, spec, PAIRS, chunk_size=9)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, engine: Engine, spec: JobSpec) -> Exported:
    """Return every row of the same job, run without interruption."""
    with Database.open(f"sqlite:///{tmp_path_factory.mktemp('undisturbed') / 'jobs.db'}") as database:
        job = submit(database, spec, PAIRS, chunk_size=9)
        run_job(database, engine, job, batch_tokens=BATCH_TOKENS)
        return exported(database, job)


def chunks(database: Database, job: JobRecord) -> list[tuple[str, int, int]]:
    """Return each chunk's state, attempts and epoch."""
    with database.read() as session:
        rows = session.execute(select(chunk).where(chunk.c.job_id == job.id).order_by(chunk.c.id))
        return [(row.state, row.attempts, row.epoch) for row in rows]


def stored(database: Database, job: JobRecord) -> int:
    """Count the pairs that are through."""
    with database.read() as session:
        progress = job_progress(session, job.id)
    return progress.done + progress.failed


def state(database: Database, job: JobRecord) -> str:
    """Return the job's state as it is now."""
    with database.read() as session:
        return jobs.get(session, job.id).state


class Once:
    """Calls a function the first time that a chunk is in the middle of its work."""

    def __init__(
        self, act: Callable[[], object], *, after: int = 0, stored: Callable[[], int] | None = None
    ) -> None:
        self._act: Callable[[], object] | None = act
        self._after = after
        self._stored = stored

    def __call__(self, progress: RunProgress) -> None:
        """Take a run's progress; wait until so many pairs are `stored`, too, if that is given."""
        reached = progress.done + progress.failed + progress.in_flight
        if self._act is not None and progress.in_flight > 0 and reached > self._after:
            act, self._act = self._act, None
            if self._stored is not None:
                stored = self._stored
                wait_for(lambda: stored() >= self._after)
            act()


def test_a_job_is_worked_off_to_its_end(
    database: Database, engine: Engine, job: JobRecord, undisturbed: Exported
) -> None:
    """All chunks are done at the first attempt, and progress rises to all pairs."""
    seen: list[RunProgress] = []
    assert run_job(database, engine, job, batch_tokens=BATCH_TOKENS, on_progress=seen.append) == RunEnd(False)
    assert chunks(database, job) == [("done", 1, 1)] * 3
    assert state(database, job) == "done"
    assert seen[-1] == RunProgress(done=24, failed=1, skipped=0, in_flight=0.0)
    finished = [one.done + one.failed + one.in_flight for one in seen]
    assert finished == sorted(finished)
    assert any(0 < one.in_flight < 9 for one in seen)
    assert exported(database, job) == undisturbed
    assert [row["state"] for row in undisturbed["pairs"]].count("failed") == 1


def test_a_finished_job_is_left_alone(database: Database, engine: Engine, job: JobRecord) -> None:
    """A second run claims nothing."""
    run_job(database, engine, job)
    seen: list[RunProgress] = []
    assert run_job(database, engine, job, on_progress=seen.append) == RunEnd(stopped=False)
    assert not seen
    assert chunks(database, job) == [("done", 1, 1)] * 3


def test_a_stopped_run_hands_its_chunk_back_and_the_next_goes_on(
    database: Database, engine: Engine, job: JobRecord, undisturbed: Exported
) -> None:
    """Stopped within the second chunk: the first stays done, no attempt is used up, nothing is half done."""
    stop = threading.Event()
    first = run_job(
        database, engine, job, batch_tokens=BATCH_TOKENS, stop=stop, on_progress=Once(stop.set, after=9)
    )
    assert first == RunEnd(stopped=True)
    assert chunks(database, job) == [("done", 1, 1), ("pending", 0, 1), ("pending", 0, 0)]
    with database.read() as session:
        assert job_progress(session, job.id).left == 16
    assert run_job(database, engine, job, batch_tokens=BATCH_TOKENS) == RunEnd(stopped=False)
    assert exported(database, job) == undisturbed


def test_a_run_that_is_stopped_beforehand_claims_nothing(
    database: Database, engine: Engine, job: JobRecord
) -> None:
    """Stop means stop."""
    stop = threading.Event()
    stop.set()
    assert run_job(database, engine, job, stop=stop) == RunEnd(stopped=True)
    assert chunks(database, job) == [("pending", 0, 0)] * 3


def _take_over(session: Session, job: JobRecord, *, lease_seconds: float) -> Lease:
    """Let the lease that is out run out, and claim the chunk for another worker."""
    session.execute(chunk.update().where(chunk.c.state == "leased").values(lease_until=0.0))
    lease = leases.claim(session, "elsewhere/1/1", job_id=job.id, lease_seconds=lease_seconds)
    assert lease is not None
    assert lease.epoch == 2
    return lease


def test_results_of_a_lost_lease_are_dropped(
    database: Database,
    engine: Engine,
    job: JobRecord,
    undisturbed: Exported,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another worker claims the chunk and finishes it meanwhile: what it wrote stays, and only that."""
    result = measure_chunk(engine, job, 0, PAIRS[:9], batch_tokens=BATCH_TOKENS)
    outcomes = [replace(outcome, warning="from elsewhere") for outcome in result.outcomes]

    def finish_elsewhere() -> None:
        with database.write() as session:
            lease = _take_over(session, job, lease_seconds=60)
            assert leases.finish(session, lease, replace(result, outcomes=outcomes))

    run_job(database, engine, job, batch_tokens=BATCH_TOKENS, on_progress=Once(finish_elsewhere))
    assert "its results are dropped" in caplog.text
    assert chunks(database, job) == [("done", 2, 2), ("done", 1, 1), ("done", 1, 1)]
    with database.read() as session:
        assert jobs.warnings(session, job.id) == [("from elsewhere", 9)]
    assert exported(database, job) == undisturbed


def test_a_lost_lease_ends_the_chunk_s_work_at_the_next_batch(
    database: Database, engine: Engine, job: JobRecord, undisturbed: Exported
) -> None:
    """The heartbeat notices; the chunk is measured again when the other worker's lease has run out."""
    seen: list[list[tuple[str, int, int]]] = []

    def lose() -> None:
        with database.write() as session:
            _take_over(session, job, lease_seconds=0.5)
        threading.Event().wait(0.4)  # a few beats

    def watch(progress: RunProgress) -> None:
        once(progress)
        # A pass is told of before it has finished any pair.
        if progress.in_flight > 0:
            seen.append(chunks(database, job))

    once = Once(lose)
    run_job(database, engine, job, batch_tokens=BATCH_TOKENS, on_progress=watch, lease_seconds=0.25)
    assert seen[0] == [("leased", 2, 2), ("pending", 0, 0), ("pending", 0, 0)]
    assert seen[1][1][0] == "leased", "the first chunk's work went on after its lease was lost"
    assert ("done", 3) in {(state, epoch) for state, _, epoch in chunks(database, job)}
    # A chunk that was lost is measured pair by pair: other batches round differently.
    for what, rows in exported(database, job).items():
        for found, expected in zip(rows, undisturbed[what], strict=True):
            assert found == {
                name: pytest.approx(value, rel=1e-3, abs=1e-5) if isinstance(value, float) else value
                for name, value in expected.items()
            }


def test_the_heartbeat_keeps_a_lease_that_is_shorter_than_its_chunk(
    database: Database, engine: Engine, job: JobRecord
) -> None:
    """A chunk that takes longer than its lease is measured once."""
    slow = Once(lambda: threading.Event().wait(1.2))
    run_job(database, engine, job, batch_tokens=BATCH_TOKENS, on_progress=slow, lease_seconds=0.5)
    assert chunks(database, job) == [("done", 1, 1)] * 3


def test_an_error_within_the_engine_hands_the_chunk_back(
    database: Database, engine: Engine, job: JobRecord, undisturbed: Exported
) -> None:
    """It goes to the caller as it is; the chunk is free, no attempt used up, and can be measured later."""

    def break_down(*_: object) -> None:
        raise ZeroDivisionError("the model broke down")

    with (
        engine._model.envoy._module.transformer.h[1].register_forward_pre_hook(break_down),
        pytest.raises(ZeroDivisionError, match="the model broke down"),
    ):
        run_job(database, engine, job)
    assert chunks(database, job) == [("pending", 0, 1), ("pending", 0, 0), ("pending", 0, 0)]
    run_job(database, engine, job, batch_tokens=BATCH_TOKENS)
    assert exported(database, job) == undisturbed


def test_an_interrupt_hands_the_chunk_back(database: Database, engine: Engine, job: JobRecord) -> None:
    """So does what is no Exception, such as Ctrl-C where nobody handles it."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(database, engine, job, batch_tokens=BATCH_TOKENS, on_progress=Once(interrupt))
    assert chunks(database, job)[0] == ("pending", 0, 1)


def test_numbers_of_two_models_are_never_mixed(
    database: Database, tiny: TestModel, engine: Engine, job: JobRecord, tmp_path: Path
) -> None:
    """One weight changed between two runs: the second is refused and changes nothing."""
    stop = threading.Event()
    run_job(database, engine, job, batch_tokens=BATCH_TOKENS, stop=stop, on_progress=Once(stop.set, after=9))
    before = chunks(database, job), exported(database, job)
    weight = tiny.model.transformer.h[0].mlp.c_fc.weight
    with torch.no_grad():
        kept = float(weight[0, 0])
        weight[0, 0] += 1e-3
        tiny.model.save_pretrained(tmp_path)
        tiny.tokenizer.save_pretrained(tmp_path)
        weight[0, 0] = kept
    changed = Engine.load(str(tmp_path), device="cpu")
    with pytest.raises(ModelChangedError, match=f"job {job.id} was started with different weights"):
        run_job(database, changed, job)
    assert (chunks(database, job), exported(database, job)) == before


def test_a_job_whose_pairs_all_fail_ends_failed(database: Database, engine: Engine, spec: JobSpec) -> None:
    """The run itself ends well; the job says why it has no results."""
    job = submit(database, spec, [MISMATCHED, LONG_ANSWER, replace(MISMATCHED, id=None)], chunk_size=2)
    assert run_job(database, engine, job) == RunEnd(stopped=False)
    with database.read() as session:
        found = jobs.get(session, job.id)
        assert found.state == "failed"
        assert "differ in length" in str(found.error)
        assert len(jobs.errors(session, job.id)) == 3


def test_a_paused_job_goes_on_when_it_is_run_here(
    database: Database, engine: Engine, job: JobRecord, undisturbed: Exported
) -> None:
    """Whoever runs it means it."""
    with database.write() as session:
        control.pause(session, job.id)
    assert run_job(database, engine, job, batch_tokens=BATCH_TOKENS) == RunEnd(stopped=False)
    assert exported(database, job) == undisturbed


def test_a_cancelled_job_is_not_run(database: Database, engine: Engine, job: JobRecord) -> None:
    """Neither afterwards nor on: it says how to bring it back, which works."""
    with database.write() as session:
        control.cancel(session, job.id)
    before = chunks(database, job)
    with pytest.raises(JobCancelledError) as caught:
        run_job(database, engine, job)
    assert str(caught.value) == (f"job {job.id} is cancelled: reopen it with `patchgrid job retry {job.id}`")
    assert chunks(database, job) == before
    with database.write() as session:
        jobs.reopen(session, job.id)
    assert run_job(database, engine, job) == RunEnd(stopped=False)
    assert state(database, job) == "done"


def test_a_job_that_is_cancelled_while_it_runs_ends_the_run(
    database: Database, engine: Engine, job: JobRecord
) -> None:
    """What was committed stays."""

    def cancel() -> None:
        with database.write() as session:
            control.cancel(session, job.id)

    once = Once(cancel, after=9, stored=lambda: stored(database, job))
    with pytest.raises(JobCancelledError):
        run_job(database, engine, job, batch_tokens=BATCH_TOKENS, on_progress=once)
    assert [each[0] for each in chunks(database, job)] == ["done", "cancelled", "cancelled"]
