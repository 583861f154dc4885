"""Bad usage and bad input: exit code 2, one clear line, no traceback, nothing stored."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from patchgrid.storage import Database
from support.cli.commands import FinishedJob, patchgrid, refused

SPECS = {
    "site": (("--sites", "z,mlp_uot"), "unknown site 'mlp_uot': did you mean 'mlp_out'?"),
    "no site": (("--sites", ","), "no site given"),
    "method": (("--method", "attp"), "unknown method 'attp': did you mean 'atp'?"),
    "metric": (("--metric", "logitdiff"), "unknown metric 'logitdiff': did you mean 'logit_diff'?"),
    "direction": (("--direction", "denoising"), "did you mean 'denoise'?"),
    "positions": (("--positions", "keeep"), "did you mean 'keep'?"),
    "detail": (("--detail", "pair"), "did you mean 'pairs'?"),
    "number type": (("--dtype", "float23"), "did you mean 'float32'?"),
    "share": (("--exact", "5"), "from 0 to 1, not 5.0"),
    "seed": (("--seed", "-1"), "seed must be from 0"),
    "device": (("--device", "gpu"), "device 'gpu' is not available"),
    "limit": (("--limit", "0"), "--limit"),
    "name": (("--name", "last"), "a job cannot be named 'last'"),
    "number as name": (("--name", "12"), "a job cannot be named '12'"),
}


def jobs_in(database: Path) -> list[Any]:
    """Return the jobs of a database, none if it does not exist."""
    result = patchgrid("job", "list", "--db", database, "--json")
    return list(json.loads(result.stdout)) if result.exit_code == 0 else []


@pytest.mark.parametrize(("options", "message"), SPECS.values(), ids=SPECS)
def test_a_wrong_spec_is_refused(
    options: tuple[str, ...], message: str, tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    """Each with the nearest right name where there is one."""
    database = tmp_path / "a.db"
    assert message in refused(patchgrid("run", pairs, "-m", tiny_model, "--db", database, *options))
    assert jobs_in(database) == []


FILES = {
    "missing": (None, "no such file"),
    "empty": (b"", "empty"),
    "broken": (b'{"clean": "a"\n', ":1: "),
    "not text": (b'{"clean": "\xff\xfe"}\n', ":1: "),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_a_bad_pair_file_is_refused_before_anything_else(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    """Neither the model nor the database is touched."""
    path, database = tmp_path / "pairs.jsonl", tmp_path / "a.db"
    if content is not None:
        path.write_bytes(content)
    result = patchgrid("run", path, "-m", "/no/such/model", "--db", database)
    assert message in refused(result)
    assert str(path) in result.stderr
    assert not database.exists()


def test_all_bad_lines_are_named_together(tmp_path: Path) -> None:
    """One run is enough to put a file right."""
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"clean": 1}\n' * 25)
    result = patchgrid("run", path, "-m", "/no/such/model", "--db", tmp_path / "a.db")
    assert result.exit_code == 2
    assert all(f"{path}:{line}: " in result.stderr for line in range(1, 21))
    assert "and 5 more bad lines" in result.stderr


def lacking_tokenizer(folder: Path) -> str:
    """Take the tokenizer away."""
    (folder / "tokenizer.json").unlink()
    return "has no tokenizer"


def pickles_only(folder: Path) -> str:
    """Leave pickle weights alone."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return "pickle weights only"


def no_configuration(folder: Path) -> str:
    """Take the configuration away."""
    (folder / "config.json").unlink()
    return "no config.json"


