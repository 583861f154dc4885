"""Workspaces, for notebooks and scripts: `from patchgrid.api import Workspace`. And the HTTP service."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchgrid.api.client.engine_results import frame as frame
    from patchgrid.api.client.engine_results import heatmap as heatmap
    from patchgrid.api.client.errors import JobFailed as JobFailed
    from patchgrid.api.client.errors import OutOfTime as OutOfTime
    from patchgrid.api.client.http.errors import ServerError as ServerError
    from patchgrid.api.client.job import Job as Job
    from patchgrid.api.client.orders.pair_warnings import PairWarning as PairWarning
    from patchgrid.api.client.workspace import Workspace as Workspace

__all__ = ["Job", "JobFailed", "OutOfTime", "PairWarning", "ServerError", "Workspace", "frame", "heatmap"]

_PLACES = {
    "frame": "engine_results",
    "heatmap": "engine_results",
    "Job": "job",
    "JobFailed": "errors",
    "OutOfTime": "errors",
    "PairWarning": "orders.pair_warnings",
    "ServerError": "http.errors",
    "Workspace": "workspace",
}


def __getattr__(name: str) -> Any:
    # A workspace needs SQLAlchemy or httpx, and the command line's help needs neither.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"patchgrid.api.client.{_PLACES[name]}"), name)
