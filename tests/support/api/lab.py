"""A served database with a finished job of a real model, for tests of the client."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.api.serving import Server
from support.cli.commands import patchgrid


@dataclass(frozen=True)
class Lab:
    """A served database with a finished job of twelve pairs, of which two failed."""

    database: Path
    model: Path
    pairs: Path
    server: Server

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
