"""One worker for each GPU: which GPUs, and how their workers are started."""

import os
from typing import Any

import pytest

from patchgrid.cli.commands.worker.gpus import child_command, find_gpus
from patchgrid.workers.node.settings import WorkerSettings
from support.cli.commands import FinishedJob, patchgrid


def test_gpus_are_those_that_cuda_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their place among them; each worker sees one."""
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert find_gpus("all") == ["0", "1", "2"]
    assert find_gpus("0, 2") == ["0", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-abc")
    assert find_gpus("all") == ["4", "5", "GPU-abc"]
    assert find_gpus("2") == ["GPU-abc"]
    for wanted, message in (
        ("3", "GPU 3 is out of range"),
        ("1,1", "not '1,1'"),
        ("x", "not 'x'"),
        ("-1", "not '-1'"),
    ):
        with pytest.raises(Exception, match=message):
            find_gpus(wanted)


def test_each_gpus_worker_is_started_with_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read back from the command that starts it; no password is in it."""
    settings = WorkerSettings(("a", "b"), broker="redis://:secret@h/0", idle_exit=5.0, memory_limit=10**9)
    command = child_command(settings)
    assert "secret" not in " ".join(command)
    seen: list[WorkerSettings] = []
    monkeypatch.setattr(
        "patchgrid.cli.commands.worker.start._work", lambda _s, chosen, _n: seen.append(chosen) or 0
    )
    result = patchgrid(*command[3:], "--broker", "redis://:secret@h/0")
    assert result.exit_code == 0, result.stderr
    (chosen,) = seen
    assert chosen.device == "cuda:0"
    for name in (
        "models",
        "broker",
        "poll",
        "lease_seconds",
        "grace",
        "idle_exit",
        "watchdog",
        "memory_limit",
    ):
        assert getattr(chosen, name) == getattr(settings, name), name


def test_gpus_go_to_the_supervisor_and_secrets_through_the_environment(
    finished: FinishedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line, which others on the machine can read, names neither database nor broker."""
    import torch

    for name in ("PATCHGRID_DB", "PATCHGRID_BROKER"):
        monkeypatch.setenv(name, "replaced")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen: list[Any] = []

    def supervise(command: list[str], devices: list[str]) -> int:
        seen.append((" ".join(command), devices, os.environ["PATCHGRID_DB"], os.environ["PATCHGRID_BROKER"]))
        return 70

    monkeypatch.setattr("patchgrid.workers.node.supervisor.supervise", supervise)
    broker = "redis://:secret@localhost/0"
    options = ("-m", finished.model, "--gpus", "all", "--broker", broker, "--db", finished.database)
    assert patchgrid("worker", "start", *options).exit_code == 70
    ((command, devices, url, broker_url),) = seen
    assert devices == ["0", "1"]
    assert (url, broker_url) == (f"sqlite:///{finished.database}", broker)
    assert "secret" not in command
    assert "jobs.db" not in command
