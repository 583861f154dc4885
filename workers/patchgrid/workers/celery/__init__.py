"""Celery workers: `celery -A patchgrid.workers.celery …` finds the application of the environment here."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Make `app` when it is first asked for."""
    if name != "app":
        raise AttributeError(name)
    from patchgrid.workers.celery.environment import app

    globals()["app"] = app()
    return globals()["app"]
