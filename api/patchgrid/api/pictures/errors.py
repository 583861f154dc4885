"""Errors about pictures and output files."""

from patchgrid.core.errors import PatchgridError


class PictureError(PatchgridError, ValueError):
    """The job has no data for this picture."""


class OutputError(PatchgridError, OSError):
    """An output file that cannot be written."""
