"""A call run over pairs, batch by batch, halving what does not fit into memory."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from patchgrid.core.errors import PairError
from patchgrid.core.types import Pair
from patchgrid.engine.calls import Begun, Call
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.results import Measured
from patchgrid.engine.runs.averaging import average
from patchgrid.engine.runs.batches import fill
from patchgrid.engine.runs.memory import in_halves, is_out_of_memory
from patchgrid.engine.tokenization.tokens import PairTokenizer, TokenPair

#: Takes the place of a pair that cannot be measured, and the reason.
Fail = Callable[[int, str], None]


def tokenized(
    model: LoadedModel, pairs: Sequence[Pair], prepend_bos: bool | None, fail: Fail
) -> list[TokenPair]:
    """Tokenize the pairs that can be; `fail` takes the others."""
    tokenizer = PairTokenizer(
        model.tokenizer,
        vocabulary=model.vocabulary,
        context=model.layout.context,
        prepend_bos=prepend_bos,
    )
    good = []
    for index, made in enumerate(tokenizer.many(pairs)):
        if isinstance(made, PairError):
            fail(index, str(made))
        else:
            good.append(made)
    return good


def with_means(call: Call, pairs: Sequence[TokenPair]) -> Call:
    """Add the means over pairs to a call whose source is `mean` and that has none."""
    question = call.question
    if question.query.source != "mean" or question.means is not None or not pairs:
        return call
    means = average(call.model, question, pairs, lambda: call.budget.tokens, lambda _count: None)
    return replace(call, question=replace(question, means=means))


def run_call(
    call: Call, pairs: Sequence[TokenPair], take: Callable[[int, Measured], None], fail: Fail
) -> None:
    """Measure the pairs; each comes to `take` or, where memory does not suffice for it alone, to `fail`."""
    waiting: deque[Begun] = deque()

    def finish(most: int) -> None:
        while len(waiting) > most:
            begun = waiting.popleft()
            for pair, measured in zip(begun.group, begun.finish(), strict=True):
                take(pair.index, measured)

    def work(group: Sequence[TokenPair]) -> None:
        try:
            with call.budget.batch(len(group) * max(pair.length for pair in group)):
                waiting.append(call.begin(group))
                # Scores of one batch are taken off the device while the next one is computed there.
                finish(most=0 if call.choose else 1)
        except RuntimeError as error:
            if len(group) > 1 or not is_out_of_memory(error):
                raise
            fail(group[0].index, f"out of memory with a batch of this pair alone ({group[0].length} tokens)")

    with torch.inference_mode(mode=False):
        for group in fill(pairs, lambda: call.budget.tokens, call.model.layout.short_context):
            in_halves(work, group)
        finish(most=0)
