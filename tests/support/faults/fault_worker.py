"""A program that runs workers and makes them die, stop or run out of disk where a test wants them to.

Usage: python fault_worker.py OPTIONS   one worker in this process; OPTIONS is `WorkerOptions` as JSON
       python fault_worker.py --serve   reads such a line for each worker, forks it and writes its process id

A forked worker imports nothing anew, so that a killed one is replaced at once. All of them end with the
server, and the server with whoever holds its standard input: a test that fails leaves no process behind.
"""

import ctypes
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from celery import signals
from sqlalchemy import Engine as SQLEngine
from sqlalchemy import event, func
from sqlalchemy import select as sql_select
from sqlalchemy.orm import Session

from patchgrid.core.errors import PatchgridError
from patchgrid.storage import Database
from patchgrid.storage.chunks.checksums import END
from patchgrid.storage.tables import chunk
from patchgrid.workers.identity import worker_name

if TYPE_CHECKING:
    from patchgrid.workers.measuring.models import ModelKey
    from patchgrid.workers.testing import StandIn

_log = logging.getLogger(__name__)

#: What Linux is asked to send a child whose parent ends.
_PR_SET_PDEATHSIG = 1
#: What every worker needs, imported once.
_NEEDED = (
    *("celery.worker", "kombu.transport.redis", "psycopg", "patchgrid.workers.testing"),
    *("patchgrid.engine.engine", "patchgrid.workers.celery.process", "patchgrid.workers.celery.consumer"),
)


@dataclass(frozen=True)
class WorkerOptions:
    """What one worker is told."""

    #: URL of the database.
    database: str
    #: File for what the worker logs and prints.
    log: str
    broker: str | None = None
    models: tuple[str, ...] = ("stand-in",)
    #: `stand-in`, or `real` for an engine loaded from the model's folder.
    engine: str = "stand-in"
    #: Seconds that the stand-in takes for a pair, and to load.
    pair_seconds: float = 0.0
    load_seconds: float = 0.0
    lease: float = 6.0
    poll: float = 0.2
    slice: float = 30.0
    grace: float = 25.0
    watchdog: float = 900.0
    idle_exit: float | None = None
    max_chunks: int | None = None
    remote_control: bool = False
    #: A file with the number of pages that an SQLite database may have.
    pages: str | None = None
    #: Signal to send itself, None for none.
    fault: int | None = None
    #: The point at which to, at which passing of it (and at every such number of passings), and how often.
    #: Besides those of a worker there are `in commit` (a chunk's results are written, their commit is not yet
    #: sent, and the next chunk is measured), `completing` (all that completes a job is written with its
    #: last chunk, and not yet committed), `planning` (a round is over, and the chunks of the next one are
    #: written, and not yet committed) and `successor` (a slice is over, and the message that follows it is
    #: not yet sent).
    point: str = ""
    passing: int = 1
    times: int = 1
    #: A chunk that has lost more workers than this is let be: one that loses three is poison.
    spared_after: int = 1
    #: Seconds that each chunk waits before it is committed.
    commit_seconds: float = 0.0


class GuardedDatabase(Database):
    """A database of which it is known when this process is in the middle of no transaction.

    Whoever stands still within one keeps others from writing for as long.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.writing = threading.Lock()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session for one transaction at a time."""
        with self.writing, super().write() as session:
            yield session


