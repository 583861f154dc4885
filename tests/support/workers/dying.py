"""A program that works a small job off and is killed at every point of it in turn; then it goes on.

Usage: python dying.py MODEL FOLDER all|some

Each run is a forked child that opens its own database, kills itself (SIGKILL) at the n-th point and is
followed by a child that does the same from the start and lives. A point is: before a statement is sent to
the database, before and after a transaction is committed, and each report of progress, in any thread.
`some` is one point of each kind that changes something. Prints JSON: the names of all points, those killed
at, and those after which the rows differed from the rows of a run that nobody killed.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine as SQLEngine
from sqlalchemy import event
from sqlalchemy.orm import Session

from patchgrid.engine import Engine, JobSpec
from patchgrid.storage import Database, checking
from patchgrid.workers.runner import run_job
from support.workers.working import MISMATCHED, exported, make_pairs, submit

PAIRS = [*make_pairs(3), replace(MISMATCHED, id=None), *make_pairs(5)[3:]]
OnPoint = Callable[[str], None]


def work(folder: Path, engine: Engine, model: str, on_point: OnPoint) -> None:
    """Do what `patchgrid run` does: open the database, submit the job or find it, work it off."""

    def statement(*given: Any) -> None:
        on_point(f"statement {given[2][:60]}")

    event.listen(SQLEngine, "before_cursor_execute", statement)
    event.listen(SQLEngine, "commit", lambda _connection: on_point("commit"))
    event.listen(Session, "after_commit", lambda _session: on_point("committed"))
    with Database.open(f"sqlite:///{folder / 'jobs.db'}") as database:
        job = submit(database, JobSpec.of(model, sites=("z", "mlp_out")), PAIRS, chunk_size=3)
        run_job(database, engine, job, on_progress=lambda progress: on_point(f"progress {progress}"))
        event.remove(SQLEngine, "before_cursor_execute", statement)
        rows = exported(database, job)
    report = checking.check(f"sqlite:///{folder / 'jobs.db'}")
    rows["problems"] = [{"problem": str(problem)} for problem in report.problems]
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")


def in_child(folder: Path, engine: Engine, model: str, kill_at: int | None) -> list[str]:
    """Run `work` in a forked child that dies at a point, or never; give the points that it passed."""
    log = folder / "points"
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _child(folder, engine, model, kill_at, log)
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    points = log.read_text(encoding="utf-8").splitlines()
    died = os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
    if not died and os.waitstatus_to_exitcode(ended) != 0:
        raise RuntimeError(f"a run failed after {points[-3:]}")
    assert died == (kill_at is not None and len(points) == kill_at + 1), "a run did not die where it should"
    return points


def _child(folder: Path, engine: Engine, model: str, kill_at: int | None, log: Path) -> None:
    passed, passing = 0, threading.Lock()
    with log.open("w", encoding="utf-8") as file:

        def on_point(name: str) -> None:
            nonlocal passed
            with passing:
                file.write(" ".join(name.split()) + "\n")
                if passed == kill_at:
                    file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                passed += 1

        work(folder, engine, model, on_point)


def warm_up(engine: Engine, model: str, folder: Path) -> None:
    """Let this process import and set up, once, what every child needs."""
    with Database.open(f"sqlite:///{folder / 'jobs.db'}") as database:
        run_job(database, engine, submit(database, JobSpec(model), make_pairs(1)))
        checking.check(database.url)


def some_of(points: list[str]) -> list[int]:
    """Choose, of each kind of point that changes something or reports progress, the one in the middle."""
    kinds: dict[str, list[int]] = {}
    for place, name in enumerate(points):
        words = name.split()
        if words[0] != "statement" or words[1] in ("INSERT", "UPDATE"):
            kinds.setdefault(" ".join(words[:4] if words[0] == "statement" else words[:1]), []).append(place)
    return sorted(places[len(places) // 2] for places in kinds.values())


def main(model: str, root: str, which: str) -> None:
    """Kill a run at each point in turn."""
    engine = Engine.load(model, device="cpu")

    def fresh(name: str) -> Path:
        folder = Path(root) / name
        folder.mkdir()
        return folder

    warm_up(engine, model, fresh("warm-up"))
    undisturbed = fresh("undisturbed")
    points = in_child(undisturbed, engine, model, None)
    expected = (undisturbed / "rows.json").read_text(encoding="utf-8")
    chosen = list(range(len(points))) if which == "all" else some_of(points)
    differing = []
    for kill_at in chosen:
        folder = fresh(f"killed-at-{kill_at}")
        in_child(folder, engine, model, kill_at)
        in_child(folder, engine, model, None)
        if (folder / "rows.json").read_text(encoding="utf-8") != expected:
            differing.append(points[kill_at])
    summary = {
        "points": points,
        "killed_at": [points[place] for place in chosen],
        "differing": differing,
        "rows": {what: len(rows) for what, rows in json.loads(expected).items()},
    }
    sys.stdout.write(json.dumps(summary))


if __name__ == "__main__":
    main(*sys.argv[1:])
