"""What can go wrong in a workspace, wherever its jobs live."""

# Named for what happened, without the suffix Error.
# ruff: noqa: N818

from collections.abc import Sequence

from patchgrid.core.errors import PatchgridError


class JobFailed(PatchgridError, RuntimeError):
    """A job that was waited for failed or was cancelled."""

    exit_code = 1

    def __init__(self, message: str, reasons: Sequence[tuple[int | str, str]] = ()) -> None:
        super().__init__(message)
        #: The first pairs that failed, each with its reason.
        self.reasons = tuple(reasons)


class OutOfTime(PatchgridError, TimeoutError):
    """A job had not ended when the time was up."""

    exit_code = 124


class FramesMissing(PatchgridError, ImportError):
    """Neither pandas nor polars is installed, or not the requested one."""


class NotHere(PatchgridError, RuntimeError):
    """Something that this process cannot do for a server's workspace."""


class JobPaused(PatchgridError, RuntimeError):
    """The job is paused: it has to be resumed before anybody measures it."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} has these pairs and settings and is paused: resume it first")
        self.job_id = job_id
