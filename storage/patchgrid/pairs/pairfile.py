"""A file of prompt pairs: opened, checked completely, then read pair by pair."""

import os
import sys
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from patchgrid.core.types import Pair
from patchgrid.pairs.errors import BadLines, PairFileError, Problem, os_errors_named
from patchgrid.pairs.formats.registry import find_format
from patchgrid.pairs.records.columns import check_columns
from patchgrid.pairs.records.digest import Digest
from patchgrid.pairs.records.groups import Groups
from patchgrid.pairs.records.ids import Ids
from patchgrid.pairs.records.reading import Findings, Row
from patchgrid.pairs.records.repeats import RepeatFinder, Repeats
from patchgrid.pairs.source import Source, Stamp, find_source

#: Most different span names in a file: each is a separate component.
SPAN_LIMIT = 256


@dataclass(frozen=True, slots=True)
class PairSummary:
    """The contents of a valid pair file."""

    #: Number of pairs.
    count: int
    #: SHA-256 over the pairs in order, the same for the same pairs in another file format.
    digest: str
    #: Names of the pairs' spans, in order of appearance.
    spans: tuple[str, ...]
    #: What a user should know about the file and how it was read.
    notes: tuple[str, ...]
    #: Name of its layout.
    layout: str = ""
    #: Source of each field: `correct = country_idx (token ids)`.
    columns: tuple[str, ...] = ()
    #: Ignored columns.
    unused: tuple[str, ...] = ()
    #: Pairs that repeat another: equal prompts and answers.
    repeated: Repeats = field(default_factory=Repeats)
    #: Number of groups of pairs; None: each pair is its own.
    groups: int | None = None
    #: Whether the pairs name their groups, or share one where their clean prompts are the same.
    groups_named: bool = False


class PairFile:
    """A pair file: `check` reads all of it and lists every bad line; iterating yields its pairs.

    Memory is bounded for files of any length, except for the ids (which must be unique). Close it, or use it
    in a `with` statement, to delete the copy of standard input.
    """

    def __init__(
        self, source: Source, limit: int | None = None, columns: Mapping[str, str] | None = None
    ) -> None:
        #: Its name in messages.
        self.name = source.name
        #: Number of pairs to read; None: all.
        self.limit = limit
        #: Columns by field, if the file's layout is not recognized.
        self.columns = check_columns(columns)
        self._source = source
        self._checked: tuple[PairSummary, Stamp] | None = None
        discard = weakref.finalize(self, source.path.unlink, missing_ok=True) if source.temporary else None
        self._discard = discard
        try:
            self._format = find_format(source.path, source.name, self.columns.values())
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        limit: int | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a pair file (`-`: standard input), of which the first `limit` pairs are read.

        The format is detected by content, then by name. `columns` are the columns by field
        (`{"correct": "country_idx"}`). Raises `PairFileError` for a file that is missing, cannot be read, is
        empty, or has an unknown format, and `ColumnsError` for unknown fields.
        """
        if limit is not None and limit < 1:
            raise PairFileError(f"limit must be at least 1, not {limit}")
        name = "standard input" if os.fspath(path) == "-" else os.fspath(path)
        with os_errors_named(name):
            return cls(find_source(path, name), limit, columns)

    @property
    def format(self) -> str:
        """The name of the file's format."""
        return self._format.name

    @property
    def path(self) -> Path:
        """The path of its bytes: the file, or the copy of standard input."""
        return self._source.path

    def check(self) -> PairSummary:
        """Read the whole file (or its first `limit` pairs) and return its summary.

        Raises one `PairFileError` with all bad lines: the first 20 in full, the rest counted.
        """
        with os_errors_named(self.name):
            stamp = self._source.stamp()
            summary = self._read_all()
            self._refuse_change(stamp)
        self._checked = summary, stamp
        return summary

    def __iter__(self) -> Iterator[Pair]:
        """Yield the pairs in order, after a check; for errors see `numbered`."""
        for _, pair in self.numbered():
            yield pair

    @property
    def unit(self) -> str:
        """The unit of its numbers: `line` or `row`."""
        return self._format.unit

    def numbered(self) -> Iterator[tuple[int | None, Pair]]:
        """Yield the pairs in order with the line (from 1) or row (from 0) that each is on, after a check.

        Raises `PairFileError`, at the latest at the end, if the file changed since the check: do not commit
        the pairs before the last one was read.
        """
        if self._checked is None:
            self.check()
        assert self._checked is not None
        summary, stamp = self._checked
        digest = Digest()
        with os_errors_named(self.name):
            self._refuse_change(stamp)
            for place, outcome in self._rows(Findings()):
                if isinstance(outcome, list):
                    raise self._changed()
                digest.add(outcome)
                yield place, outcome
            self._refuse_change(stamp)
        if digest.value != summary.digest:
            raise self._changed()

    def close(self) -> None:
        """Delete the temporary copy, if any."""
        if self._discard is not None:
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, findings: Findings) -> Iterator[Row]:
        limit = None if self.limit is None else min(self.limit, sys.maxsize)
        return islice(self._format.read(self._source.path, self.columns, findings), limit)

    def _read_all(self) -> PairSummary:
        unit = self._format.unit
        bad, ids, digest, repeats = BadLines(self.name, unit), Ids(unit), Digest(), RepeatFinder()
        findings, groups = Findings(), Groups()
        spans: dict[str, None] = {}
        row = -1
        for row, (place, outcome) in enumerate(self._rows(findings)):
            if isinstance(outcome, list):
                bad.add(place, outcome)
                continue
            digest.add(outcome)
            repeats.add(place, outcome)
            if problem := groups.add(outcome):
                bad.add(place, [Problem(problem, "group")])
            elif problem := ids.add(row, place, outcome.id):
                bad.add(place, [Problem(problem, "id")])
            elif problem := _add_spans(spans, outcome):
                bad.add(place, [Problem(problem, "spans")])
        bad.raise_if_any()
        if row < 0:
            why = "".join(f" ({count:,} rows {reason})" for reason, count in findings.skipped.items())
            raise PairFileError(f"{self.name}: has no pairs{why}")
        assert findings.layout is not None
        repeated = repeats.found()
        return PairSummary(
            count=row + 1,
            digest=digest.value,
            spans=tuple(spans),
            notes=(*findings.notes, *repeated.notes(unit), *groups.notes()),
            layout=findings.layout.name,
            columns=tuple(findings.layout.described(self.columns)),
            unused=tuple(findings.unused),
            repeated=repeated,
            groups=groups.count(),
            groups_named=groups.named,
        )

    def _refuse_change(self, stamp: Stamp) -> None:
        if self._source.stamp() != stamp:
            raise self._changed()

    def _changed(self) -> PairFileError:
        return PairFileError(f"{self.name}: changed while it was being read; run the command again")


def _add_spans(spans: dict[str, None], pair: Pair) -> str | None:
    """Add the pair's span names; report an error if the file has too many."""
    if pair.spans is None:
        return None
    for name in pair.spans:
        if name not in spans:
            if len(spans) >= SPAN_LIMIT:
                return f"more than {SPAN_LIMIT} different names in 'spans'"
            spans[name] = None
    return None
