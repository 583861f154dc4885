"""A program that submits a pair file as `patchgrid submit` does, in forked children that may be killed.

Usage: python fault_submit.py kill PAIRS URL URL …     to the first URL undisturbed, to each other one killed,
                                                       at points from the first to the last
       python fault_submit.py race PAIRS NUMBER URL …  by so many at once, to one URL after the other

Prints the exit codes as JSON, negative for a signal. A point is: before a statement is sent to the database,
every 250th pair that is read, before and after a transaction is committed.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine as SQLEngine
from sqlalchemy import event
from sqlalchemy.orm import Session

from patchgrid.cli import main as patchgrid
from patchgrid.core.types import Pair
from patchgrid.pairs import PairFile

OnPoint = Callable[[str], None]
_PAIRS_A_POINT = 250


def submit(pairs: str, url: str) -> int:
    """Run the command; give its exit code."""
    try:
        patchgrid(["--db", url, "submit", pairs, "-m", "stand-in", "--exact", "0.3", "--chunk-size", "64"])
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def listen(on_point: OnPoint) -> None:
    """Call `on_point` at every point of this process."""

    def statement(*given: Any) -> None:
        on_point(f"statement {given[2][:60]}")

    event.listen(SQLEngine, "before_cursor_execute", statement)
    event.listen(SQLEngine, "commit", lambda _connection: on_point("commit"))
    event.listen(Session, "after_commit", lambda _session: on_point("committed"))
    read = PairFile.__iter__

    def counted(file: PairFile) -> Iterator[Pair]:
        for number, pair in enumerate(read(file)):
            if number % _PAIRS_A_POINT == 0:
                on_point(f"pair {number}")
            yield pair

    PairFile.__iter__ = counted  # type: ignore[method-assign]


def fork(work: Callable[[], int]) -> int:
    """Run `work` in a child whose output goes nowhere; give its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        code = work()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a child; give its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def all_points(pairs: str, url: str) -> list[str]:
    """Submit once, and give every point that was passed."""
    reading, writing = os.pipe()

    def work() -> int:
        os.close(reading)
        listen(lambda name: void(os.write(writing, " ".join(name.split()).encode() + b"\n")))
        return submit(pairs, url)

    pid = fork(work)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as lines:
        points = lines.read().splitlines()
    assert ended(pid) == 0, "an undisturbed submit failed"
    return points


def kill_at(pairs: str, url: str, place: int) -> int:
    """Submit, and kill it at a point; give the exit code."""
    passed = 0

    def on_point(_name: str) -> None:
        nonlocal passed
        if passed == place:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    def work() -> int:
        listen(on_point)
        return submit(pairs, url)

    return ended(fork(work))


def void(_value: object) -> None:
    """Do nothing."""


def main(what: str, pairs: str, *rest: str) -> None:
    """Do what is asked; print what came of it as JSON."""
    assert Path(pairs).is_file()
    if what == "kill":
        undisturbed, *urls = rest
        last = len(all_points(pairs, undisturbed)) - 1
        found = [
            kill_at(pairs, url, number * last // max(1, len(urls) - 1)) for number, url in enumerate(urls)
        ]
    else:
        found = []
        for url in rest[1:]:
            pids = [fork(lambda url=url: submit(pairs, url)) for _ in range(int(rest[0]))]
            found += [ended(pid) for pid in pids]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
