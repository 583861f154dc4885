"""Errors about pictures and output files."""

from patchgrid.core.errors import PatchgridError


class PictureError(PatchgridError):
    """The job has no data for this picture."""


class OutputError(PatchgridError):
    """An output file that cannot be written."""
