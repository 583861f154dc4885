"""Servers that refuse, are away, are busy, are something else, or are cut off: one line each, and a code."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patchgrid.api.client.http import http
from support.api.http_servers import Reply, problem, strange_server, wire
from support.api.serving import Server, serving
from support.api.tls import make_certificate, tls_proxy
from support.cli.commands import FinishedJob, patchgrid, write_pairs
from support.machines.servers import free_port

LATER = ("Retry-After", "0.2")
JSON = (("Content-Type", "application/json"),)
HTML = (("Content-Type", "text/html"),)


@pytest.fixture(scope="module")
def server(finished: FinishedJob) -> Iterator[Server]:
    """Serve the finished job."""
    with serving(str(finished.database), "-m", finished.model) as running:
        yield running


def told(result: Any, code: int) -> str:
    """Check that a command ended as it should, and give its one line."""
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
    assert "Traceback" not in result.output
    lines: list[str] = result.stderr.splitlines()
    assert sum(line.startswith("Error: ") for line in lines) == 1
    assert lines[-1].startswith("Error: ")
    return lines[-1]


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the server, which may well be there; but where no proxy is asked, the server."""
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{free_port()}")
    said = told(patchgrid("job", "list", "--server", "http://nowhere.invalid"), 69)
    assert said == (
        "Error: cannot reach http://nowhere.invalid through the proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
        ": Connection refused"
    )
    monkeypatch.setenv("NO_PROXY", "nowhere.invalid")
    said = told(patchgrid("job", "list", "--server", "http://nowhere.invalid"), 69)
    assert said.startswith("Error: cannot reach http://nowhere.invalid: ")


def test_a_server_that_is_not_there_is_named() -> None:
    """Refused, and a name that nobody has."""
    port = free_port()
    assert told(patchgrid("job", "list", "--server", f"http://127.0.0.1:{port}"), 69) == (
        f"Error: cannot reach http://127.0.0.1:{port}: Connection refused"
    )
    said = told(patchgrid("job", "list", "--server", "http://nowhere.invalid"), 69)
    assert said.startswith("Error: cannot reach http://nowhere.invalid: ")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:8000", "a server URL must look like http://host:8000"),
        ("ftp://x", "a server URL must look like http://host:8000"),
        ("http://", "a server URL must look like http://host:8000"),
        ("http://me:secret@host", "must not contain a password"),
        ("http://host:x", "invalid server URL"),
        ("http://host/?a=b", "must not contain ? or #"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, why: str) -> None:
    """And a password in it not shown."""
    said = told(patchgrid("job", "list", "--server", url), 2)
    assert why in said
    assert "secret" not in said


def test_what_cannot_go_through_a_server_says_what_to_do_instead(pairs: Path, tmp_path: Path) -> None:
    """Before anything is done."""
    url = ("--server", "http://127.0.0.1:9")
    for command, instead in (
        (("run", pairs, "-m", "a/model"), "patchgrid submit"),
        (("results", "sql", "SELECT 1"), "results export"),
        (("worker", "start", "-m", "a/model"), "--db"),
        (("worker", "drain", "--all"), "--db"),
        (("db", "check"), "--db"),
        (("doctor",), "omit --server"),
        (("demo", "--out", tmp_path / "out"), "omit --server"),
        (("job", "list", "--broker", "redis://x"), "omit --broker"),
        (("job", "list", "--db", tmp_path / "x.db"), "exclude each other"),
    ):
        assert instead in told(patchgrid(*command, *url), 2), command
    assert list(tmp_path.iterdir()) == [pairs]


def test_it_is_refused_however_the_program_is_called(tmp_path: Path) -> None:
    """As `python -m patchgrid.cli`, with the server named by the environment."""
    words = [sys.executable, "-m", "patchgrid.cli", "results", "sql", "SELECT 1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PATCHGRID_")}
    environment["PATCHGRID_SERVER"] = "http://127.0.0.1:9"
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot go through a server (PATCHGRID_SERVER)" in done.stderr


