"""Hundreds of bad command lines, made from the tree of commands: one line each, a documented exit code."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from patchgrid.cli import main
from support.cli.commands import VARIABLES, FinishedJob, patchgrid

#: The exit codes that `patchgrid --help` documents, but for those of signals and time.
CODES = (0, 1, 2, 3, 69)
#: What no option of a type takes, or takes with care.
NUMBERS = ("", "-1", "0", "nan", "inf", "-inf", "1e400", "99999999999999999999", "0x10", "\uff11", "1.5", "x")
TEXTS = (
    "",
    " ",
    "\n",
    "\x1b[2J",
    "x" * 5000,
    "../../../etc/passwd",
    "/",
    "/dev/full",
    "--",
    "%s{}",
    "é\u202e",
)
URLS = (
    "postgresql://h:99999999/x",
    "postgresql+psycopg://127.0.0.1:1/x?foo=1",
    "postgresql+psycopg://127.0.0.1:1/x?sslmod=require",
    "postgresql+psycopg://127.0.0.1:1/x?sslmode=never",
    "postgresql+psycopg://127.0.0.1:1/x?port=x",
    "postgresql+psycopg://127.0.0.1:1/x",
    "mysql://x/y",
    "sqlite://",
    "sqlite:///:memory:",
    "sqlite:////no/folder/a.db",
    "sqlite:////etc",
    "sqlite:////etc/passwd",
    "sqlite:///a.db?mode=ro",
    "://",
    "http://[::1",
    "/dev/null",
    "/dev/full",
)
#: Commands that work until they are stopped, or load a model.
LASTING = ("demo", "doctor", "serve", "worker start")


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, with its words."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from commands(child, (*path, name))


COMMANDS = dict(commands(main))
#: All but `demo`, which measures whatever it is given.
TRIED = tuple(words for words in COMMANDS if words != "demo")


def arguments_of(command: click.Command, job: FinishedJob) -> list[str]:
    """Return a command's required arguments."""
    values = {
        "pairs": str(job.pairs),
        "name": "1",
        "pair": "0",
        "model": "/no/such/model",
        "query": "SELECT 1",
    }
    needed = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.required:
            needed.append(values.get(str(parameter.name), "1"))
        elif parameter.required and parameter.name != "model":
            needed += [parameter.opts[0], "/dev/null"]
        elif parameter.required:
            needed += [parameter.opts[0], "/no/such/model"]
    return needed


def check(result: object, line: object) -> None:
    """Hold a command to one line and a code that is documented."""
    output, code = result.output, result.exit_code  # type: ignore[attr-defined]
    assert "Traceback" not in output, line
    assert "a bug in patchgrid" not in output, (line, output[-500:])
    assert code in CODES, (line, code, output[-500:])
    if code == 2:
        told = result.stderr.splitlines()  # type: ignore[attr-defined]
        assert sum(each.startswith("Error: ") for each in told) == 1, (line, told)


