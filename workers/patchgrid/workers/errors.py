"""Errors of workers."""

from patchgrid.core.errors import PatchgridError


class ModelChangedError(PatchgridError, RuntimeError):
    """The model's weights differ from those of the job's earlier results."""

    def __init__(self, job_id: int, model: str) -> None:
        super().__init__(
            f"job {job_id} was started with different weights of {model}: restore them, "
            f"or run `patchgrid job delete {job_id}` and measure again"
        )


class JobCancelledError(PatchgridError, RuntimeError):
    """The job was cancelled."""

    exit_code = 1

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} is cancelled: reopen it with `patchgrid job retry {job_id}`")


class JobUnfinishedError(PatchgridError, RuntimeError):
    """The job is not finished yet."""

    exit_code = 1

    def __init__(self, job_id: int, state: str) -> None:
        super().__init__(
            f"job {job_id} is {state}: wait until it is done (`patchgrid job wait {job_id}`) and try again"
        )


class BrokerURLError(PatchgridError, ValueError):
    """A broker URL that is invalid or not supported."""


class BrokerUnavailable(PatchgridError, ConnectionError):  # noqa: N818 (named for what happened)
    """The broker is unavailable; workers still find jobs by polling."""


class CeleryFailedError(PatchgridError, RuntimeError):
    """Celery's part of a worker failed; the chunk was finished or handed back."""

    exit_code = 1

    def __init__(self) -> None:
        super().__init__("Celery ended with an error, see above: start the worker again")


class WorkerSettingsError(PatchgridError, ValueError):
    """A worker's settings in the environment cannot be used."""


class LeaseLostError(Exception):
    """The chunk's lease expired or another worker has it; the results are dropped."""


class StopRequestedError(Exception):
    """The worker was asked to stop after the current batch."""


class CannotLoadError(Exception):
    """A job's model cannot be loaded by this worker; another may succeed."""


class DeviceBrokenError(PatchgridError, RuntimeError):
    """The GPU failed for this process, which must be restarted."""

    exit_code = 70
