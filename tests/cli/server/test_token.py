"""`patchgrid token`: made once and shown once, listed, revoked."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from patchgrid.storage import Database
from patchgrid.storage.access import tokens
from support.cli.commands import patchgrid, refused


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    """Return a function that runs `patchgrid token` on a database that does not exist yet."""

    def run(*arguments: object) -> Result:
        return patchgrid("token", *arguments, "--db", tmp_path / "tokens.db")

    return run


def find(tmp_path: Path, text: str) -> tokens.Token | None:
    """Look for a token by its text."""
    with Database.open(f"sqlite:///{tmp_path}/tokens.db") as database, database.read() as session:
        return tokens.find(session, text)


def test_a_token_alone_goes_to_stdout(ask: Any, tmp_path: Path) -> None:
    """So that a shell can keep it; what there is to say goes to stderr, without it."""
    result = ask("create", "ci", "--scope", "submit")
    assert result.exit_code == 0, result.stderr
    text = result.stdout.removesuffix("\n")
    assert text == result.stdout.strip()
    found = find(tmp_path, text)
    assert found is not None
    assert (found.name, found.scopes, found.expires_at) == ("ci", ("read", "submit"), None)
    assert "Token ci: scope read, submit; does not expire" in result.stderr
    assert text not in result.stderr
    assert text[5:] not in ask("list", "--json").output


def test_a_token_reads_unless_told_otherwise(ask: Any, tmp_path: Path) -> None:
    """And is good for so many days."""
    result = ask("create", "page", "--days", "0.5", "--json")
    made = json.loads(result.stdout)
    assert made["scopes"] == ["read"]
    assert made["expires_at"] - made["created_at"] == pytest.approx(12 * 3600, abs=5)
    assert "hash" not in made
    found = find(tmp_path, made.pop("token"))
    assert found is not None
    assert made | {"bytes": 0} == json.loads(ask("list", "--json").stdout)[0]


def test_a_token_has_limits_of_its_own(ask: Any) -> None:
    """They are listed with what its jobs take."""
    made = json.loads(ask("create", "ci", "--max-priority", -5, "--max-bytes", "10GB", "--json").stdout)
    assert (made["max_priority"], made["max_bytes"]) == (-5, 10**10)
    assert "-5" in ask("list").stdout
    assert "0 kB of 10.0 GB" in ask("list").stdout
    assert ask("create", "no", "--max-priority", 1001).exit_code == 2
    assert "'much' is not a size" in ask("create", "no", "--max-bytes", "much").stderr


def test_tokens_are_listed_with_what_they_are_good_for(ask: Any, tmp_path: Path) -> None:
    """Those that are good for nothing too."""
    for name, scope in (("one", "read"), ("two", "admin"), ("three", "submit")):
        assert ask("create", name, "--scope", scope, "--days", "1").exit_code == 0
    assert ask("revoke", "one").exit_code == 0
    with sqlite3.connect(tmp_path / "tokens.db") as connection:
        connection.execute("UPDATE token SET expires_at = 1 WHERE name = 'two'")
    rows = [line.split()[:4] for line in ask("list").stdout.splitlines()[2:]]
    assert rows == [
        ["1", "one", "read", "revoked"],
        ["2", "two", "admin", "expired"],
        ["3", "three", "submit", "valid"],
    ]


def test_a_revoked_token_is_good_for_nothing(ask: Any, tmp_path: Path) -> None:
    """By name or by id."""
    texts = [ask("create", name).stdout.strip() for name in ("one", "two")]
    assert all(find(tmp_path, text) for text in texts)
    result = ask("revoke", "one", "--json")
    assert json.loads(result.stdout)["valid"] is False
    assert "Token one (1) is revoked" in result.stderr
    assert [find(tmp_path, text) is None for text in texts] == [True, False]
    assert ask("revoke", "2").exit_code == 0
    assert find(tmp_path, texts[1]) is None
    assert refused(ask("revoke", "one")) == ("Error: no token 'one' to revoke: see `patchgrid token list`")


def test_a_token_that_will_not_do_is_refused(ask: Any) -> None:
    """A name that is taken or no name, days that are none, a scope that there is not."""
    assert ask("create", "ci").exit_code == 0
    assert "token 'ci' already exists" in refused(ask("create", "ci"))
    assert "printable characters" in refused(ask("create", "a\nb"))
    assert "must not be a number" in refused(ask("create", "17"))
    for wrong in (("--days", "0"), ("--days", "-1"), ("--days", "1e9"), ("--scope", "write")):
        assert "Invalid value" in refused(ask("create", "other", *wrong))
    assert len(json.loads(ask("list", "--json").stdout)) == 1


def test_only_making_a_token_makes_a_database(ask: Any, tmp_path: Path) -> None:
    """A slip in its name must not."""
    for words in (("list",), ("revoke", "ci")):
        assert "does not exist" in refused(ask(*words))
    assert list(tmp_path.iterdir()) == []
    assert ask("create", "ci").exit_code == 0
    assert ask("revoke", "ci").exit_code == 0
    assert patchgrid("db", "check", "--db", tmp_path / "tokens.db").exit_code == 0


def test_without_tokens_the_list_says_how_to_make_one(tmp_path: Path) -> None:
    """On stderr; the list itself is empty."""
    Database.open(f"sqlite:///{tmp_path}/empty.db").close()
    result = patchgrid("token", "list", "--db", tmp_path / "empty.db")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "patchgrid token create NAME" in result.stderr
    assert json.loads(patchgrid("token", "list", "--json", "--db", tmp_path / "empty.db").stdout) == []
