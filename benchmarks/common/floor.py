"""The floor: plain transformers and PyTorch, what a careful person writes without patchgrid.

Clean forward, corrupted forward, backward to the embeddings; weights frozen, padding on the left, the last
position's logits only. It starts from token ids in batches: making them is not in its time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from patchgrid.engine import Pair, TokenText

#: Padded tokens of a batch: what was fastest for the floor with a GPT-2-small shape on two cores.
BATCH_TOKENS = 512


@dataclass(frozen=True)
class Tokens:
    """A pair as token ids."""

    #: Place in the caller's list.
    place: int
    clean: list[int]
    corrupted: list[int]
    #: Answer to its weight in the metric: the mean of the correct ones minus the mean of the others.
    weights: dict[int, float]


@dataclass(frozen=True)
class Batch:
    """Pairs of one batch as tensors `[pair, position]`, and their answers `[pair, answer]`."""

    places: list[int]
    clean: Tensor
    corrupted: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    answers: Tensor
    weights: Tensor


class Floor:
    """A model as transformers loads it, frozen."""

    def __init__(self, model: Any, tokenizer: Any, batch_tokens: int = BATCH_TOKENS) -> None:
        self.model = model.eval().requires_grad_(requires_grad=False)
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens

    @classmethod
    def load(cls, folder: str, batch_tokens: int = BATCH_TOKENS) -> "Floor":
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return cls(model, AutoTokenizer.from_pretrained(folder), batch_tokens)

    def prepare(self, pairs: Sequence[Pair]) -> list[Batch]:
        """Tokenize the pairs and put them into batches, the short ones first."""
        tokens = [tokenize(self.tokenizer, pair, place) for place, pair in enumerate(pairs)]
        return [make_batch(group, self.model.device) for group in fill(tokens, self.batch_tokens)]

    def logits(self, batch: Batch, embeddings: Tensor) -> Tensor:
        """Return float32 logits of the last position, `[pair, vocabulary]`."""
        found = self.model(
            inputs_embeds=embeddings,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
            logits_to_keep=1,
        )
        return found.logits[:, -1].float()

    def metric(self, batch: Batch, embeddings: Tensor) -> Tensor:
        return (self.logits(batch, embeddings).gather(1, batch.answers) * batch.weights).sum(1)

    def attribute(self, batches: Sequence[Batch]) -> np.ndarray:
        """Return `[pair, 3]` in the pairs' order: the score of the embeddings, both metrics."""
        found = [(batch.places, self._scores(batch).tolist()) for batch in batches]
        rows = {place: row for places, table in found for place, row in zip(places, table, strict=True)}
        return np.array([rows[place] for place in range(len(rows))])

    def _scores(self, batch: Batch) -> Tensor:
        embed = self.model.get_input_embeddings()
        with torch.no_grad():
            clean = embed(batch.clean)
            clean_metric = self.metric(batch, clean)
        corrupted = embed(batch.corrupted).requires_grad_(requires_grad=True)
        metric = self.metric(batch, corrupted)
        (gradient,) = torch.autograd.grad(metric.sum(), corrupted)
        score = ((clean - corrupted.detach()).float() * gradient.float()).sum((1, 2))
        return torch.stack([score, clean_metric, metric.detach()], 1)


def tokenize(tokenizer: Any, pair: Pair, place: int) -> Tokens:
    """Turn a pair's text into token ids."""
    clean, corrupted = tokenizer(pair.clean).input_ids, tokenizer(pair.corrupted).input_ids
    assert len(clean) == len(corrupted), "pairs of different lengths are left out as they are read"

    def token(answer: int | str | TokenText) -> int:
        if isinstance(answer, int):
            return answer
        if isinstance(answer, TokenText):
            return int(tokenizer(answer.text, add_special_tokens=False).input_ids[0])
        return int(tokenizer(pair.clean + answer).input_ids[len(clean)])

    correct, incorrect = ({token(each) for each in side} for side in (pair.correct, pair.incorrect))
    weights = dict.fromkeys(correct, 1 / len(correct)) | dict.fromkeys(incorrect, -1 / len(incorrect))
    return Tokens(place, clean, corrupted, weights)


def fill(pairs: Sequence[Tokens], batch_tokens: int) -> Iterator[list[Tokens]]:
    """Sort by length and group into batches of at most so many padded tokens, at least one pair each."""
    group: list[Tokens] = []
    for pair in sorted(pairs, key=lambda pair: len(pair.clean)):
        if group and len(pair.clean) * (len(group) + 1) > batch_tokens:
            yield group
            group = []
        group.append(pair)
    if group:
        yield group


def make_batch(pairs: Sequence[Tokens], device: torch.device) -> Batch:
    """Pad on the left to one width."""
    width = max(len(pair.clean) for pair in pairs)
    padding = [width - len(pair.clean) for pair in pairs]
    mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
    most = max(len(pair.weights) for pair in pairs)
    weights = [[*pair.weights.items()] + [(0, 0.0)] * (most - len(pair.weights)) for pair in pairs]
    return Batch(
        places=[pair.place for pair in pairs],
        clean=_padded([pair.clean for pair in pairs], padding).to(device),
        corrupted=_padded([pair.corrupted for pair in pairs], padding).to(device),
        attention_mask=mask.to(device),
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0).to(device),
        answers=torch.tensor([[answer for answer, _ in row] for row in weights]).to(device),
        weights=torch.tensor([[weight for _, weight in row] for row in weights]).to(device),
    )


def _padded(prompts: Sequence[list[int]], padding: Sequence[int]) -> Tensor:
    return torch.tensor([[0] * pad + ids for pad, ids in zip(padding, prompts, strict=True)])
