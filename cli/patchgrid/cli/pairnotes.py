"""What measured pairs were warned of, one line for all warnings of a kind."""

import re

from sqlalchemy.orm import Session

from patchgrid.storage import jobs

#: What differs between two warnings of a kind: the words they quote.
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")


def warnings_by_kind(session: Session, job_id: int) -> list[tuple[str, int]]:
    """Give each kind of warning by its first example, with the number of pairs it was given for."""
    kinds: dict[str, tuple[str, int]] = {}
    for text, count in jobs.warnings(session, job_id):
        kind = _QUOTED.sub("", text)
        example, so_far = kinds.get(kind, (text, 0))
        kinds[kind] = (example, so_far + count)
    return list(kinds.values())
