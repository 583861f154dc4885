"""Bounds on what was hardly patched: the same from each backend, and over HTTP."""

from collections.abc import Iterator

import pytest

from patchgrid.api import Job, Workspace
from patchgrid.core.errors import SpecError
from support.api.lab import Lab
from support.cli.commands import patchgrid


@pytest.fixture
def bounded(lab: Lab, workspace: Workspace) -> Iterator[Job]:
    """Measure neurons of the lab's pairs, and subsets of them."""
    command = ("--sites", "mlp_post", "--exact", "0", "--name", "bounded", "--db", lab.database)
    assert patchgrid("run", lab.pairs, "-m", lab.model, *command).exit_code == 3
    asked = patchgrid("job", "missed", "bounded", "--pairs", 8, "--subsets", 32, "--db", lab.database)
    assert asked.exit_code == 0, asked.stderr
    job = workspace.job("bounded")
    yield job
    job.delete()


def test_a_workspace_shows_what_the_command_shows(lab: Lab, bounded: Job) -> None:
    """A row a component; of a database, of PostgreSQL, through a server."""
    [expected] = lab.local("results", "missed", "bounded", "-k", 12)["items"]
    rows = bounded.missed(k=12, frame="polars").to_dicts()
    assert [row.pop("none_above") for row in rows] == [expected["bound"]] * 12
    assert [row.pop("site") for row in rows] == ["mlp_post"] * 12
    assert rows == expected["largest"]
    assert (expected["pairs"], expected["subsets"]) == (8, 32)
    wider = bounded.missed("mlp_post", confidence=0.999, frame="polars").to_dicts()
    assert wider[0]["none_above"] > expected["bound"]


def test_a_job_without_subsets_has_no_rows(job: Job) -> None:
    """And a site that it does not measure is refused."""
    assert len(job.missed()) == 0
    with pytest.raises(SpecError, match="unknown site of this job 'mlp_post'"):
        job.missed("mlp_post")
