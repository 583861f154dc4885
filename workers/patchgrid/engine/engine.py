"""The engine: a loaded model that scores pairs and patches components."""

import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from patchgrid.engine import names
from patchgrid.engine.batches import fill, make_batch
from patchgrid.engine.errors import ComponentError, PairError, SpecError
from patchgrid.engine.layout import Layout
from patchgrid.engine.loading import LoadedModel, load_model
from patchgrid.engine.memory import in_halves, is_out_of_memory
from patchgrid.engine.methods import METHODS, BatchScores, Question
from patchgrid.engine.patching import Copy, effects
from patchgrid.engine.provenance import ModelProvenance, model_provenance
from patchgrid.engine.results import PairResult
from patchgrid.engine.selfcheck import SelfCheck, check_parts
from patchgrid.engine.tokens import PairTokenizer, TokenPair, token_texts
from patchgrid.engine.types import Component, Pair

#: Padded tokens of a batch, by device: what was fastest on a CPU, and what fills a GPU.
_BATCH_TOKENS = {"cpu": 512, "cuda": 16_384}
_DEFAULT_SITES = ("resid_post", "attn_out", "mlp_out", "z")

#: A cell: place of the pair in the caller's list, and the component patched.
Cell = tuple[int, Component]
#: Takes the number of pairs that a forward pass finished: a fraction where a batch takes several.
OnBatch = Callable[[float], None]


def _ignore(_finished: float) -> None:
    pass


