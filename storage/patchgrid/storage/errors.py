"""Errors of the database that users can act on."""

# Named for what happened, without the suffix Error.
# ruff: noqa: N818

from patchgrid.core.errors import UNAVAILABLE, PatchgridError


class StorageError(PatchgridError):
    """An error of the database or of a query."""


class DatabaseURLError(StorageError, ValueError):
    """A database URL that is invalid or not supported."""


class DatabaseMissing(StorageError, LookupError):
    """The database does not exist."""


class FolderMissing(DatabaseMissing):
    """Neither the database nor the folder to create it in exists."""


class DatabaseUnavailable(StorageError, ConnectionError):
    """The database is unavailable."""


class DatabaseUnreachable(DatabaseUnavailable):
    """Connecting to the database's server failed, or the connection was lost."""

    exit_code = UNAVAILABLE


class DatabaseGone(StorageError, OSError):
    """The database's file was deleted, moved or replaced while it was open."""

    exit_code = UNAVAILABLE


class NotADatabase(StorageError, ValueError):
    """The file is not an SQLite database, or holds another program's tables."""


class DatabaseOlder(StorageError, RuntimeError):
    """The database was written by an older patchgrid and must be upgraded."""


class DatabaseNewer(StorageError, RuntimeError):
    """The database was written by a newer patchgrid."""


class DatabaseLocked(StorageError, TimeoutError):
    """Another process locked the database for longer than the timeout."""


class DatabaseFull(StorageError, OSError):
    """The disk is full; the transaction was rolled back."""


class CorruptData(StorageError, ValueError):
    """Stored bytes are not what was written."""


class JobNotFound(StorageError, LookupError):
    """No job, or more than one, has this id or name."""


class KeyTaken(StorageError, ValueError):
    """The key belongs to a job with different pairs or settings."""

    #: As `SpecError` has it.
    field = "key"


class IdempotencyKeyReused(StorageError, ValueError):
    """The idempotency key was used with different pairs or settings."""


class TooManyOpenJobs(StorageError, RuntimeError):
    """The submitter is at the limit of open jobs."""


class QuotaExceeded(StorageError, RuntimeError):
    """The submitter's jobs use their whole quota."""


class PriorityTooHigh(StorageError, ValueError):
    """The submitter is not allowed this priority."""

    #: As `SpecError` has it.
    field = "priority"


class JobChanged(StorageError, RuntimeError):
    """The job was deleted, or reopened, while its results were read."""

    exit_code = 1


class JobShared(StorageError, RuntimeError):
    """The job has other owners, so one of them alone cannot do this."""


class TokenRefused(StorageError, ValueError):
    """An invalid name, scope or lifetime of a token."""


class TokenNameTaken(StorageError, ValueError):
    """Another token that is not revoked has this name."""


class TokenNotFound(StorageError, LookupError):
    """No token has this name or id."""


class NothingToRefine(StorageError, ValueError):
    """The job cannot be refined as requested; the message says why."""


class AllPatched(NothingToRefine):
    """All that was requested is patched exactly already."""


class JobFinished(StorageError, RuntimeError):
    """The job is done, failed or cancelled, so it cannot be paused, resumed or cancelled."""


class WorkerNotFound(StorageError, LookupError):
    """No worker, or more than one, has this name."""


class PairNotFound(StorageError, LookupError):
    """The job has no pair of this id or row number."""


class PairsRefused(StorageError, ValueError):
    """The received pairs differ from the announced ones, or contain text that cannot be stored."""


class NothingKept(StorageError, LookupError):
    """The job has no data of the requested kind."""


class NotNormalised(StorageError, ValueError):
    """Effects cannot be normalised: clean - corrupted is 0 or unknown."""

    #: As `SpecError` has it.
    field = "normalise"


class QueryError(StorageError, ValueError):
    """A SQL statement that is invalid, writes, or timed out."""


class SearchRefused(StorageError, ValueError):
    """A search text that is too long."""

    #: As `SpecError` has it.
    field = "search"
