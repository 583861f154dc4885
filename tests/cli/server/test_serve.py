"""`patchgrid serve` from the command line: what it refuses, and what it says as it begins."""

import socket
from pathlib import Path

import pytest

from patchgrid.cli.commands.serve import _allowed
from support.api.serving import serving
from support.cli.commands import patchgrid
from support.machines.servers import wait_for


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--rate", "inf"), "is not a finite number of requests"),
        (("--rate", "nan"), "is not a finite number of requests"),
        (("--model", ""), "the name is empty"),
        (("--model", "./nowhere"), "no model folder at ./nowhere"),
        (("--model", "./nowhere@main"), "no model folder at ./nowhere"),
        (("--host", "0.0.0.0"), "accepts this machine only"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path: Path, options: tuple[str, ...], why: str) -> None:
    """In a line, before anything listens."""
    result = patchgrid("serve", "--port", 0, "--db", tmp_path / "jobs.db", *options)
    assert result.exit_code == 2
    assert why in result.stderr


def test_an_address_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """On a new database, too, whose making is no news."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = patchgrid("serve", "--port", port, "--db", tmp_path / "jobs.db")
    assert result.exit_code == 2
    assert result.stderr == f"Error: cannot listen on 127.0.0.1, port {port}: Address already in use\n"


def test_a_server_on_a_new_database_says_where_it_is_and_no_more(tmp_path: Path) -> None:
    """One line."""
    with serving(f"sqlite:///{tmp_path / 'jobs.db'}") as server:
        wait_for(lambda: bool(server.log()), 30)
        assert server.log().startswith("Serving ")
        assert server.log().count("\n") == 1


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path: Path) -> None:
    """It is no revision."""
    folder = tmp_path / "me@here"
    folder.mkdir()
    assert str(_allowed(str(folder))) == str(folder)
    assert _allowed("org/model@v1").revision == "v1"
