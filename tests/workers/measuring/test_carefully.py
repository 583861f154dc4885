"""A chunk that ended badly, measured pair by pair."""

import numpy as np
import pytest
from sqlalchemy import select

from patchgrid.core.types import JobSpec
from patchgrid.estimates import pilot_rows
from patchgrid.storage import Database
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import MAX_ATTEMPTS
from patchgrid.storage.sampling.pilot import read_pilot
from patchgrid.storage.tables import chunk
from patchgrid.workers.errors import LeaseLostError, StopRequestedError
from patchgrid.workers.measuring.causes import cause_of, is_device_broken, reason_of
from patchgrid.workers.measuring.chunk import measure_chunk
from patchgrid.workers.measuring.db_retry import Waiting
from patchgrid.workers.measuring.isolate import measure_carefully
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.measuring.pilot import make_pilot
from patchgrid.workers.testing import load, make_pairs
from support.workers.running import Calls, chunks, errors, state, submit_pairs, work_off
from support.workers.working import exported, job_of, measuring

SPEC = JobSpec("stand-in", exact=0.3)
ENGINE = load(ModelKey("stand-in"))


def test_a_careful_result_is_that_of_the_whole_chunk() -> None:
    """Outcomes, scores, cells and sums, with failed pairs among them."""
    pairs = make_pairs(9, {2: "NAN", 5: "OOM"})
    job = job_of(SPEC, 1000)
    noted: list[int] = []
    careful = measure_carefully(ENGINE, job, 30, pairs, measuring(ENGINE, job), note=noted.append)
    whole = measure_chunk(ENGINE, job, 30, pairs)
    assert noted == list(range(30, 39))
    assert list(careful.outcomes) == list(whole.outcomes)
    assert sorted(careful.exact, key=repr) == sorted(whole.exact, key=repr)
    assert careful.provenance == whole.provenance
    assert careful.sums.keys() == whole.sums.keys()
    for key, sums in whole.sums.items():
        np.testing.assert_allclose(careful.sums[key].to_array(), sums.to_array(), rtol=1e-12, atol=1e-12)
    for site, arrays in whole.scores.items():
        np.testing.assert_array_equal(np.stack(careful.scores[site]), np.stack(arrays))


def test_a_pair_that_raises_has_its_error_and_the_others_their_scores() -> None:
    """Progress counts it as done."""
    shares: list[float] = []
    job = job_of(SPEC, 3)
    result = measure_carefully(
        ENGINE,
        job,
        0,
        make_pairs(3, {1: "RAISE"}),
        measuring(ENGINE, job),
        note=lambda _index: None,
        on_share=shares.append,
    )
    assert [outcome.state for outcome in result.outcomes] == ["done", "failed", "done"]
    assert result.outcomes[1].error == "RuntimeError: the pair makes trouble"
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert pytest.approx(2 / 3) in shares


def test_a_chunk_of_nothing_but_failures_has_a_result() -> None:
    """No sums, no scores."""
    pairs = make_pairs(2, {0: "RAISE", 1: "RAISE"})
    job = job_of(SPEC, 2)
    result = measure_carefully(ENGINE, job, 0, pairs, measuring(ENGINE, job), note=lambda _index: None)
    assert [outcome.state for outcome in result.outcomes] == ["failed", "failed"]
    assert not result.sums
    assert not result.scores


@pytest.mark.parametrize("error", [LeaseLostError, StopRequestedError, KeyboardInterrupt])
def test_what_ends_the_work_is_no_pair_s_error(error: type[BaseException]) -> None:
    """Neither from the note nor from the progress."""

    def end(_value: float) -> None:
        raise error

    job = job_of(SPEC, 3)
    for options in ({"note": end}, {"note": lambda _index: None, "on_share": end}):
        with pytest.raises(error):
            measure_carefully(ENGINE, job, 0, make_pairs(3), measuring(ENGINE, job), **options)  # type: ignore[arg-type]


def test_a_broken_device_is_no_pair_s_error() -> None:
    """Nothing can be measured after it."""
    job, pairs = job_of(SPEC, 2), make_pairs(2, {0: "CUDA"})
    with pytest.raises(RuntimeError, match="illegal memory access"):
        measure_carefully(ENGINE, job, 0, pairs, measuring(ENGINE, job), note=lambda _index: None)


