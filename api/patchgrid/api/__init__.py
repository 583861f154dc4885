"""The HTTP service, and its client: `from patchgrid.api import Client`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchgrid.api.client.client import Client as Client
    from patchgrid.api.client.http.errors import JobFailed as JobFailed
    from patchgrid.api.client.http.errors import OutOfTime as OutOfTime
    from patchgrid.api.client.http.errors import ServerError as ServerError
    from patchgrid.api.client.job import Job as Job

__all__ = ["Client", "Job", "JobFailed", "OutOfTime", "ServerError"]

_PLACES = {
    "Client": "client",
    "Job": "job",
    "JobFailed": "http.errors",
    "OutOfTime": "http.errors",
    "ServerError": "http.errors",
}


def __getattr__(name: str) -> Any:
    # The client needs httpx, and the command line's help needs neither.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"patchgrid.api.client.{_PLACES[name]}"), name)
