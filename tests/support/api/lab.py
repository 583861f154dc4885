"""A workspace with a finished job of a real model, on each backend."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.api.serving import Server, serving
from support.cli.commands import DETAILED, patchgrid, write_pairs
from support.engine.models import save_model
from support.storage.storage_backends import PostgresDatabases, sqlite_url

#: What a workspace may be: each runs the whole contract.
PLACES = ("sqlite", "postgresql", "server")


@dataclass(frozen=True)
class Lab:
    """A workspace with a finished job of twelve pairs, of which two failed."""

    #: What `Workspace` is given.
    place: str
    #: The database, where commands ask it itself.
    database: str
    model: Path
    pairs: Path
    #: The server, where there is one.
    server: Server | None = None

    def local(self, *arguments: object) -> Any:
        """Ask the database itself for JSON."""
        result = patchgrid(*arguments, "--db", self.database, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def rows(self, what: str) -> list[dict[str, Any]]:
        """Export from the database itself."""
        result = patchgrid("results", "export", 1, "--what", what, "--db", self.database)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def given(self) -> list[dict[str, Any]]:
        """The pairs of the job as dicts."""
        return [json.loads(line) for line in self.pairs.read_text().splitlines()]


@contextmanager
def lab_of(place: str, folder: Path, databases: PostgresDatabases | None = None) -> Iterator[Lab]:
    """Measure the job into a new workspace."""
    model = save_model("gpt2", folder / "models").folder
    pairs = write_pairs(folder / "pairs.jsonl", 10, failing=2)
    database = sqlite_url(folder) if databases is None else databases.new_migrated_url()
    assert patchgrid("run", pairs, "-m", model, "--db", database, *DETAILED).exit_code == 3
    if place != "server":
        yield Lab(database, database, model, pairs)
        return
    with serving(database, "-m", model, "-m", "org/model") as server:
        yield Lab(server.url, database, model, pairs, server)
