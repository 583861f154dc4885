"""Tokens: who may use the HTTP service, and for what.

A token's text is `pg_<id>_<secret>`. The secret has 256 random bits, so SHA-256 is enough to keep it by: slow
and salted hashes are for passwords, which people choose and which can be guessed. The text is given once, by
`create`; it is never stored, logged or put into an error.
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

#: What a token may be good for; each includes those before it.
SCOPES = ("read", "submit", "admin")
#: Longest name, in characters.
LONGEST_NAME = 64
#: Most days that a token may be good for: a hundred years.
MOST_DAYS = 36_525
#: Seconds within which a token's use is noted once.
NOTED_EVERY = 60.0
_DAY = 24 * 3600.0
#: Largest id that the databases can look for.
_LARGEST = 2**31 - 1
_TEXT = re.compile(r"pg_([1-9][0-9]{0,9})_([A-Za-z0-9_-]{43})")
#: Id, secret and hash in place of those that there are not, so that all that is wrong takes the same work. No
#: secret has this hash.
_NOBODY = (0, "0" * 43, "0" * 64)
_VALID = and_(table.c.revoked_at.is_(None), or_(table.c.expires_at.is_(None), table.c.expires_at > now()))


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it stands, without its secret."""

    #: Number given when it was made, never used again.
    id: int
    #: Its name, which no other has that is not revoked.
    name: str
    #: What it is good for, of `SCOPES`, in their order, those included too.
    scopes: tuple[str, ...]
    #: Times in seconds since 1970 by the database's clock.
    created_at: float
    #: When it ends, or None: never.
    expires_at: float | None
    #: When it was revoked, or None.
    revoked_at: float | None
    #: When it was last used, to the minute, or None.
    used_at: float | None
    #: Highest priority of its jobs, or None: what the server allows.
    max_priority: int | None
    #: Most bytes that its jobs may take, or None: any number.
    max_bytes: int | None
    #: Whether it was neither revoked nor expired when it was read.
    valid: bool

    def allows(self, scope: str) -> bool:
        """Tell whether it is good for something."""
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
    """Make a token, good for some `days` or for ever; give it with its text, which nobody can give again.

    `TokenNameTaken` if another has the name: an expired one keeps its name until it is revoked.
    `TokenRefused` for a name, scopes or days that will not do.
    """
    _check(name, days)
    secret = secrets.token_urlsafe(32)
    row: dict[str, Any] = {"name": name, "hash": _hash(secret), "scopes": list(_included(scopes))}
    row |= {"created_at": now(), "expires_at": None if days is None else now() + days * _DAY}
    row |= {"max_priority": max_priority, "max_bytes": max_bytes}
    if not insert_new(session, table, row):
        raise TokenNameTaken(f"there is a token {name!r} already: revoke it, or choose another name")
    made = _by_name(session, name)
    assert made is not None, "a token that was just written cannot be read"
    return made, f"pg_{made.id}_{secret}"


def find(session: Session, text: str) -> Token | None:
    """Give the token of a text; None if it is unknown, revoked, expired or no token's text at all."""
    shape = _TEXT.fullmatch(text)
    number, secret = (int(shape[1]), shape[2]) if shape else _NOBODY[:2]
    query = _query().add_columns(table.c.hash).where(table.c.id == min(number, _LARGEST))
    row = session.execute(query).mappings().first()
    same = hmac.compare_digest(_NOBODY[2] if row is None else row["hash"], _hash(secret))
    if row is None or not same or not row["valid"]:
        return None
    return _token({name: value for name, value in row.items() if name != "hash"})


def note_used(database: Database, token_id: int) -> None:
    """Note that a token was used, unless that was noted within the last minute.

    Where another writer holds SQLite, it is left to the next use: nobody waits for this.
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
    """Give all tokens, revoked ones too, the oldest first."""
    return [_token(row) for row in session.execute(_query().order_by(table.c.id)).mappings()]


def revoke(session: Session, name: str | int) -> Token:
    """Make a token good for nothing from now on, and give it; by its name, or its id.

    One that is revoked already stays as it was. `TokenNotFound` if there is none.
    """
    asked = str(name)
    # A number of more digits is no id, however it ends.
    found = _by_id(session, int(asked[:12])) if asked.isdecimal() else _by_name(session, asked)
    if found is None:
        raise TokenNotFound(f"there is no token {name!r} to revoke: `patchgrid token list` shows them")
    valid = (table.c.id == found.id) & table.c.revoked_at.is_(None)
    session.execute(table.update().where(valid).values(revoked_at=now()))
    revoked = _by_id(session, found.id)
    assert revoked is not None, "tokens are never deleted"
    return revoked


def is_valid(session: Session, token_id: int) -> bool:
    """Tell whether a token is good for something now."""
    return session.scalar(select(table.c.id).where(table.c.id == token_id, _VALID)) is not None


def any_valid(session: Session) -> bool:
    """Tell whether anybody has a token that is good for something now."""
    return session.scalar(select(table.c.id).where(_VALID).limit(1)) is not None


def any_made(session: Session) -> bool:
    """Tell whether there ever was a token: what asks for one does so even when the last has ended."""
    return session.scalar(select(table.c.id).limit(1)) is not None


def _check(name: str, days: float | None) -> None:
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise TokenRefused(f"a token's name is 1 to {LONGEST_NAME} printable characters, not {name!r}")
    if name.isdecimal():
        raise TokenRefused(f"a token's name is not a number, such as {name!r}: that could be another's id")
    if days is not None and not 0 < days <= MOST_DAYS:
        raise TokenRefused(f"a token is good for more than 0 and at most {MOST_DAYS:,} days, not {days}")


def _included(scopes: Iterable[str]) -> tuple[str, ...]:
    """Give the scopes with those that they include."""
    asked = [SCOPES.index(check_name("scope", scope, SCOPES)) for scope in scopes]
    if not asked:
        raise TokenRefused(f"a token is good for something: {', '.join(SCOPES)}")
    return SCOPES[: max(asked) + 1]


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
