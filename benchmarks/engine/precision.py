"""How exact effects are in 16-bit numbers: the table of docs/precision.md, for every known family.

Tiny random models whose largest logits are about 20, as real models' are. Effects of every component of four
sites are compared with those of plain PyTorch hooks on a float32 model of the same rounded weights.
"""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.utils import logging

from benchmarks.common.shapes import PAIRS as IOI
from benchmarks.common.shapes import read_pairs
from patchgrid.core.names import METRICS
from patchgrid.engine import Component, Engine, Pair
from patchgrid.estimates import Rounding
from reference.patching import TokenPair
from reference.rounding import Float32Head, effects, median_error, rounded
from support.engine.models import EVERY, TestModel, save_confident_model
from support.engine.prompts import PAIRS

SITES = ("attn_out", "mlp_out", "resid_post", "z")
DTYPES = ("float32", "bfloat16", "float16")
CHOSEN = tuple(PAIRS[place] for place in (0, 3, 4))
#: Grouped products of experts in 16 bits want rows of 16 bytes.
WIDE_EXPERTS = {"moe_intermediate_size": 16}


def token_pairs(made: TestModel, model: Any) -> list[TokenPair]:
    """Return prompts as ids; the answers are the most likely next tokens."""
    found = []
    for pair in CHOSEN:
        sides = [made.tokenizer(text).input_ids for text in (pair.clean, pair.corrupted)]
        with torch.no_grad():
            best = [
                model(input_ids=torch.tensor([ids])).logits[0, -1].topk(2).indices.tolist() for ids in sides
            ]
        correct = best[0][0]
        found.append(TokenPair(*sides, [correct], [next(token for token in best[1] if token != correct)]))
    return found


def components(engine: Engine) -> list[Component]:
    """List all heads, and what attention, MLP and block give in every layer."""
    layout = engine.layout
    whole = [
        Component(site, layer)
        for site in ("attn_out", "mlp_out", "resid_post")
        for layer in range(layout.n_layers)
    ]
    heads = [Component("z", layer, h) for layer in range(layout.n_layers) for h in range(layout.n_heads)]
    return whole + heads


def errors(made: TestModel, dtype: str) -> Iterator[tuple[str, float, float, float]]:
    """Yield each metric's median relative errors: of hooks, of hooks with a float32 head, and patchgrid's."""
    model, exact = rounded(made.folder, getattr(torch, dtype))
    ids = token_pairs(made, exact)
    engine = Engine.load(str(made.folder), device="cpu", dtype=dtype)
    chosen = components(engine)
    expected = effects(exact, ids, chosen, METRICS)
    own = effects(model, ids, chosen, METRICS)
    headed = effects(Float32Head(model, exact), ids, chosen, METRICS)
    pairs = [Pair(p.clean, p.corrupted, i.correct, i.incorrect) for p, i in zip(CHOSEN, ids, strict=True)]
    for metric in METRICS:
        found = engine.patch(pairs, chosen, metric=metric).astype(np.float64)
        yield metric, *(median_error(each, expected[metric]) for each in (own[metric], headed[metric], found))


def row(name: str, root: Path) -> str:
    """Measure one family."""
    made = save_confident_model(name, root, PAIRS[0].clean, **WIDE_EXPERTS)
    cells = []
    for dtype in DTYPES:
        try:
            found = list(errors(made, dtype))
        except RuntimeError as error:  # a kernel that this type has not, on a CPU
            cells += ["-"] * (1 if dtype == "float32" else len(METRICS))
            sys.stderr.write(f"{name}, {dtype}: {str(error).splitlines()[0]}\n")
            continue
        if dtype == "float32":
            cells.append(f"{max(ours for *_, ours in found):.0e}")
            continue
        cells += [" / ".join(_percent(each) for each in some) for _, *some in found]
    return f"| `{name}` | " + " | ".join(cells) + " |"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.095 else f"{100 * share:.1f}"


def of_model(folder: Path) -> Iterator[str]:
    """Compare a model's number types with float32 on the weights as they are saved, and with their floors."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = read_pairs(IOI, 4, tokenizer)
    exact: dict[str, np.ndarray] = {}
    for dtype in DTYPES:
        engine = Engine.load(str(folder), device="cpu", dtype=dtype)
        chosen = components(engine)[::3]
        for metric in METRICS:
            measured = engine.measure(
                pairs, lambda places, _, chosen=chosen: [chosen] * len(places), sites=SITES, metric=metric
            )
            found = np.stack([each.effects for each in measured]).astype(np.float64)
            floor = Rounding.of(np.concatenate([each.rounding for each in measured])).floor
            expected = exact.setdefault(metric, found)
            error, large = np.abs(found - expected), np.quantile(np.abs(expected), 0.9)
            shares = median_error(found, expected), median_error(*_above(large, found, expected))
            size = f"{np.sqrt(np.square(error).mean()):.1g} | {floor:.1g} | {np.median(np.abs(expected)):.1g}"
            yield f"| {dtype} | {metric} | {' | '.join(map(_percent, shares))} | {size} |"


def _above(size: float, found: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return found[np.abs(exact) >= size], exact[np.abs(exact) >= size]


@click.command(help=__doc__)
@click.option("--family", "families", multiple=True, help="Only these families.  [default: all]")
@click.option("--model", type=click.Path(path_type=Path), help="A folder with a real model, in their place.")
def main(families: tuple[str, ...], model: Path | None) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if model is not None:
        for line in of_model(model):
            click.echo(line)
        return
    titles = ["family", "float32", *(f"{dtype} {metric}" for dtype in ("bf16", "fp16") for metric in METRICS)]
    click.echo(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in families or EVERY:
            click.echo(row(name, Path(folder)))


if __name__ == "__main__":
    main()
