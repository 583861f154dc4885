"""The names of sites, methods, metrics and directions, and how a wrong one is refused."""

import difflib
from collections.abc import Sequence

from patchgrid.engine.errors import SpecError

#: Activations that are scored, in the order a forward pass reaches them.
SITES = ("resid_pre", "z", "attn_out", "resid_mid", "mlp_out", "resid_post")
#: Sites whose components carry an index within the layer, with that index's name.
HEAD_SITES = ("z",)
#: Ways to make a score.
METHODS = ("atp",)
#: Scalars of the last position's logits.
METRICS = ("logit_diff", "logprob", "prob_diff", "kl")
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


def check_name(kind: str, name: str, known: Sequence[str]) -> str:
    """Return `name` if it is known, else raise `SpecError` naming the nearest right one."""
    if name in known:
        return name
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise SpecError(f"unknown {kind} {name!r}: {hint}known: {', '.join(known)}")
