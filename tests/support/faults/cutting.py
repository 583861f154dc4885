"""A PostgreSQL server behind a wire that is cut as a transaction is committed."""

import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

#: As the driver sends it, a simple query or a prepared one.
_COMMIT = b"COMMIT\0"
#: A transaction that writes results sends this.
_RESULT = b"outcome"


@dataclass
class Cuts:
    """Which commits the wire is cut at, and how many it was cut at so far."""

    #: One in this many commits of results is cut: half of them before the server has got it.
    every: int
    #: One in this many of all other commits (claims, heartbeats) is cut; 0 for none.
    every_other: int = 0
    #: No more cuts than this.
    most: int = 10**9
    #: (a commit of results, the server got it) to the number of cuts.
    done: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    _seen: Counter[bool] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at_commit(self, *, result: bool) -> str:
        """Say what becomes of a commit: "pass", cut "before" the server gets it, or "after"."""
        with self._lock:
            every = self.every if result else self.every_other
            self._seen[result] += 1
            if not every or self._seen[result] % every or sum(self.done.values()) >= self.most:
                return "pass"
            got = self._seen[result] // every % 2 == 0
            self.done[result, got] += 1
            return "after" if got else "before"


class Wire:
    """Listens on a port of its own and carries all bytes to the server and back, until a cut."""

    def __init__(self, port: int, cuts: Cuts) -> None:
        self._server, self._cuts = port, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            client = self._listener.accept()[0]
            try:
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                continue
            thread = threading.Thread(target=self._carry, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, suppress(OSError):
            result, cut = False, False
            while not self._closing.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.05)
                if server in ready:
                    data = server.recv(1 << 16)
                    if not data or cut:  # the commit's answer never arrives
                        return
                    client.sendall(data)
                if client in ready:
                    data = client.recv(1 << 16)
                    if not data:
                        return
                    result = result or _RESULT in data
                    if _COMMIT in data:
                        what, result = self._cuts.at_commit(result=result), False
                        if what == "before":
                            return
                        cut = what == "after"
                    server.sendall(data)

    def close(self) -> None:
        """Cut all that is left."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()


@contextmanager
def wire(port: int, cuts: Cuts) -> Iterator[Wire]:
    """Yield a wire to a server's port for the `with` block."""
    between = Wire(port, cuts)
    try:
        yield between
    finally:
        between.close()
