"""The unpatched runs of a batch: each made when it is first needed, and kept for all that build on it."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from patchgrid.engine.activations import Activations, Asked, parts_for, run
from patchgrid.engine.batches import Batch
from patchgrid.engine.loading import LoadedModel
from patchgrid.engine.past import Past
from patchgrid.engine.preamble import beginning, shared_beginning
from patchgrid.engine.question import Question
from patchgrid.engine.readout import Readout
from patchgrid.engine.rows import Rows


@dataclass
class Passes:
    """A batch's source run, over whole prompts, and its base run, from the first difference on.

    Before the first token at which a pair's prompts differ both runs are the same, so the base run goes on
    from the source run's keys and values. Rows whose prompts part later than `cut` have a few positions
    computed twice, and equal: that is cheaper than to pad them, and exact whatever the attention's window.
    """

    model: LoadedModel
    batch: Batch
    question: Question
    #: Whether components are patched too: the base run then keeps what that needs.
    patching: bool = False
    #: Whether the base run is made more than once: the source run then keeps what that starts from.
    several: bool = False

    @cached_property
    def cut(self) -> int:
        """The padded position from which on activations are kept: the first at which a pair differs."""
        return min(self.batch.starts) if self.model.shortcuts.prefix else 0

    @cached_property
    def readout(self) -> Readout:
        """How the metric is read; its rows are the batch's pairs."""
        return Readout.of(self.model, self.question.metric, self.batch.pairs)

    @cached_property
    def source_rows(self) -> Rows:
        """The source run's rows."""
        _, tokens = self.question.sides(self.batch)
        prompts = self.question.source_prompts(self.batch)
        return Rows.of(self.batch, tokens, self._keys(prompts))

    @cached_property
    def base_rows(self) -> Rows:
        """The base run's rows: pairs share one if the metric is the same for them, too."""
        tokens, _ = self.question.sides(self.batch)
        prompts = self.question.base_prompts(self.batch)
        answers = [(pair.correct, pair.incorrect) for pair in self.batch.pairs]
        compared = (
            self.question.source_prompts(self.batch) if self.readout.needs_clean else [None] * len(prompts)
        )
        keys = list(zip(prompts, answers, compared, strict=True))
        return Rows.of(self.batch, tokens, self._keys(keys))

    def _keys(self, keys: Sequence[Hashable]) -> Sequence[Hashable]:
        return keys if self.model.shortcuts.repeats else range(len(keys))

    @cached_property
    def source(self) -> Activations:
        """The source run; rows are `source_rows`."""
        rows, batch = self.source_rows, self.batch
        prompts = self.question.source_prompts(batch)
        shared = 0
        # LongRoPE chooses its factors by the positions of a run: a beginning alone could be given others.
        if self.cut and self.model.shortcuts.repeats and self.model.layout.short_context is None:
            shared = shared_beginning([prompts[pair] for pair in rows.first], self.cut)
        cache = Past.nothing() if self.cut else None
        if shared:
            lengths = [batch.pairs[pair].length for pair in rows.first]
            longest = max(rows.first, key=lambda pair: batch.pairs[pair].length)
            past = beginning(self.model, prompts[longest][:shared], lengths)
            cache = past.cache(shared, keep=True)
        with torch.no_grad():
            return run(self.model, rows, Asked(self._parts, start=shared, cache=cache, keep_from=self.cut))

    @cached_property
    def base(self) -> Activations:
        """The base run; rows are `base_rows`. Its graph is spent if a method took `base_with_graph`."""
        with torch.no_grad():
            return self._run_base(self._base_asked)

    def base_with_graph(self, also: Collection[str] = ()) -> Activations:
        """Make the base run with its graph, for one backward pass; `base` is then this run.

        It keeps the activations of the sites `also`, beside those that are asked for.
        """
        asked = self._base_asked
        with torch.enable_grad():
            self.base = self._run_base(replace(asked, parts=asked.parts | parts_for(also), grad=True))
        self.__dict__.pop("base_metric", None)  # that of a run before
        return self.base

    def _run_base(self, asked: Asked) -> Activations:
        base = run(self.model, self.base_rows, asked)
        if not self.several:
            self.source.past = None  # the base run's own, where one is kept, has all of it
        return base

    @property
    def _base_asked(self) -> Asked:
        parts = self._parts
        if self.patching and "mlp_out" in self.question.sites:
            # A patched mlp_out is added to the base run's own resid_mid.
            parts |= parts_for(["resid_mid"])
        if self.patching and "mlp_post" in self.question.sites:
            # What the attention adds stands in for it where neurons behind it are patched.
            parts |= parts_for(["attn_out"])
        # Patched copies go on from the base run, wherever their patch begins.
        cache = Past.nothing() if self.patching and self.model.shortcuts.prefix else None
        if self.cut:
            past = self.source.past
            assert past is not None, "the source run keeps what the base run starts from"
            cache = past.cache(self.cut, self._source_of_base, keep=self.patching)
        return Asked(parts, start=self.cut, cache=cache, keep_from=self.cut)

    @property
    def _parts(self) -> frozenset[str]:
        return parts_for(self.question.sites)

    @cached_property
    def _source_of_base(self) -> Tensor | None:
        """For each row of the base run, its row in the source run; None: the same."""
        rows = [self.source_rows.row_of[pair] for pair in self.base_rows.first]
        if rows == list(range(len(self.source_rows.first))):
            return None
        return torch.tensor(rows, device=self.model.device)

    @cached_property
    def base_metric(self) -> Tensor:
        """The base run's metric, `[base row]`, with its graph if the run has one."""
        first = self._index(self.base_rows.first)
        clean = self.question.clean_of(self.base.last, self._picked(self.source.last))
        return self.readout.measure(self.base.last, clean, first)

    def source_metric(self) -> Tensor:
        """The source run's metric, `[pair]`."""
        source = self.source_rows.of_pairs(self.source.last)
        return self.readout.measure(source, self.clean_last()).detach()

    def clean_last(self) -> Tensor:
        """The clean run's `Activations.last`, one row a pair."""
        source, base = self.source_rows.of_pairs(self.source.last), self.base_rows.of_pairs(self.base.last)
        return self.question.clean_of(base, source).detach()

    def _picked(self, values: Tensor) -> Tensor:
        return values if self._source_of_base is None else values[self._source_of_base.to(values.device)]

    def _index(self, pairs: Sequence[int]) -> Tensor:
        return torch.tensor(pairs, device=self.model.device)
