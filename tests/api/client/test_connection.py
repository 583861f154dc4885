"""The client's end of the connection: servers that are away, tokens, events, and what it needs."""

import subprocess
import sys

import pytest

from patchgrid.api import Workspace
from patchgrid.api.client.http import errors
from patchgrid.api.client.http.events import parse
from support.api.lab import Lab
from support.machines.servers import free_port


def test_a_server_that_is_away_is_an_error_and_a_token_never_shown() -> None:
    """Nor where the workspace itself is printed."""
    with pytest.raises(errors.ServerUnreachable, match="Connection refused"):
        Workspace(f"http://127.0.0.1:{free_port()}").jobs()
    with pytest.raises(errors.BadAddress):
        Workspace("http://")
    with pytest.warns(UserWarning, match="unencrypted"):
        workspace = Workspace("http://somewhere.invalid", token="pg_1_secret")
    connection = vars(workspace)["_server"].service.connection
    assert "secret" not in repr(workspace) + str(vars(workspace)) + repr(connection.address)


def test_events_are_read_as_the_standard_says() -> None:
    """Comments, several lines of data, ids, and events that were cut off."""
    text = (
        "retry: 2000\n\n: a comment\n\nevent: job\nid: 1\ndata: a\ndata:b\n\nevent: end\ndata: c\n\ndata: cut"
    )
    found = [(event.name, event.data, event.id) for event in parse(text.split("\n"))]
    assert found == [("job", "a\nb", "1"), ("end", "c", "1")]


def test_a_password_is_never_shown() -> None:
    """Of a database's URL."""
    workspace = Workspace("postgresql+psycopg://someone:secret@nowhere.invalid/jobs")
    assert repr(workspace) == "<Workspace postgresql+psycopg://someone:***@nowhere.invalid/jobs>"


def test_a_workspace_needs_neither_torch_nor_a_server_s_packages(lab: Lab) -> None:
    """Nor is any of them imported with `patchgrid.api`."""
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'nnsight', 'fastapi', 'pydantic', 'celery'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import patchgrid.api\n"
        "assert not {'httpx', 'sqlalchemy', 'numpy'} & set(sys.modules)\n"
        "workspace = patchgrid.api.Workspace(sys.argv[1])\n"
        "job = workspace.job(1)\n"
        "print(len(job.top(3)), len(job.scores()), bool(job.plot()))\n"
    )
    words = [sys.executable, "-c", code, lab.place]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["3", "2520", "True"], done.stderr
