"""A tiny model and databases that the workers' tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from patchgrid.engine import Engine
from patchgrid.storage import Database
from support.engine.models import TestModel, save_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TestModel:
    """Return a small random GPT-2 in a folder."""
    return save_model("gpt2", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def engine(tiny: TestModel) -> Engine:
    """Return the engine of the small model."""
    return Engine.load(str(tiny.folder), device="cpu", dtype="float32")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database."""
    with Database.open(f"sqlite:///{tmp_path / 'jobs.db'}") as opened:
        yield opened
