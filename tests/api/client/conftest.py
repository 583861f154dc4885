"""A client of a server with a finished job of a real model."""

from collections.abc import Iterator

import pytest

from patchgrid.api import Client, Job
from patchgrid.engine import Pair
from support.api.lab import Lab
from support.api.serving import serving
from support.cli.commands import DETAILED, patchgrid, write_pairs
from support.engine.models import save_model


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Serve a finished job of a real model."""
    folder = tmp_path_factory.mktemp("lab")
    model = save_model("gpt2", folder / "models").folder
    pairs = write_pairs(folder / "pairs.jsonl", 10, failing=2)
    database = folder / "jobs.db"
    assert patchgrid("run", pairs, "-m", model, "--db", database, *DETAILED).exit_code == 3
    with serving(str(database), "-m", model, "-m", "org/model") as server:
        yield Lab(database, model, pairs, server)


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    """Give a client of the server."""
    with Client(lab.server.url) as opened:
        yield opened


@pytest.fixture
def job(client: Client) -> Job:
    """Give the finished job."""
    return client.job("shared")


@pytest.fixture
def waiting(client: Client) -> Iterator[Job]:
    """Give a job that nobody works on."""
    job = client.submit([Pair("a", "b", "c", "d")], model="org/model", name="<b>waiting<br>")
    yield job
    job.delete()
