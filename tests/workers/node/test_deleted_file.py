"""A database file that is deleted while it is in use: noticed by the next transaction, nothing is written."""

import shutil
from pathlib import Path

import pytest

from patchgrid.storage import Database
from patchgrid.storage.errors import DatabaseGone
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.node.settings import WorkerSettings
from patchgrid.workers.node.worker import Worker
from patchgrid.workers.runner import run_job
from patchgrid.workers.testing import load, make_pairs
from support.faults.fault_jobs import SPEC
from support.workers.working import submit


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_transaction_notices_before_it_commits(tmp_path: Path, how: str) -> None:
    """And the one that begins later, reading or writing."""
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with Database.open(f"sqlite:///{path}") as database:
        shutil.copy(path, copy)

        def write() -> None:
            with database.write():
                path.unlink()
                if how == "replaced":
                    copy.rename(path)

        with pytest.raises(DatabaseGone, match="was deleted, moved or replaced"):
            write()
        with pytest.raises(DatabaseGone), database.read():
            pass
    assert path.exists() == (how == "replaced")


def test_a_run_ends_with_the_file(tmp_path: Path) -> None:
    """At the next commit, with one error; it makes no new file."""
    path = tmp_path / "a.db"
    with Database.open(f"sqlite:///{path}") as database:
        job = submit(database, SPEC, make_pairs(64), chunk_size=2)
        engine = load(ModelKey.of(SPEC), on_begin=lambda _pairs: path.unlink(missing_ok=True))
        with pytest.raises(DatabaseGone):
            run_job(database, engine, job)
    assert not path.exists()


def test_a_worker_ends_with_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It has no place to write that to: it says so, without a traceback."""
    path = tmp_path / "a.db"
    with Database.open(f"sqlite:///{path}") as database:
        submit(database, SPEC, make_pairs(64), chunk_size=2)

        def make(key: ModelKey) -> object:
            return load(key, on_begin=lambda _pairs: path.unlink(missing_ok=True))

        settings = WorkerSettings(models=(SPEC.model,), poll=0.05, idle_exit=5)
        with pytest.raises(DatabaseGone):
            Worker(database, settings, load=make, beat=0.05).run()  # type: ignore[arg-type]
    assert not path.exists()
    assert all(record.exc_info is None for record in caplog.records), caplog.text