@pytest.mark.parametrize("words", [words for words in COMMANDS if words in TRIED])
def test_bad_values_of_every_option_end_in_a_line(
    words: str, finished: FinishedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every type; each option of each command gets four of the bad values, neighbours different ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("patchgrid.storage.db.connection._PATIENCE", {"connect_timeout": 2})
    command = COMMANDS[words]
    arguments = ["/no/such/model"] if words == "model check" else arguments_of(command, finished)
    base = [*words.split(), *arguments]
    runner = CliRunner(env=dict.fromkeys(VARIABLES))
    asks = words.startswith(("results", "job", "db", "token", "worker list", "worker drain"))
    database = shutil.copy(finished.database, tmp_path / "copy.db") if asks else Path("/no/folder/a.db")
    where = ["--db", str(database)]
    for number, option in enumerate(command.params):
        if not isinstance(option, click.Option) or option.is_flag or option.name in ("db", "server", "token"):
            continue
        numeric = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
        values = NUMBERS if numeric else TEXTS
        for value in (values[(number + 3 * step) % len(values)] for step in range(4)):
            line = [*base, *where, option.opts[0], value]
            if words not in LASTING or (
                numeric and value in ("", "nan", "inf", "-inf", "1e400", "0x10", "x")
            ):
                check(runner.invoke(main, line, input=""), line)


@pytest.mark.parametrize("url", URLS)
def test_bad_databases_end_in_a_line(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By option and by variable."""
    monkeypatch.chdir(tmp_path)
    for words in ("job list", "results top 1", "db check", "db upgrade"):
        result = patchgrid(*words.split(), "--db", url)
        check(result, (words, url))
        assert result.exit_code in (2, 69)
        unreachable = url == "postgresql+psycopg://127.0.0.1:1/x"
        assert (result.exit_code == 69) == unreachable, result.stderr
    result = CliRunner(env=dict.fromkeys(VARIABLES) | {"PATCHGRID_DB": url}).invoke(main, ["job", "list"])
    check(result, url)


def test_an_unreachable_server_is_told_from_a_failed_job(tmp_path: Path) -> None:
    """Where it matters most: in a script that waits."""
    for where in (("--server", "http://127.0.0.1:9"), ("--db", "postgresql+psycopg://127.0.0.1:1/x")):
        assert patchgrid("job", "wait", 1, *where).exit_code == 69


def run(arguments: list[bytes], **options: object) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in a process of its own."""
    command = [sys.executable.encode(), b"-m", b"patchgrid.cli", *arguments]
    return subprocess.run(command, capture_output=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


BYTES = {
    "argument": ([b"job", b"show", b"caf\xe9"], {}),
    "option": ([b"job", b"list", b"--db", b"\xff.db"], {}),
    "variable": ([b"job", b"list"], {"PATCHGRID_DB": b"\xff.db"}),
}


@pytest.mark.parametrize(("arguments", "variables"), BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_text_are_refused(arguments: list[bytes], variables: dict[str, bytes]) -> None:
    """With what they are; in the C locale, too."""
    for locale in ("C", "C.UTF-8"):
        result = run(arguments, env={**os.environ, "LC_ALL": locale, **variables})
        assert result.returncode == 2
        assert b"is not valid UTF-8" in result.stderr
        assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("redirect", "code"),
    [("> /dev/full", 2), (">&-", 2), ("2>&-", 0), ("<&-", 0), ("2> /dev/full", 0), ("| true", None)],
)
def test_streams_that_cannot_be_written_end_in_a_line(
    finished: FinishedJob, redirect: str, code: int
) -> None:
    """A full disk behind stdout, streams that are closed, readers that are gone."""
    program = f"{sys.executable} -m patchgrid.cli job list --db {finished.database}"
    result = subprocess.run(
        ["bash", "-c", f"{program} {redirect}"], capture_output=True, text=True, check=False
    )
    assert code is None or result.returncode == code, result.stderr
    assert len(result.stderr.splitlines()) <= 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert code != 2 or "standard output" in result.stderr


@pytest.mark.parametrize("words", ["results export 1 -o rows.jsonl", "db check", "job cancel 1"])
def test_a_full_disk_behind_stderr_ends_nothing(finished: FinishedJob, words: str, tmp_path: Path) -> None:
    """Words are dropped; the work is done, with the exit code that it has."""
    line = [*words.split(), "--db", str(finished.database)]
    program = [sys.executable, "-m", "patchgrid.cli", *line]
    said = subprocess.run(program, cwd=tmp_path, capture_output=True, check=False)
    with Path("/dev/full").open("wb") as full:
        dropped = subprocess.run(program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=full, check=False)
    assert said.stderr
    assert (dropped.returncode, dropped.stdout) == (said.returncode, said.stdout)


@pytest.mark.parametrize("variables", [{"HOME": ""}, {"LC_ALL": "C", "LANG": ""}, {"COLUMNS": "1"}])
def test_poor_surroundings_do_no_harm(finished: FinishedJob, variables: dict[str, str]) -> None:
    """No home, no locale, a terminal one column wide."""
    environment = {name: value for name, value in (os.environ | variables).items() if value}
    for words in ("job list", "job show 1", "results top 1", "job show --help"):
        line = [*words.encode().split(), *(() if "help" in words else (b"--db", bytes(finished.database)))]
        result = run(line, env=environment)
        assert result.returncode == 0, result.stderr
        assert b"Traceback" not in result.stderr


def test_the_tree_is_walked_whole() -> None:
    """Every command there is; hundreds of lines."""
    assert {"run", "submit", "job wait", "results export", "db check", "worker start"} <= COMMANDS.keys()
    count = sum(
        4
        for command, option in itertools.chain.from_iterable(
            ((command, each) for each in command.params) for command in COMMANDS.values()
        )
        if isinstance(option, click.Option) and not option.is_flag
    )
    assert count > 500
