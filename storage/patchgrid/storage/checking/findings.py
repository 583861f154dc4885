"""Problems that a check found, and what to do about each kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from patchgrid.core.errors import PatchgridError
from patchgrid.storage.db.translate import translate
from patchgrid.storage.errors import CorruptData, StorageError

#: Kinds of damage: to the file, to what was submitted, to results, to states and counts, to totals.
FILE, INPUT, RESULT, STATE, TOTAL = "file", "input", "result", "state", "total"
_COPY = "restore the database from a backup"
_AGAIN = f"{_COPY}, or `patchgrid job delete {{first}}` and run or submit it again"
_ADVICE = {
    FILE: f"The file is damaged: stop all workers and {_COPY}; without one, `sqlite3 FILE .recover | sqlite3 "
    "NEW` recovers what can be read; check the result with `patchgrid db check --db NEW`",
    INPUT: f"Pairs or settings of {{jobs}} were changed after submission: {_AGAIN}",
    RESULT: f"Results of {{jobs}} are damaged: {_AGAIN}",
    STATE: f"States or counts of {{jobs}} contradict each other: {_AGAIN}",
    TOTAL: f"Totals or estimates of {{jobs}} do not match their chunks: {_AGAIN}",
}
#: Advice that other commands add to an error; pointless in the report of `db check` itself.
_CIRCULAR = ": run `patchgrid db check`"
#: What a damaged row can raise where it is read as what it should be.
_UNREADABLE = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError),
    PatchgridError,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    #: One of the kinds above.
    kind: str
    #: The job, or None: no job in particular.
    job: int | None
    #: What is wrong, one line.
    text: str


def reason(error: CorruptData) -> str:
    """Say what is damaged, without the advice to check the database."""
    return str(error).partition(_CIRCULAR)[0]


class Findings:
    """Collects problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, kind: str, job: int | None, text: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(kind, job, text))

    @contextmanager
    def reading(self, kind: str, job: int | None, what: str) -> Iterator[None]:
        """Record what cannot be read in the `with` body; an unavailable database is raised.

        No more is read in a transaction that failed: the block encloses it.
        """
        try:
            yield
        except CorruptData as error:
            message = reason(error)
            self.add(kind, job, f"{what}: {message}" if message.startswith("database ") else message)
        except StorageError:
            raise
        except DBAPIError as error:
            ours = translate(error, "")
            if not isinstance(ours, CorruptData | None):
                raise
            self.add(kind, job, f"{what} cannot be read: {str(error.orig).splitlines()[0]}")
        except _UNREADABLE as error:
            words = (str(error).strip().splitlines() or [""])[0]
            self.add(kind, job, f"{what} cannot be read: {type(error).__name__} {words}".rstrip())

    def advice(self) -> tuple[str, ...]:
        """Say what to do, one line for each kind of damage that was found."""
        lines = []
        for kind, words in _ADVICE.items():
            jobs = sorted({each.job or 0 for each in self.problems if each.kind == kind})
            if jobs:
                named = f"job{'' if len(jobs) == 1 else 's'} {', '.join(map(str, jobs))}"
                lines.append(words.format(jobs=named, first=jobs[0]))
        return tuple(lines)
