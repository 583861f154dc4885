"""The names of methods, metrics and directions, and how a wrong one is refused."""

import difflib
from collections.abc import Collection
from functools import cache
from importlib.metadata import entry_points

from patchgrid.core.aliases import ALIASES
from patchgrid.core.errors import SpecError
from patchgrid.core.sites import SITES

#: Ways to make a score of a node, then of an edge.
NODE_METHODS = ("atp", "atp*", "ig", "relp")
EDGE_METHODS = ("eap", "eap-ig")
METHODS = (*NODE_METHODS, *EDGE_METHODS)
#: Methods that average gradients over a path from the base run to the source.
PATH_METHODS = ("ig", "eap-ig")
#: Paths of integrated gradients: all of the model's input, or each site's own activation.
PATHS = ("embedding", "site")
#: Where the activations come from that are put into the base run: the pair's other prompt, the mean over the
#: job's pairs, or nowhere.
SOURCES = ("pair", "mean", "zero")
#: Scalars of the last position's logits.
METRICS = ("logit_diff", "logprob", "prob_diff", "kl")
#: Entry points of this group are metrics of other packages: see `metrics.py`.
METRIC_GROUP = "patchgrid.metrics"
#: Which prompt's activations go into which run.
DIRECTIONS = ("denoise", "noise")
#: What is kept of each pair: nothing, scores summed over positions, everything.
DETAILS = ("summary", "pairs", "positions")
#: Whether a component is one position or all positions at once.
POSITIONS = ("sum", "keep")
#: Name of the positions that lie in none of a job's spans.
REST = "(rest)"
#: Number types a model can be loaded in; `auto` is the checkpoint's own.
DTYPES = ("auto", "float32", "bfloat16", "float16")


@cache
def metrics() -> tuple[str, ...]:
    """Give the names of all metrics: our own, then those of installed packages."""
    others = sorted({point.name for point in entry_points(group=METRIC_GROUP)} - set(METRICS))
    return (*METRICS, *others)


#: The names of each kind, to tell one that is given for another kind.
_KINDS = {"site": tuple(SITES), "method": METHODS, "metric": METRICS, "direction": DIRECTIONS}


def suggestion(kind: str, name: str, known: Collection[str]) -> str:
    """Return a suggestion for an unknown name, `did you mean 'z'? ` with a trailing space, or "".

    An alias of the field comes before a name with nearly the same letters.
    """
    aliases = ALIASES.get(kind.partition(" of ")[0], {})
    plain = _plain(name)
    meant = [each for each in aliases.get(plain, ()) if each in known]
    meant = meant or [each for each in known if _plain(each) == plain]
    other = next((of for of, names in _KINDS.items() if name in names and of != kind), None)
    if other and not meant:
        return f"{name!r} is a {other}; "
    meant = meant or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"did you mean {' or '.join(map(repr, meant))}? " if meant else ""


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum() or letter == "*")


def check_name(kind: str, name: str, known: Collection[str], field: str | None = None) -> str:
    """Return `name` if it is known, else raise `SpecError` about a field, with what may be meant."""
    if name in known:
        return name
    raise SpecError(
        f"unknown {kind} {name!r}: {suggestion(kind, name, known)}available: {', '.join(known)}", field
    )