class Fault:
    """Counts a worker's points and sends it a signal at one."""

    def __init__(self, options: WorkerOptions, database: Database) -> None:
        self._options, self._database = options, database
        self._guard = database.writing if isinstance(database, GuardedDatabase) else nullcontext()
        self._passed, self._sent = 0, 0
        self._computing, self._is_planning = threading.Event(), False

    def __call__(self, point: str) -> None:
        """Take note of a point."""
        if point == "claimed":
            self._computing.clear()
        elif point == "computing":
            self._computing.set()
        elif point == "before commit":
            time.sleep(self._options.commit_seconds)
        self._pass(point)

    def in_commit(self, _connection: Any) -> None:
        """Take note that a transaction is about to be committed."""
        storing = threading.current_thread().name.startswith("patchgrid-storing")
        if storing and self._computing.wait(0.5):
            self._pass("in commit")

    def completing(self, _connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        """Take note that the checksum of a job's end, the last of what completes it, is written."""
        if statement.startswith("INSERT INTO checksum") and END in str(values):
            self._pass("completing")

    def planning(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        """Take note that a round is planned: its chunks, the last of it, are written."""
        if statement.replace('"', "").startswith("INSERT INTO plan "):
            self._is_planning = True
        elif self._is_planning and statement.startswith("UPDATE job SET"):
            self._is_planning = False
            self._pass("planning")

    def before_message(self, **_: Any) -> None:
        """Take note that a message is about to be sent: a worker sends those that follow a slice."""
        self._pass("successor")

    def _pass(self, point: str) -> None:
        options = self._options
        if options.fault is None or point != options.point or self._sent == options.times:
            return
        self._passed += 1
        if self._passed >= options.passing and self._losses() <= options.spared_after:
            self._passed, self._sent = 0, self._sent + 1
            with self._guard:
                # To this thread: sent to the process, another might take it up, and this one go on meanwhile.
                signal.pthread_kill(threading.get_ident(), options.fault)

    def _losses(self) -> int:
        """Count the workers that the chunks at hand have lost, the unluckier of them."""
        mine = (chunk.c.worker == worker_name()) & (chunk.c.state == "leased")
        with self._database.read() as session:
            return (session.scalar(sql_select(func.max(chunk.c.attempts)).where(mine)) or 1) - 1


def work(options: WorkerOptions) -> None:
    """Run one worker until it ends by itself or is told to."""
    # Tests import this module for its options alone.
    from patchgrid.workers.celery.process import run
    from patchgrid.workers.node.settings import WorkerSettings
    from patchgrid.workers.node.worker import Worker
    from patchgrid.workers.testing import load

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if options.pages is not None:
        bound_pages(Path(options.pages))
    kind = GuardedDatabase if options.fault == signal.SIGSTOP else Database
    with kind.open(options.database) as database:

        def load_stand_in(key: "ModelKey") -> "StandIn":
            time.sleep(options.load_seconds)
            return load(key, pair_seconds=options.pair_seconds)

        settings = WorkerSettings(
            models=options.models,
            device="cpu",
            broker=options.broker,
            poll=options.poll,
            lease_seconds=options.lease,
            grace=options.grace,
            watchdog=options.watchdog,
            idle_exit=options.idle_exit,
            max_chunks=options.max_chunks,
            slice=options.slice,
            remote_control=options.remote_control,
        )
        fault = Fault(options, database)
        real = options.engine == "real"
        worker = Worker(database, settings, load=None if real else load_stand_in, on_point=fault)
        if options.point == "in commit":
            event.listen(database.engine, "commit", fault.in_commit)
        elif options.point == "completing":
            event.listen(database.engine, "after_cursor_execute", fault.completing)
        elif options.point == "planning":
            event.listen(database.engine, "after_cursor_execute", fault.planning)
        elif options.point == "successor":
            signals.before_task_publish.connect(fault.before_message, weak=False)
        if options.broker is not None:
            run(worker)
            return

        def stop(_number: int, _frame: FrameType | None) -> None:
            worker.stop()

        signal.signal(signal.SIGTERM, stop)
        _log.info("ended: %s", worker.run())


def bound_pages(file: Path) -> None:
    """Let SQLite databases of this process grow no further than the file says at each transaction."""

    def set_bound(connection: Any) -> None:
        pages = int(file.read_text(encoding="utf-8"))
        connection.connection.driver_connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(SQLEngine, "begin", set_bound)


def serve() -> None:
    """Fork a worker for each line that comes in; tell each one's process id, and how it ended."""
    _import_everything()
    children: set[int] = set()
    rest = b""
    try:
        while True:
            if select.select([0], [], [], 0.02)[0]:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    options = WorkerOptions(**json.loads(line))
                    children.add(_fork(lambda options=options: work(options), options.log))
            _reap(children)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def _reap(children: set[int]) -> None:
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children.remove(pid)
            _tell(ended=pid, code=os.waitstatus_to_exitcode(status))


def _tell(**said: int) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def _fork(run: Callable[[], None], log: str) -> int:
    pid = os.fork()
    if pid:
        _tell(started=pid)
        return pid
    code = 1
    try:
        end_with_parent()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for number in (1, 2):
            os.dup2(output, number)
        os.close(0)
        run()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except PatchgridError as error:
        sys.stderr.write(f"{error}\n")
        code = error.exit_code
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def end_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _import_everything() -> None:
    """Import once what every worker needs."""
    for name in _NEEDED:
        import_module(name)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve()
    else:
        try:
            work(WorkerOptions(**json.loads(sys.argv[1])))
        except PatchgridError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(error.exit_code)
