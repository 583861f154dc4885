"""Readers of column values: text, answers, token ids, years, and benchmarks' structs."""

import ast
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from patchgrid.core.text.messages import kind, shown
from patchgrid.core.types import Answer, TokenText
from patchgrid.pairs.records import jsonio

#: Longest cell parsed as a Python value, in characters: parsing takes a hundred times its size.
_PYTHON_LIMIT = 1 << 16
_ENTRY_OBJECT = re.compile(r"""\s*\{\s*["'](token|piece)["']""")
_ONE_STRING = re.compile(r"""[rRuU]?('([^'\\\n]|\\.)*'|"([^"\\\n]|\\.)*")""")
_YEARS = tuple(TokenText(f"{year:02d}") for year in range(100))
#: Forms of common verbs that are one token in most vocabularies.
_SINGULAR_VERBS, _PLURAL_VERBS = (" is", " was", " has", " does"), (" are", " were", " have", " do")


class SkippedRowError(ValueError):
    """A row of a published file that its own users skip."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the values of a field's columns are."""

    #: Its name in `pairs check`.
    name: str
    #: Reads the cells of a table; None: as they are. Raises `ValueError` with what is wrong.
    cell: Callable[..., object] | None = None
    #: Reads values that JSON has types for; None: as they are.
    value: Callable[..., object] | None = None


def parse(cell: str) -> object:
    """Parse a cell of JSON or a Python literal; raises `ValueError` for anything else."""
    try:
        return jsonio.parse(cell)
    except ValueError as error:
        try:
            return _python(cell)
        except ValueError:
            raise error from None


def _python(cell: str) -> object:
    if len(cell) > _PYTHON_LIMIT:
        raise ValueError(f"longer than {_PYTHON_LIMIT:,} characters")
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(cell.strip(), mode="eval")
            value = ast.literal_eval(tree)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise ValueError("not a Python value") from None
    lines = cell.strip().encode(errors="surrogatepass").splitlines()
    for node in ast.walk(tree):
        # numpy writes ['a' 'b'], which Python takes for one string.
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            source = lines[node.lineno - 1][node.col_offset : node.end_col_offset]
            if node.lineno != node.end_lineno or not _ONE_STRING.fullmatch(source.decode(errors="replace")):
                raise ValueError("strings without a comma between them")
    return value


def optional_text(cell: object) -> object:
    """Read a cell; an empty one is None."""
    return None if cell == "" else cell


def is_list_like(cell: str) -> bool:
    """Return whether a cell starts like a list of answers or an entry's object."""
    return cell.startswith("[") or _ENTRY_OBJECT.match(cell) is not None


def answers(cell: object) -> object:
    """Read a text, or a list or an entry's object written as JSON or Python."""
    if not isinstance(cell, str) or not is_list_like(cell):
        return cell
    try:
        return parse(cell)
    except ValueError as error:
        hint = 'write the text itself as ["["]' if cell.startswith("[") else "as JSON"
        raise ValueError(f"looks like a JSON list but is not valid ({error}); {hint}") from None


def spans(cell: object) -> object:
    """Read spans: a struct (absent names are null), a map (name, bounds), or JSON or Python as text."""
    if isinstance(cell, str):
        return parse(cell) if cell.strip() else None
    if isinstance(cell, list) and all(isinstance(item, tuple) for item in cell):
        return dict(cell)
    if isinstance(cell, dict):
        return {name: bounds for name, bounds in cell.items() if bounds is not None}
    return cell


def token_texts(value: object) -> object:
    """Read answers of which each text is a vocabulary entry by itself."""
    if isinstance(value, list):
        return [TokenText(item) if isinstance(item, str) else item for item in value]
    return TokenText(value) if isinstance(value, str) else value


def token_texts_cell(cell: object) -> object:
    """Read a table's cell of such answers."""
    return token_texts(answers(cell))


def token_ids(value: object) -> object:
    """Read a token id or a list of them, as they are or as text."""
    original = value
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("is empty")
        try:
            value = parse(value)
        except ValueError:
            value = original
    if value is None:
        return None
    ids = value if isinstance(value, list) else [value]
    if not all(isinstance(item, int) and not isinstance(item, bool) for item in ids):
        got = shown(original) if isinstance(original, str) else kind(original)
        raise ValueError(f"must be a token id or a list of token ids, not {got}")
    return value


def distinct_ids(value: object) -> object:
    """Read token ids of which one given twice counts once."""
    ids = token_ids(value)
    return list(dict.fromkeys(ids)) if isinstance(ids, list) else ids


def years_above(value: object) -> tuple[Answer, ...]:
    """Read a start year's two digits: the two-digit years above it, each an entry of the vocabulary."""
    return _YEARS[_year(value) + 1 :]


def years_up_to(value: object) -> tuple[Answer, ...]:
    """Read a start year's two digits: the two-digit years up to it."""
    return _YEARS[: _year(value) + 1]


