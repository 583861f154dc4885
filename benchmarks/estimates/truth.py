"""Every score and every effect of some pairs: what estimates are measured against.

`python -m benchmarks.estimates.truth --help` computes them once and stores them.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click
import numpy as np
from numpy.typing import NDArray

from patchgrid.engine import Component, Engine, Pair
from patchgrid.pairs import PairFile

SITES = ("z", "attn_out", "mlp_out")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Scores and effects of every component of a site in every pair, in metric units."""

    name: str
    #: The methods of the scores.
    methods: tuple[str, ...]
    #: float64 `[method, pair, component]`.
    scores: Floats
    #: Effects by exact patching, float64 `[pair, component]`.
    effects: Floats
    #: Clean metric - corrupted metric, float64 `[pair]`.
    total_effects: Floats
    #: What repeats together, int64 `[pair]`; every pair its own where there is nothing.
    groups: NDArray[np.int64]
    #: The site of each component, by its number in `SITES`, int64 `[component]`.
    sites: NDArray[np.int64]

    @property
    def means(self) -> Floats:
        """The mean effect of each component."""
        return self.effects.mean(axis=0)

    def first(self, pairs: int) -> Self:
        """Return the truth of the first pairs alone."""
        return self.take(np.arange(pairs))

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the truth of these pairs."""
        return dataclasses.replace(
            self,
            scores=self.scores[:, rows],
            effects=self.effects[rows],
            total_effects=self.total_effects[rows],
            groups=self.groups[rows],
        )

    def save(self, file: Path) -> None:
        """Write an .npz file."""
        arrays = {
            each.name: getattr(self, each.name)
            for each in dataclasses.fields(self)
            if each.name not in ("name", "methods")
        }
        np.savez_compressed(file, name=np.array(self.name), methods=np.array(self.methods), **arrays)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files if name not in ("name", "methods")}
            return cls(str(stored["name"]), tuple(stored["methods"].tolist()), **arrays)


def compute(
    engine: Engine, pairs: Sequence[Pair], name: str, methods: Sequence[str], **settings: str
) -> Truth:
    """Compute every score and every effect of heads, attention outputs and MLPs."""
    layout = engine.layout
    components = [
        *(Component("z", layer, head) for layer in range(layout.n_layers) for head in range(layout.n_heads)),
        *(Component(site, layer) for site in SITES[1:] for layer in range(layout.n_layers)),
    ]
    effects = engine.patch(pairs, components, **settings)
    results = engine.attribute(pairs, sites=SITES, method=",".join(methods), keep_positions=False, **settings)
    good = [row for row, result in enumerate(results) if result.error is None]
    scores = [
        [np.concatenate([_whole(results[row].scores[method][site]) for site in SITES]) for row in good]
        for method in methods
    ]
    totals = [results[row].clean_metric - results[row].corrupted_metric for row in good]
    return Truth(
        name,
        tuple(methods),
        np.array(scores, np.float64),
        np.asarray(effects, np.float64)[good],
        np.array(totals, np.float64),
        np.arange(len(good)),
        np.array([SITES.index(component.site) for component in components]),
    )


def _whole(scores: NDArray[np.float32]) -> Floats:
    """Sum one pair's scores `[layer, position(, head)]` over positions, as one axis."""
    return np.asarray(scores, np.float64).sum(axis=1).ravel()


@click.command(help=__doc__)
@click.argument("pair_file", type=click.Path(path_type=Path))
@click.option("--model", required=True)
@click.option("--count", default=300, show_default=True, help="Pairs.")
@click.option("--method", default="atp", show_default=True, help="Methods, separated by commas.")
@click.option("--metric", default="logit_diff", show_default=True)
@click.option("--direction", default="denoise", show_default=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def main(
    pair_file: Path, model: str, count: int, method: str, metric: str, direction: str, output: Path
) -> None:
    engine = Engine.load(model)
    with PairFile.open(str(pair_file), limit=count) as file:
        pairs = list(file)
    name = f"{pair_file.stem}, {metric}, {direction}"
    truth = compute(engine, pairs, name, method.split(","), metric=metric, direction=direction)
    truth.save(output)
    print(f"{output}: {truth.effects.shape[0]} pairs, {truth.effects.shape[1]} components")


if __name__ == "__main__":
    main()
