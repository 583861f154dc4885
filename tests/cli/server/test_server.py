"""Commands say through a server what they say of its database, byte for byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from patchgrid.api.client.http import service
from support.api.serving import Server, serving
from support.cli.commands import FinishedJob, patchgrid, refused
from support.storage.method_jobs import fill

#: Of the finished job, which is called "shared".
ASKED = (
    "job list",
    "job show last",
    "job errors 1",
    "job errors shared",
    "job wait 1",
    "job watch 1",
    "results top 1",
    "results top shared --by mean_abs -k 7 --interval pairs",
    "results top 1 --site mlp_out -k 500",
    "results verify 1",
    "results verify 1 -k 3",
    "results pair 1 0",
    "results pair 1 pair-3 -k 30",
    "results pair 1 pair-11",
    *(f"results export 1 --what {what}" for what in ("scores", "exact", "components", "pairs")),
    *(f"results export 1 --format csv --what {what}" for what in ("scores", "exact", "components", "pairs")),
    "worker list",
    "worker list --prometheus",
)
#: Of jobs of several methods, neurons and edges.
ASKED_OF_METHODS = (
    *("job list", "job show nodes", "job show edges", "job wait summary"),
    *("results verify nodes", "results verify edges", "results verify summary"),
    *("results top nodes --method ig", "results top edges --method eap-ig", "results top neurons -k 40"),
    *("results top summary", "results pair nodes 3 --method relp", "results pair neurons 7"),
    *("results pair edges 3", "results pair edges 3 --method eap-ig", "results pair neurons 7 -k 60"),
    "results pair 4 5",
    "results export nodes --what scores --method ig",
    "results export edges --what exact --format csv",
    "results export neurons --what scores",
    "results export edges --what components --method eap-ig",
)
PICTURES = (
    "--what heads",
    "--what positions",
    "--what scatter",
    "--what heads --pair pair-3",
    "--what positions --pair 2 --site mlp_out",
    "--what exact --pair 3",
    "--what top",
)
PICTURES_OF_METHODS = ("edges", "neurons --site mlp_post", "nodes --method ig", "edges --what scatter")
REFUSED = (
    "job show 99",
    "job show nobody",
    "results top nobody",
    "results pair 1 nobody",
    "results pair 1 12",
    "results top 1 --site k",
    "results top 1 --method ig",
    "results top 1 --by size",
    "results export 1 --what exacts",
    "results export 1 --what scores --method ig",
    "results export 1 --format parquet",
    "results plot 1 --what heads --site mlp_out -o x.png",
    "results plot 1 --what heads --pair nobody -o x.png",
    "job cancel 1",
    "job pause shared",
)


@pytest.fixture(scope="module")
def server(finished: FinishedJob) -> Iterator[Server]:
    """Serve the finished job."""
    with serving(str(finished.database)) as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def methods(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Server]]:
    """Return a database of jobs of several methods, and its server."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('served')}/jobs.db"
    else:
        postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.new_database())
    fill(url)
    with serving(url) as running:
        yield url, running


def check_same(database: object, server: Server, command: str, *, json: bool) -> None:
    """Run a command on a database and through its server."""
    words = [*command.split(), *(["--json"] if json else [])]
    local = patchgrid(*words, "--db", database)
    remote = patchgrid(*words, "--server", server.url)
    assert "Traceback" not in remote.output
    assert (remote.exit_code, remote.stdout) == (local.exit_code, local.stdout), remote.stderr
    assert local.exit_code in (0, 3), local.stderr
    assert remote.stderr.replace(f" --server {server.url}", "") == local.stderr.replace(
        f" --db {database}", ""
    )


@pytest.mark.parametrize("json", [False, True], ids=["words", "json"])
@pytest.mark.parametrize("command", ASKED)
def test_a_command_says_the_same_through_a_server(
    finished: FinishedJob, server: Server, command: str, json: bool
) -> None:
    """On stdout, on stderr, and by its exit code."""
    check_same(finished.database, server, command, json=json)


