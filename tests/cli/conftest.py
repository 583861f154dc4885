"""A tiny model, pair files and a finished job, made once and shared by the command line's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli.commands import DETAILED, FinishedJob, patchgrid, write_pairs
from support.engine.models import save_model
from support.machines.servers import Postgres, Redis, postgres_server, redis_server


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny random GPT-2."""
    return save_model("gpt2", tmp_path_factory.mktemp("models")).folder


@pytest.fixture(scope="session")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedJob:
    """Return a database with a finished job of 12 pairs, of which two failed."""
    folder = tmp_path_factory.mktemp("finished")
    pairs = write_pairs(folder / "pairs.jsonl", 10, failing=2)
    command = ("run", pairs, "-m", tiny_model, "--db", folder / "jobs.db", *DETAILED)
    return FinishedJob(folder / "jobs.db", pairs, tiny_model, command, patchgrid(*command))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Return a file of four good pairs."""
    return write_pairs(tmp_path / "pairs.jsonl", 4)


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """Return a Redis server that requires a password."""
    with redis_server(password="open-sesame") as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a PostgreSQL server."""
    with postgres_server() as server:
        yield server