@pytest.mark.parametrize("spoil", [lacking_tokenizer, pickles_only, no_configuration])
def test_a_folder_that_is_no_whole_model_is_refused(
    spoil: Callable[[Path], str], tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    """The message names what is lacking."""
    folder, database = tmp_path / "model", tmp_path / "a.db"
    shutil.copytree(tiny_model, folder)
    message = spoil(folder)
    assert message in refused(patchgrid("run", pairs, "-m", folder, "--db", database))
    assert message in refused(patchgrid("model", "check", folder))
    assert jobs_in(database) == []


def test_an_unknown_model_is_refused_with_the_nearest(
    tiny_model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in the folder's name is told from a model that is nowhere."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    shutil.copytree(tiny_model, tmp_path / "models" / "little-gpt")
    monkeypatch.chdir(tmp_path)
    for wrong in ("models/litle-gpt", "./models/litle-gpt", tmp_path / "models" / "litle-gpt"):
        message = refused(patchgrid("run", pairs, "-m", wrong, "--db", "a.db"))
        assert "did you mean" in message
        assert "models/little-gpt'?" in message
    assert jobs_in(tmp_path / "a.db") == []


def test_a_file_that_is_no_database_is_refused(finished: FinishedJob, pairs: Path, tmp_path: Path) -> None:
    """It stays as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    before = path.read_bytes()
    for command in (
        ("run", pairs, "-m", finished.model),
        ("job", "list"),
        ("db", "upgrade"),
        ("db", "check"),
    ):
        assert "not an SQLite database" in refused(patchgrid(*command, "--db", path))
    assert path.read_bytes() == before


def test_a_database_of_a_newer_version_is_refused(finished: FinishedJob, tmp_path: Path) -> None:
    """By every command, upgrade included."""
    path = tmp_path / "newer.db"
    shutil.copy(finished.database, path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE patchgrid_version SET version_num = 'v9999'")
    connection.close()
    for command in (finished.command[:4], ("results", "top", 1), ("db", "upgrade"), ("db", "check")):
        assert "written by a newer patchgrid (version v9999" in refused(patchgrid(*command, "--db", path))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment, not half a minute, for another process's lock."""
    patiently = Database.open
    monkeypatch.setattr(Database, "open", lambda url, create=True: patiently(url, create, timeout=0.2))


@pytest.mark.usefixtures("impatient")
def test_a_database_locked_by_another_process_is_refused(
    finished: FinishedJob, pairs: Path, tmp_path: Path
) -> None:
    """It can still be read."""
    path = tmp_path / "locked.db"
    shutil.copy(finished.database, path)
    holder = sqlite3.connect(path)
    holder.execute("BEGIN IMMEDIATE")
    try:
        message = refused(patchgrid("run", pairs, "-m", finished.model, "--db", path))
        assert patchgrid("results", "top", 1, "--db", path).exit_code == 0
    finally:
        holder.rollback()
        holder.close()
    assert "locked by another process" in message
    assert len(jobs_in(path)) == 1


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """Let SQLite files grow no further from a moment on."""
    on = False

    def limit(connection: Any, _record: object) -> None:
        if on:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        nonlocal on
        on = True

    event.listen(Engine, "connect", limit)
    yield fill
    event.remove(Engine, "connect", limit)


def test_a_full_disk_is_said_and_loses_nothing(
    finished: FinishedJob, full_disk: Callable[[], None], tmp_path: Path
) -> None:
    """The job is stored whole or not at all, and what was there stays."""
    path, many = tmp_path / "full.db", tmp_path / "many.jsonl"
    shutil.copy(finished.database, path)
    many.write_text(finished.pairs.read_text().replace("pair-", "another-"))
    lines = many.read_text().splitlines()
    many.write_text(
        "".join(f"{line}\n".replace("another-", f"{turn}-") for turn in range(200) for line in lines)
    )
    full_disk()
    result = patchgrid("run", many, "-m", finished.model, "--db", path)
    assert "the disk is full" in refused(result)
    assert len(jobs_in(path)) == 1
    assert patchgrid("db", "check", "--db", path).exit_code == 0


MISTAKES = {
    "unknown job": (("job", "show", "9"), "no job '9'"),
    "unknown pair": (("results", "pair", "1", "nobody"), "has no pair 'nobody'"),
    "site not measured": (
        ("results", "top", "1", "--site", "attn_out"),
        "unknown site of this job 'attn_out'",
    ),
    "order": (("results", "top", "1", "--by", "estimat"), "did you mean 'estimate'?"),
    "export": (("results", "export", "1", "--what", "score"), "did you mean 'scores'?"),
    "format": (("results", "export", "1", "--format", "json"), "did you mean 'jsonl'?"),
    "Parquet on stdout": (("results", "export", "1", "--format", "parquet"), "name a file with -o"),
    "no folder": (("results", "export", "1", "-o", "/no/folder/a.jsonl"), "cannot write /no/folder/a.jsonl"),
    "a folder": (("results", "export", "1", "-o", "/"), "it is a folder"),
    "full disk": (("results", "export", "1", "-o", "/dev/full"), "No space left on device"),
    "picture's ending": (("results", "plot", "1", "-o", "a.gif"), ".png, .svg or .pdf"),
    "scale of a picture": (("results", "plot", "1", "-o", "a.png", "--vmax", "0"), "give a number above 0"),
    "exact effects of no pair": (
        ("results", "plot", "1", "-o", "a.png", "--what", "exact"),
        "give --pair",
    ),
    "picture": (("results", "plot", "1", "-o", "a.png", "--what", "head"), "did you mean 'heads'?"),
    "no heads": (
        ("results", "plot", "1", "-o", "a.png", "--what", "heads", "--site", "mlp_out"),
        "'mlp_out' has no heads",
    ),
    "method of another job": (("results", "top", "1", "--method", "ig"), "unknown method of this job 'ig'"),
    "scatter of a pair": (
        ("results", "plot", "1", "-o", "a.png", "--what", "scatter", "--pair", "pair-1"),
        "a scatter plot is of all pairs",
    ),
    "failed pair": (("results", "plot", "1", "-o", "a.png", "--pair", "pair-10"), "it has no scores"),
    "writing SQL": (("results", "sql", "DELETE FROM job"), "read-only connection"),
    "wrong SQL": (("results", "sql", "SELEC 1"), "SQL: near"),
}


@pytest.mark.parametrize(("command", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_question_is_refused(
    command: tuple[str, ...],
    message: str,
    finished: FinishedJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what would have been right."""
    monkeypatch.chdir(tmp_path)
    assert message in refused(finished.ask(*command))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_database_is_not_made_by_asking(tmp_path: Path) -> None:
    """Only `run` makes one."""
    for command in (("job", "list"), ("results", "top", "last"), ("db", "check"), ("db", "upgrade")):
        assert "does not exist" in refused(patchgrid(*command, "--db", tmp_path / "a.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_a_url_cannot_hold_is_refused(tmp_path: Path) -> None:
    """Rather than cut off."""
    assert "question mark" in refused(patchgrid("job", "list", "--db", tmp_path / "what?.db"))


def test_a_defect_is_one_line_unless_asked_for_more(
    finished: FinishedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw still shows no traceback."""

    def broken(*_: object, **_options: object) -> None:
        raise KeyError("never")

    monkeypatch.setattr("patchgrid.storage.jobs.job_list.page", broken)
    result = finished.ask("job", "list")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: a bug in patchgrid (KeyError: 'never'); run again with PATCHGRID_DEBUG=1"
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("url", ["postgresql+psycopg://me:se@cret@host:port/x", "sqlite://me:secret@host/x"])
def test_a_password_is_not_shown_even_in_a_url_that_cannot_be_read(url: str) -> None:
    """The rest of it is."""
    line = refused(patchgrid("job", "list", "--db", url))
    assert "cret" not in line
    assert f"{url.split('me:')[0]}me:***@host" in line
