"""Putting pairs on the queue: stored whole and once, checked before, and what is said about it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from patchgrid.cli.context import Settings
from patchgrid.cli.views.watching import start_command
from patchgrid.storage.errors import DatabaseUnavailable
from patchgrid.storage.queue import leases
from support.cli.commands import FinishedJob, patchgrid, refused, start, write_pairs
from support.machines.servers import Postgres, Redis, free_port


class Queue:
    """A database to submit to."""

    def __init__(self, database: object, model: Path) -> None:
        self.database, self.model = database, model

    def submit(self, pairs: Path, *options: object) -> Any:
        """Run `submit`."""
        return patchgrid("submit", pairs, "-m", self.model, "--db", self.database, *options)

    def submit_json(self, pairs: Path, *options: object) -> Any:
        """Run `submit --json` and read what it prints."""
        result = self.submit(pairs, *options, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def jobs(self) -> list[Any]:
        """List the jobs."""
        result = patchgrid("job", "list", "--db", self.database, "--json")
        return list(json.loads(result.stdout)) if result.exit_code == 0 else []


@pytest.fixture
def queue(tiny_model: Path, tmp_path: Path) -> Queue:
    """Return an empty database."""
    return Queue(tmp_path / "queue.db", tiny_model)


def test_a_job_is_stored_and_what_comes_next_is_said(queue: Queue, tmp_path: Path) -> None:
    """Pairs, chunks, who serves its model, how to follow it."""
    result = queue.submit(write_pairs(tmp_path / "a.jsonl", 100), "--name", "mine", "--chunk-size", 30)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Job 1 (mine) is on the queue: 100 pairs in 4 chunks" in result.stderr
    assert f"No worker serves this model now: patchgrid worker start --model {queue.model}" in result.stderr
    assert "No broker (--broker)" in result.stderr
    assert f"patchgrid job watch 1 --db {queue.database}" in result.stderr
    (job,) = queue.jobs()
    assert (job["name"], job["state"], job["spec"]["model"]) == ("mine", "pending", str(queue.model))


def test_submitting_twice_gives_the_same_job(queue: Queue, pairs: Path) -> None:
    """As JSON it says which of the two it was."""
    first, second = queue.submit_json(pairs), queue.submit_json(pairs)
    assert first == {
        "job": 1,
        "state": "pending",
        "pairs": {"total": 4, "done": 0, "failed": 0, "skipped": 0},
        "chunks": 1,
        "created": True,
        "reopened": False,
        "name": None,
        "key": first["key"],
        "priority": 0,
    }
    assert second == first | {"created": False}
    assert "Already submitted as job 1, pending: 0 of 4 pairs measured" in queue.submit(pairs).stderr
    assert queue.submit_json(pairs, "--seed", 1)["job"] == 2


def test_run_and_submit_mean_the_same_job(finished: FinishedJob) -> None:
    """What was run is found by submit, and its results are pointed at."""
    result = patchgrid("submit", *finished.command[1:])
    assert result.exit_code == 0
    assert "Already submitted as job 1, done: 10 of 12 pairs measured, 2 failed" in result.stderr
    assert "patchgrid results top 1" in result.stderr


def test_a_job_that_is_there_keeps_its_name(queue: Queue, pairs: Path, finished: FinishedJob) -> None:
    """Who gives another is told that it does not find the job."""
    for command in ("submit", "run"):
        other = patchgrid(command, *finished.command[1:], "--name", "other")
        assert "Note: its name is 'shared'; 'other' does not find it, 1 does" in other.stderr
        assert "its name" not in patchgrid(command, *finished.command[1:], "--name", "shared").stderr
    queue.submit(pairs)
    late = queue.submit(pairs, "--name", "late").stderr
    assert "Note: its name was not set when it was submitted; 'late' does not find it, 1 does" in late


def test_waiting_for_a_finished_job_shows_it_with_its_exit_code(finished: FinishedJob) -> None:
    """As `run` does."""
    result = patchgrid("submit", *finished.command[1:], "--wait")
    assert result.exit_code == 3
    assert result.stdout == finished.result.stdout


def test_a_finished_job_of_other_weights_is_refused(
    finished: FinishedJob, tiny_model: Path, tmp_path: Path
) -> None:
    """The folder's model is not the one that was measured."""
    model, database = tmp_path / "model", tmp_path / "a.db"
    shutil.copytree(tiny_model, model)
    run = ("run", finished.pairs, "-m", model, "--db", database)
    assert patchgrid(*run).exit_code == 3
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "different weights" in refused(patchgrid("submit", *run[1:]))


def test_a_priority_is_kept_and_an_impossible_one_refused(queue: Queue, pairs: Path) -> None:
    """From -1000 to 1000."""
    assert queue.submit_json(pairs, "--priority", -7)["priority"] == -7
    result = queue.submit(pairs, "--priority", 1001)
    assert result.exit_code == 2
    assert "--priority" in result.stderr


