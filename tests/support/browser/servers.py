"""The HTTP service and a worker, each as a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.api.serving import serving
from support.cli.commands import start
from support.engine.models import DEMO_MODEL


@contextmanager
def page_at(database: Path, *options: object) -> Iterator[str]:
    """Serve a database for the time of a `with` block; gives the page's address."""
    # Tests ask faster than people do.
    with serving(str(database), "-m", DEMO_MODEL, "--rate", 10_000, *options) as server:
        yield server.url


@contextmanager
def working(database: Path) -> Iterator[None]:
    """Run a worker for the demo model for the time of a `with` block."""
    options = ("--db", database, "--model", DEMO_MODEL, "--device", "cpu", "--poll", "0.2")
    process = start("worker", "start", *options)
    try:
        yield
    finally:
        process.kill()
        process.communicate()
