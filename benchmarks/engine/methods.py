"""How well each method's scores agree with exact effects: per site, over every component of some pairs."""

import math
from collections.abc import Sequence

import click
import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from benchmarks.common.shapes import DEMO, PAIRS, read_pairs
from patchgrid.engine import Component, Engine, Pair
from patchgrid.estimates.verification.agreement import Agreement, agreement

SITES = ("resid_post", "attn_out", "mlp_out", "z")
HEADINGS = ("site", "method", "cells", "Pearson", "Spearman", "slope", "same sign", "s/pair")


def components(engine: Engine, site: str) -> list[Component]:
    """List a site's components at all positions at once."""
    heads = range(engine.layout.n_heads) if site == "z" else [None]
    return [Component(site, layer, head) for layer in range(engine.layout.n_layers) for head in heads]


def agreements(
    engine: Engine, pairs: Sequence[Pair], sites: Sequence[str], methods: Sequence[str], **options: object
) -> dict[tuple[str, str], tuple[Agreement, float]]:
    """Compare scores, summed over positions, with effects; site and method to figures, and seconds a pair."""
    shared = {name: options[name] for name in ("direction", "metric")}
    results = engine.attribute(pairs, sites=sites, method=methods, **options)  # type: ignore[arg-type]
    found = {}
    for site in sites:
        effects = engine.patch(pairs, components(engine, site), **shared).ravel()  # type: ignore[arg-type]
        for method in methods:
            by_pair = [result.scores[method][site] for result in results]
            scores = np.concatenate([_whole(values).ravel() for values in by_pair])
            seconds = float(np.mean([result.seconds[method] for result in results]))
            found[site, method] = agreement(scores, effects, np.ones(len(effects))), seconds
    return found


def _whole(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum `[layer, position, ...]` over positions."""
    whole: NDArray[np.float32] = scores.sum(1)
    return whole


@click.command(help=__doc__)
@click.option("--model", default=str(DEMO), help="Hub id or folder; else the demo model.")
@click.option("--pairs", "pair_file", default=PAIRS, help="Pair file; else examples/pairs/ioi.jsonl.")
@click.option("--count", default=50, show_default=True, help="Pairs measured.")
@click.option("--methods", default="atp,relp,ig", show_default=True)
@click.option("--sites", default=",".join(SITES), show_default=True)
@click.option("--direction", default="denoise", show_default=True)
@click.option("--metric", default="logit_diff", show_default=True)
@click.option("--steps", default=5, show_default=True, help="Points of the path of ig.")
@click.option("--path", default="embedding", show_default=True, help="The path of ig.")
def main(model: str, pair_file: str, count: int, methods: str, sites: str, **options: object) -> None:
    engine = Engine.load(model, dtype="float32")
    pairs = read_pairs(pair_file, count, AutoTokenizer.from_pretrained(model))
    found = agreements(engine, pairs, sites.split(","), methods.split(","), **options)
    click.echo(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    for (site, method), (figures, seconds) in found.items():
        numbers = (figures.pearson, figures.spearman, figures.slope, figures.sign_agreement, seconds)
        cells = " | ".join("" if math.isnan(number) else f"{number:.3g}" for number in numbers)
        click.echo(f"| {site} | {method} | {figures.n} | {cells} |")


if __name__ == "__main__":
    main()
