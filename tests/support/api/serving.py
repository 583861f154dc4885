"""A real `patchgrid serve` in a process of its own, reached over HTTP as anybody would."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from support.machines.servers import wait_for

#: Seconds that a server may take to begin, and to end.
PATIENCE = 60.0


@dataclass
class Server:
    """A server that runs."""

    #: Where it is reached, without a slash at the end.
    url: str
    process: "subprocess.Popen[str]"
    #: What it writes to stderr.
    log_file: Path

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self.url.rpartition(":")[2])

    def client(self, token: str | None = None, **options: object) -> httpx.Client:
        """Return a client of this server, signed in with a token if there is one."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, **options)  # type: ignore[arg-type]

    def log(self) -> str:
        """Return what it wrote to stderr so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, seconds: float = PATIENCE) -> int:
        """Tell it to end (SIGTERM), and give its exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    @property
    def uploads(self) -> int:
        """Uploads that it has in hand: their files have no name, but are open."""
        found = 0
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found += "patchgrid-upload-" in str(link.readlink())
        return found

    @property
    def connections(self) -> int:
        """Sockets that it has open."""
        found = 0
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found += "socket:" in str(link.readlink())
        return found

    @property
    def memory(self) -> int:
        """Bytes of memory that it holds."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(
    database: str, *options: object, environment: Mapping[str, str] | None = None, prelude: str = ""
) -> Iterator[Server]:
    """Run `patchgrid serve --port 0 --json` on a database for the time of a `with` block.

    `options` are the command's; `prelude` is Python that its process runs first.
    """
    with tempfile.NamedTemporaryFile(prefix="patchgrid-server-log-", suffix=".txt") as log:
        code = f"{prelude}\nfrom patchgrid.cli import main\nmain(prog_name='patchgrid')"
        given = ("serve", "--port", 0, "--json", "--db", database, *options)
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, given)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        )
        try:
            assert process.stdout is not None
            # One JSON document, of several lines, once it serves.
            text = "".join(iter(lambda: _line_before_end(process.stdout), ""))
            assert text, Path(log.name).read_text(encoding="utf-8")
            yield Server(json.loads(text + "}")["url"], process, Path(log.name))
        finally:
            process.kill()
            process.wait(PATIENCE)
            if process.stdout is not None:
                process.stdout.close()


def _line_before_end(stream: "IO[str] | None") -> str:
    assert stream is not None
    line = stream.readline()
    return "" if line.strip() == "}" else line


def uploads_left(folder: Path, since: float = 0.0) -> list[Path]:
    """Return the temporary files of uploads that lie in a folder."""
    return [path for path in folder.glob("patchgrid-*") if path.stat().st_mtime >= since]


def wait_for_answer(
    client: httpx.Client, path: str, status: int, seconds: float = PATIENCE
) -> httpx.Response:
    """Ask until an answer has a status; give it."""
    found: list[httpx.Response] = []

    def answers() -> bool:
        try:
            found.append(client.get(path))
        except httpx.TransportError:
            return False
        return found[-1].status_code == status

    wait_for(answers, seconds, every=0.1)
    return found[-1]


def now() -> float:
    """Return the time by which files are marked."""
    return time.time()
