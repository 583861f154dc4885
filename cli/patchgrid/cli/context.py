"""What every command takes: the database, the broker and the form of its output."""

import functools
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from patchgrid.cli.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from patchgrid.storage import Database

#: Names the database where no `--db` does.
DATABASE_VARIABLE = "PATCHGRID_DB"
DEFAULT_DATABASE = "sqlite:///patchgrid.db"
#: Names the broker where no `--broker` does.
BROKER_VARIABLE = "PATCHGRID_BROKER"

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for the whole command."""

    #: Database URL.
    url: str
    #: JSON on stdout instead of tables.
    json: bool
    #: The database as the command named it, or None: by environment or default.
    given: str | None = None
    #: Broker URL, or None: workers find their work in the database alone.
    broker: str | None = None

    def command(self, words: str) -> str:
        """Write a command that asks the same database, to be shown; a password is not."""
        secret = self.given is None or "@" in self.given
        return f"patchgrid {words}" if secret else f"patchgrid {words} --db {shlex.quote(str(self.given))}"

    def open(self, *, create: bool = False) -> "Database":
        """Open the database."""
        from patchgrid.storage import Database

        return Database.open(self.url, create)

    @contextmanager
    def reading(self) -> Iterator["Session"]:
        """Open the database for questions."""
        with self.open() as database, database.read() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator["Session"]:
        """Open the database for one change."""
        with self.open() as database, database.write() as session:
            yield session


def with_settings(
    function: Callable[Concatenate[Settings, Arguments], Result],
) -> Callable[Arguments, Result]:
    """Give a command `--db` and `--json`, and hand them to it as `Settings`.

    It takes `--broker` too, so that one set of options does for all commands, but has no use for it.
    """
    return _with_options(function, broker_option(hidden=True))


def with_broker(
    function: Callable[Concatenate[Settings, Arguments], Result],
) -> Callable[Arguments, Result]:
    """Give a command that talks to the broker `--db`, `--broker` and `--json`."""
    return _with_options(function, broker_option())


def _with_options(
    function: Callable[Concatenate[Settings, Arguments], Result], broker_added: Decorator
) -> Callable[Arguments, Result]:
    @db_option
    @broker_added
    @json_option
    @click.pass_context
    @functools.wraps(function)
    def command(
        ctx: click.Context,
        /,
        *args: Any,
        db: str | None,
        broker: str | None,
        as_json: bool,
        **values: Any,
    ) -> Result:
        group = ctx.find_root().params
        given = db or group.get("db")
        settings = Settings(
            url=database_url(given or os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE),
            json=as_json or bool(group.get("as_json")),
            given=given,
            broker=broker or group.get("broker") or os.environ.get(BROKER_VARIABLE) or None,
        )
        return function(settings, *args, **values)

    return command


def db_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--db`."""
    return click.option(
        "--db",
        metavar="URL",
        help="Database: sqlite:///FILE, the file's path, or postgresql+psycopg://…  "
        f"[env var: {DATABASE_VARIABLE}; default: {DEFAULT_DATABASE}]",
    )(function)


def broker_option(*, hidden: bool = False) -> Decorator:
    """Give the decorator that adds `--broker`."""
    return click.option(
        "--broker",
        metavar="URL",
        hidden=hidden,
        help="Redis that wakes idle workers: redis://:password@host:6379/0, rediss://… with TLS. Without "
        f"one, workers look into the database every few seconds.  [env var: {BROKER_VARIABLE}]",
    )


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(function)


def database_url(text: str) -> str:
    """Take a plain path for the SQLite file there."""
    if "://" in text:
        return text
    if "?" in text:
        raise UsageError(f"the path of a database cannot have a question mark: {text}")
    return f"sqlite:///{text}"