def test_a_dry_run_asks_nobody(pairs: Path, tiny_model: Path) -> None:
    """It needs no server, as it needs no database."""
    result = patchgrid("submit", pairs, "-m", tiny_model, "--dry-run", "--server", "http://127.0.0.1:9")
    assert result.exit_code == 0
    assert "nothing is stored" in result.stderr


@pytest.fixture(scope="module")
def guarded(
    finished: FinishedJob, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, dict[str, str]]]:
    """Serve a database with tokens; give them by scope."""
    database = tmp_path_factory.mktemp("guarded") / "jobs.db"
    tokens = {
        scope: patchgrid("token", "create", scope, "--scope", scope, "--db", database).stdout.strip()
        for scope in ("read", "submit", "admin")
    }
    options = ("--max-pairs", 5, "--max-upload", "2KB", "--max-open-jobs", 1)
    with serving(str(database), "-m", finished.model, *options) as running:
        yield running, tokens


def test_tokens_are_asked_for_and_never_shown(
    guarded: tuple[Server, dict[str, str]],
    finished: FinishedJob,
    pairs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None, a wrong one, one of too little scope; by option and by environment."""
    running, tokens = guarded
    url = ("--server", running.url)
    assert "PATCHGRID_TOKEN" in told(patchgrid("job", "list", *url), 2)
    submit = ("submit", pairs, "-m", finished.model, *url)
    assert "requires a token" in told(patchgrid(*submit), 2)
    wrong = f"{tokens['read'][:-4]}wxyz"
    for token in (wrong, "not a token", "tökén", "a\nb"):
        result = patchgrid("job", "list", *url, "--token", token)
        told(result, 2)
        assert token not in result.output
    said = told(patchgrid(*submit, "--token", tokens["read"]), 2)
    assert "may only read" in said
    result = patchgrid("job", "list", *url, "--token", tokens["read"])
    assert result.exit_code == 0, result.stderr
    made = patchgrid(*submit, "--token", tokens["submit"])
    assert made.exit_code == 0, made.stderr
    assert tokens["submit"] not in made.output
    told(patchgrid("job", "delete", 1, "-y", *url, "--token", tokens["read"]), 2)
    environment = os.environ | {"PATCHGRID_TOKEN": tokens["admin"], "PATCHGRID_SERVER": running.url}
    from click.testing import CliRunner

    from patchgrid.cli import main

    deleted = CliRunner(env={**environment, "PATCHGRID_DB": None}).invoke(main, ["job", "delete", "1", "-y"])
    assert deleted.exit_code == 0, deleted.stderr


def test_what_is_too_much_is_refused_before_it_is_sent(
    guarded: tuple[Server, dict[str, str]], finished: FinishedJob, tmp_path: Path
) -> None:
    """Too many pairs, too many bytes, too many jobs."""
    running, tokens = guarded
    where = ("-m", finished.model, "--server", running.url, "--token", tokens["submit"])
    many = write_pairs(tmp_path / "many.jsonl", 6)
    assert "6 pairs exceed the server's limit (5)" in told(patchgrid("submit", many, *where), 2)
    long = json.loads(many.read_text().splitlines()[0]) | {"clean": "a" * 3000}
    large = tmp_path / "large.jsonl"
    large.write_text(json.dumps(long))
    assert "bytes exceed the server's limit (2,000)" in told(patchgrid("submit", large, *where), 2)
    few = write_pairs(tmp_path / "few.jsonl", 3)
    assert patchgrid("submit", few, *where).exit_code == 0
    result = patchgrid("submit", few, *where, "--seed", 1)
    assert "Error: " in result.stderr
    assert result.exit_code == 69, "there may be room later"


def test_a_token_on_an_unsafe_way_is_warned_of() -> None:
    """Not to this machine itself, and not without a token."""
    unsafe = patchgrid("job", "list", "--server", "http://nowhere.invalid", "--token", "pg_1_abc")
    assert "Warning: the token is sent to http://nowhere.invalid unencrypted" in unsafe.stderr
    assert "pg_1_abc" not in unsafe.output
    for options in (
        ("--server", "http://127.0.0.1:9", "--token", "pg_1_abc"),
        ("--server", "http://x.invalid"),
    ):
        assert "Warning" not in patchgrid("job", "list", *options).stderr


def test_a_certificate_of_nobody_known_is_refused_and_one_s_own_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS as a proxy in front of the server speaks it."""
    certificate, key = make_certificate(tmp_path)
    with tls_proxy(certificate, key, server.port) as port:
        url = f"https://localhost:{port}"
        assert "SSL_CERT_FILE" in told(patchgrid("job", "list", "--server", url), 69)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        result = patchgrid("job", "list", "--server", url)
        assert result.exit_code == 0, result.stderr
        assert "shared" in result.stdout
    assert "does not use TLS" in told(
        patchgrid("job", "list", "--server", f"https://127.0.0.1:{server.port}"), 69
    )


@pytest.mark.parametrize(
    ("reply", "code", "why"),
    [
        (Reply(200, b"<html>", HTML), 2, "is not a patchgrid server"),
        (Reply(200, b"{", JSON), 2, "invalid JSON"),
        (Reply(200, b"[]", JSON), 2, "did not return a list"),
        (Reply(200, b'{"items": [{"job": 1}], "next": null}', JSON), 2, "have the same version"),
        (Reply(404, b"<html>", HTML), 2, "is not a patchgrid server: status 404"),
        (
            Reply(302, b"", (("Location", "https://other.invalid/v1/jobs"),)),
            2,
            "redirects to https://other.invalid",
        ),
        (Reply(502, b"<html>", HTML), 69, "a proxy in front of the server cannot reach it"),
        (Reply(500, b"oops", HTML), 2, "status 500"),
        (problem(500, "a defect"), 69, "failed: a defect"),
        (problem(403, "not you\x1b[2J"), 2, r"not you\x1b[2J"),
        (problem(501, "the server lacks pyarrow"), 2, "the server lacks pyarrow"),
    ],
)
def test_strange_answers_end_in_a_line(reply: Reply, code: int, why: str) -> None:
    """Of another program, a proxy, another version."""
    with strange_server(reply) as url:
        said = told(patchgrid("job", "list", "--server", url), code)
    assert why in said


def test_something_that_speaks_no_http_ends_in_a_line() -> None:
    """A Redis, say."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client = listener.accept()[0]
            with client:
                client.recv(1000)
                client.sendall(b"-ERR unknown command 'GET'\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        said = told(patchgrid("job", "list", "--server", f"http://127.0.0.1:{listener.getsockname()[1]}"), 2)
        thread.join()
    assert "is not a patchgrid server" in said


def test_a_busy_server_is_asked_again_as_it_says() -> None:
    """Each wait in a line; a bounded number of them."""
    empty = Reply(200, b'{"items": [], "next": null}', JSON)
    waits = (problem(429, "too many requests", LATER), problem(503, "the database is away", LATER))
    with strange_server(*waits, empty) as url:
        result = patchgrid("job", "list", "--server", url)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines[:2] == ["too many requests; waiting 0.2 s", "the database is away; waiting 0.2 s"]
    with strange_server(problem(503, "the database is away", LATER)) as url:
        result = patchgrid("job", "list", "--server", url)
    assert told(result, 69) == "Error: the database is away"
    assert result.stderr.count("waiting 0.2 s") == http.WAITS


def test_a_wait_is_never_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the server says."""
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.1)
    for value in ("1e9", "-5", "inf", "nan", "Fri, 31 Dec 1999 23:59:59 GMT"):
        with strange_server(
            problem(503, "later", ("Retry-After", value)), Reply(200, b'{"items": []}', JSON)
        ) as url:
            result = patchgrid("job", "list", "--server", url)
        assert result.exit_code == 0, (value, result.stderr)