@pytest.mark.parametrize("json", [False, True], ids=["words", "json"])
@pytest.mark.parametrize("command", ASKED_OF_METHODS)
def test_methods_neurons_and_edges_come_through_too(
    methods: tuple[str, Server], command: str, json: bool
) -> None:
    """From SQLite and from PostgreSQL."""
    check_same(*methods, command, json=json)


def test_lists_of_several_pages_are_whole(
    methods: tuple[str, Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Jobs, components, pairs and cells, a few at a time."""
    for name in ("PAGE", "JOBS_PAGE", "CELLS_PAGE"):
        monkeypatch.setattr(service, name, 3 if name == "JOBS_PAGE" else 70)
    for command in ("job list", "results top neurons -k 200", "results pair edges 39"):
        check_same(*methods, command, json=True)
    check_same_picture(*methods, "edges --what scatter", tmp_path)


def check_same_picture(database: object, server: Server, options: str, folder: Path) -> None:
    """Draw a picture from a database and through its server."""
    for name, where in (("local", ("--db", database)), ("remote", ("--server", server.url))):
        result = patchgrid("results", "plot", *options.split(), "-o", folder / f"{name}.png", *where)
        assert result.exit_code == 0, result.stderr
    assert (folder / "local.png").read_bytes() == (folder / "remote.png").read_bytes()


@pytest.mark.parametrize("options", PICTURES)
def test_a_picture_is_the_same_through_a_server(
    finished: FinishedJob, server: Server, options: str, tmp_path: Path
) -> None:
    """Every pixel."""
    check_same_picture(finished.database, server, f"1 {options}", tmp_path)


@pytest.mark.parametrize("options", PICTURES_OF_METHODS)
def test_pictures_of_edges_and_neurons_are_the_same(
    methods: tuple[str, Server], options: str, tmp_path: Path
) -> None:
    """From SQLite and from PostgreSQL."""
    check_same_picture(*methods, options, tmp_path)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_an_export_to_a_file_is_the_same(
    finished: FinishedJob, server: Server, form: str, tmp_path: Path
) -> None:
    """Whole, and with the number of its rows where they can be counted."""
    for name, where in (("local", ("--db", finished.database)), ("remote", ("--server", server.url))):
        options = ("--what", "scores", "--format", form, "-o", tmp_path / name)
        result = patchgrid("results", "export", 1, *options, *where)
        assert result.exit_code == 0, result.stderr
        rows = "all rows" if (form, name) == ("parquet", "remote") else "2,520 rows"
        assert result.stderr.startswith(f"Wrote {rows} to "), result.stderr
    assert (tmp_path / "local").read_bytes() == (tmp_path / "remote").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("command", REFUSED)
def test_what_is_refused_is_refused_with_the_same_exit_code(
    finished: FinishedJob, server: Server, command: str
) -> None:
    """In one line, and in the same words."""
    local = refused(patchgrid(*command.split(), "--db", finished.database))
    remote = refused(patchgrid(*command.split(), "--server", server.url))
    assert remote == local


def test_the_address_may_come_from_the_environment_and_from_the_group(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer to the command, the stronger."""
    from click.testing import CliRunner

    from patchgrid.cli import main

    runner = CliRunner(env={"PATCHGRID_DB": None, "PATCHGRID_SERVER": server.url})
    result = runner.invoke(main, ["job", "list"])
    assert result.exit_code == 0
    assert "shared" in result.stdout
    assert runner.invoke(main, ["--server", "http://127.0.0.1:9", "job", "list"]).exit_code == 69
    assert "does not exist" not in runner.invoke(main, ["doctor"]).stderr
    both = runner.invoke(main, ["job", "list"], env={"PATCHGRID_DB": "x.db"})
    assert "PATCHGRID_DB and PATCHGRID_SERVER are both set" in refused(both)