class Engine:
    """A loaded model that scores and patches; `Engine.load` makes one.

    One call at a time: nnsight's traces of one model cannot run in several threads at once, so calls from
    other threads wait.
    """

    def __init__(self, model: LoadedModel, provenance: ModelProvenance) -> None:
        self._model = model
        self._one_at_a_time = threading.Lock()
        #: Where this engine's numbers come from.
        self.provenance = provenance
        #: What the check on load measured.
        self.self_check: SelfCheck = check_parts(model)

    @classmethod
    def load(
        cls, name: str, *, revision: str | None = None, device: str = "auto", dtype: str = "auto"
    ) -> "Engine":
        """Load a model from a hub id or a local folder and check that it is understood.

        Parameters
        ----------
        name
            Hub id (`openai-community/gpt2`) or folder with config, tokenizer and safetensors.
        revision
            Branch, tag or commit on the hub.
        device
            `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`.
        dtype
            `auto` (the checkpoint's own), `float32`, `bfloat16`, `float16`.

        Raises
        ------
        ModelError
            The model cannot be loaded, has an unknown architecture or fails the self-check.
        SpecError
            The device or number type does not exist.
        """
        model, hugging_face = load_model(name, revision=revision, device=device, dtype=dtype)
        return cls(model, model_provenance(name, hugging_face, model.device, revision))

    @property
    def layout(self) -> Layout:
        """The model's layers, heads, sizes and sites."""
        return self._model.layout

    def attribute(
        self,
        pairs: Sequence[Pair],
        *,
        sites: Sequence[str] = _DEFAULT_SITES,
        method: str = "atp",
        direction: str = "denoise",
        metric: str = "logit_diff",
        prepend_bos: bool | None = None,
        batch_tokens: int | None = None,
        on_batch: OnBatch = _ignore,
    ) -> list[PairResult]:
        """Score every component of the sites for every pair.

        Parameters
        ----------
        direction
            `denoise` patches clean into the corrupted run, `noise` corrupted into the clean run.
        prepend_bos
            Put a BOS before each prompt; None: as the tokenizer does by itself.
        batch_tokens
            Padded tokens of one batch; None chooses by device.
        on_batch
            Called after each batch with the number of pairs it finished; what it raises ends the call.

        Returns
        -------
        One result a pair, in order. A pair that cannot be measured has its reason in `error` and no scores.

        Raises
        ------
        SpecError
            An unknown site, method, direction or metric, or one that the model does not have.
        """
        names.check_name("method", method, tuple(METHODS))
        question = self._question(sites, metric, direction)
        results = [_failed("not measured")] * len(pairs)

        def fail(index: int, reason: str) -> None:
            results[index] = _failed(reason)

        def score(group: Sequence[TokenPair]) -> None:
            batch = make_batch(group, self._model.pad, self._model.device)
            scores = METHODS[method](self._model, batch, question)
            for pair, result in zip(group, self._unpack(group, batch.width, scores), strict=True):
                results[pair.index] = result
            on_batch(len(group))

        self._in_batches(self._tokenize(pairs, prepend_bos, fail), batch_tokens, score, fail)
        return results

    def patch(
        self,
        pairs: Sequence[Pair],
        components: Sequence[Component],
        *,
        direction: str = "denoise",
        metric: str = "logit_diff",
        prepend_bos: bool | None = None,
        batch_tokens: int | None = None,
    ) -> NDArray[np.float32]:
        """Patch every component in every pair exactly.

        Returns
        -------
        float32 `[pair, component]`: metric(patched run) - metric(base run), in metric units.

        Raises
        ------
        PairError
            A pair cannot be measured; none is then.
        ComponentError
            A component that the model or a pair does not have.
        """
        cells = [(index, component) for index in range(len(pairs)) for component in components]
        values, errors = self.patch_cells(
            pairs,
            cells,
            direction=direction,
            metric=metric,
            prepend_bos=prepend_bos,
            batch_tokens=batch_tokens,
        )
        if errors:
            index, reason = min(errors.items())
            raise PairError(f"pair {pairs[index].id or index}: {reason}")
        return values.reshape(len(pairs), len(components))

    def patch_cells(
        self,
        pairs: Sequence[Pair],
        cells: Sequence[Cell],
        *,
        direction: str = "denoise",
        metric: str = "logit_diff",
        prepend_bos: bool | None = None,
        batch_tokens: int | None = None,
        on_batch: OnBatch = _ignore,
    ) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Patch chosen (pair, component) cells exactly.

        `on_batch` is called after each forward pass of patched copies with the number of pairs it finished,
        a fraction of its batch's; what it raises ends the call.

        Returns
        -------
        float32 `[cell]` effects, NaN in pairs that could not be measured, and those pairs' reasons.
        """
        for index, component in dict.fromkeys(cells):
            self.layout.check_component(component)
            if not 0 <= index < len(pairs):
                raise ComponentError(f"cell of pair {index}: there are pairs 0 to {len(pairs) - 1}")
        if not cells:
            return np.empty(0, dtype=np.float32), {}
        sites = tuple(dict.fromkeys(component.site for _, component in cells))
        question = self._question(sites, metric, direction)
        values = np.full(len(cells), np.nan, dtype=np.float32)
        errors: dict[int, str] = {}
        places: dict[int, list[int]] = {index: [] for index, _ in cells}
        for place, (index, _) in enumerate(cells):
            places[index].append(place)
        good = self._tokenize(pairs, prepend_bos, errors.__setitem__)
        budget = self._budget(batch_tokens)

        def measure(group: Sequence[TokenPair]) -> None:
            batch = make_batch(group, self._model.pad, self._model.device)
            chosen = [(row, place) for row, pair in enumerate(group) for place in places[pair.index]]
            copies = [Copy(row, cells[place][1]) for row, place in chosen]
            left = float(len(group))

            def on_forward(count: int) -> None:
                nonlocal left
                left -= len(group) * count / len(copies)
                on_batch(len(group) * count / len(copies))

            found = effects(self._model, batch, copies, question, budget, on_forward)
            values[[place for _, place in chosen]] = found.numpy()
            on_batch(left)

        wanted = [pair for pair in good if pair.index in places]
        self._in_batches(wanted, batch_tokens, measure, errors.__setitem__)
        for place in np.flatnonzero(~np.isfinite(values)).tolist():
            index, component = cells[place]
            errors.setdefault(index, f"the effect of {component.name} is not finite")
        return values, errors

    def _question(self, sites: Sequence[str], metric: str, direction: str) -> Question:
        sites = (sites,) if isinstance(sites, str) else tuple(sites)
        if not sites:
            raise SpecError(f"no site given: this model has {', '.join(self.layout.sites)}")
        self.layout.check_sites(sites)
        names.check_name("metric", metric, names.METRICS)
        names.check_name("direction", direction, names.DIRECTIONS)
        return Question(sites, metric, direction)

    def _budget(self, batch_tokens: int | None) -> int:
        if batch_tokens is None:
            return _BATCH_TOKENS.get(self._model.device.type, _BATCH_TOKENS["cpu"])
        if batch_tokens < 1:
            raise SpecError(f"batch_tokens must be at least 1, not {batch_tokens}")
        return batch_tokens

    def _tokenize(
        self, pairs: Iterable[Pair], prepend_bos: bool | None, fail: Callable[[int, str], None]
    ) -> list[TokenPair]:
        """Tokenize the pairs that can be; `fail` takes the others."""
        model = self._model
        tokenizer = PairTokenizer(
            model.tokenizer,
            vocabulary=model.vocabulary,
            context=model.layout.context,
            prepend_bos=prepend_bos,
        )
        good = []
        for index, pair in enumerate(pairs):
            try:
                good.append(tokenizer(pair, index))
            except PairError as error:
                fail(index, str(error))
        return good

    def _in_batches(
        self,
        pairs: Sequence[TokenPair],
        batch_tokens: int | None,
        work: Callable[[Sequence[TokenPair]], None],
        fail: Callable[[int, str], None],
    ) -> None:
        """Run `work` on batches, halved where memory runs out; `fail` takes a pair too large alone."""

        def guarded(group: Sequence[TokenPair]) -> None:
            try:
                work(group)
            except RuntimeError as error:
                if len(group) > 1 or not is_out_of_memory(error):
                    raise
                fail(group[0].index, f"out of memory with this pair alone ({group[0].length} tokens)")

        with self._one_at_a_time, torch.inference_mode(mode=False):
            for group in fill(pairs, self._budget(batch_tokens), self.layout.short_context):
                in_halves(guarded, group)

    def _unpack(self, group: Sequence[TokenPair], width: int, batch: BatchScores) -> list[PairResult]:
        """Cut each pair's own positions out of the padded batch."""
        arrays = {site: scores.cpu().numpy() for site, scores in batch.scores.items()}
        clean, corrupted = batch.clean_metric.tolist(), batch.corrupted_metric.tolist()
        results = []
        for row, pair in enumerate(group):
            if not (np.isfinite(clean[row]) and np.isfinite(corrupted[row])):
                results.append(_failed(_not_finite(clean[row])))
                continue
            scores = {
                site: np.ascontiguousarray(array[row, :, width - pair.length :])
                for site, array in arrays.items()
            }
            tokens, corrupted_tokens = (
                token_texts(self._model.tokenizer, ids) for ids in (pair.clean, pair.corrupted)
            )
            results.append(
                PairResult(scores, clean[row], corrupted[row], tokens, corrupted_tokens, warning=pair.warning)
            )
        return results


def _not_finite(clean_metric: float) -> str:
    side = "corrupted" if np.isfinite(clean_metric) else "clean"
    return f"the metric of the {side} run is not finite: the model's logits are NaN or infinite"


def _failed(reason: str) -> PairResult:
    return PairResult(error=reason)
