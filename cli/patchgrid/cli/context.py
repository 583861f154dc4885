"""What every command takes: the database or a server, the broker and the form of its output."""

import functools
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from patchgrid.api.client.environment import (
    BROKER_VARIABLE,
    DATABASE_VARIABLE,
    DEFAULT_DATABASE,
    SERVER_VARIABLE,
    TOKEN_VARIABLE,
    USER_VARIABLE,
    system_user,
)
from patchgrid.cli.errors import UsageError
from patchgrid.cli.targets import Target, choose

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from patchgrid.api.client.backends.backend import Backend, Reports
    from patchgrid.storage import Database

#: Longest name of a user, in characters.
LONGEST_USER = 64

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
    named_url: str | None = None
    #: Broker URL, or None: workers find their work in the database alone.
    broker: str | None = None
    #: A server to ask in place of the database, and the token for it.
    server: str | None = None
    token: str | None = field(default=None, repr=False)
    #: The server was named by the command, not by the environment.
    server_named: bool = False
    #: The owner, on a database itself: their jobs are searched first, and they own submitted jobs.
    user: str = ""

    def command(self, words: str) -> str:
        """Write a command that asks the same database or server, to be shown; no password or token is."""
        if self.server is None:
            return self.database_command(words)
        where = f" --server {shlex.quote(self.server)}" if self.server_named else ""
        return f"patchgrid {words}{where}"

    def database_command(self, words: str) -> str:
        """Write a command that no server can do, to be shown; a password is not."""
        secret = self.named_url is None or "@" in self.named_url
        return (
            f"patchgrid {words}" if secret else f"patchgrid {words} --db {shlex.quote(str(self.named_url))}"
        )

    @contextmanager
    def backend(self, *, create: bool = False) -> Iterator["Backend"]:
        """Yield the database, created or upgraded if `create`, or the server."""
        from patchgrid.cli.terminal.reports import REPORTS

        if self.server is not None:
            with _server(self.server, self.token, REPORTS) as server:
                yield server
            return
        from patchgrid.api.client.backends.database import DatabaseBackend

        with self.open(create=create) as database:
            backend = DatabaseBackend(database, self.broker, user=self.user, reports=REPORTS)
            with backend.one_state():
                yield backend

    def open(self, *, create: bool = False) -> "Database":
        """Open the database itself; refused where a server was named."""
        if self.server is not None:
            raise UsageError("this command needs a database, not a server: give --db")
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


@contextmanager
def _server(url: str, token: str | None, reports: "Reports") -> Iterator["Backend"]:
    """Yield a server; no request is sent before the first query."""
    from patchgrid.api.client.backends.server import ServerBackend
    from patchgrid.api.client.http.address import Address
    from patchgrid.api.client.http.http import Connection
    from patchgrid.api.client.http.service import Service
    from patchgrid.cli.terminal.screen import visible

    address = Address.read(url, token)
    if address.warning is not None:
        reports.say(f"Warning: {visible(address.warning)}")
    with Connection(address, say=reports.say) as connection:
        yield ServerBackend(Service(connection), reports)


def with_settings(
    function: Callable[Concatenate[Settings, Arguments], Result],
) -> Callable[Arguments, Result]:
    """Add `--db`, `--server` and `--json` to a command, which receives them as `Settings`.

    It takes `--broker` and `--user` too, so that one set of options does for all commands, but shows neither.
    """
    return _with_options(function, broker_option(hidden=True))


def with_broker(
    function: Callable[Concatenate[Settings, Arguments], Result],
) -> Callable[Arguments, Result]:
    """Add `--db`, `--server`, `--broker` and `--json` to a command that uses the broker."""
    return _with_options(function, broker_option())


def _with_options(
    function: Callable[Concatenate[Settings, Arguments], Result], broker_added: Decorator
) -> Callable[Arguments, Result]:
    @db_option
    @server_options
    @user_option(hidden=True)
    @broker_added
    @json_option
    @click.pass_context
    @functools.wraps(function)
    def command(
        ctx: click.Context,
        /,
        *args: Any,
        db: str | None,
        server: str | None,
        token: str | None,
        user: str | None,
        broker: str | None,
        as_json: bool,
        **values: Any,
    ) -> Result:
        group = ctx.find_root().params
        given = Target(db or group.get("db"), server or group.get("server"), broker or group.get("broker"))
        chosen = choose(given, command=_words(ctx))
        settings = Settings(
            url=database_url(chosen.database or DEFAULT_DATABASE),
            json=as_json or bool(group.get("as_json")),
            named_url=given.database,
            broker=chosen.broker,
            server=chosen.server,
            token=token or group.get("token"),
            server_named=given.server is not None,
            user=find_user(user or group.get("user"), through_server=chosen.server is not None),
        )
        return function(settings, *args, **values)

    return command


def _words(ctx: click.Context) -> str:
    """Return a command's words after the program's name: `results sql`."""
    words = [] if ctx.parent is None else [_words(ctx.parent), ctx.info_name or ""]
    return " ".join(word for word in words if word)


def db_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--db`."""
    return click.option(
        "--db",
        metavar="URL",
        help="Database: sqlite:///FILE, the file's path, or postgresql+psycopg://…  "
        f"[env var: {DATABASE_VARIABLE}; default: {DEFAULT_DATABASE}]",
    )(function)


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--server` and `--token`."""
    function = click.option(
        "--token",
        metavar="TOKEN",
        help="Token for the server; better set in the environment, since command lines show up in process "
        f"lists and shell history.  [env var: {TOKEN_VARIABLE}]",
    )(function)
    return click.option(
        "--server",
        metavar="URL",
        help="Server to use instead of a database: https://host, http://localhost:8000.  "
        f"[env var: {SERVER_VARIABLE}]",
    )(function)


def broker_option(*, hidden: bool = False) -> Decorator:
    """Return the decorator that adds `--broker`."""
    return click.option(
        "--broker",
        metavar="URL",
        hidden=hidden,
        help="Broker through which workers get messages: redis://:password@host:6379/0, rediss://… with TLS, "
        "sentinel://…, amqp://…. Without one, workers poll the database every few seconds.  "
        f"[env var: {BROKER_VARIABLE}]",
    )


def user_option(*, hidden: bool = False) -> Decorator:
    """Return the decorator that adds `--user`."""
    return click.option(
        "--user",
        metavar="NAME",
        hidden=hidden,
        help="Your user name in the database (not on a server), for fair sharing of workers; your own jobs "
        f"are found first by name.  [env var: {USER_VARIABLE}; default: the system's user name]",
    )


def find_user(user: str | None, *, through_server: bool) -> str:
    """Tell who asks; a server knows that by the token."""
    if through_server:
        if user is not None:
            raise UsageError("--user is not supported with --server: a server identifies you by your token")
        return ""
    name = user or os.environ.get(USER_VARIABLE) or system_user()
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_USER:
        raise UsageError(f"a user's name is 1 to {LONGEST_USER} printable characters, not {name!r}")
    return name


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(function)


def database_url(text: str) -> str:
    """Take a plain path for the SQLite file there."""
    if "://" in text:
        return text
    if "?" in text:
        raise UsageError(f"a database path cannot contain a question mark: {text}")
    return f"sqlite:///{text}"
