"""Environment variables that name a workspace, and what stands for them."""

import getpass
import os

#: The server, where nothing else names one.
SERVER_VARIABLE = "PATCHGRID_SERVER"
#: The server's token, where nothing else gives one.
TOKEN_VARIABLE = "PATCHGRID_TOKEN"  # noqa: S105 (its name, no token)
#: The database, where nothing else names one.
DATABASE_VARIABLE = "PATCHGRID_DB"
#: The broker, where nothing else names one.
BROKER_VARIABLE = "PATCHGRID_BROKER"
#: The user, where nothing else names one.
USER_VARIABLE = "PATCHGRID_USER"
#: The database, where nothing at all names one.
DEFAULT_DATABASE = "sqlite:///patchgrid.db"


def system_user() -> str:
    """Return the name of the user that this process runs as."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user that has no name
        return f"uid {os.getuid()}"
