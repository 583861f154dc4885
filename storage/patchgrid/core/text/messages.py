"""Values and names in error messages: short, and safe to print."""

import difflib
from collections.abc import Collection, Iterable, Sequence

# Other tools' names of the same fields, too different for a spelling match.
_SYNONYMS = {
    "corrupt": "corrupted",
    "corrupted_prompt": "corrupted",
    "clean_prompt": "clean",
    "prompt": "clean",
    "answer": "correct",
    "answers": "correct",
    "label": "correct",
    "wrong_answer": "incorrect",
    "wrong_answers": "incorrect",
    "name": "id",
}


def shown(text: str, length: int = 60) -> str:
    """Quote `text`, cut to `length` characters, with control characters escaped."""
    return repr(text) if len(text) <= length else f"{text[:length]!r}..."


def kind(value: object) -> str:
    """Describe a JSON value: `a number (3)`, `null`, `a list`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text ({shown(value)})"
    if isinstance(value, int):
        return f"a number ({value if abs(value) < 10**20 else 'very large'})"
    if isinstance(value, float):
        return f"a decimal number ({value})"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"


def unknown(names: Iterable[str], available: Collection[str], what: str = "field") -> list[str]:
    """Describe each of `names` that is not in `available`, with the nearest known name."""
    return [
        f"unknown {what} {shown(name)}{_hint(name, available)}" for name in names if name not in available
    ]


def nearest(name: str, names: Collection[str]) -> str:
    """Return a hint at the nearest of some names, or list them all."""
    hint = _hint(name, [each for each in names if each])
    return hint or f"; available: {listed(list(names))}"


def misspelt(name: str, missing: Iterable[str]) -> str | None:
    """Return the missing name within two letters of `name`, ignoring case; None if there is none.

    Short names allow fewer: any two letters are within two letters of `id`.
    """
    folded = name.strip().lower()
    for right in missing:
        most = min(2, (len(right) - 1) // 2)
        if folded == right.lower() or (
            abs(len(folded) - len(right)) <= most and _distance(folded, right.lower()) <= most
        ):
            return right
    return None


def listed(names: Sequence[str], most: int = 8) -> str:
    """Join the first `most` names with commas."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more


def _distance(one: str, other: str) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, other_letter in enumerate(other, 1):
            before, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, before + (letter != other_letter)),
            )
    return row[-1]


def damaged(row: int, reason: str) -> str:
    """Describe why a Parquet file cannot be read from a row on."""
    return f"damaged or truncated Parquet file, at row {row}: {reason}"


def _hint(name: str, available: Collection[str]) -> str:
    synonym = _SYNONYMS.get(name.strip().lower())
    nearest = [synonym] if synonym in available else difflib.get_close_matches(name[:60], available, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""
