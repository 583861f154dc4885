"""Packages that the base install omits, and the extras that bring them."""

from importlib.util import find_spec

from patchgrid.core.errors import PatchgridError

#: The packages that each extra brings, by the names they are imported under.
EXTRAS = {
    "model": ("torch", "nnsight", "transformers", "safetensors", "einops"),
    "cluster": ("celery", "redis"),
    "server": ("fastapi", "uvicorn", "httptools", "python_multipart"),
    "parquet": ("pyarrow",),
    "plot": ("matplotlib",),
}


class MissingExtraError(PatchgridError, ImportError):
    """Something needs packages that the base install omits."""


def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    try:
        return find_spec(package) is not None
    except ImportError:
        return False


def require(extra: str, what: str) -> None:
    """Raise `MissingExtraError` where `what` needs an extra whose packages are not installed."""
    missing = [package for package in EXTRAS[extra] if not is_installed(package)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(
            f"{what} needs {', '.join(missing)}, which {verb} not installed: pip install 'patchgrid[{extra}]'"
        )
