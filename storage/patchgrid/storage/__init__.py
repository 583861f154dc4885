"""The database: jobs, leases and results, in SQLite or PostgreSQL. One module per query."""

from patchgrid.storage.db.database import Database
from patchgrid.storage.errors import StorageError

__all__ = ["Database", "StorageError"]