def test_each_pair_is_noted_before_it_is_begun(database: Database) -> None:
    """What the database says while a pair is measured is that pair."""
    submit_pairs(database, 6, {1: "RAISE"}, chunk_size=6)
    calls = Calls()
    noted: list[tuple[int | None, int]] = []

    def look() -> None:
        with database.read() as session:
            noted.append((session.scalar(select(chunk.c.at_pair)), len(calls.pairs)))

    calls.on_batch = look
    work_off(database, calls, idle_exit=1.2)
    # The first attempt (in batches of two) ended in its first batch.
    assert noted[0] == (None, 2)
    assert noted[1:] == [(index, 3 + index) for index in range(6)]


def test_three_lost_workers_leave_one_error_row(database: Database) -> None:
    """Each loses its lease at the same pair, as when it kills them; all the others are measured."""
    job = submit_pairs(database, 8, {5: "POISON"}, chunk_size=8)
    lost = 0

    def work_until_the_poison() -> bool:
        with database.write() as session:
            lease = leases.claim(session, "doomed", lease_seconds=-1)
        if lease is None:
            return False
        for index in range(lease.first, lease.last):
            if lease.careful:
                with database.write() as session:
                    leases.note_pair(session, lease, index)
            if index == 5:
                return True
        with database.read() as session:
            pairs = leases.chunk_pairs(session, lease)
        with database.write() as session:
            assert leases.finish(session, lease, measure_chunk(ENGINE, job, lease.first, pairs))
        return True

    while state(database, job) not in ("done", "failed"):
        lost += work_until_the_poison()
        assert lost < 20
    [(index, reason)] = errors(database, job).items()
    assert index == 5
    assert cause_of(reason) == "crashed"
    assert sum(attempts >= MAX_ATTEMPTS for _, attempts, _ in chunks(database, job)) == 1


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("out of memory with a batch of this pair alone (9 tokens)", "memory"),
        ("out of memory", "memory"),
        ("the metric of the clean run is not finite: the model's logits are NaN or infinite", "not-a-number"),
        ("the scores of z are not finite: the metric's gradient is NaN or infinite", "not-a-number"),
        ("failed after 3 attempts: its last worker a/1/2 was lost at this pair", "crashed"),
        ("RuntimeError: CUDA error: an illegal memory access was encountered", "crashed"),
        ("the prompts differ in length: 3 and 4 tokens", "tokens"),
        ("correct answer ' and then' is 2 tokens", "tokens"),
        ("RuntimeError: the pair makes trouble", "error"),
    ],
)
def test_reasons_are_counted_by_cause(reason: str, cause: str) -> None:
    """A few words that stay the same."""
    assert cause_of(reason) == cause


def test_errors_are_described_in_one_line() -> None:
    """With their kind; memory that ran out is called that."""
    assert reason_of(ValueError("one\ntwo")) == "ValueError: one"
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(MemoryError()) == "out of memory"

    class AcceleratorError(RuntimeError):
        """As torch names it."""

    assert is_device_broken(AcceleratorError("device-side assert triggered"))
    assert is_device_broken(RuntimeError("CUDA error: unspecified launch failure"))
    assert not is_device_broken(RuntimeError("CUDA out of memory. Tried to allocate 1 GiB"))


def test_a_pair_that_raises_is_left_out_of_the_pilot(database: Database) -> None:
    """Every chunk of the job depends on the pilot: one pair must not take the job down."""
    row = pilot_rows(400)[2]
    job = submit_pairs(database, 400, {row: "RAISE"}, exact=0.05, chunk_size=100)
    pilot = make_pilot(Waiting(database, seconds=0), ENGINE, job)
    assert {int(sums["n"].max()) for sums in pilot.values()} == {len(pilot_rows(400)) - 1}
    work_off(database, Calls(), idle_exit=1.2)
    assert errors(database, job) == {row: "RuntimeError: the pair makes trouble"}


def test_a_job_whose_pilot_kills_workers_goes_on_without_one(database: Database) -> None:
    """At the last attempt; what is drawn then counts every component as equally large."""
    job = submit_pairs(database, 400, exact=0.05, chunk_size=100)
    waiting = Waiting(database)

    def die(_done: float) -> None:
        raise KeyboardInterrupt

    for attempts in range(1, MAX_ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):
            make_pilot(waiting, ENGINE, job, attempts=attempts, batch_tokens=None, on_batch=die)
    pilot = make_pilot(waiting, ENGINE, job, attempts=MAX_ATTEMPTS, batch_tokens=None, on_batch=die)
    assert pilot.keys() == {"z", "mlp_out"}
    assert all(not sums["n"].any() for sums in pilot.values())
    with database.read() as session:
        assert read_pilot(session, job.id).keys() == pilot.keys()
    work_off(database, Calls())
    assert state(database, job) == "done"
    rows = exported(database, job)
    assert rows["exact"]
    assert max(row["inclusion"] for row in rows["exact"]) < 1
