"""What clients send beside requests that are well formed, on raw connections to a real server."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from uvicorn import Config
from uvicorn.server import ServerState

from patchgrid.api.routes.page import FOLDER
from patchgrid.api.server import connections
from patchgrid.api.server.connections import MOST_HEAD
from patchgrid.api.web.headers import HEADERS
from support.api.serving import Server, serving
from support.machines.servers import wait_for
from support.storage.storage_backends import sqlite_url

_QUICK = "import patchgrid.api.server.connections as c; c.HEAD_SECONDS = c.TAKE_SECONDS = 1.0"
_HOST = b"Host: 127.0.0.1\r\n"
_VENDOR = FOLDER / "assets" / "vendor"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits a second for a request's head, and for what it sends to be taken."""
    with serving(sqlite_url(tmp_path_factory.mktemp("raw")), prelude=_QUICK) as running:
        yield running


def send(server: Server, *parts: bytes) -> bytes:
    """Send bytes, and give all that comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        found = b""
        try:
            for part in parts:
                connection.sendall(part)
            while block := connection.recv(1 << 16):
                found += block
        except ConnectionError:
            pass
        return found


def get(server: Server, target: bytes, *, more: bytes = b"") -> bytes:
    """Ask for a target exactly as it is written."""
    return send(server, b"GET " + target + b" HTTP/1.1\r\n" + _HOST + more + b"Connection: close\r\n\r\n")


def status(answer: bytes) -> int:
    """Return an answer's status."""
    return int(answer.split(b" ", 2)[1])


def assert_refused(answer: bytes, *statuses: int) -> None:
    """Check that an answer is a problem, marked as all answers are."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) in statuses, answer[:300]
    assert json.loads(body)["status"] == status(answer)
    lower = head.decode().lower()
    assert "content-type: application/problem+json" in lower
    assert all(f"{name.lower()}: {value.lower()}" in lower for name, value in HEADERS.items())


@pytest.mark.parametrize(
    "target",
    [
        b"/assets/../../../../../../../etc/passwd",
        b"/assets/../../settings.py",
        b"/assets/./../../page.py",
        b"/../../etc/passwd",
        b"/assets//etc/passwd",
        b"//etc/passwd",
        b"/assets/%00",
        b"/assets/%2e%2e/%2e%2e/settings.py",
        b"/assets/..%2f..%2fsettings.py",
        b"/assets/" + b"a/" * 2000,
        b"/assets/" + b"%ff" * 300,
        b"/v1/jobs/..%2f..",
        b"/v1/jobs/%0d%0aX-Injected:%20yes",
        b"*",
    ],
)
def test_a_raw_path_leads_nowhere(server: Server, target: bytes) -> None:
    """No client has put it in order before."""
    answer = get(server, target)
    assert_refused(answer, 400, 404, 422)
    assert b"root:" not in answer
    assert b"import" not in answer
    assert b"\r\nX-Injected" not in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"POST /v1/jobs HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n : b\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server: Server, sent: bytes) -> None:
    """With a problem as any other, and the connection's end."""
    assert_refused(send(server, sent), 400, 401, 404, 405)