def test_a_key_of_ones_own_finds_the_job_and_refuses_another(
    queue: Queue, pairs: Path, tmp_path: Path
) -> None:
    """Other pairs, as many or fewer, and other settings."""
    assert queue.submit_json(pairs, "--key", "night-7")["created"] is True
    again = queue.submit_json(pairs, "--key", "night-7")
    assert (again["job"], again["created"], again["key"]) == (1, False, "night-7")
    fewer = queue.submit(pairs, "--key", "night-7", "--limit", 3)
    assert "the key 'night-7' belongs to job 1, which has different pairs" in refused(fewer)
    others = tmp_path / "others.jsonl"
    others.write_text(pairs.read_text().replace("ball", "bone"))
    assert "which has different pairs" in refused(queue.submit(others, "--key", "night-7"))
    settings = refused(queue.submit(pairs, "--key", "night-7", "--seed", 4, "--metric", "kl"))
    assert "different settings (metric logit_diff, not kl; seed 0, not 4)" in settings
    assert queue.submit_json(pairs)["job"] == 2, "the hash is another key"
    for key in ("", " ", "x" * 65, "a\nb"):
        assert "a key is 1 to 64 printable characters" in refused(queue.submit(pairs, "--key", key))


def test_bad_input_is_refused_before_there_is_a_database(queue: Queue, tmp_path: Path) -> None:
    """Every bad line named, nothing stored."""
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"clean": "a"}\n{"clean": 3}\n')
    result = queue.submit(bad)
    assert result.exit_code == 2
    assert ":1: " in result.stderr
    assert ":2: " in result.stderr
    assert not Path(str(queue.database)).exists()


def test_a_relative_folder_that_is_not_here_is_refused(pairs: Path, tmp_path: Path) -> None:
    """No worker could find it; an absolute one may be elsewhere."""
    submit = ("submit", pairs, "--db", tmp_path / "a.db", "-m")
    assert "no model folder at ./nowhere" in refused(patchgrid(*submit, "./nowhere"))
    assert patchgrid(*submit, "/nowhere/model").exit_code == 0


def test_options_of_the_machine_are_left_to_workers(queue: Queue, pairs: Path) -> None:
    """A `run` command can be submitted by changing its first word."""
    result = queue.submit(pairs, "--device", "cuda", "--batch-tokens", 99)
    assert result.exit_code == 0
    assert "--device and --batch-tokens are ignored" in result.stderr


#: What the line about exact patching says of 98 pairs, by the options.
BUDGETS = {
    "--exact 0.05": "about 4.9 of 98 pairs per component (5.0 %), ",
    "--exact-per-component 8": "about 8 of 98 pairs per component (8.2 %), ",
    "--exact 0.01": "about 0.98 of 98 pairs per component (1.0 %), ",
}


def test_a_dry_run_names_pairs_that_would_fail_and_stores_nothing(queue: Queue, tmp_path: Path) -> None:
    """Reasons once a kind; the exit code is what the job's would be."""
    pairs = write_pairs(tmp_path / "a.jsonl", 98, failing=2)
    result = queue.submit(pairs, "--dry-run", "--chunk-size", 30)
    assert result.exit_code == 3
    assert "100 pairs in 4 chunks; nothing is stored" in result.stderr
    assert "Tokenized: 2 of 100 pairs would fail" in result.stderr
    places = "line 99 (pair-98), line 100 (pair-99)"
    assert f"{places}: correct answer ' dogMary' is 2 tokens" in result.stderr
    assert "(and 1 more like it)" in result.stderr
    assert "Exact patching: about 32 of 98 pairs per component (33 %)" in result.stderr
    assert not Path(str(queue.database)).exists()
    document = json.loads(queue.submit(pairs, "--dry-run", "--json").stdout)
    assert (document["pairs"], document["chunks"]) == ({"total": 100, "failing": 2}, 6)
    assert document["exact_share"] == pytest.approx(0.325)
    good = write_pairs(tmp_path / "good.jsonl", 3)
    assert queue.submit(good, "--dry-run").exit_code == 0
    for options, words in BUDGETS.items():
        said = queue.submit(pairs, "--dry-run", *options.split()).stderr
        assert f"Exact patching: {words}" in said
    nothing = queue.submit(pairs, "--dry-run", "--exact", "0.00001")
    assert "cells patches nothing: use --exact 0.082, --exact-per-component 8 or 800,000 pairs" in refused(
        nothing
    )
    assert queue.submit(write_pairs(tmp_path / "b.jsonl", 0, failing=2), "--dry-run").exit_code == 1


