"""Tokens: made once, found by their text, good until they are revoked or expire."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select, update

from patchgrid.core.errors import PatchgridError
from patchgrid.storage import Database, errors
from patchgrid.storage.access import tokens
from patchgrid.storage.access.tokens import SCOPES, Token
from patchgrid.storage.db.dialects import now
from patchgrid.storage.tables import token as table
from support.storage.watching import statements


def create(
    database: Database, name: str = "ci", scope: str = "read", days: float | None = None
) -> tuple[Token, str]:
    """Make a token."""
    with database.write() as session:
        return tokens.create(session, name, [scope], days=days)


def find(database: Database, text: str) -> Token | None:
    """Look for a token, where nothing can be written."""
    with database.read() as session:
        return tokens.find(session, text)


def change(database: Database, token: Token, **values: object) -> None:
    """Change a token's row."""
    with database.write() as session:
        session.execute(update(table).where(table.c.id == token.id).values(**values))


def used_at(database: Database, token: Token) -> float | None:
    """Return the time of a token's last use."""
    with database.read() as session:
        return session.scalar(select(table.c.used_at).where(table.c.id == token.id))


def test_a_token_is_found_by_the_text_it_was_given_with(database: Database) -> None:
    """As it was made."""
    made, text = create(database, "ci", "submit")
    start, number, secret = text.split("_", 2)
    assert (start, number, len(secret)) == ("pg", str(made.id), 43)
    assert find(database, text) == made
    assert (made.name, made.valid) == ("ci", True)
    assert (made.expires_at, made.revoked_at, made.used_at) == (None, None, None)
    assert abs(made.created_at - time.time()) < 60


def test_the_secret_is_stored_nowhere(database: Database) -> None:
    """Not even in part, and no two tokens are alike."""
    texts = [create(database, f"token {number}")[1] for number in range(5)]
    assert len(set(texts)) == 5
    with database.read() as session:
        rows = str(session.execute(select(table)).all())
    for text in texts:
        assert text.split("_", 2)[2][:8] not in rows


@pytest.mark.parametrize(("scope", "allowed"), [(scope, SCOPES[: at + 1]) for at, scope in enumerate(SCOPES)])
def test_a_scope_includes_those_before_it(database: Database, scope: str, allowed: tuple[str, ...]) -> None:
    """And none behind it."""
    made, text = create(database, scope=scope)
    found = find(database, text)
    assert found is not None
    assert made.scopes == found.scopes == allowed
    assert [each for each in (*SCOPES, "other") if found.allows(each)] == list(allowed)


def test_what_is_no_tokens_text_finds_nothing(database: Database) -> None:
    """A secret of another's, one that is changed in one place, and all that has another form."""
    (first, text), (second, other) = create(database, "first"), create(database, "second")
    secret, others = text.split("_", 2)[2], other.split("_", 2)[2]
    changed = ("A" if secret[0] != "A" else "B") + secret[1:]
    wrong = [f"pg_{first.id}_{others}", f"pg_{second.id}_{secret}", f"pg_{first.id}_{changed}"]
    wrong += [
        f"pg_{number}_{secret}" for number in (0, second.id + 1, -1, 2**31, 2**63, 9999999999, "1" * 5000)
    ]
    wrong += ["", "pg", "pg_", text[:-1], text + "A", text + "\n", " " + text, text.upper(), secret]
    wrong += [f"pg_{first.id}_{secret[:-1]}{odd}" for odd in ("\0", "\ud800", "é", "=", "'")]
    wrong += [
        f"pg_{first.id}_",
        f"pg_{first.id}",
        f"pg_٣_{secret}",
        f"pg_0{first.id}_{secret}",
        "x" * 100_000,
    ]
    for each in wrong:
        assert find(database, each) is None, each
    assert find(database, text) == first


