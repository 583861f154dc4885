"""Worker processes that are kept at their number: one that ends is started again."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import psutil

import support.faults.fault_worker
from support.faults.fault_worker import WorkerOptions
from support.machines.servers import wait_for

#: Seconds that a process may take to do what it was told.
PATIENCE = 120
#: One thread a process.
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    "HF_HUB_OFFLINE": "1",
}


class Nursery:
    """The program that forks workers; one of them serves all tests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, support.faults.fault_worker.__file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        self._started: Queue[int] = Queue()
        self._asking = threading.Lock()
        #: Exit codes of processes that ended, negative for a signal.
        self.ended: dict[int, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, options: WorkerOptions) -> int:
        """Start a worker; give its process id."""
        assert self._process.stdin is not None
        with self._asking:
            self._process.stdin.write(json.dumps(dataclasses.asdict(options)).encode() + b"\n")
            self._process.stdin.flush()
            while True:
                try:
                    return self._started.get(timeout=1)
                except Empty:
                    code = self._process.poll()
                    assert code is None, f"no worker can be forked: exit code {code}"

    def close(self) -> None:
        """End the program, and with it what it forked."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said: dict[str, int] = json.loads(line)
            if "started" in said:
                self.ended.pop(said["started"], None)  # numbers of processes come round
                self._started.put(said["started"])
            else:
                self.ended[said["ended"]] = said["code"]


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Yield a nursery for the `with` block."""
    program = Nursery()
    try:
        yield program
    finally:
        program.close()


@dataclass
class Fleet:
    """The workers of one test: started together, replaced when they end, killed with the `with` block."""

    nursery: Nursery
    options: WorkerOptions
    #: How many there are.
    size: int
    #: Process ids of those that run.
    pids: list[int] = field(default_factory=list)
    #: Exit codes of those that ended before they were told to.
    codes: list[int] = field(default_factory=list)
    #: Those that ended are started again.
    keeping: bool = True
    #: Keyword to value: what the next worker is told differently, and how many are.
    next_options: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> "Fleet":
        self._ending = threading.Event()
        self._changing = threading.Lock()
        self.keep()
        self._keeper = threading.Thread(target=self._keep_always, daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._keeper.join()
        for pid in self.pids:
            self.send(pid, signal.SIGKILL)
        wait_for(lambda: all(pid in self.nursery.ended for pid in self.pids), PATIENCE)

    def keep(self) -> None:
        """Start as many workers as are missing."""
        with self._changing:
            if not self.keeping:
                return
            self._bury()
            while len(self.pids) < self.size:
                changed = self.next_options.pop(0) if self.next_options else {}
                self.pids.append(self.nursery.start(dataclasses.replace(self.options, **changed)))

    def _bury(self) -> None:
        for pid in [pid for pid in self.pids if pid in self.nursery.ended]:
            self.pids.remove(pid)
            self.codes.append(self.nursery.ended[pid])

    def _keep_always(self) -> None:
        while not self._ending.wait(0.05):
            self.keep()

    def send(self, pid: int, number: int) -> bool:
        """Send a worker a signal; False if it has ended."""
        if pid in self.nursery.ended:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def freeze(self, pid: int) -> bool:
        """Stop a worker (SIGSTOP) and wait until it stands still; False if it has ended."""

        def frozen() -> bool:
            try:
                return psutil.Process(pid).status() == psutil.STATUS_STOPPED
            except psutil.NoSuchProcess:
                return False

        if not self.send(pid, signal.SIGSTOP):
            return False
        wait_for(lambda: pid in self.nursery.ended or frozen())
        return pid not in self.nursery.ended

    def kill(self, pid: int) -> None:
        """Kill a worker, and wait until it has ended."""
        self.send(pid, signal.SIGKILL)
        wait_for(lambda: pid in self.nursery.ended)

    def end(self, seconds: float = PATIENCE) -> list[int]:
        """Tell all workers to end (SIGTERM), wait until they have; give their exit codes."""
        with self._changing:
            self._bury()
            self.keeping = False
            last = list(self.pids)
        for pid in last:
            self.send(pid, signal.SIGTERM)
        wait_for(lambda: all(pid in self.nursery.ended for pid in last), seconds)
        return [self.nursery.ended[pid] for pid in last]

    def log(self) -> str:
        """Return the logs of all workers."""
        path = Path(self.options.log)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


#: Makes a fleet on a database: its URL, the number of workers, their options.
MakeFleet = Callable[..., Fleet]