def test_a_dry_run_without_a_tokenizer_says_so(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub model that is not in the cache, or no transformers: nothing is downloaded."""
    result = patchgrid("submit", pairs, "-m", "nobody/nothing", "--dry-run")
    assert result.exit_code == 0
    assert "Not tokenized: the tokenizer of nobody/nothing is not on this machine" in result.stderr
    monkeypatch.setattr("patchgrid.cli.execution.tokenizing.is_installed", lambda _package: False)
    result = patchgrid("submit", pairs, "-m", "nobody/nothing", "--dry-run", "--json")
    assert "transformers is not installed" in result.stderr
    assert json.loads(result.stdout)["pairs"] == {"total": 4, "failing": None}


BROKERS = {
    "kind": ("http://user:secret@host/", "is not a supported broker"),
    "port": ("redis://:secret@host:port/0", "cannot read the broker's URL"),
    "no host": ("redis:///0", "is not a supported broker"),
    "number": ("redis://:secret@host/zero", "a Redis database must be a number"),
}


@pytest.mark.parametrize(("url", "message"), BROKERS.values(), ids=BROKERS)
def test_a_bad_broker_is_refused_and_its_password_not_shown(
    url: str, message: str, queue: Queue, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is stored; by option or environment, before or behind the command."""
    for options in (("--broker", url), ()):
        if not options:
            monkeypatch.setenv("PATCHGRID_BROKER", url)
        result = queue.submit(pairs, *options)
        assert message in refused(result)
        assert "secret" not in result.output
    assert message in refused(patchgrid("--broker", url, "job", "retry", 1, "--db", queue.database))
    assert queue.jobs() == []


def test_a_broker_that_is_away_costs_a_line(queue: Queue, pairs: Path) -> None:
    """The job is stored: exit code 0."""
    result = queue.submit(pairs, "--broker", f"redis://:secret@127.0.0.1:{free_port()}/0")
    assert result.exit_code == 0
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert "is unavailable" in warning
    assert "the job is stored" in warning
    assert "secret" not in result.output
    assert len(queue.jobs()) == 1


def test_a_database_that_goes_once_the_job_is_stored_costs_a_line(
    queue: Queue, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the messages are missing: exit code 0."""

    def gone(*_: object) -> None:
        raise DatabaseUnavailable("cannot open the database")

    monkeypatch.setattr(leases, "waiting", gone)
    result = queue.submit(pairs, "--broker", f"redis://127.0.0.1:{free_port()}/0")
    assert result.exit_code == 0
    assert "Warning: cannot open the database; the job is stored" in result.stderr
    assert len(queue.jobs()) == 1


def test_a_broker_that_refuses_the_password_costs_a_line_too(queue: Queue, pairs: Path, redis: Redis) -> None:
    """And one that takes it says nothing."""
    wrong = queue.submit(pairs, "--broker", redis.url.replace("open-sesame", "wrong-word"))
    assert wrong.exit_code == 0
    assert "Warning: " in wrong.stderr
    assert "wrong-word" not in wrong.output
    right = queue.submit(pairs, "--seed", 1, "--broker", redis.url)
    assert right.exit_code == 0
    assert "Warning" not in right.stderr
    assert "No broker" not in right.stderr


def test_workers_elsewhere_need_the_folder_at_the_same_place(
    tiny_model: Path, pairs: Path, postgres: Postgres
) -> None:
    """Said once, and only where the database can be asked from elsewhere."""
    url = postgres.url(postgres.new_database()).replace("patchgrid@", "patchgrid:secret@")
    result = Queue(url, tiny_model).submit(pairs)
    assert result.exit_code == 0, result.stderr
    assert f"workers load the model from the same path as here: {tiny_model}" in result.stderr
    assert "secret" not in result.output
    again = Queue(url, tiny_model).submit(pairs)
    assert "workers load the model from" not in again.stderr


def test_two_submits_at_once_give_one_job(tiny_model: Path, tmp_path: Path, postgres: Postgres) -> None:
    """One says that it made the job, the other that it found it."""
    pairs, url = write_pairs(tmp_path / "a.jsonl", 200), postgres.url(postgres.new_database())
    both = [start("submit", pairs, "-m", tiny_model, "--db", url, "--json") for _ in range(2)]
    documents = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(document.pop("created") for document in documents) == [False, True]
    assert documents[0] == documents[1]


def test_whoever_waits_for_a_job_that_nobody_serves_is_told_the_command(
    tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    """The same one by `submit`, `job wait`, `job watch` and `job show`, with the database and the broker."""
    database = ("--db", tmp_path / "jobs.db")
    assert patchgrid("submit", pairs, "-m", tiny_model, *database).exit_code == 0
    command = f"patchgrid worker start --model {tiny_model} --db {tmp_path / 'jobs.db'}"
    waited = patchgrid("job", "wait", 1, "--timeout", 0.01, *database)
    assert waited.exit_code == 124
    assert f"No worker serves its model: {command}\n" in waited.stderr
    assert f"none working, 0 serving its model: {command}" in patchgrid("job", "show", 1, *database).stdout
    settings = Settings("sqlite://", json=False, named_url="a b.db", broker="redis://host:6379/0")
    assert start_command(settings, "a/model") == (
        "patchgrid worker start --model a/model --db 'a b.db' --broker redis://host:6379/0"
    )
    secret = Settings("sqlite://", json=False, broker="redis://:word@host:6379/0")
    assert "word" not in start_command(secret, "a/model")
