"""One raw record (a JSON object, a row of cells) turned into a pair, or into what is wrong with it."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from patchgrid.engine.names import REST
from patchgrid.engine.types import Answer, Pair, Span, TextSpan, TokenPiece, TokenText
from patchgrid.pairs.errors import Problem
from patchgrid.pairs.wording import kind, shown, unknown

#: Longest id, in characters.
ID_LIMIT = 200
# Token ids and positions are kept as 32-bit numbers.
_INT_LIMIT = 1 << 31
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Fields:
    """What a format calls the parts of a pair."""

    #: Field of the clean prompt.
    clean: str = "clean"
    #: Field of the corrupted prompt.
    corrupted: str = "corrupted"
    #: Field of the correct answer or answers.
    correct: str = "correct"
    #: Field of the incorrect answer or answers.
    incorrect: str = "incorrect"
    #: Field of the pair's id, or None where the format has none.
    id: str | None = "id"
    #: Field of the named spans, or None where the format has none.
    spans: str | None = "spans"
    #: Fields that may be there and are passed over.
    ignored: frozenset[str] = frozenset()
    #: What an answer given as text stands for.
    text_answer: Callable[[str], Answer] = str

    @property
    def required(self) -> tuple[str, ...]:
        """Fields that each record must have."""
        return (self.clean, self.corrupted, self.correct, self.incorrect)

    @property
    def named(self) -> tuple[str, ...]:
        """Fields that a record may have, without those passed over."""
        return tuple(name for name in (self.id, *self.required, self.spans) if name is not None)

    @property
    def known(self) -> frozenset[str]:
        """All fields that a record may have."""
        return frozenset(self.named) | self.ignored


def make_reader(fields: Fields) -> Callable[[Mapping[str, object]], Pair | list[str]]:
    """Give the function that turns a record with these fields into a pair or a list of problems."""
    known, named, text_answer = fields.known, fields.named, fields.text_answer
    clean_field, corrupted_field, correct_field, incorrect_field = fields.required
    id_field, spans_field = fields.id, fields.spans

    def read(record: Mapping[str, object]) -> Pair | list[str]:
        problems: list[str] = []
        if not record.keys() <= known:
            problems += unknown((name for name in record if name not in known), named)
        clean = _prompt(record, clean_field, problems)
        corrupted = _prompt(record, corrupted_field, problems)
        correct = _answers(record, correct_field, text_answer, problems)
        incorrect = _answers(record, incorrect_field, text_answer, problems)
        name = None if id_field is None else _id(record.get(id_field), problems)
        spans = None if spans_field is None else _spans(record.get(spans_field), problems)
        if clean and clean == corrupted:
            problems.append(Problem(f"{corrupted_field!r} is the same as {clean_field!r}", corrupted_field))
        if not set(correct).isdisjoint(incorrect):
            shared = next(answer for answer in correct if answer in incorrect)
            both = f"{correct_field!r} equal to {incorrect_field!r}: both have {_named(shared)}"
            problems.append(Problem(both, correct_field))
        return problems or Pair(clean, corrupted, correct, incorrect, name, spans)

    return read


def column_problems(columns: Sequence[str], required: Iterable[str], named: Collection[str]) -> list[str]:
    """Name the columns that a table lacks, and those it has twice."""
    missing: list[str] = [
        Problem(f"missing column {name!r}", name) for name in required if name not in columns
    ]
    twice = [name for name in sorted(set(columns)) if columns.count(name) > 1]
    return missing + [
        Problem(f"column {shown(name)} is given twice", name if name in named else None) for name in twice
    ]


def text_problem(value: str) -> str | None:
    """Say what makes a text unusable: nothing in it, NUL characters, half a surrogate pair."""
    if not value:
        return "is empty"
    if "\0" in value:
        return "has a NUL character"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"has half of a surrogate pair ({value[error.start]!r}), which is no character"
    return None


def _prompt(record: Mapping[str, object], field: str, problems: list[str]) -> str:
    value = record.get(field)
    if not isinstance(value, str):
        problems.append(Problem(_absent_or(record, field, "must be text"), field))
        return ""
    if (problem := text_problem(value)) is not None:
        problems.append(Problem(f"{field!r} {problem}", field))
        return ""
    return value


def _absent_or(record: Mapping[str, object], field: str, rule: str) -> str:
    if field not in record:
        return f"missing {field!r}"
    value = record[field]
    return f"{field!r} is null" if value is None else f"{field!r} {rule}, not {kind(value)}"


def _answers(
    record: Mapping[str, object], field: str, text_answer: Callable[[str], Answer], problems: list[str]
) -> tuple[Answer, ...]:
    """Read one answer or a list of them; a tuple is answers made already."""
    value = record.get(field)
    if isinstance(value, str):
        if (problem := text_problem(value)) is not None:
            problems.append(Problem(f"{field!r} {problem}", field))
        return (text_answer(value),)
    if isinstance(value, tuple):
        return value
    if value is None or isinstance(value, (bool, float)):
        rule = "must be text, a token id or a list of these"
        problems.append(Problem(_absent_or(record, field, rule), field))
        return ()
    if value == []:
        problems.append(Problem(f"{field!r} is empty", field))
        return ()
    read = [_answer(item, text_answer) for item in (value if isinstance(value, list) else (value,))]
    answers = tuple(answer for answer, problem in read if problem is None)
    wrong = [problem for _, problem in read if problem is not None]
    if wrong:
        problems.append(Problem(f"{field!r} {wrong[0]}", field))
        return ()
    if len(answers) > 1 and len(set(answers)) < len(answers):
        twice = next(answer for at, answer in enumerate(answers) if answer in answers[:at])
        problems.append(Problem(f"{field!r} has {_named(twice)} twice", field))
    return answers


def _answer(value: object, text_answer: Callable[[str], Answer]) -> tuple[Answer, str | None]:
    """Give the answer, and what is wrong with it or None."""
    if isinstance(value, str):
        return text_answer(value), text_problem(value)
    if isinstance(value, int) and not isinstance(value, bool):
        in_range = 0 <= value < _INT_LIMIT
        return value, None if in_range else f"has {kind(value)}, which cannot be a token id"
    if isinstance(value, dict):
        return _entry(value)
    return 0, f"has {kind(value)} where text or a token id belongs"


def _entry(value: dict[str, object]) -> tuple[Answer, str | None]:
    """Read an object that names an entry of the vocabulary."""
    for key, kind_of in (("token", TokenText), ("piece", TokenPiece)):
        text = value.get(key)
        if len(value) == 1 and isinstance(text, str):
            return kind_of(text), text_problem(text)
    return 0, 'has an object that is not {"token": "text"} or {"piece": "Ġtext"}'


def _named(answer: Answer) -> str:
    if isinstance(answer, int):
        return f"token id {answer}"
    if isinstance(answer, TokenPiece):
        return f"piece {shown(answer.piece)}"
    return shown(answer if isinstance(answer, str) else answer.text)


def _id(value: object, problems: list[str]) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**ID_LIMIT else "9" * (ID_LIMIT + 1)
    if not isinstance(value, str):
        problems.append(Problem(f"'id' must be text or a whole number, not {kind(value)}", "id"))
        return None
    if (problem := text_problem(value)) is not None:
        problems.append(Problem(f"'id' {problem}", "id"))
    elif len(value) > ID_LIMIT:
        problems.append(Problem(f"'id' is longer than {ID_LIMIT} characters", "id"))
    elif not value.isprintable() and _CONTROL.search(value):
        problems.append(Problem(f"'id' has a control character: {shown(value)}", "id"))
    return value


def _spans(value: object, problems: list[str]) -> dict[str, Span] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        rule = "'spans' must be an object such as {\"subject\": [2, 4]}"
        problems.append(Problem(f"{rule}, not {kind(value)}", "spans"))
        return None
    spans: dict[str, Span] = {}
    for name, given in value.items():
        of_text = isinstance(given, dict) and given.keys() == {"text"}
        bounds = given["text"] if of_text else given
        problem = _span_problem(name, bounds)
        if problem is None:
            spans[name] = TextSpan(*bounds) if of_text else (bounds[0], bounds[1])
        else:
            problems.append(Problem(problem, "spans"))
    return spans or None


def _span_problem(name: str, bounds: object) -> str | None:
    if (problem := text_problem(name)) is not None:
        return f"a name in 'spans' {problem}"
    if name == REST or len(name) > ID_LIMIT or _CONTROL.search(name):
        return f"'spans' cannot have the name {shown(name)}"
    if (
        not isinstance(bounds, (list, tuple))
        or len(bounds) != 2
        or not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds)
    ):
        return f"span {shown(name)} must be two whole numbers [start, stop]"
    start, stop = bounds
    if not 0 <= start < stop < _INT_LIMIT:
        return f"span {shown(name)} must have 0 <= start < stop, not {kind(start)} and {kind(stop)}"
    return None
