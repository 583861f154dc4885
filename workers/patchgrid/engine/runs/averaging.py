"""Mean activations measured: every token of the source run's prompts, batch by batch."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from patchgrid.core.means import Adding, Means
from patchgrid.core.sites import EDGE
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.activations import RunOptions, parts_for, run
from patchgrid.engine.runs.batches import Batch, fill, make_batch
from patchgrid.engine.runs.memory import in_halves, is_out_of_memory
from patchgrid.engine.runs.question import Question
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.tokenization.tokens import TokenPair


def sites_of_means(sites: Sequence[str]) -> tuple[str, ...]:
    """Name the sites whose means it takes to put the mean in at `sites`.

    Paths begin and end at the model's input; an edge's sender is a head, an MLP or the input.
    """
    named = [site for site in sites if site != EDGE]
    senders = ("z", "mlp_out") if EDGE in sites else ()
    return tuple(dict.fromkeys(("resid_pre", *named, *senders)))


def average(
    model: LoadedModel,
    question: Question,
    pairs: Sequence[TokenPair],
    batch_tokens: Callable[[], int],
    on_batch: Callable[[float], None],
) -> Means:
    """Average the activation of `sites_of_means` over the source prompts of pairs and over their positions.

    `on_batch` takes the number of pairs of each batch that was added. A pair that memory does not hold is
    skipped; raises `SpecError` if none is left.
    """
    adding = Adding()
    # All positions count, of the last block's activations too.
    whole = replace(model, shortcuts=replace(model.shortcuts, last_block=False))

    def work(group: Sequence[TokenPair]) -> None:
        batch = make_batch(group, model.pad, model.device)
        try:
            sums = _sums(whole, question, batch)
        except RuntimeError as error:
            if len(group) > 1 or not is_out_of_memory(error):
                raise
        else:
            adding.add(sums, sum(pair.length for pair in group))
        on_batch(len(group))

    with torch.inference_mode(mode=False), torch.no_grad():
        for group in fill(pairs, batch_tokens, model.layout.short_context):
            in_halves(work, group)
    return adding.means()


def _sums(model: LoadedModel, question: Question, batch: Batch) -> dict[str, NDArray[np.float64]]:
    """Sum a batch's activations over its tokens, site to `[layer, width]`."""
    _, tokens = question.sides(batch)
    rows = Rows.of(batch, tokens, range(len(batch.pairs)))
    sites = sites_of_means(question.sites)
    activations = run(model, rows, RunOptions(parts_for(sites)))
    real = batch.attention_mask.bool()
    sums = {}
    for site in sites:
        layers = [activations.at(site, layer) for layer in range(model.layout.n_layers)]
        # On the host: not every device has float64.
        sums[site] = np.stack([each[real.to(each.device)].cpu().double().sum(0).numpy() for each in layers])
    return sums
