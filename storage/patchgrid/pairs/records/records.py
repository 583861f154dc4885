"""One record of a pair's fields turned into a pair, or into what is wrong with it."""

import re
from collections.abc import Callable, Mapping

from patchgrid.core.names import REST
from patchgrid.core.text.messages import kind, shown
from patchgrid.core.types import Answer, Pair, Span, TextSpan, TokenPiece, TokenText
from patchgrid.pairs.errors import Problem

#: Longest id, group or span's name, in characters.
ID_LIMIT = 200
# Token ids and positions are kept as 32-bit numbers.
_INT_LIMIT = 1 << 31
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def make_reader(names: Mapping[str, str]) -> Callable[[Mapping[str, object]], Pair | list[str]]:
    """Return the function that turns a record of fields into a pair or a list of problems.

    `names` has what messages call each field. A pair whose prompts or answers are the same has the problem
    that is a `SameProblem`.
    """
    clean_name, corrupted_name = names["clean"], names["corrupted"]
    correct_name, incorrect_name = names["correct"], names["incorrect"]
    group_name = names.get("group", "group")

    def read(record: Mapping[str, object]) -> Pair | list[str]:
        problems: list[str] = []
        clean = _prompt(record, "clean", clean_name, problems)
        corrupted = _prompt(record, "corrupted", corrupted_name, problems)
        correct = _answers(record, "correct", correct_name, problems)
        incorrect = _answers(record, "incorrect", incorrect_name, problems)
        name = _label(record.get("id"), "id", problems)
        spans = _spans(record.get("spans"), problems)
        group = _label(record.get("group"), group_name, problems)
        if clean and clean == corrupted:
            problems.append(SameProblem(f"{corrupted_name!r} is the same as {clean_name!r}", corrupted_name))
        if not set(correct).isdisjoint(incorrect):
            shared = next(answer for answer in correct if answer in incorrect)
            both = f"{correct_name!r} equal to {incorrect_name!r}: both have {_named(shared)}"
            problems.append(SameProblem(both, correct_name))
        return problems or Pair(clean, corrupted, correct, incorrect, name, spans, group)

    return read


class SameProblem(Problem):
    """Prompts or answers of a pair that are the same."""

    __slots__ = ()


class ColumnProblem(Problem):
    """A field that is missing, or not known: the same for every record of a file as a rule."""

    __slots__ = ()
    of_columns = True


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


def _prompt(record: Mapping[str, object], field: str, name: str, problems: list[str]) -> str:
    value = record.get(field)
    if not isinstance(value, str):
        problems.append(_absent_or(record, field, name, "must be text"))
        return ""
    if (problem := text_problem(value)) is not None:
        problems.append(Problem(f"{name!r} {problem}", name))
        return ""
    return value


def _absent_or(record: Mapping[str, object], field: str, name: str, rule: str) -> Problem:
    if field not in record:
        return ColumnProblem(f"missing {name!r}", name)
    value = record[field]
    return Problem(f"{name!r} is null" if value is None else f"{name!r} {rule}, not {kind(value)}", name)


def _answers(record: Mapping[str, object], field: str, name: str, problems: list[str]) -> tuple[Answer, ...]:
    """Read one answer or a list of them; a tuple is answers made already."""
    value = record.get(field)
    if isinstance(value, str):
        if (problem := text_problem(value)) is not None:
            problems.append(Problem(f"{name!r} {problem}", name))
        return (value,)
    if isinstance(value, tuple):
        return value
    if value is None or isinstance(value, (bool, float)):
        rule = "must be text, a token id or a list of these"
        problems.append(_absent_or(record, field, name, rule))
        return ()
    if value == []:
        problems.append(Problem(f"{name!r} is empty", name))
        return ()
    read = [_answer(item) for item in (value if isinstance(value, list) else (value,))]
    answers = tuple(answer for answer, problem in read if problem is None)
    wrong = [problem for _, problem in read if problem is not None]
    if wrong:
        problems.append(Problem(f"{name!r} {wrong[0]}", name))
        return ()
    if len(answers) > 1 and len(set(answers)) < len(answers):
        twice = next(answer for at, answer in enumerate(answers) if answer in answers[:at])
        problems.append(Problem(f"{name!r} has {_named(twice)} twice", name))
    return answers


def _answer(value: object) -> tuple[Answer, str | None]:
    """Return the answer, and what is wrong with it or None."""
    if isinstance(value, str):
        return value, text_problem(value)
    if isinstance(value, int) and not isinstance(value, bool):
        in_range = 0 <= value < _INT_LIMIT
        return value, None if in_range else f"has {kind(value)}, which is not a token id"
    if isinstance(value, TokenText):
        return value, text_problem(value.text)
    if isinstance(value, dict):
        return _entry(value)
    return 0, f"has {kind(value)} instead of text or a token id"


def _entry(value: dict[str, object]) -> tuple[Answer, str | None]:
    """Read an object that names an entry of the vocabulary."""
    # A struct of a table has both keys, one of them null.
    entries = {key: text for key, text in value.items() if text is not None}
    for key, kind_of in (("token", TokenText), ("piece", TokenPiece)):
        text = entries.get(key)
        if len(entries) == 1 and isinstance(text, str):
            return kind_of(text), text_problem(text)
    return 0, 'has an object that is not {"token": "text"} or {"piece": "Ġtext"}'


def _named(answer: Answer) -> str:
    if isinstance(answer, int):
        return f"token id {answer}"
    if isinstance(answer, TokenPiece):
        return f"piece {shown(answer.piece)}"
    return shown(answer if isinstance(answer, str) else answer.text)


def _label(value: object, name: str, problems: list[str]) -> str | None:
    """Read an id or a group's name."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**ID_LIMIT else "9" * (ID_LIMIT + 1)
    if not isinstance(value, str):
        problems.append(Problem(f"{name!r} must be text or a whole number, not {kind(value)}", name))
        return None
    if (problem := text_problem(value)) is not None:
        problems.append(Problem(f"{name!r} {problem}", name))
    elif len(value) > ID_LIMIT:
        problems.append(Problem(f"{name!r} is longer than {ID_LIMIT} characters", name))
    elif not value.isprintable() and _CONTROL.search(value):
        problems.append(Problem(f"{name!r} has a control character: {shown(value)}", name))
    return value


def _spans(value: object, problems: list[str]) -> dict[str, Span] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        rule = "'spans' must be an object such as {\"subject\": [2, 4]}"
        problems.append(Problem(f"{rule}, not {kind(value)}", "spans"))
        return None
    spans: dict[str, Span] = {}
    for name, entry in value.items():
        of_text = isinstance(entry, dict) and entry.keys() == {"text"}
        bounds = entry["text"] if of_text else entry
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
