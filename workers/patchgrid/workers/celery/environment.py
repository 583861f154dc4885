"""The worker of `celery -A patchgrid.workers.celery worker`, with its settings from the environment."""

import dataclasses
import os
import types
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from patchgrid.core.errors import PatchgridError
from patchgrid.core.names import model_name
from patchgrid.core.queue_name import queue_name
from patchgrid.core.text.wording import read_size
from patchgrid.storage.db.database import Database
from patchgrid.workers.broker.broker import App
from patchgrid.workers.broker.queues import queue_of
from patchgrid.workers.celery.process import worker_app
from patchgrid.workers.errors import WorkerSettingsError
from patchgrid.workers.node.settings import WorkerSettings
from patchgrid.workers.node.worker import Worker

#: What begins the variables of a worker's settings: PATCHGRID_WORKER_SLICE for one.
PREFIX = "PATCHGRID_WORKER_"
_DATABASE, _BROKER = "PATCHGRID_DB", "PATCHGRID_BROKER"
_MODELS, _REMOTE_CONTROL = PREFIX + "MODELS", PREFIX + "REMOTE_CONTROL"
_MEMORY_LIMIT = PREFIX + "MEMORY_LIMIT"
#: The least value of a number; of others anything above 0.
_LEAST = {PREFIX + "GRACE": 0, PREFIX + "LEASE_SECONDS": 2}
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def app() -> App:
    """Return the application of the environment: for workers, and for `inspect` and `control`."""
    models = _models(os.environ)
    queues: dict[str, Any] = {"task_queues": [queue_of(model) for model in models]} if models else {}
    try:
        allowed = _read(_REMOTE_CONTROL, os.environ.get(_REMOTE_CONTROL, ""), bool)
        return worker_app(os.environ.get(_BROKER), make=_make_worker, remote_control=allowed, **queues)
    except PatchgridError as error:
        raise SystemExit(str(error)) from None


def settings(environ: Mapping[str, str] = os.environ) -> WorkerSettings:
    """Read a worker's settings: variables as the options of `worker start`, models separated by spaces.

    Raises `WorkerSettingsError` for a value that cannot be read, and where no model is named.
    """
    values: dict[str, Any] = {"broker": environ.get(_BROKER), "models": _models(environ)}
    for field in dataclasses.fields(WorkerSettings):
        variable = PREFIX + field.name.upper()
        if field.name not in values and variable in environ:
            values[field.name] = _read(
                variable, environ[variable], get_type_hints(WorkerSettings)[field.name]
            )
    if not values["models"]:
        raise WorkerSettingsError(f"no model to serve: name one in {_MODELS}")
    return WorkerSettings(**values)


def _make_worker(application: App) -> Worker:
    """Make the worker of a process that Celery's own command started; `-Q` may choose among its models."""
    try:
        chosen = settings()
        queues = application.amqp.queues.consume_from
        models = tuple(model for model in chosen.models if queue_name(model) in queues)
        if not models:
            raise WorkerSettingsError(f"{', '.join(queues)} is no queue of {', '.join(chosen.models)}")
        url = os.environ.get(_DATABASE)
        if url is None:
            raise WorkerSettingsError(f"no database: name one in {_DATABASE}")
        return Worker(Database.open(url), dataclasses.replace(chosen, models=models))
    except PatchgridError as error:
        raise SystemExit(str(error)) from None


def _models(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read the models, named as in jobs."""
    return tuple(map(model_name, environ.get(_MODELS, "").split()))


def _read(variable: str, text: str, kind: Any) -> Any:
    """Read one value as its field is typed: `float | None` for one."""
    if isinstance(kind, types.UnionType):
        (kind,) = (each for each in get_args(kind) if each is not types.NoneType)
    if kind is bool:
        if text.lower() not in (*_YES, *_NO):
            raise WorkerSettingsError(f"{variable} must be 1 or 0, not {text!r}")
        return text.lower() in _YES
    if kind not in (int, float):
        return text
    size = read_size(text) if variable == _MEMORY_LIMIT else None
    try:
        value = kind(text) if size is None else size
    except ValueError:
        raise WorkerSettingsError(f"{variable} must be a number, not {text!r}") from None
    least = _LEAST.get(variable)
    if not (value > 0 if least is None else value >= least):
        bound = "above 0" if least is None else f"at least {least}"
        raise WorkerSettingsError(f"{variable} must be {bound}, not {text}")
    return value
