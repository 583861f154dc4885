"""What can stop a worker."""

from patchgrid.engine.errors import PatchgridError


class ModelChangedError(PatchgridError):
    """The model's weights are not those that the job's earlier numbers came from."""

    def __init__(self, job_id: int, model: str) -> None:
        super().__init__(
            f"job {job_id} was begun with other weights of {model}: put them back, "
            f"or measure anew after patchgrid job delete {job_id}"
        )


class LeaseLostError(Exception):
    """The chunk's lease ran out or went to another worker: what was computed is dropped."""


class StopRequestedError(Exception):
    """Someone asked the worker to stop after the running batch."""
