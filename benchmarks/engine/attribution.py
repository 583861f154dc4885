"""Attribution of four sites by position, against the plain passes it is made of: the floor of `floor.py`.

Two cases in one run: the pairs as they are, whose prompts begin alike, and the same pairs with another first
word in the corrupted prompt, so that nothing is shared.
"""

from collections.abc import Sequence

import click

from benchmarks.common import figures, shapes, timing
from benchmarks.common.floor import BATCH_TOKENS, Floor
from benchmarks.common.options import Setting, benchmark
from benchmarks.common.ours import SITES, embedding_scores
from patchgrid.engine import Engine, Pair


def compare(
    engine: Engine, floor: Floor, pairs: Sequence[Pair], batch_tokens: int | None, rounds: int
) -> timing.Timing:
    """Check that both sides compute the same, then time them."""
    batches = floor.prepare(pairs)
    ours, theirs = embedding_scores(engine, pairs, batch_tokens), floor.attribute(batches)
    timing.check(ours[:, 0], theirs[:, 0], "scores of the embeddings")
    timing.check(ours[:, 1:], theirs[:, 1:], "metrics")
    return timing.in_turn(
        lambda: engine.attribute(pairs, sites=SITES, batch_tokens=batch_tokens),
        lambda: floor.attribute(batches),
        rounds,
    )


@click.command(help=__doc__)
@benchmark(count=64)
@click.option("--batch-tokens", type=int, help="Padded tokens of patchgrid's batches; else as it chooses.")
@click.option("--floor-batch-tokens", default=BATCH_TOKENS, show_default=True, help="The floor's.")
def main(setting: Setting, batch_tokens: int | None, floor_batch_tokens: int) -> None:
    found = setting.figures(batch_tokens=batch_tokens, floor_batch_tokens=floor_batch_tokens)
    pairs = setting.pairs()
    engine, floor = setting.engine(), Floor.load(setting.folder, floor_batch_tokens)
    apart = shapes.without_shared_prefix(pairs, setting.tokenizer)
    for name, case, target in (("pairs as they are", pairs, 1.6), ("no shared prefix", apart, 0.9)):
        times = compare(engine, floor, case, batch_tokens, setting.rounds)
        ours, theirs = (len(case) * rate for rate in times.rates)
        what = f"attribution of {', '.join(SITES)} by position, {name}"
        aim = figures.Target(target)
        found.add(figures.Row(what, "floor", ours, theirs, "pairs/s", tuple(times.speedups), aim))
    found.write(setting.json)


if __name__ == "__main__":
    main()