def test_a_head_that_is_too_long_is_refused(server: Server) -> None:
    """One endless header, many headers, an endless address, headers behind a body, a chunk's endless line."""
    much, memory = b"x" * (1 << 20), server.memory
    starts = (
        b"GET / HTTP/1.1\r\nA: ",
        b"GET /",
        b"POST /v1/jobs?model=m HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n1;",
    )
    for start in starts:
        answer = send(server, start, *[much] * 20)
        assert answer == b"" or status(answer) in (400, 401, 403, 431), answer[:200]
    lines = b"".join(b"A%d: b\r\n" % number for number in range(1 << 17))
    assert (answer := send(server, b"GET / HTTP/1.1\r\n", lines, lines)) == b"" or status(answer) == 431
    assert server.memory - memory < 64 << 20
    small = b"A: " + b"x" * (MOST_HEAD // 2) + b"\r\n"
    assert status(get(server, b"/healthz", more=small)) == 200


def test_a_head_that_does_not_come_is_waited_for_for_a_while(server: Server) -> None:
    """408 for a part of one; nothing for nothing."""
    assert_refused(send(server, b"GET / HTTP/1.1\r\nHost:"), 408)
    assert send(server) == b""


@pytest.mark.parametrize("rest", [b"x", b"x" * 10])
def test_a_body_behind_its_answer_holds_no_connection(server: Server, rest: bytes) -> None:
    """Neither one that does not end, nor a client that is silent behind it."""
    head = b"POST /v1/nothing HTTP/1.1\r\n" + _HOST + b"Content-Length: 10\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head)
        answer = connection.recv(1 << 16)
        assert status(answer) == 404
        connection.sendall(rest)
        while more := connection.recv(1 << 16):
            answer += more
    assert answer.count(b"HTTP/1.1") == 1


def test_a_client_that_takes_nothing_is_let_go_of(tmp_path: Path) -> None:
    """However much waits for it."""
    path = max(_VENDOR.iterdir(), key=lambda each: each.stat().st_size)
    request = b"GET /assets/vendor/" + path.name.encode() + b" HTTP/1.1\r\n" + _HOST + b"\r\n"
    with serving(sqlite_url(tmp_path), prelude=_QUICK) as server, socket.socket() as connection:
        before = server.connections
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request * 100)
        wait_for(lambda: server.connections == before + 1, 10)
        wait_for(lambda: server.connections == before, 10)


@pytest.mark.parametrize("takes", [0, 1])
def test_a_client_that_takes_little_at_a_time_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, takes: int
) -> None:
    """As long as it takes anything."""
    monkeypatch.setattr(connections, "TAKE_SECONDS", 0.02)
    transport = _Transport(takes)

    async def send() -> None:
        config = Config(Starlette(), log_config=None)
        protocol = connections.BoundedProtocol(config, ServerState(), {})
        protocol.connection_made(transport)  # type: ignore[arg-type]
        protocol.pause_writing()
        async with asyncio.timeout(30):
            await transport.looked.wait()
        protocol.connection_lost(None)

    asyncio.run(send())
    assert transport.aborted == (takes == 0)


class _Transport(asyncio.Transport):
    """Has much to send, of which a client takes so many bytes at each look."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self._left, self._takes, self._looks = 1 << 20, takes, 0
        self.aborted = False
        #: It was given up, or looked at often.
        self.looked = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        self._left -= self._takes
        self._looks += 1
        if self._looks > 10:
            self.looked.set()
        return self._left

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def abort(self) -> None:
        self.aborted = True
        self.looked.set()

    def close(self) -> None:
        pass


def test_a_request_for_another_protocol_is_answered_in_this_one(server: Server) -> None:
    """No WebSocket, no HTTP/2."""
    for protocol in (b"websocket", b"h2c"):
        more = b"Upgrade: " + protocol + b"\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n"
        sent = b"GET /healthz HTTP/1.1\r\n" + _HOST + more + b"Connection: Upgrade, close\r\n\r\n"
        assert b" 200 " in send(server, sent).split(b"\r\n")[0]


def test_an_open_server_tells_a_proxy_that_was_told_nothing(server: Server) -> None:
    """nginx's `proxy_pass` alone: HTTP/1.0, this machine's name, and no header of a proxy's."""
    rest = b" HTTP/1.0\r\n" + _HOST + b"Connection: close\r\n\r\n"
    assert_refused(send(server, b"GET /v1/jobs" + rest), 401)
    assert status(send(server, b"GET /healthz" + rest)) == 200
    assert status(get(server, b"/v1/jobs")) == 200


def test_two_requests_on_one_connection_are_answered_in_turn(server: Server) -> None:
    """Sent at once, and the second not smuggled into the first."""
    first = b"POST /v1/jobs?model=m HTTP/1.1\r\n" + _HOST + b"Content-Length: 5\r\n\r\nGET /"
    second = b"GET /healthz HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n"
    answer = send(server, first + second)
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b" 403 " in answer.split(b"\r\n")[0]
    assert b'"status":"ok"' in answer


def test_nothing_of_all_this_is_called_a_defect(server: Server, tmp_path: Path) -> None:
    """The log has no trace of the code, and the server answers."""
    assert status(get(server, b"/healthz")) == 200
    assert "Traceback" not in server.log(), server.log()
