"""Workspaces of every kind, each with a finished job of a real model."""

from collections.abc import Iterator

import pytest

from patchgrid.api import Job, Workspace
from patchgrid.engine import Pair
from support.api.lab import PLACES, Lab, lab_of


@pytest.fixture(scope="session", params=PLACES)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Measure the job on each backend."""
    databases = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    with lab_of(request.param, tmp_path_factory.mktemp("lab"), databases) as made:
        yield made


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Measure the job behind a server, for what servers alone do."""
    with lab_of("server", tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture
def workspace(lab: Lab) -> Iterator[Workspace]:
    """Return the workspace."""
    with Workspace(lab.place) as opened:
        yield opened


@pytest.fixture
def job(workspace: Workspace) -> Job:
    """Return the finished job."""
    return workspace.job("shared")


@pytest.fixture
def waiting(workspace: Workspace) -> Iterator[Job]:
    """Return a job that no worker runs."""
    job = workspace.submit([Pair("a", "b", "c", "d")], model="org/model", name="<b>waiting<br>")
    yield job
    job.delete()
