"""A database or a server: which of the two a command asks."""

import os
from dataclasses import dataclass

from patchgrid.api.client.environment import BROKER_VARIABLE, DATABASE_VARIABLE, SERVER_VARIABLE
from patchgrid.cli.errors import UsageError

#: Commands that no server can do, with what to do instead.
_INSTEAD = {
    "run": "measures in this process; use `patchgrid submit … --wait`, or give --db",
    "results sql": "needs a database; use `patchgrid results export` for all rows, or give --db",
    "worker start": "needs a database: give --db",
    "worker drain": "needs the workers' database: give --db",
    "db upgrade": "needs a database: give --db",
    "db check": "needs a database: give --db",
    "db vacuum": "needs a database: give --db",
    "serve": "needs a database: give --db",
    "token create": "needs a database: give --db",
    "token list": "needs a database: give --db",
    "token revoke": "needs a database: give --db",
}
#: Commands about this machine: a server in the environment is no concern of theirs.
_OF_THIS_MACHINE = ("demo", "doctor", "model check")


@dataclass(frozen=True, slots=True)
class Target:
    """A database, a server and a broker by their URLs; None: none is named."""

    database: str | None
    server: str | None
    broker: str | None


def choose(target: Target, *, command: str) -> Target:
    """Fill in from the environment what a command's options leave open: a database or a server, never both.

    `command` is its words: `results sql`. Raises `UsageError` where both are named, and where the command
    cannot be done through a server.
    """
    environment = Target(*(os.environ.get(name) or None for name in _VARIABLES))
    if target.server is not None and target.database is not None:
        raise UsageError("--server and --db exclude each other: a server has its own database")
    if command in _OF_THIS_MACHINE:
        if target.server is not None:
            raise UsageError(f"`patchgrid {command}` checks this machine: omit --server")
        environment = Target(environment.database, None, environment.broker)
    local = target.database or (environment.database if command in _INSTEAD else None)
    server = target.server or (None if local else environment.server)
    if server is None:
        return Target(target.database or environment.database, None, target.broker or environment.broker)
    named = "--server" if target.server else SERVER_VARIABLE
    if target.server is None and environment.database is not None:
        raise UsageError(
            f"{DATABASE_VARIABLE} and {SERVER_VARIABLE} are both set: unset one, or give --db or --server"
        )
    if command in _INSTEAD:
        raise UsageError(
            f"`patchgrid {command}` cannot go through a server ({named}): it {_INSTEAD[command]}"
        )
    if target.broker is not None:
        raise UsageError(f"a server ({named}) has its own broker: omit --broker")
    return Target(None, server, None)


_VARIABLES = (DATABASE_VARIABLE, SERVER_VARIABLE, BROKER_VARIABLE)
