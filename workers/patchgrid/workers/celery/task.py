"""The task: permission to work on a model's queue for a slice of time."""

import logging

from patchgrid.workers.broker.broker import App
from patchgrid.workers.broker.messages import TASK, reason, send_through

_log = logging.getLogger(__name__)


def add_task(app: App) -> None:
    """Add the task to a worker's application."""

    @app.task(name=TASK, typing=False, shared=False)  # type: ignore[untyped-decorator]
    def work(model: str) -> dict[str, int] | None:
        """Work on a model's queue until the slice is over or nothing is left; tell what was done."""
        if app.worker is None or model not in app.worker.settings.models:
            _log.warning("dropped a message: this worker does not serve %.200r", model)
            return None
        end = app.worker.slices.work(model)
        if end.left:
            send_successor(app, model)
        return {"chunks": end.counts.chunks, "pairs": end.counts.pairs, "failed": end.counts.failed}


def send_successor(app: App, model: str) -> None:
    """Send the message that follows one with work left; without it, idle workers find the work by polling."""
    try:
        with app.producer_or_acquire() as producer:
            send_through(app, producer, model, 1)
    except Exception as error:  # noqa: BLE001 (whatever the broker's library raises)
        _log.info("no message for the work left on %s: %s", model, reason(error))
