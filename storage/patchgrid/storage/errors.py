"""What can go wrong with a database, each error with a message a person can act on."""

# Conditions are named for what happened, as users will read them: # ruff: noqa: N818

from patchgrid.engine.errors import PatchgridError


class StorageError(PatchgridError):
    """Something about the database, or about what was asked of it."""


class DatabaseURLError(StorageError):
    """A database URL that cannot be read, or of a kind that patchgrid does not use."""


class DatabaseMissing(StorageError):
    """There is no database where one was expected, or its folder does not exist or may not be written."""


class DatabaseUnavailable(StorageError):
    """The database is there but cannot be reached, read or written."""


class NotADatabase(StorageError):
    """The file is not an SQLite database, or holds another program's tables."""


class DatabaseOlder(StorageError):
    """The database was written by an older patchgrid and has to be upgraded first."""


class DatabaseNewer(StorageError):
    """The database was written by a newer patchgrid."""


class DatabaseLocked(StorageError):
    """Another process held the database for longer than the busy timeout."""


class DatabaseFull(StorageError):
    """The disk is full; the transaction was rolled back."""


class CorruptData(StorageError):
    """Stored bytes are not what was written: a checksum, a size or the file's own structure is wrong."""


class JobNotFound(StorageError):
    """No job, or more than one, goes by this id or name."""


class PairNotFound(StorageError):
    """The job has no pair of this id or row number."""


class PairsChanged(StorageError):
    """The pairs that were read are not the pairs that were announced."""


class NothingKept(StorageError):
    """The job kept nothing of the kind that was asked for."""


class QueryError(StorageError):
    """A SQL statement that is wrong, writes, or ran past its time limit."""
