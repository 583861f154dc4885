"""Workers killed in later rounds: the same cells, sums and certificates as without."""

import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import func, select

from patchgrid.core.refinement import Refinement
from patchgrid.core.types import JobSpec
from patchgrid.storage.queue.closing import close_completed, close_if_complete
from patchgrid.storage.tables import chunk, plan
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import Trial, trial
from support.faults.fleet import MakeFleet

#: Where a worker is killed: on a chunk's way, and as a round is planned.
POINTS = ("claimed", "computing", "before commit", "in commit", "committed", "planning")
SPEC = JobSpec.of("stand-in", sites=("z", "mlp_out"), exact=0.1, allocate="score")
REFINEMENTS = (Refinement(certify=3, max_exact=1), Refinement(exact=0.05), Refinement(top=2))


def assert_kills_change_nothing(
    url: str, folder: Path, make_fleet: MakeFleet, points: Sequence[str], *, kills: int, workers: int
) -> None:
    """Let workers kill themselves at each of the points; those after them live."""
    rng = random.Random(kills)
    told = [
        {"fault": signal.SIGKILL, "point": point, "passing": 1 if point == "planning" else rng.randint(1, 6)}
        for _ in range(kills)
        for point in points
    ]
    with trial(url, folder, make_pairs(60), spec=SPEC, chunk_size=6, refinements=REFINEMENTS) as work:
        fleet = make_fleet(url, workers, lease=3.0, pair_seconds=0.01)
        fleet.next_options = list(told)
        with fleet:
            work.wait_until_over(fleet)
            fleet.end()
        assert len(fleet.codes) > kills, "hardly a worker was killed"
        work.assert_exact(whole=False)
        assert_planned_once(work)


def assert_planned_once(work: Trial) -> None:
    """Hold every round to one plan, and to chunks that cover each pair once."""
    with work.database.read() as session:
        planned = select(plan.c.round).where(plan.c.job_id == work.job.id).distinct()
        rounds = sorted(session.scalars(planned))
        assert rounds == list(range(1, len(rounds) + 1))
        for number in rounds:
            mine = (chunk.c.job_id == work.job.id) & (chunk.c.round == number)
            pairs = session.scalar(select(func.sum(chunk.c.last - chunk.c.first)).where(mine))
            assert pairs == work.job.pairs


def test_kills_in_later_rounds_change_nothing(url: str, tmp_path: Path, make_fleet: MakeFleet) -> None:
    """Once at each point of a chunk's way, and as a round is planned."""
    assert_kills_change_nothing(url, tmp_path, make_fleet, POINTS, kills=1, workers=3)


@pytest.mark.slow
def test_ten_kills_at_each_point_give_the_same_certificate(
    url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """And the same cells."""
    assert_kills_change_nothing(url, tmp_path, make_fleet, POINTS, kills=10, workers=4)


def test_a_kill_while_a_round_is_planned_leaves_nothing_of_the_plan(
    url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """The chunk that ended the round is measured again, and the plan is the same."""
    with trial(url, tmp_path, make_pairs(60), spec=SPEC, chunk_size=15, refinements=REFINEMENTS) as work:
        fleet = make_fleet(url, 1, lease=3.0, pair_seconds=0.01)
        fleet.next_options = [{"fault": signal.SIGKILL, "point": "planning"}] * 3
        with fleet:
            work.wait(lambda: len(fleet.codes) >= 1, fleet)
            with work.database.read() as session:
                assert session.scalar(select(func.count()).select_from(plan)) == 0
            work.wait_until_over(fleet)
            fleet.end()
        work.assert_exact(whole=False)
        assert_planned_once(work)


def test_planners_that_come_twice_plan_nothing_more(url: str, tmp_path: Path, make_fleet: MakeFleet) -> None:
    """Whoever finds the job complete may end its round; the next one is there once."""
    with trial(url, tmp_path, make_pairs(60), spec=SPEC, chunk_size=15, refinements=REFINEMENTS) as work:
        with make_fleet(url, 3, lease=3.0, pair_seconds=0.01) as fleet:

            def close() -> bool:
                with work.database.write() as session:
                    close_if_complete(session, work.job.id)
                    close_completed(session, None)
                return work.state() == "done"

            work.wait(close, fleet)
            fleet.end()
        work.assert_exact(whole=False)
        assert_planned_once(work)
