"""A wire to an HTTP server that is cut, and servers that answer strangely."""

import json
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Wire:
    """Carries bytes between clients and a server; cuts a connection after so many bytes, the first few times.

    `up` are bytes from the client, `down` bytes to it; None: never.
    """

    def __init__(self, port: int, *, up: int | None = None, down: int | None = None, cuts: int = 1) -> None:
        self._server, self._up, self._down, self._left = port, up, down, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self._lock = threading.Lock()
        #: Connections so far.
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def left(self) -> int:
        """Cuts that are still to come."""
        return self._left

    def cut_all(self) -> None:
        """Cut every connection there is."""
        with self._lock:
            self._closing.set()
            self._closing = threading.Event()

    def close(self) -> None:
        """Cut what is left and listen no more."""
        self._listener.close()
        self._closing.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.connections += 1
                with self._lock:
                    closing = self._closing
                threading.Thread(target=self._carry, args=(client, closing), daemon=True).start()

    def _carry(self, client: socket.socket, closing: threading.Event) -> None:
        went = {"up": 0, "down": 0}
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._server)) as server:
            while not closing.is_set():
                for source in select.select([client, server], [], [], 0.05)[0]:
                    data = source.recv(1 << 14)
                    if not data:
                        return
                    way = "up" if source is client else "down"
                    went[way] += len(data)
                    if self._cut(way, went[way]):
                        return
                    (server if source is client else client).sendall(data)

    def _cut(self, way: str, bytes_so_far: int) -> bool:
        most = self._up if way == "up" else self._down
        with self._lock:
            if most is None or bytes_so_far <= most or not self._left:
                return False
            self._left -= 1
            return True


@contextmanager
def wire(port: int, *, up: int | None = None, down: int | None = None, cuts: int = 1) -> Iterator[Wire]:
    """Yield a wire to a server's port for the `with` block."""
    between = Wire(port, up=up, down=down, cuts=cuts)
    try:
        yield between
    finally:
        between.close()


@dataclass(frozen=True)
class Reply:
    """What a strange server answers."""

    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()


@contextmanager
def strange_server(*replies: Reply) -> Iterator[str]:
    """Yield the URL of a server that sends these responses in turn, and then repeats the last."""
    waiting = list(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def problem(status: int, detail: str, *headers: tuple[str, str]) -> Reply:
    """Return a patchgrid server's problem response."""
    body = json.dumps({"type": "urn:x", "title": "x", "status": status, "detail": detail}).encode()
    return Reply(status, body, (("Content-Type", "application/problem+json"), *headers))