def test_an_answer_that_is_cut_off_is_asked_for_again(server: Server) -> None:
    """And if it is cut off each time, in vain."""
    with wire(server.port, down=100, cuts=2) as between:
        result = patchgrid("job", "list", "--server", between.url)
        assert result.exit_code == 0, result.stderr
        assert "shared" in result.stdout
        assert result.stderr.count("; retrying") == 2
    with wire(server.port, down=100, cuts=100) as between:
        told(patchgrid("job", "list", "--server", between.url), 69)
        assert between.connections == 1 + http.CUTS


def test_an_export_that_is_cut_off_leaves_the_old_file(server: Server, tmp_path: Path) -> None:
    """Whole, or not at all."""
    path = tmp_path / "scores.jsonl"
    path.write_text("old")
    # The job's own answer is shorter.
    with wire(server.port, down=10_000, cuts=100) as between:
        options = ("--what", "scores", "-o", path, "--server", between.url)
        said = told(patchgrid("results", "export", 1, *options), 69)
    assert re.search("closed the connection before the response was complete|connection .* was lost", said)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("up", [300, 5_000, 200_000])
def test_an_upload_that_is_cut_off_is_sent_again_and_stored_once(
    finished: FinishedJob, up: int, tmp_path: Path
) -> None:
    """Wherever it is cut."""
    pairs = write_pairs(tmp_path / "pairs.jsonl", 3000)
    with (
        serving(str(tmp_path / "queue.db"), "-m", finished.model) as running,
        wire(running.port, up=up) as between,
    ):
        result = patchgrid("submit", pairs, "-m", finished.model, "--server", between.url)
        assert result.exit_code == 0, result.stderr
        assert between.left == 0
        assert "; retrying" in result.stderr
        jobs = json.loads(patchgrid("job", "list", "--server", running.url, "--json").stdout)
    assert [job["pairs"]["total"] for job in jobs] == [3000]


