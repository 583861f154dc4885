"""What can stop a worker."""

from patchgrid.core.errors import PatchgridError


class ModelChangedError(PatchgridError):
    """The model's weights are not those that the job's earlier numbers came from."""

    def __init__(self, job_id: int, model: str) -> None:
        super().__init__(
            f"job {job_id} was begun with other weights of {model}: put them back, "
            f"or measure anew after patchgrid job delete {job_id}"
        )


class JobCancelledError(PatchgridError):
    """The job was cancelled: nothing of it is measured until it is brought back."""

    exit_code = 1

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} was cancelled: bring it back with patchgrid job retry {job_id}")


class BrokerURLError(PatchgridError):
    """A broker URL that cannot be read, or of a kind that patchgrid does not use."""


class BrokerUnavailable(PatchgridError):  # noqa: N818 (named for what happened)
    """The broker cannot be reached: workers find the work all the same, a little later."""


class LeaseLostError(Exception):
    """The chunk's lease ran out or went to another worker: what was computed is dropped."""


class StopRequestedError(Exception):
    """Someone asked the worker to stop after the running batch."""


class CannotLoadError(Exception):
    """A job's model cannot be loaded here: another worker may have more luck."""


class DeviceBrokenError(PatchgridError):
    """The GPU is lost to this process: it can compute nothing more, and has to be started again."""

    exit_code = 70
