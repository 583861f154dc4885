"""Running the HTTP application in this process until a signal stops it."""

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import uvicorn

from patchgrid.api.server.app import make_app
from patchgrid.api.server.connections import BoundedProtocol
from patchgrid.api.service.service import Service
from patchgrid.api.service.settings import ServerSettings
from patchgrid.core.errors import PatchgridError
from patchgrid.storage import Database

#: Seconds for running requests to finish on shutdown.
_GRACE = 20
#: Backlog of connections.
_BACKLOG = 2048


class AddressError(PatchgridError, ValueError):
    """An address that the server cannot listen on."""


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; raises `AddressError` if that fails. Port 0: any free one."""
    with ExitStack() as undo:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            reason = error.strerror or str(error)
            raise AddressError(f"cannot listen on {host}, port {port}: {reason}") from error
        undo.pop_all()
    return listener


def address(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    database: Database,
    settings: ServerSettings,
    listener: socket.socket,
    *,
    access_log: bool = False,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then let running requests finish."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    _allow_files()
    app = make_app(database, settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=access_log,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=30,
        http=BoundedProtocol,
        ws="none",
        backlog=_BACKLOG,
    )
    _Server(config, app.state.service, on_ready).run(sockets=[listener])


def _allow_files() -> None:
    """Raise the limit of open files, and so of connections, to the system's maximum."""
    try:
        import resource
    except ImportError:  # not a Unix
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Server(uvicorn.Server):
    """Stops without raising the signal again, and ends streams that never end by themselves."""

    def __init__(self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._on_ready = service, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, and report it."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End."""
        self._service.stop()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals while serving."""
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
