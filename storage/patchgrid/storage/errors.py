"""What can go wrong with a database, each error with a message a person can act on."""

# Each is named for what happened, not "...Error".
# ruff: noqa: N818

from patchgrid.core.errors import UNAVAILABLE, PatchgridError


class StorageError(PatchgridError):
    """Something about the database, or about what was asked of it."""


class DatabaseURLError(StorageError):
    """A database URL that cannot be read, or of a kind that patchgrid does not use."""


class DatabaseMissing(StorageError, LookupError):
    """There is no database where one was expected, or no folder to make it in."""


class DatabaseUnavailable(StorageError):
    """The database cannot be reached, read or written."""


class DatabaseUnreachable(DatabaseUnavailable):
    """No connection to the database's server can be made, or it was lost."""

    exit_code = UNAVAILABLE


class DatabaseGone(StorageError):
    """The database's file was deleted, moved or replaced while it was open: nobody sees what is written."""

    exit_code = UNAVAILABLE


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
    """Stored bytes are not what was written."""


class JobNotFound(StorageError, LookupError):
    """No job, or more than one, goes by this id or name."""


class KeyTaken(StorageError):
    """The key belongs to a job of other pairs or settings."""

    #: As `SpecError` has it.
    field = "key"


class IdempotencyKeyReused(StorageError):
    """The client gave this idempotency key to a submit of other pairs or settings."""


class TooManyOpenJobs(StorageError):
    """Whoever submits has as many jobs that are not ended as may be."""


class QuotaExceeded(StorageError):
    """The jobs of whoever submits take as many bytes as they may."""


class PriorityTooHigh(StorageError):
    """Whoever submits may not have a job of this priority."""

    #: As `SpecError` has it.
    field = "priority"


class JobChanged(StorageError):
    """The job was deleted, or reopened, while its results were read."""

    exit_code = 1


class JobShared(StorageError):
    """Others own the job, too: one of them alone cannot do this."""


class TokenRefused(StorageError):
    """A token cannot be made so: its name, scopes or days will not do."""


class TokenNameTaken(StorageError):
    """Another token that is not revoked has this name."""


class TokenNotFound(StorageError):
    """No token goes by this name or id."""


class JobFinished(StorageError):
    """The job is done, failed or cancelled: it can be paused, resumed or cancelled no more."""


class WorkerNotFound(StorageError):
    """No worker, or more than one, goes by this name."""


class PairNotFound(StorageError, LookupError):
    """The job has no pair of this id or row number."""


class PairsRefused(StorageError):
    """The pairs that came are not those that were announced, or hold text that cannot be stored."""


class NothingKept(StorageError):
    """The job has nothing of the kind that was asked for."""


class NotNormalised(StorageError):
    """Effects cannot be given as shares of clean - corrupted: that is 0, or not known."""

    #: As `SpecError` has it.
    field = "normalise"


class QueryError(StorageError):
    """A SQL statement that is wrong, writes, or ran past its time limit."""


class SearchRefused(StorageError):
    """A text that is too long to look for."""

    #: As `SpecError` has it.
    field = "search"
