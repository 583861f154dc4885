"""The engine: a loaded model that scores pairs and patches components."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from patchgrid.core.errors import ArgumentError
from patchgrid.core.graph import Graph
from patchgrid.core.means import Means
from patchgrid.core.query import Query, as_names
from patchgrid.core.types import Pair
from patchgrid.engine.call_signature import takes_settings
from patchgrid.engine.caller import Caller, check_pairs
from patchgrid.engine.calls import Call, OnBatch, ignore
from patchgrid.engine.checkpoint.provenance import ModelProvenance
from patchgrid.engine.checks.findings import Findings
from patchgrid.engine.checks.opening import open_in_memory, open_model
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.model.structure import text_type
from patchgrid.engine.modelcheck import ModelReport, check_model
from patchgrid.engine.patch_calls import Patching
from patchgrid.engine.results import Measured, Results
from patchgrid.engine.runs.averaging import average
from patchgrid.engine.selected_cells import ChooseByName, checked

_LOADED = "Engine(model, tokenizer) takes a model in memory"
_log = logging.getLogger(__name__)
#: One in this many of a batch's patches is repeated to measure rounding.
_ROUNDING_EVERY = 100


class Engine(Patching):
    """A loaded model that scores and patches.

    `Engine.load("openai-community/gpt2")` loads one; `Engine(model, tokenizer)` takes one that is in memory:
    a Hugging Face `PreTrainedModel`, or an nnsight model of one. The engine runs a copy of its modules over
    its own weights, in its number type, device and attention function; the model stays as it is, and can be
    used beside the engine. Make another engine after the weights, or their device, changed.

    One call at a time: nnsight's traces of one model cannot run in several threads at once: others wait.

    Parameters
    ----------
    model
        The model: decoder-only, or with a text decoder.
    tokenizer
        Its tokenizer; None: that of an nnsight model.
    name
        What results call it; None: the hub id or folder that it was loaded by.

    Raises
    ------
    ArgumentError
        No such model, or no tokenizer.
    ModelError
        The model cannot be measured as loaded (offloaded weights, an attention function without taps, an
        unknown architecture); the message says what to do.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, name: str | None = None) -> None:
        opened, provenance, findings = open_in_memory(model, tokenizer, name)
        self._set(opened, provenance, findings)

    @classmethod
    def _of(
        cls, model: LoadedModel, provenance: Callable[[], ModelProvenance], findings: Findings
    ) -> "Engine":
        engine = cls.__new__(cls)
        engine._set(model, provenance, findings)  # noqa: SLF001 (its own)
        return engine

    def _set(self, model: LoadedModel, provenance: Callable[[], ModelProvenance], findings: Findings) -> None:
        #: What checking the model found.
        self.findings = findings
        #: What the check on load measured.
        self.self_check = findings.self_check
        layout = model.layout.lacking("softmax", findings.no_softmax)
        self._provenance = provenance
        self._model = replace(
            model, layout=layout, transform=findings.transform, shortcuts=findings.shortcuts
        )
        self._caller = Caller(self._model)

    @cached_property
    def provenance(self) -> ModelProvenance:
        """Where this engine's numbers come from; a model that was in memory is hashed when asked for."""
        return self._provenance()

    @property
    def shortcuts(self) -> Shortcuts:
        """The ways to compute less that this model allows, and the engine takes."""
        return self._model.shortcuts

    def with_shortcuts(self, shortcuts: Shortcuts) -> "Engine":
        """Return an engine of the same model that takes these; one that the model does not allow is wrong."""
        return self._of(self._model, lambda: self.provenance, Findings.of(self._model, shortcuts))

    def __repr__(self) -> str:
        model, layout = self._model, self.layout
        return (
            f"<Engine of {model.name}: {text_type(model.envoy._module)}, "  # noqa: SLF001
            f"{layout.n_layers} layers, {layout.n_heads} heads, "
            f"{str(model.dtype).removeprefix('torch.')} on {model.device}>"
        )

    @classmethod
    def load(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        recheck: bool = False,
        on_check: Callable[[str], None] = _log.info,
    ) -> "Engine":
        """Load a model from a hub id or a local folder and check that it is understood.

        What the checks find is cached (`patchgrid.engine.checkpoint.disk_cache`): a later load of the same
        weights by the same versions onto the same device makes none.

        Parameters
        ----------
        name
            Hub id (`openai-community/gpt2`) or folder with config, tokenizer and safetensors.
        revision
            Branch, tag or commit on the hub.
        device
            `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`; `sharded`: layers over all GPUs.
        dtype
            `auto` (the checkpoint's own), `float32`, `bfloat16`, `float16`.
        recheck
            Make all checks, whatever is cached.
        on_check
            Takes a line that says that checks are made, where they are.

        Raises
        ------
        ModelError
            The model cannot be loaded, has an unknown architecture or fails the self-check.
        SpecError
            The device or number type does not exist.
        """
        if not isinstance(name, (str, os.PathLike)):
            raise ArgumentError(f"name must be a hub id or a folder, not {name!r}; {_LOADED}", "name")
        model, provenance, findings = open_model(
            os.fspath(name), revision=revision, device=device, dtype=dtype, recheck=recheck, on_check=on_check
        )
        return cls._of(model, lambda: provenance, findings)

    def check(self) -> ModelReport:
        """Tell what the model supports, and check its scores and patches on a few tokens."""
        with self._caller.lock, torch.inference_mode(mode=False):
            return check_model(self._model, self.self_check)

    @property
    def graph(self) -> Graph:
        """How the model's edges are named and numbered."""
        return self.layout.graph

    def check_query(self, query: Query) -> None:
        """Raise `SpecError`, which says what would work, for what this model does not support."""
        self._caller.check(query)

    @takes_settings
    def attribute(
        self,
        pairs: Sequence[Pair],
        query: Query | None = None,
        *,
        means: Means | None = None,
        keep_positions: bool = True,
        batch_tokens: int | None = None,
        on_batch: OnBatch = ignore,
        **settings: Any,
    ) -> Results:
        """Score every component of the sites for every pair.

        Parameters
        ----------
        query
            What is asked; None: the defaults, which are a job's.
        settings
            Settings of the query by name, the methods' options among them:
            `sites="z", method="ig,relp", steps=10, metric="logprob"`. See `Query` and
            `patchgrid.core.methods`.
        means
            For the source `mean`, what `means` gave; None: those of this call's pairs.
        keep_positions
            False: scores of sites with very many components (`mlp_post`, `edge`) are summed over positions.
        batch_tokens
            Padded tokens per batch; None: auto-tuned.
        on_batch
            Called after each batch with the number of pairs it finished, and with 0 after each pass through
            the model on the way there; what it raises ends the call.

        Returns
        -------
        One result a pair, in order. A pair that cannot be measured has its reason in `error` and no scores;
        one that `only_correct` leaves out is `skipped`.

        Raises
        ------
        SpecError
            An unknown setting, site, method, direction or metric, or one that the model does not support.
        """
        measured = self.measure(
            pairs,
            None,
            Query.of(query, **settings),
            means=means,
            keep_positions=keep_positions,
            batch_tokens=batch_tokens,
            on_batch=on_batch,
        )
        return Results(each.result for each in measured)

    @takes_settings
    def measure(
        self,
        pairs: Sequence[Pair],
        choose: ChooseByName | None,
        query: Query | None = None,
        *,
        means: Means | None = None,
        keep_positions: bool = True,
        batch_tokens: int | None = None,
        on_batch: OnBatch = ignore,
        **settings: Any,
    ) -> list[Measured]:
        """Score every component of the sites for every pair, and patch some of them exactly.

        `attribute` and `patch` in one, which tokenizes the pairs and makes the unpatched runs once.

        Parameters
        ----------
        choose
            Takes the places in `pairs` of a batch's pairs, and their scores; gives the components to patch in
            each, or their names, all at the query's sites. Not called for pairs that cannot be measured, and
            called again where memory runs out. None: patch nothing.
        on_batch
            Called after each forward pass with the number of pairs it finished, a fraction of its batch's;
            what it raises ends the call.

        The others are those of `attribute`.

        Returns
        -------
        One result a pair, in order. A pair that cannot be measured has its reason in `error`.

        Raises
        ------
        SpecError
            As `attribute`.
        ComponentError
            A component that the model, the pair or the query's sites do not have.
        """
        check_pairs(pairs)
        whole = Query.of(query, **settings)
        call = Call(
            self._model,
            self._caller.question(whole, means, keep_positions=keep_positions),
            None if choose is None else checked(choose, self.layout, whole.sites),
            self._caller.budget(batch_tokens),
            on_batch,
            rounding=_ROUNDING_EVERY,
        )
        return self._caller.run(call, pairs, whole.prepend_bos, range(len(pairs)))

    def run(
        self,
        pairs: Sequence[Pair],
        *,
        metric: str = "logit_diff",
        prepend_bos: bool | None = None,
        batch_tokens: int | None = None,
        on_batch: OnBatch = ignore,
    ) -> Results:
        """Run every pair's two prompts, unpatched, and score nothing: metrics and preferences alone.

        Returns
        -------
        One result a pair, in order; one that cannot be measured has `error` set and no numbers. `SpecError`
        for a metric that does not exist.
        """
        check_pairs(pairs)
        question = self._caller.question(Query(("resid_post",), (), metric))
        call = Call(self._model, question, None, self._caller.budget(batch_tokens), on_batch, only_run=True)
        return Results(each.result for each in self._caller.run(call, pairs, prepend_bos, range(len(pairs))))

    def means(
        self,
        pairs: Sequence[Pair],
        sites: Sequence[str],
        *,
        direction: str = "denoise",
        prepend_bos: bool | None = None,
        batch_tokens: int | None = None,
        on_batch: OnBatch = ignore,
    ) -> Means:
        """Average each site's activation over the pairs' source prompts, and over their positions.

        `resid_pre` is always among them: paths of integrated gradients lead to its mean. Pairs that cannot
        be measured are skipped; raises `SpecError` if none can.
        """
        question = self._caller.question(Query(as_names(sites), (), direction=direction, source="mean"))
        able = self._caller.tokenized(pairs, prepend_bos)
        budget = self._caller.budget(batch_tokens)
        with self._caller.alone(on_batch):
            return average(self._model, question, able, lambda: budget.tokens, on_batch)
