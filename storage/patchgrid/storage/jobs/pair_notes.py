"""Warnings and errors of pairs, grouped by kind."""

import re

from sqlalchemy.orm import Session

from patchgrid.storage.jobs import jobs

#: What differs between notes of one kind: quoted texts and numbers.
_VARYING = re.compile(r"""'[^']*'|"[^"]*"|\d+""")


def kind_of(text: str) -> str:
    """Return the kind of a note: its text without quoted values and numbers."""
    return _VARYING.sub("", text)


class Kinds:
    """Notes put together by kind: each kind has its first example and a count."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, int]] = {}

    def add(self, text: str, count: int = 1, *, example: str | None = None) -> None:
        """Add a note; `example` is what its kind is shown by if it is the first."""
        kind = kind_of(text)
        first, so_far = self._kinds.get(kind, (example or text, 0))
        self._kinds[kind] = (first, so_far + count)

    def listed(self) -> list[tuple[str, int]]:
        """Return each kind by its first example, with its count."""
        return list(self._kinds.values())


def warnings_by_kind(session: Session, job_id: int) -> list[tuple[str, int]]:
    """Return each kind of warning by its first example, with the number of pairs it was given for."""
    kinds = Kinds()
    for text, count in jobs.warnings(session, job_id):
        kinds.add(text, count)
    return kinds.listed()
