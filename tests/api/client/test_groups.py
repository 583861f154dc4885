"""Results by group: the same from each backend, and over HTTP."""

import json
from pathlib import Path

import pytest

from patchgrid.api import Workspace
from support.api.lab import Lab
from support.cli.commands import patchgrid


def test_a_workspace_shows_what_the_command_shows(lab: Lab, workspace: Workspace, tmp_path: Path) -> None:
    """A row a component and group; of a database, of PostgreSQL, through a server."""
    named = [row | {"group": f"t{number % 3}"} for number, row in enumerate(lab.given()[:10])]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in named))
    command = ("--exact", "1", "--name", "grouped", "--db", lab.database)
    assert patchgrid("run", pairs, "-m", lab.model, *command).exit_code == 0
    expected = lab.local("results", "groups", "grouped", "-k", 4)
    job = workspace.job("grouped")
    rows = job.groups(k=4, frame="polars").to_dicts()
    assert [(row["component"], row["group"], row["mean"]) for row in rows] == [
        (each["component"], group["group"], group["mean"])
        for each in expected["items"]
        for group in each["groups"]
    ]
    one = job.groups(component=rows[0]["component"], frame="polars").to_dicts()
    assert one == rows[:3]
    job.delete()


def test_a_job_without_groups_is_refused(workspace: Workspace) -> None:
    """With what to do."""
    with pytest.raises(LookupError, match="has no groups: give the pairs a field 'group'"):
        workspace.job(1).groups()
