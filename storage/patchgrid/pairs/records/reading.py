"""From a file's records to its pairs, by the layout that their columns show; what readers have in common."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from patchgrid.core.text.messages import listed, misspelt, nearest, shown, unknown
from patchgrid.core.types import Pair
from patchgrid.pairs.errors import Problem
from patchgrid.pairs.records.cells import SkippedRowError
from patchgrid.pairs.records.layouts import (
    INDEX_COLUMNS,
    OWN,
    Layout,
    find_layout,
    nearest_layout,
)
from patchgrid.pairs.records.records import ColumnProblem, SameProblem, make_reader

#: A line number (from 1; of a table's rows from 0; None: the whole file), and the pair or its problems.
Row = tuple[int | None, Pair | list[str]]
#: Different names of columns that are not used which are kept: records of one file can have any number.
_MOST_UNUSED = 100


class Findings:
    """What a reader finds out about a file beside its pairs."""

    def __init__(self) -> None:
        #: The layout that its columns show, once one is known.
        self.layout: Layout | None = None
        #: Columns that no field is made of, in the order they are met.
        self.unused: dict[str, None] = {}
        #: Why rows were omitted, with their number.
        self.skipped: Counter[str] = Counter()
        self._notes: dict[str, None] = {}

    def note(self, text: str) -> None:
        """Add what a user should know about how the file is read, once."""
        self._notes.setdefault(text)

    def not_used(self, columns: Collection[str]) -> None:
        """Add names of columns that are passed over."""
        if len(self.unused) < _MOST_UNUSED:
            self.unused.update(dict.fromkeys(name for name in columns if name not in INDEX_COLUMNS))

    @property
    def notes(self) -> tuple[str, ...]:
        """All that a user should know."""
        layout = () if self.layout is None or self.layout.note is None else (self.layout.note,)
        notes = [*layout, *self._notes]
        if self.unused:
            notes.append(f"ignored columns: {listed(list(self.unused))}")
        for reason, count in self.skipped.items():
            rows = f"{count:,} row{'' if count == 1 else 's'}"
            notes.append(f"{rows} {reason}: skipped, as in the data set's own code")
        return tuple(notes)


#: Opens a file and yields its rows in order, bad ones included; columns are named by field.
Reader = Callable[[Path, Mapping[str, str], Findings], Iterator[Row]]


class Records:
    """Turns records with named columns into pairs."""

    def __init__(
        self,
        columns_by_field: Mapping[str, str],
        findings: Findings,
        *,
        table: bool,
        layout: Layout | None = None,
    ) -> None:
        self._columns_by_field, self._findings, self._table = columns_by_field, findings, table
        self._layout: Layout | None = None
        self._start(OWN.renamed(columns_by_field))
        if layout is not None:
            self._settle(layout.renamed(columns_by_field))

    def header(self, columns: Sequence[str]) -> list[str]:
        """Add a table's columns; say what is wrong with them."""
        if not_there := [name for name in self._columns_by_field.values() if name not in columns]:
            problem = "missing column {0!r}{1}"
            return [ColumnProblem(problem.format(name, nearest(name, columns)), name) for name in not_there]
        layout = find_layout(columns, self._columns_by_field)
        problems = _twice(columns, layout or OWN)
        if layout is None:
            layout = nearest_layout(columns, self._columns_by_field)
            problems = _missing(columns, layout) + problems
        self._settle(layout)
        strange = [name for name in columns if name not in layout.known and name not in INDEX_COLUMNS]
        if problems:
            return problems + unknown(strange, layout.named, "column")
        return self._passed_over(columns, strange)

    def read(self, record: Mapping[str, object]) -> Pair | list[str] | None:
        """Return a record's pair, its problems, or None where it is omitted."""
        strange: Sequence[str] = ()
        if not self._table:
            if self._layout is None:
                self._look_for_layout(record)
            if not record.keys() <= self._known:
                strange = [name for name in record if name not in self._known]
        problems = self._passed_over(record, strange) if strange else []
        if self._plain:
            outcome = self._read(record)
        else:
            fields: dict[str, object] = {}
            wrong: list[str] = []
            try:
                for name, columns, convert in self._takes:
                    self._take(record, name, columns, convert, fields, wrong)
            except SkippedRowError as error:
                self._findings.skipped[str(error)] += 1
                return None
            outcome = wrong or self._read(fields)
        if isinstance(outcome, list):
            if self._lenient and all(isinstance(problem, SameProblem) for problem in outcome):
                self._findings.skipped["with the same prompts or answers on both sides"] += 1
                return None
            if strange and any(isinstance(problem, ColumnProblem) for problem in outcome):
                problems = [ColumnProblem(text) for text in unknown(strange, self._named)]
            return problems + outcome
        return problems or outcome

    def _look_for_layout(self, record: Mapping[str, object]) -> None:
        layout = find_layout(record, self._columns_by_field)
        if layout is None:
            self._start(nearest_layout(record, self._columns_by_field))
        else:
            self._settle(layout)

    def _take(
        self,
        record: Mapping[str, object],
        name: str,
        columns: tuple[str, ...],
        convert: Callable[..., object] | None,
        fields: dict[str, object],
        wrong: list[str],
    ) -> None:
        """Make a field of its columns; one that is absent stays so."""
        if not all(column in record for column in columns):
            return
        values = [record[column] for column in columns]
        try:
            fields[name] = values[0] if convert is None else convert(*values)
        except SkippedRowError:
            raise
        except ValueError as error:
            problem = Problem(f"{columns[0]!r} {error}", columns[0])
            if problem not in wrong:
                wrong.append(problem)

    def _passed_over(self, columns: Collection[str], strange: Sequence[str]) -> list[str]:
        """Note columns that are not used; refuse those that are misspelt."""
        missing = [name for name in self._known if name not in columns]
        slips = [(name, right) for name in strange if (right := misspelt(name, missing)) is not None]
        what = "column" if self._table else "field"
        if not slips:
            self._findings.not_used(strange)
        return [
            ColumnProblem(f"unknown {what} {shown(name)} (did you mean {right!r}?)") for name, right in slips
        ]

    def _settle(self, layout: Layout) -> None:
        """Read from now on by this layout."""
        self._findings.layout = self._layout = layout
        self._start(layout)

    def _start(self, layout: Layout) -> None:
        fields = layout.fields
        self._known = layout.known | (INDEX_COLUMNS if self._table else frozenset())
        self._named = layout.named
        self._lenient = layout.lenient
        kinds = {name: take.kind.cell if self._table else take.kind.value for name, take in fields.items()}
        self._takes = [(name, take.columns, kinds[name]) for name, take in fields.items()]
        #: Whether records are what is to be read already.
        self._plain = all(take.columns == (name,) and kinds[name] is None for name, take in fields.items())
        self._read = make_reader({name: take.column for name, take in fields.items()})


def _missing(columns: Collection[str], layout: Layout) -> list[str]:
    return [
        ColumnProblem(f"missing column {name!r}", name)
        for name in layout.named
        if name in layout.required and name not in columns
    ]


def _twice(columns: Sequence[str], layout: Layout) -> list[str]:
    counts = Counter(columns)
    twice = [name for name in sorted(counts) if counts[name] > 1 and name not in INDEX_COLUMNS]
    return [
        ColumnProblem(f"column {shown(name)} appears twice", name if name in layout.known else None)
        for name in twice
    ]
