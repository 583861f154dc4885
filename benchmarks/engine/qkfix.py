"""AtP* against AtP: what the QK fix and GradDrop cost, and what the fix is worth on the demo model.

The cost: scores of queries, keys, heads and MLPs by position. The worth: queries and keys of every head at
every position from a pair's first difference on, scored both ways and patched exactly one by one.
"""

from collections.abc import Callable, Sequence

import click
import numpy as np
from scipy.stats import spearmanr
from transformers import AutoTokenizer

from benchmarks.common import figures, shapes, timing
from benchmarks.common.options import Setting, benchmark
from patchgrid.engine import Component, Engine, Pair
from patchgrid.engine.results import PairResult

SITES = ("q", "k", "z", "mlp_out")
FIXED = ("q", "k")


def costs(setting: Setting, found: figures.Figures) -> None:
    """Time each method against plain attribution."""
    engine, pairs = setting.engine(), setting.pairs()

    def scoring(method: str, *, grad_drop: bool = False) -> Callable[[], list[PairResult]]:
        return lambda: engine.attribute(pairs, sites=SITES, method=method, grad_drop=grad_drop)

    plain = scoring("atp")
    for name, other in (("atp*", scoring("atp*")), ("atp*, GradDrop", scoring("atp*", grad_drop=True))):
        failed = [result.error for work in (plain, other) for result in work() if result.error]
        if failed:
            raise SystemExit(f"a pair could not be measured: {failed[0]}")
        times = timing.in_turn(plain, other, setting.rounds)
        rates = (len(pairs) * rate for rate in times.rates)
        what = f"atp of {', '.join(SITES)} by position, against {name}"
        found.add(figures.Row(what, name, *rates, "pairs/s", tuple(times.speedups)))


def worth(pairs: Sequence[Pair], found: figures.Figures) -> None:
    """Compare scores with exact effects on the demo model."""
    engine = Engine.load(str(shapes.DEMO), device="cpu", dtype="float32")
    results = engine.attribute(pairs, sites=FIXED, method=("atp", "atp*"))
    for site in FIXED:
        cells = [each for index, result in enumerate(results) for each in _cells(index, site, result)]
        effects, _ = engine.patch_cells(pairs, cells)
        for method in ("atp", "atp*"):
            scores = np.array([_score(results[index], method, component) for index, component in cells])
            error = float(np.sqrt(np.mean((scores - effects) ** 2) / np.mean(effects**2)))
            pearson, spearman = np.corrcoef(scores, effects)[0, 1], spearmanr(scores, effects).statistic
            found.note(
                f"{site}, {method}, {len(cells)} cells: Pearson {pearson:.3f}, Spearman {spearman:.3f}, "
                f"root mean square error {error:.2f} of the effects' own"
            )


def _cells(index: int, site: str, result: PairResult) -> list[tuple[int, Component]]:
    """List a pair's components of which anything can come."""
    assert result.error is None, result.error
    places = np.argwhere(result.scores["atp"]["k"][0].any(-1))[:, 0]
    layers, _, heads = result.scores["atp"][site].shape
    return [
        (index, Component(site, layer, head, position=position))
        for layer in range(layers)
        for head in range(heads)
        for position in range(int(places.min()), result.scores["atp"][site].shape[1])
    ]


def _score(result: PairResult, method: str, component: Component) -> float:
    scores = result.scores[method]
    return float(scores[component.site][component.layer, component.position, component.index])


@click.command(help=__doc__)
@benchmark(count=48)
@click.option("--demo-count", default=40, show_default=True, help="Pairs of the demo model.")
def main(setting: Setting, demo_count: int) -> None:
    found = setting.figures(demo_count=demo_count)
    costs(setting, found)
    tokenizer = AutoTokenizer.from_pretrained(shapes.DEMO)
    worth(shapes.read_pairs(shapes.PAIRS, demo_count, tokenizer), found)
    found.write(setting.json)


if __name__ == "__main__":
    main()
