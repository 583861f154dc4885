"""Submits that are killed, repeated, or made by several at once: no job, or one whole job."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import support.faults.fault_submit
from patchgrid.storage import Database, checking
from patchgrid.storage.errors import StorageError
from patchgrid.workers.testing import make_pairs
from support.faults.fleet import ENVIRONMENT
from support.storage.storage_backends import all_jobs

COUNT = 2500

NewURL = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewURL:
    """Return a function that returns the URL of a new empty database each time."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        return lambda: str(server.url(server.new_database()))
    names = iter(range(1000))
    return lambda: f"sqlite:///{tmp_path / f'{next(names)}.db'}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of pairs that takes several batches to store."""
    path = tmp_path / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for pair in make_pairs(COUNT):
            row = {"clean": pair.clean, "corrupted": pair.corrupted, "correct": " a", "incorrect": " b"}
            lines.write(json.dumps(row) + "\n")
    return path


def run(what: str, file: Path, *rest: object) -> Any:
    """Run the program that submits."""
    command = [sys.executable, support.faults.fault_submit.__file__, what, file, *rest]
    ended = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=600
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout)


def whole_jobs(url: str) -> int:
    """Count the jobs; every one of them is whole."""
    try:
        assert checking.check(url).problems == ()
    except StorageError:  # it was killed before there was a database
        return 0
    with Database.open(url) as database, database.read() as session:
        found = all_jobs(session)
        assert all(record.pairs == COUNT for record in found)
        return len(found)


def assert_killed_submits_leave_all_or_nothing(file: Path, new_url: NewURL, kills: int) -> None:
    """Kill a submit at so many points from its first statement to its last; then submit again."""
    urls = [new_url() for _ in range(kills)]
    assert run("kill", file, new_url(), *urls) == [-signal.SIGKILL] * kills
    found = [whole_jobs(url) for url in urls]
    assert set(found) == {0, 1}
    assert found == sorted(found), "the later it is killed, the more there is"
    again = [urls[0], urls[kills // 2], urls[-1]]
    assert run("race", file, 1, *again) == [0, 0, 0]
    assert [whole_jobs(url) for url in again] == [1, 1, 1]


def test_a_killed_submit_leaves_no_job_or_a_whole_one(file: Path, new_url: NewURL) -> None:
    """Killed at three points; the same command then submits what is missing."""
    assert_killed_submits_leave_all_or_nothing(file, new_url, 3)


@pytest.mark.slow
def test_a_submit_killed_at_twenty_points_leaves_no_job_or_a_whole_one(file: Path, new_url: NewURL) -> None:
    """From the first statement that makes the tables to after the last commit."""
    assert_killed_submits_leave_all_or_nothing(file, new_url, 20)


def test_a_file_submitted_twice_is_one_job(file: Path, new_url: NewURL) -> None:
    """The second submit finds the first one's job."""
    url = new_url()
    assert run("race", file, 1, url, url) == [0, 0]
    assert whole_jobs(url) == 1


def test_a_file_submitted_by_several_at_once_is_one_job(file: Path, new_url: NewURL) -> None:
    """Three at once, to a database that is not even made: all succeed, one of them has written the job."""
    url = new_url()
    assert run("race", file, 3, url) == [0, 0, 0]
    assert whole_jobs(url) == 1