def test_a_submission_whose_answer_is_lost_is_found_again(finished: FinishedJob, tmp_path: Path) -> None:
    """It was stored; sending it again says so, by its idempotency key."""
    pairs = write_pairs(tmp_path / "pairs.jsonl", 3000)
    size = pairs.stat().st_size
    with serving(str(tmp_path / "queue.db"), "-m", finished.model) as running:
        # All of the file passes; the answer to it does not.
        with wire(running.port, down=1200, cuts=1) as between:
            result = patchgrid("submit", pairs, "-m", finished.model, "--server", between.url, "--json")
            assert result.exit_code == 0, (size, result.stderr)
        found = json.loads(result.stdout)
        jobs = json.loads(patchgrid("job", "list", "--server", running.url, "--json").stdout)
    assert found["job"] == 1
    assert len(jobs) == 1


def test_sending_keeps_little_in_memory(finished: FinishedJob, tmp_path: Path) -> None:
    """However large the file is: it is read as it goes."""
    pairs = tmp_path / "pairs.jsonl"
    line = json.dumps({"clean": "a " * 5000, "corrupted": "b " * 5000, "correct": "c", "incorrect": "d"})
    with pairs.open("w") as file:
        file.writelines(f'{line[:-1]}, "id": "{row}"}}\n' for row in range(4000))
    assert pairs.stat().st_size > 80_000_000
    code = (
        "import resource, sys\n"
        "from patchgrid.api import Workspace\n"
        "workspace = Workspace(sys.argv[1])\n"
        "workspace.submit(sys.argv[2], model=sys.argv[3], limit=1)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "job = workspace.submit(sys.argv[2], model=sys.argv[3])\n"
        "assert job.progress['total'] == 4000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    with serving(str(tmp_path / "queue.db"), "-m", finished.model) as running:
        words = [sys.executable, "-c", code, running.url, str(pairs), str(finished.model)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40_000, "kilobytes"
