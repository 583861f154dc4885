"""Packages that the base install leaves out."""

from importlib.util import find_spec

from patchgrid.core.errors import PatchgridError


class MissingExtraError(PatchgridError):
    """Something needs packages that the base install leaves out."""


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    try:
        return find_spec(package) is not None
    except ImportError:
        return False
