"""A worker's settings from the environment, as `celery -A patchgrid.workers.celery worker` reads them."""

import dataclasses
from pathlib import Path

import pytest

from patchgrid.core.queue_name import queue_name
from patchgrid.workers.celery.environment import PREFIX, app, settings
from patchgrid.workers.errors import WorkerSettingsError
from patchgrid.workers.node.settings import WorkerSettings

MODELS = {"PATCHGRID_WORKER_MODELS": "a org/b"}


def test_models_alone_are_enough() -> None:
    """All else is as `worker start` has it."""
    assert settings(MODELS) == WorkerSettings(("a", "org/b"))
    assert settings(MODELS | {"PATCHGRID_BROKER": "redis://h"}).broker == "redis://h"


def test_a_folder_is_named_as_in_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its absolute path, from wherever the worker is started; its queue, too."""
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHGRID_WORKER_MODELS", "model org/b")
    models = (str(tmp_path / "model"), "org/b")
    assert settings().models == models
    assert [queue.name for queue in app().conf.task_queues] == [queue_name(model) for model in models]


def test_every_setting_is_read_as_its_kind() -> None:
    """None is forgotten, and none is left as text."""
    values = {
        "device": "cuda:1",
        "batch_tokens": 4096,
        "poll": 0.5,
        "slice": 10.0,
        "lease_seconds": 90.0,
        "grace": 0.0,
        "max_chunks": 7,
        "idle_exit": 300.0,
        "watchdog": 60.0,
        "remote_control": True,
        "memory_limit": 10**9,
    }
    assert values.keys() == {field.name for field in dataclasses.fields(WorkerSettings)} - {
        "models",
        "broker",
    }
    variables = {PREFIX + name.upper(): str(value) for name, value in values.items()}
    read = settings(MODELS | variables)
    assert read == WorkerSettings(("a", "org/b"), **values)  # type: ignore[arg-type]
    for name, value in values.items():
        assert type(getattr(read, name)) is type(value)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("True", True), ("off", False), ("", False)])
def test_switches_are_read(text: str, value: bool) -> None:
    """As people write them."""
    assert settings(MODELS | {"PATCHGRID_WORKER_REMOTE_CONTROL": text}).remote_control is value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("MODELS", "", "no model to serve: name one in PATCHGRID_WORKER_MODELS"),
        ("MODELS", "  ", "no model to serve"),
        ("SLICE", "soon", "PATCHGRID_WORKER_SLICE must be a number, not 'soon'"),
        ("SLICE", "", "PATCHGRID_WORKER_SLICE must be a number, not ''"),
        ("SLICE", "0", "PATCHGRID_WORKER_SLICE must be above 0, not 0"),
        ("POLL", "-1", "PATCHGRID_WORKER_POLL must be above 0, not -1"),
        ("POLL", "nan", "PATCHGRID_WORKER_POLL must be above 0, not nan"),
        ("GRACE", "-1", "PATCHGRID_WORKER_GRACE must be at least 0, not -1"),
        ("LEASE_SECONDS", "1", "PATCHGRID_WORKER_LEASE_SECONDS must be at least 2, not 1"),
        ("MAX_CHUNKS", "1.5", "PATCHGRID_WORKER_MAX_CHUNKS must be a number, not '1.5'"),
        ("REMOTE_CONTROL", "perhaps", "PATCHGRID_WORKER_REMOTE_CONTROL must be 1 or 0, not 'perhaps'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(name: str, text: str, said: str) -> None:
    """With the variable and its value."""
    with pytest.raises(WorkerSettingsError) as caught:
        settings(MODELS | {PREFIX + name: text})
    assert said in str(caught.value)
