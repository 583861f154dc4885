"""What can go wrong between a client and a server, each error with a message a person can act on."""

# Named for what happened, without the suffix Error.
# ruff: noqa: N818

from collections.abc import Sequence
from typing import Any

from patchgrid.core.errors import UNAVAILABLE, PatchgridError


class ServerError(PatchgridError):
    """Something about a server, or about what was asked of it."""


class BadAddress(ServerError, ValueError):
    """A server's URL, or a token, that cannot be used."""


class ServerUnreachable(ServerError, ConnectionError):
    """No connection to the server can be made."""

    exit_code = UNAVAILABLE


class ConnectionCut(ServerError, ConnectionError):
    """The connection ended in the middle of an answer."""

    exit_code = UNAVAILABLE


class ServerBusy(ServerError, TimeoutError):
    """The server asked to wait, more often than anyone should."""

    exit_code = UNAVAILABLE


class ServerFailed(ServerError, RuntimeError):
    """The server could not answer: a mistake of its own, or of a proxy before it."""

    exit_code = UNAVAILABLE


class NotPatchgrid(ServerError, RuntimeError):
    """The server is not a patchgrid server, or has an unsupported version."""


class Refused(ServerError, ValueError):
    """The server refused the request."""

    def __init__(self, message: str, errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        #: What is wrong with single fields, lines or rows, as the server tells it.
        self.errors = tuple(errors)


class NotAuthorised(Refused, PermissionError):
    """No token was given, or none that the server knows."""


class NotAllowed(Refused, PermissionError):
    """The token does not allow this, or the server does not allow it at all."""


class NotThere(Refused, LookupError):
    """The server has nothing that goes by this name."""


class NotNow(Refused):
    """It does not fit the state that things are in: a finished job cannot be paused."""


class TooLarge(Refused):
    """More than the server takes."""


class NotSupported(Refused, NotImplementedError):
    """The server lacks a package that this needs."""
