"""`worker start --gpus`: one worker process for each GPU, watched over by this one."""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence

from patchgrid.api.client.environment import BROKER_VARIABLE, DATABASE_VARIABLE, SERVER_VARIABLE
from patchgrid.cli.context import Settings
from patchgrid.cli.errors import UsageError
from patchgrid.workers.node.settings import WorkerSettings

#: CUDA's list of the GPUs that a process may use.
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def supervise(settings: Settings, chosen: WorkerSettings, gpus: str, name: str | None) -> int:
    """Run a worker process for each GPU until all have ended; return the exit code."""
    if chosen.device != "auto":
        raise UsageError("--device and --gpus exclude each other: --gpus gives each worker its device")
    if name is not None:
        raise UsageError("--name and --gpus exclude each other: each worker gets its own name")
    devices = find_gpus(gpus)
    settings.open().close()  # what cannot work is refused here, not by each worker again and again
    from patchgrid.workers.node.supervisor import supervise as run_all

    # By the environment, not by the command line, which everyone on the machine can read.
    os.environ[DATABASE_VARIABLE] = settings.url
    os.environ.pop(SERVER_VARIABLE, None)
    if settings.broker is not None:
        os.environ[BROKER_VARIABLE] = settings.broker
    return run_all(child_command(chosen), devices)


def find_gpus(selection: str) -> list[str]:
    """Return the GPUs selected by `all` or `0,1`, each as named in CUDA_VISIBLE_DEVICES."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise UsageError("--gpus: no CUDA GPU found on this machine; omit it to run on the CPU")
    shown = os.environ.get(_VISIBLE)
    named = [part.strip() for part in shown.split(",")][:count] if shown else [str(i) for i in range(count)]
    return [named[index] for index in _indices(selection, count)]


def _indices(selection: str, count: int) -> Sequence[int]:
    if selection == "all":
        return range(count)
    parts = [part.strip() for part in selection.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(f"--gpus must be all or GPU numbers such as 0,1, not {selection!r}")
    for part in parts:
        if int(part) >= count:
            raise UsageError(f"--gpus: GPU {part} is out of range (0 to {count - 1})")
    return [int(part) for part in parts]


def child_command(chosen: WorkerSettings) -> list[str]:
    """Return the command of one GPU's worker."""
    return [sys.executable, "-m", "patchgrid.cli", "worker", "start", *_options(chosen)]


def _options(chosen: WorkerSettings) -> Iterator[str]:
    """Write the settings as options again, all but the broker, whose URL may hold a password."""
    for model in chosen.models:
        yield from ("--model", model)
    values = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(chosen)}
    values |= {"device": "cuda:0", "lease": values.pop("lease_seconds")}
    for name, value in values.items():
        if name in ("models", "broker") or value is None or value is False:
            continue
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield str(value)
