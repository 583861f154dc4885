"""What can be wrong with what is to be drawn, or with where it should go."""

from patchgrid.core.errors import PatchgridError


class PictureError(PatchgridError):
    """A picture that the job does not have."""


class OutputError(PatchgridError):
    """Results cannot be written where they should go."""
