"""Pairs that kill their workers, run out of memory, or raise: they fail alone, the rest is done."""

from pathlib import Path

import pytest

from patchgrid.core.types import JobSpec
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue.leases import MAX_ATTEMPTS
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import Trial, trial
from support.faults.fleet import Fleet, MakeFleet

#: What each kind of poison is told to have died of.
CAUSES = {
    "KILL": "lost",
    "SEGFAULT": "lost",
    "EXIT": "lost",
    "HANG": "lost",
    "CUDA": "CUDA error",
    "MEMORY": "out of memory",
    "RAISE": "RuntimeError: the pair makes trouble",
    "OOM": "out of memory with a batch of this pair alone",
    "NAN": "not finite",
}
#: Those of them that end a process each time.
FATAL = ("KILL", "SEGFAULT", "EXIT", "HANG", "CUDA")
SPEC = JobSpec("stand-in", exact=0.0)


def assert_poison_fails_alone(
    url: str, folder: Path, make_fleet: MakeFleet, poison: dict[int, str], *, pairs: int, workers: int
) -> None:
    """Work off a job with these pairs in it; compare all others with a job of healthy pairs."""
    with (
        trial(
            url, folder, make_pairs(pairs, poison), spec=SPEC, chunk_size=8, healthy=make_pairs(pairs)
        ) as work,
        make_fleet(url, workers, lease=3.0, watchdog=4.0) as fleet,
    ):
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        work.assert_exact(poison=poison.keys(), whole=False)
        assert_told(work, poison)
        assert_lost_at_most(fleet, MAX_ATTEMPTS * sum(word in FATAL for word in poison.values()))


def assert_told(work: Trial, poison: dict[int, str]) -> None:
    """Hold the error rows to what the pairs did."""
    with work.database.read() as session:
        errors = dict(jobs.errors(session, work.job.id))
    assert errors.keys() == poison.keys()
    for index, word in poison.items():
        assert CAUSES[word] in errors[index], (index, word)
    assert max(row.attempts for row in work.rows()) <= MAX_ATTEMPTS


def assert_lost_at_most(fleet: Fleet, count: int) -> None:
    """Hold the number of processes that ended before they were told to."""
    assert 0 < len(fleet.codes) <= count


def test_poison_pairs_fail_alone(url: str, tmp_path: Path, make_fleet: MakeFleet) -> None:
    """One that kills, one that raises, one that is too large and one that is no number."""
    poison = {5: "KILL", 21: "RAISE", 30: "OOM", 46: "NAN"}
    assert_poison_fails_alone(url, tmp_path, make_fleet, poison, pairs=60, workers=2)


@pytest.mark.slow
def test_ten_poison_pairs_fail_alone(url: str, tmp_path: Path, make_fleet: MakeFleet) -> None:
    """Nine kinds of poison; two of the killers share a chunk, one is its chunk's first, one its last."""
    poison = {
        3: "KILL",
        6: "SEGFAULT",
        16: "EXIT",
        39: "HANG",
        60: "CUDA",
        100: "MEMORY",
        150: "RAISE",
        151: "OOM",
        222: "NAN",
        399: "KILL",
    }
    assert_poison_fails_alone(url, tmp_path, make_fleet, poison, pairs=400, workers=8)


def test_poison_among_the_pilot_pairs_spoils_no_other_chunk(
    postgres_url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """The pairs that set the scale of the sample are measured before any chunk: a killer among them too."""
    poison = {0: "KILL", 400: "RAISE"}
    spec = JobSpec("stand-in", exact=0.3)
    with (
        trial(
            postgres_url, tmp_path, make_pairs(800, poison), spec=spec, chunk_size=50, healthy=make_pairs(800)
        ) as work,
        make_fleet(postgres_url, 2, lease=3.0) as fleet,
    ):
        work.wait_until_over(fleet)
        with work.database.read() as session:
            errors = dict(jobs.errors(session, work.job.id))
        assert errors.keys() == poison.keys()
