"""What can stop a worker."""

from patchgrid.engine.errors import PatchgridError


class ModelChangedError(PatchgridError):
    """The model's weights are not those that the job's earlier numbers came from."""


class LeaseLostError(Exception):
    """The chunk's lease ran out or went to another worker: what was computed is dropped."""


class StopRequestedError(Exception):
    """Someone asked the worker to stop after the running batch."""
