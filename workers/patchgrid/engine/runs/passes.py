"""The unpatched runs of a batch: each made when it is first needed, and kept for all that build on it."""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import DynamicCache

from patchgrid.core.sites import SITES
from patchgrid.engine.model.kv_cache import KVCache
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.activations import Activations, RunOptions, parts_for, run
from patchgrid.engine.runs.batches import Batch
from patchgrid.engine.runs.question import Question
from patchgrid.engine.runs.readout import Readout
from patchgrid.engine.runs.replacement import Constant, OtherPrompt, Replacement
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.runs.shared_prefix import prefix_kv_cache, shared_prefix_length


@dataclass
class Passes:
    """A batch's source run, over whole prompts, and its base run, from the first difference on.

    Before the first token at which a pair's prompts differ both runs are the same, so the base run continues
    from the source run's keys and values. Rows whose prompts part later than `cut` have a few positions
    computed twice, and equal: that is cheaper than to pad them, and exact whatever the attention's window.
    """

    model: LoadedModel
    batch: Batch
    question: Question
    #: Whether components are patched too: the base run then keeps what that needs.
    patching: bool = False
    #: Padded tokens of a forward pass that takes several points of a path.
    tokens: int = 1

    @cached_property
    def cut(self) -> int:
        """The padded position from which on activations are kept: the first at which a pair differs."""
        return min(self.batch.starts) if self.model.shortcuts.prefix else 0

    @cached_property
    def readout(self) -> Readout:
        """How the metric is read; its rows are the batch's pairs."""
        return Readout.of(self.model, self.question.query.metric, self.batch.pairs)

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
        if self.readout.own is not None:
            # A function may read anything of its pair: no two pairs share a row.
            return Rows.of(self.batch, tokens, range(len(prompts)))
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
            shared = shared_prefix_length([prompts[pair] for pair in rows.first], self.cut)
        cache = KVCache.nothing() if self.cut else None
        if shared:
            lengths = [batch.pairs[pair].length for pair in rows.first]
            longest = max(rows.first, key=lambda pair: batch.pairs[pair].length)
            kv_cache = prefix_kv_cache(self.model, prompts[longest][:shared], lengths)
            cache = kv_cache.cache(shared, keep=True)
        # The other prompt's own activations are of no use where they are not what is put in.
        parts = self._parts if self.question.query.source == "pair" else frozenset[str]()
        with torch.no_grad():
            return run(self.model, rows, RunOptions(parts, start=shared, cache=cache, keep_from=self.cut))

    @cached_property
    def replacement(self) -> Replacement:
        """What is put into the base run."""
        if self.question.query.source == "pair":
            return OtherPrompt(self.source, self.source_rows)
        return Constant(self._vector, len(self.batch.pairs), self.batch.width - self.cut)

    def _vector(self, site: str, layer: int) -> Tensor:
        there = self.base.at(site, layer)
        if self.question.means is None:
            return there.new_zeros(there.shape[-1])
        return torch.as_tensor(self.question.means.vectors[site][layer]).to(there)

    @cached_property
    def base(self) -> Activations:
        """The base run; rows are `base_rows`."""
        with torch.no_grad():
            return self._run_base(grad=False)

    def base_with_graph(
        self, rules: Callable[[], None] | None = None, *, also: Collection[str] = ()
    ) -> Activations:
        """Make a base run with its graph, for one backward pass.

        `base_metric` is then this run's, with its graph, and `base` has the same numbers without. `rules` are
        `RunOptions.rules`. It keeps the activations of the sites `also`, beside those that are asked for.
        """
        with torch.enable_grad():
            made = self._run_base(grad=True, rules=rules, also=also)
            if "base" not in self.__dict__:
                self.base = made.detached()
            self.base_metric = self._metric_of(made)
        return made

    def _run_base(
        self, *, grad: bool, rules: Callable[[], None] | None = None, also: Collection[str] = ()
    ) -> Activations:
        parts = self._parts | parts_for(also)
        first = "base" not in self.__dict__
        if self.patching:
            parts |= {part for site in self.question.sites for part in SITES[site].patch_parts}
        # Patched copies continue from the base run, wherever their patch starts.
        keep = self.patching and first
        cache = KVCache.nothing() if keep and self.model.shortcuts.prefix else None
        if self.cut:
            cache = self.before_cut(self.base_rows.first, keep=keep)
        options = RunOptions(parts, grad=grad, start=self.cut, cache=cache, keep_from=self.cut, rules=rules)
        made = run(self.model, self.base_rows, options)
        if keep:
            self.source.kv_cache = None  # the base run's own has all of it
        return made

    def before_cut(self, pairs: Sequence[int], *, keep: bool = False) -> DynamicCache | None:
        """Return the KV cache for runs over these pairs, one row each; None if there is none.

        `keep` has the run leave its own there, too.
        """
        if not self.cut:
            return None
        kv_cache, rows = self.source.kv_cache, self.source_rows
        if kv_cache is None:
            kv_cache, rows = self.base.kv_cache, self.base_rows
        assert kv_cache is not None, "one of the two runs keeps what others start from"
        index = [rows.row_of[pair] for pair in pairs]
        in_order = index == list(range(len(rows.first)))
        return kv_cache.cache(self.cut, None if in_order else self._index(index), keep=keep)

    @property
    def _parts(self) -> frozenset[str]:
        return parts_for(self.question.sites)

    @cached_property
    def base_metric(self) -> Tensor:
        """The base run's metric, `[base row]`; after `base_with_graph` with that run's graph."""
        return self._metric_of(self.base)

    def _metric_of(self, base: Activations) -> Tensor:
        return self.measure(base.last, self._index(self.base_rows.first))

    def measure(self, last: Tensor, pairs: Tensor | None = None) -> Tensor:
        """Apply the metric to runs' `Activations.last`, of the given pairs; None: one row a pair."""
        return self.readout.measure(last, self._clean, pairs)

    @cached_property
    def _clean(self) -> Tensor | None:
        """The clean run's log-probabilities, `[pair, vocabulary]`; None where the metric reads none."""
        if not self.readout.needs_clean:
            return None
        clean, rows = (
            (self.source, self.source_rows) if self.question.denoises else (self.base, self.base_rows)
        )
        return rows.of_pairs(self.readout.log_probabilities(clean.last))

    def source_metric(self) -> Tensor:
        """The source run's metric, `[pair]`."""
        return self.measure(self.source_rows.of_pairs(self.source.last)).detach()

    def base_preference(self) -> Tensor:
        """The base run's `Readout.preference`, `[pair]`."""
        last = self.base_rows.of_pairs(self.base.last)
        return self.readout.preference(last).detach()

    def source_preference(self) -> Tensor:
        """The source run's `Readout.preference`, `[pair]`."""
        return self.readout.preference(self.source_rows.of_pairs(self.source.last)).detach()

    def _index(self, pairs: Sequence[int]) -> Tensor:
        return torch.tensor(pairs, device=self.model.device)
