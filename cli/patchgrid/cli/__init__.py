"""The `patchgrid` command. Importing it imports neither torch nor SQLAlchemy: commands do when they run."""

from patchgrid.cli.root import main

__all__ = ["main"]
