"""Tokens of the HTTP service, and their scopes.

A token's text is `pg_<id>_<secret>`. The secret has 256 random bits, so SHA-256 is enough to store it: slow
salted hashes are for guessable passwords. The text is returned once, by `create`; it is never stored, logged
or part of an error.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, or_, select
from sqlalchemy.orm import Session

from patchgrid.core.names import check_name
from patchgrid.storage.db.database import Database
from patchgrid.storage.db.dialects import insert_new, may_be_lost, now
from patchgrid.storage.errors import DatabaseLocked, TokenNameTaken, TokenNotFound, TokenRefused
from patchgrid.storage.tables import token as table

#: Scopes; each includes those before it.
SCOPES = ("read", "submit", "admin")
#: Longest name, in characters.
LONGEST_NAME = 64
#: Longest lifetime in days: a hundred years.
MOST_DAYS = 36_525
#: Seconds within which a token's use is recorded once.
NOTED_EVERY = 60.0
_DAY = 24 * 3600.0
#: Largest integer of the databases.
_LARGEST = 2**31 - 1
_TEXT = re.compile(r"pg_([1-9][0-9]{0,9})_([A-Za-z0-9_-]{43})")
#: Stand-ins for a missing id, secret and hash, so that every invalid token takes the same time. No secret has
#: this hash.
_NOBODY = (0, "0" * 43, "0" * 64)
_VALID = and_(table.c.revoked_at.is_(None), or_(table.c.expires_at.is_(None), table.c.expires_at > now()))


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret."""

    #: Its id, never reused.
    id: int
    #: Its name, unique among tokens that are not revoked.
    name: str
    #: Its scopes, in the order of `SCOPES`, including implied ones.
    scopes: tuple[str, ...]
    #: Times in seconds since 1970 by the database's clock.
    created_at: float
    #: Expiry, or None: never.
    expires_at: float | None
    #: When it was revoked, or None.
    revoked_at: float | None
    #: When it was last used, to the minute, or None.
    used_at: float | None
    #: Highest priority of its jobs, or None: the server's limit.
    max_priority: int | None
    #: Most bytes of its jobs, or None: no limit.
    max_bytes: int | None
    #: Whether it was neither revoked nor expired when it was read.
    valid: bool

    def allows(self, scope: str) -> bool:
        """Return whether it has a scope and is valid."""
        return scope in self.scopes


def create(
    session: Session,
    name: str,
    scopes: Iterable[str],
    *,
    days: float | None = None,
    max_priority: int | None = None,
    max_bytes: int | None = None,
) -> tuple[Token, str]:
    """Create a token that expires after `days`, or never; return it with its text, which is not stored.

    Raises `TokenNameTaken` if another has the name (an expired one keeps it until it is revoked), and
    `TokenRefused` for an invalid name, scope or lifetime.
    """
    _check(name, days)
    secret = secrets.token_urlsafe(32)
    row: dict[str, Any] = {"name": name, "hash": _hash(secret), "scopes": list(_included(scopes))}
    row |= {"created_at": now(), "expires_at": None if days is None else now() + days * _DAY}
    row |= {"max_priority": max_priority, "max_bytes": max_bytes}
    if not insert_new(session, table, row):
        raise TokenNameTaken(f"token {name!r} already exists: revoke it, or choose another name")
    token = _by_name(session, name)
    assert token is not None, "a token that was just written cannot be read"
    return token, f"pg_{token.id}_{secret}"


def find(session: Session, text: str) -> Token | None:
    """Return the token of a text; None if it is unknown, revoked, expired or malformed."""
    shape = _TEXT.fullmatch(text)
    number, secret = (int(shape[1]), shape[2]) if shape else _NOBODY[:2]
    query = _query().add_columns(table.c.hash).where(table.c.id == min(number, _LARGEST))
    row = session.execute(query).mappings().first()
    same = hmac.compare_digest(_NOBODY[2] if row is None else row["hash"], _hash(secret))
    if row is None or not same or not row["valid"]:
        return None
    return _token({name: value for name, value in row.items() if name != "hash"})


def note_used(database: Database, token_id: int) -> None:
    """Record a token's use, unless it was recorded within the last minute.

    Skipped if another writer holds SQLite's lock.
    """
    due = (table.c.id == token_id) & or_(table.c.used_at.is_(None), table.c.used_at < now() - NOTED_EVERY)
    with database.read() as session:
        if session.scalar(select(table.c.id).where(due)) is None:
            return
    try:
        with database.write(wait=False) as session:
            may_be_lost(session)
            session.execute(table.update().where(due).values(used_at=now()))
    except DatabaseLocked:
        return


def list_tokens(session: Session) -> list[Token]:
    """Return all tokens, revoked ones too, the oldest first."""
    return [_token(row) for row in session.execute(_query().order_by(table.c.id)).mappings()]


def revoke(session: Session, name: str | int) -> Token:
    """Revoke a token by its name or id, and return it.

    A revoked one stays unchanged. Raises `TokenNotFound`.
    """
    text = str(name)
    # A longer number is not an id.
    token = _by_id(session, int(text[:12])) if text.isdecimal() else _by_name(session, text)
    if token is None:
        raise TokenNotFound(f"no token {name!r} to revoke: see `patchgrid token list`")
    valid = (table.c.id == token.id) & table.c.revoked_at.is_(None)
    session.execute(table.update().where(valid).values(revoked_at=now()))
    revoked = _by_id(session, token.id)
    assert revoked is not None, "tokens are never deleted"
    return revoked


def is_valid(session: Session, token_id: int) -> bool:
    """Return whether a token is valid now."""
    return session.scalar(select(table.c.id).where(table.c.id == token_id, _VALID)) is not None


def any_valid(session: Session) -> bool:
    """Return whether any token is valid now."""
    return session.scalar(select(table.c.id).where(_VALID).limit(1)) is not None


def any_made(session: Session) -> bool:
    """Return whether a token ever existed: the service then stays closed, even after the last one ended."""
    return session.scalar(select(table.c.id).limit(1)) is not None


def _check(name: str, days: float | None) -> None:
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise TokenRefused(f"a token's name must be 1 to {LONGEST_NAME} printable characters, not {name!r}")
    if name.isdecimal():
        raise TokenRefused(f"a token's name must not be a number ({name!r}): numbers are ids")
    if days is not None and not 0 < days <= MOST_DAYS:
        raise TokenRefused(f"a token's lifetime must be above 0 and at most {MOST_DAYS:,} days, not {days}")


def _included(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes with the implied ones."""
    levels = [SCOPES.index(check_name("scope", scope, SCOPES)) for scope in scopes]
    if not levels:
        raise TokenRefused(f"a token needs a scope: {', '.join(SCOPES)}")
    return SCOPES[: max(levels) + 1]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _query() -> Any:
    columns = (column for column in table.c if column is not table.c.hash)
    return select(*columns, _VALID.label("valid"))


def _by_name(session: Session, name: str) -> Token | None:
    return _one(session, (table.c.name == name) & table.c.revoked_at.is_(None))


def _by_id(session: Session, number: int) -> Token | None:
    return _one(session, table.c.id == min(number, _LARGEST))


def _one(session: Session, condition: ColumnElement[bool]) -> Token | None:
    row = session.execute(_query().where(condition)).mappings().first()
    return None if row is None else _token(row)


def _token(row: RowMapping | dict[str, Any]) -> Token:
    return Token(**{**row, "scopes": tuple(row["scopes"]), "valid": bool(row["valid"])})
