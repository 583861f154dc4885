"""The names of models, methods, metrics and directions, and how a wrong one is refused."""

import difflib
from collections.abc import Collection
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from patchgrid.core.aliases import ALIASES
from patchgrid.core.errors import ArgumentError, SpecError
from patchgrid.core.sites import SITES

#: What replaces the base run's activations, each with its meaning.
SOURCES = {
    "pair": "the activation of the pair's other prompt",
    "mean": "the mean over the job's pairs",
    "zero": "",
}
#: Scalars of the last position's logits, each with its meaning.
METRICS = {
    "logit_diff": "mean logit of the correct answers minus that of the incorrect ones",
    "logprob": "log probability of the correct answers",
    "prob_diff": "probability of the correct answers minus that of the incorrect ones",
    "kl": "KL divergence from the clean run",
}
#: Entry points of this group are metrics of other packages: see `metrics.py`.
METRIC_GROUP = "patchgrid.metrics"
#: Which prompt's activations go into which run.
DIRECTIONS = {
    "denoise": "clean activations into the corrupted run",
    "noise": "corrupted activations into the clean run",
}
#: What is kept of each pair.
DETAILS = {
    "summary": "no scores",
    "pairs": "scores summed over positions; of neurons and edges the 20 largest",
    "positions": "scores of every position",
}
#: What intervals are for: the mean over the population that a job's pairs are a sample of, or over these.
POPULATION, PAIRS = "population", "pairs"
INTERVALS = (POPULATION, PAIRS)
#: What exact patching follows: what scores leave unexplained, or scores.
BY_RESIDUAL, BY_SCORE = "residual", "score"
ALLOCATIONS = {
    BY_RESIDUAL: "patch most where the scores of a few pairs leave most unexplained",
    BY_SCORE: "patch most where scores are large",
}
#: What a component is.
POSITIONS = {
    "sum": "all positions at once",
    "keep": "each position by itself, aligned from the end or by the pairs' spans",
}
#: What stands for a method where one estimate is made from the scores of all of a job's methods.
COMBINED = "combined"
#: Name of the positions that lie in none of a job's spans.
REST = "(rest)"
#: What the revision of a model begins with that was in memory already: no file is known to hold its weights.
IN_MEMORY = "in-memory-"
#: Number types a model can be loaded in.
DTYPES = {"auto": "the checkpoint's own", "float32": "", "bfloat16": "", "float16": ""}


def model_name(text: str) -> str:
    """Name a local folder by its absolute path, so that it is the same from anywhere; a hub id as it is."""
    folder = Path(text).expanduser()
    return str(folder.resolve()) if folder.is_dir() else text


@cache
def metrics() -> tuple[str, ...]:
    """Return the names of all metrics: the built-in ones, then those of installed packages."""
    others = sorted({point.name for point in entry_points(group=METRIC_GROUP)} - METRICS.keys())
    return (*METRICS, *others)


#: The names of each kind, to recognize one that is given for another kind; `methods` adds its own.
KINDS = {"site": tuple(SITES), "metric": tuple(METRICS), "direction": tuple(DIRECTIONS)}


def suggestion(kind: str, name: str, available: Collection[str]) -> str:
    """Return a suggestion for an unknown name, `did you mean 'z'? ` with a trailing space, or "".

    An alias of the field comes before a name with nearly the same letters.
    """
    what = kind.partition(" of ")[0]
    aliases = ALIASES.get(what, {})
    plain = _plain(name)
    candidates = [each for each in aliases.get(plain, ()) if each in available]
    candidates = candidates or [each for each in available if _plain(each) == plain]
    other = next((of for of, names in KINDS.items() if name in names and of != what), None)
    if other and not candidates:
        return f"{name!r} is a {other}; "
    candidates = candidates or difflib.get_close_matches(name, tuple(available), n=1, cutoff=0.4)
    return f"did you mean {' or '.join(map(repr, candidates))}? " if candidates else ""


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum() or letter == "*")


def check_name(kind: str, name: str, available: Collection[str], field: str | None = None) -> str:
    """Return `name` if it is known, else raise `SpecError` about a field, with what may be meant."""
    if not isinstance(name, str):
        raise ArgumentError(f"{kind} must be a name, not {name!r}", field)
    if name in available:
        return name
    raise SpecError(
        f"unknown {kind} {name!r}: {suggestion(kind, name, available)}available: {', '.join(available)}",
        field,
    )