def test_a_token_that_there_is_not_takes_the_work_of_a_wrong_secret(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One query, one hash, one comparison in constant time; so for what has no token's form."""
    made, text = create(database)
    done: list[str] = []
    compare, hashed = tokens.hmac.compare_digest, tokens._hash

    def hashing(secret: str) -> str:
        done.append("hash")
        return hashed(secret)

    def comparing(left: str, right: str) -> bool:
        done.append("compare")
        assert len(left) == len(right) == 64
        return compare(left, right)

    monkeypatch.setattr(tokens, "_hash", hashing)
    monkeypatch.setattr(tokens.hmac, "compare_digest", comparing)
    work = []
    for each in (text[:-1] + ("A" if text[-1] != "A" else "B"), f"pg_{made.id + 1}{text[4:]}", "nothing"):
        done.clear()
        with statements(database) as queries:
            assert find(database, each) is None
        work.append((*done, len(queries)))
    assert work == [("hash", "compare", work[0][2])] * 3


def test_a_token_expires(database: Database) -> None:
    """By the database's clock; it is still listed."""
    made, text = create(database, days=2)
    assert made.expires_at == pytest.approx(made.created_at + 2 * 24 * 3600, abs=5)
    assert find(database, text) is not None
    change(database, made, expires_at=now() - 1)
    assert find(database, text) is None
    with database.read() as session:
        assert [(each.name, each.valid) for each in tokens.list_tokens(session)] == [("ci", False)]


def test_a_revoked_token_is_good_for_nothing(database: Database) -> None:
    """At once; the others stay good; revoking again changes nothing."""
    (made, text), (_, other) = create(database, "one"), create(database, "two")
    with database.write() as session:
        revoked = tokens.revoke(session, "one")
    assert revoked.id == made.id
    assert (revoked.valid, find(database, text)) == (False, None)
    assert find(database, other) is not None
    with database.write() as session:
        assert tokens.revoke(session, made.id) == revoked
        assert tokens.revoke(session, str(made.id)) == revoked


@pytest.mark.parametrize("name", ["nobody", 77, "77", "9" * 5000, ""])
def test_there_must_be_a_token_to_revoke(database: Database, name: str | int) -> None:
    """By name or by id."""
    create(database)
    with database.write() as session, pytest.raises(errors.TokenNotFound, match="patchgrid token list"):
        tokens.revoke(session, name)


def test_a_name_is_free_again_once_its_token_is_revoked(database: Database) -> None:
    """Not when it has only expired; and the name then means the new token."""
    first, _ = create(database)
    change(database, first, expires_at=now() - 1)
    with pytest.raises(errors.TokenNameTaken, match="revoke it, or choose another name"):
        create(database)
    with database.write() as session:
        tokens.revoke(session, "ci")
    with database.write() as session, pytest.raises(errors.TokenNotFound):
        tokens.revoke(session, "ci")
    second, text = create(database)
    assert second.id > first.id
    assert find(database, text) == second
    with database.write() as session:
        assert tokens.revoke(session, "ci").id == second.id
        assert len(tokens.list_tokens(session)) == 2


def test_of_two_that_take_a_name_at_once_one_gets_it(database: Database) -> None:
    """Threads, each in its own transaction."""
    barrier = Barrier(4)

    def take(_: int) -> str:
        barrier.wait()
        try:
            create(database)
        except errors.TokenNameTaken:
            return "taken"
        return "made"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, range(4))) == ["made", "taken", "taken", "taken"]


@pytest.mark.parametrize(
    ("name", "scope", "days"),
    [("", "read", 1), (" ", "read", 1), ("a\nb", "read", 1), ("a\0", "read", 1), ("x" * 65, "read", 1)]
    + [("7", "read", 1), ("\ud800", "read", 1), ("ci", "write", 1)]
    + [("ci", "read", days) for days in (0, -1, float("nan"), float("inf"), 1e9)],
)
def test_a_token_that_will_not_do_is_refused(
    database: Database, name: str, scope: str, days: float | None
) -> None:
    """Its name, scope or days; nothing is stored."""
    with pytest.raises(PatchgridError):
        create(database, name, scope, days)
    with database.write() as session:
        with pytest.raises(errors.TokenRefused):
            tokens.create(session, "ci", [])
        assert tokens.list_tokens(session) == []


def test_whether_anybody_has_a_token(database: Database) -> None:
    """One that is good for something now."""

    def any_valid() -> bool:
        with database.read() as session:
            return tokens.any_valid(session)

    assert not any_valid()
    made, _ = create(database, "one")
    assert any_valid()
    change(database, made, expires_at=now() - 1)
    assert not any_valid()
    create(database, "two")
    assert any_valid()
    with database.write() as session:
        tokens.revoke(session, "two")
    assert not any_valid()


def test_use_is_noted_once_a_minute(database: Database) -> None:
    """And of the one token only."""
    (made, _), (other, _) = create(database, "one"), create(database, "two")
    assert used_at(database, made) is None
    tokens.note_used(database, made.id)
    first = used_at(database, made)
    assert first == pytest.approx(time.time(), abs=60)
    tokens.note_used(database, made.id)
    assert used_at(database, made) == first
    change(database, made, used_at=now() - 61)
    before = used_at(database, made)
    tokens.note_used(database, made.id)
    last = used_at(database, made)
    assert last is not None
    assert before is not None
    assert last > before + 30
    assert used_at(database, other) is None


def test_noting_use_waits_for_no_writer(database: Database, backend: str) -> None:
    """A large submit holds SQLite's one lock for long; the next use is noted then."""
    made, _ = create(database)
    with database.write() as session:
        session.execute(select(table.c.id))
        began = time.monotonic()
        tokens.note_used(database, made.id)
        assert time.monotonic() - began < 5
        assert (used_at(database, made) is None) == (backend == "sqlite")
    tokens.note_used(database, made.id)
    assert used_at(database, made) is not None
