"""Celery's events, sent by workers that never wait for a broker to come back."""

from typing import Any

from celery.app.events import Events as CeleryEvents
from celery.events.dispatcher import EventDispatcher


class Dispatcher(EventDispatcher):  # type: ignore[misc]
    """Sends events, or keeps them until the broker is back.

    Celery would send a worker's heartbeat again and again, in the thread that also answers signals.
    """

    def send(self, type: str, **fields: Any) -> Any:  # noqa: A002 (Celery's name)
        """Send an event once."""
        return super().send(type, **fields | {"retry": False})


class Events(CeleryEvents):  # type: ignore[misc]
    """Makes dispatchers and receivers of events."""

    dispatcher_cls = Dispatcher
