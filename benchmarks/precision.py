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
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from patchgrid.engine import Component, Engine, Pair  # noqa: E402
from patchgrid.engine.names import METRICS  # noqa: E402
from reference.patching import TokenPair  # noqa: E402
from reference.rounding import Float32Head, effects, median_error, rounded  # noqa: E402
from support.models import EVERY, TestModel, save_confident_model  # noqa: E402
from support.prompts import PAIRS  # noqa: E402

DTYPES = ("float32", "bfloat16", "float16")
CHOSEN = tuple(PAIRS[place] for place in (0, 3, 4))
#: Grouped products of experts in 16 bits want rows of 16 bytes.
WIDE_EXPERTS = {"moe_intermediate_size": 16}


def token_pairs(made: TestModel, model: Any) -> list[TokenPair]:
    """Give prompts as ids; the answers are the tokens that the model is surest of after each."""
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
    """Give each metric's median relative errors: of hooks, of hooks with a float32 head, and patchgrid's."""
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


@click.command(help=__doc__)
@click.option("--family", "families", multiple=True, help="Only these families.  [default: all]")
def main(families: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    titles = ["family", "float32", *(f"{dtype} {metric}" for dtype in ("bf16", "fp16") for metric in METRICS)]
    click.echo(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in families or EVERY:
            click.echo(row(name, Path(folder)))


if __name__ == "__main__":
    main()
