"""patchgrid's side: the sites that are measured, and numbers to compare with the floor's."""

from collections.abc import Sequence

import numpy as np

from patchgrid.engine import Engine, Pair

SITES = ("resid_post", "attn_out", "mlp_out", "z")


def embedding_scores(engine: Engine, pairs: Sequence[Pair], batch_tokens: int | None = None) -> np.ndarray:
    """Return the same numbers as the floor, `[pair, 3]`: the embeddings' score and both metrics.

    A GPT-2's `resid_pre` 0 is the embedding plus what both prompts share.
    """
    results = engine.attribute(pairs, sites=("resid_pre", *SITES), batch_tokens=batch_tokens)
    failed = next((result.error for result in results if result.error), None)
    if failed:
        raise SystemExit(f"a pair could not be measured: {failed}")
    rows = [(r.scores["atp"]["resid_pre"][0].sum(), r.clean_metric, r.corrupted_metric) for r in results]
    return np.array(rows)