def _year(value: object) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty")
    if not re.fullmatch(r"\s*[0-9]{1,2}\s*", text, re.ASCII):
        rule = "must be the start year's two digits, 0 to 99"
        got = shown(value) if isinstance(value, str) else kind(value)
        raise ValueError(f"{rule}, not {got}; for token ids add a column incorrect_idx")
    if int(text) == 99:
        raise ValueError("is 99, so no two-digit year is above it")
    return int(text)


def verbs_that_agree(value: object) -> tuple[Answer, ...]:
    """Read whether the subject is plural: the verb forms that fit it."""
    return _PLURAL_VERBS if _is_plural(value) else _SINGULAR_VERBS


def verbs_that_do_not(value: object) -> tuple[Answer, ...]:
    """Read whether the subject is plural: the verb forms that do not fit it."""
    return _SINGULAR_VERBS if _is_plural(value) else _PLURAL_VERBS


def _is_plural(value: object) -> bool:
    text = str(value).strip().lower()
    if text not in ("0", "1", "true", "false"):
        got = shown(value) if isinstance(value, str) else kind(value)
        raise ValueError(f"must be 1 for a plural subject or 0 for a singular one, not {got}")
    return text in ("1", "true")


def spaced(entry: str) -> Callable[[object], object]:
    """Return what reads an entry of a struct as a word that follows the prompt."""

    def read(value: object) -> object:
        word = _entry(value, entry)
        return f" {word}" if isinstance(word, str) else word

    return read


def prompt_in(value: object) -> object:
    """Read the prompt of a counterfactual."""
    return _entry(_present(value), "prompt")


def label_in(value: object) -> TokenText:
    """Read the label of a counterfactual."""
    return label(_entry(_present(value), "label"))


def chosen_in(value: object) -> TokenText:
    """Read the label of a counterfactual's right choice."""
    fields = _struct(_present(value))
    return chosen(fields.get("choices"), fields.get("answerKey"))


def chosen(choices: object, key: object) -> TokenText:
    """Read the label of the right one of some choices: `{"label": […], "text": […]}`, or a list of labels."""
    value = parse(choices) if isinstance(choices, str) else choices
    labels = value.get("label") if isinstance(value, dict) else value
    place = int(key) if isinstance(key, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", key, re.ASCII) else key
    if not isinstance(labels, list):
        raise ValueError(f"must have a list of choices, not {kind(labels)}")  # noqa: TRY004 (bad input)
    if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < len(labels):
        raise ValueError(f"has {len(labels)} choices, and answerKey is {kind(place)}")
    return label(labels[place])


def label(value: object) -> TokenText:
    """Read a label, which is a vocabulary entry by itself."""
    if not isinstance(value, int | str) or isinstance(value, bool) or not str(value):
        raise ValueError(f"must have a text or a whole number as label, not {kind(value)}")
    return TokenText(str(value))


def _present(value: object) -> object:
    """Refuse a counterfactual that is not there: benchmarks leave such rows out."""
    empty = value is None or value == ""
    if not empty and isinstance(fields := _struct(value), dict) and fields.get("prompt") is None:
        empty = True
    if empty:
        raise SkippedRowError("without a counterfactual")
    return value


def _entry(value: object, name: str) -> object:
    fields = _struct(value)
    if name not in fields:
        raise ValueError(f"has no {name!r}")
    return fields[name]


def _struct(value: object) -> dict[str, Any]:
    parsed = parse(value) if isinstance(value, str) else value
    if not isinstance(parsed, dict):
        raise ValueError(f"must be an object, not {kind(parsed)}")  # noqa: TRY004 (bad input)
    return parsed


#: Plain text.
TEXT = Kind("text")
LABEL_TEXT = Kind("label", optional_text)
ANSWERS = Kind("answers", answers)
SPANS = Kind("spans", spans)
TOKEN_TEXTS = Kind("vocabulary entries", token_texts_cell, token_texts)
TOKEN_IDS = Kind("token ids", token_ids, token_ids)
DISTINCT_IDS = Kind("token ids", distinct_ids, distinct_ids)
YEARS_ABOVE = Kind("two-digit years above", years_above, years_above)
YEARS_UP_TO = Kind("two-digit years up to", years_up_to, years_up_to)
AGREEING = Kind("verbs that agree", verbs_that_agree, verbs_that_agree)
NOT_AGREEING = Kind("verbs that do not", verbs_that_do_not, verbs_that_do_not)
INDIRECT_OBJECT = Kind("its indirect_object", spaced("indirect_object"), spaced("indirect_object"))
SUBJECT = Kind("its subject", spaced("subject"), spaced("subject"))
PROMPT_IN = Kind("its prompt", prompt_in, prompt_in)
LABEL = Kind("label", label, label)
LABEL_IN = Kind("its label", label_in, label_in)
CHOSEN = Kind("the right label", chosen, chosen)
CHOSEN_IN = Kind("its right label", chosen_in, chosen_in)
