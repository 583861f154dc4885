"""The HTTP service as a process of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.commands import start
from support.models import DEMO_MODEL

if TYPE_CHECKING:
    import subprocess

_ANNOUNCED = re.compile(r"at (http://127\.0\.0\.1:\d+)")


@contextmanager
def serving(database: Path, *options: object, port: int = 0) -> Iterator[str]:
    """Serve a database for the time of a `with` block; gives the page's address."""
    process = start("serve", "--db", database, "--port", port, "-m", DEMO_MODEL, "--rate", 10_000, *options)
    assert process.stderr is not None
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if found := _ANNOUNCED.search(line):
                yield found[1]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        stop(process)


@contextmanager
def working(database: Path) -> Iterator[None]:
    """Run a worker for the demo model for the time of a `with` block."""
    process = start(
        "worker", "start", "--db", database, "--model", DEMO_MODEL, "--device", "cpu", "--poll", "0.2"
    )
    try:
        yield
    finally:
        stop(process)


def stop(process: "subprocess.Popen[str]") -> None:
    """End a process for good."""
    if process.poll() is None:
        process.kill()
    process.communicate()
