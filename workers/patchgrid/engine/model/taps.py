"""Taps: modules that a model's attention passes queries, keys and values through.

transformers' attention modules call a function that the configuration names. Ours hands queries, keys and
values (after rotary embedding and the norms on them, keys and values with those of the cache before them)
through one `Identity` each, then calls the function that the model would have called. nnsight, or a plain
hook, reads and replaces them there like any module's output.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from patchgrid.core.errors import ModelError
from patchgrid.engine.model.text_decoder import decoder_path

_log = logging.getLogger(__name__)

#: The sites, and the names of the modules that show them.
TAPS = {"q": "tap_q", "k": "tap_k", "v": "tap_v"}
#: The attention functions that can be tapped.
TAPPED = ("eager", "sdpa")
_PREFIX = "patchgrid_"
#: Attribute of an attention module that records its function's arguments.
_RECORD = "patchgrid_note"


@dataclass(frozen=True, slots=True)
class Heads:
    """How many heads the taps show, and their widths."""

    queries: int
    #: Fewer than queries where these are grouped.
    key_values: int
    #: Nothing but queries, keys and values leads from the stream to attention's output: no gate does.
    sole: bool


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """The arguments of an attention call besides queries, keys and values."""

    module: nn.Module
    #: bool (true: seen) or added to the logits, `[row, 1 or head, query position, key position]`.
    mask: Tensor | None
    #: Its further arguments, by name.
    options: dict[str, Any]


@contextmanager
def recorded_calls(attentions: Sequence[nn.Module]) -> Iterator[dict[int, AttentionCall]]:
    """Record the last call of each attention module's function, by the module's index, in a `with` block."""
    calls: dict[int, AttentionCall] = {}
    for place, attention in enumerate(attentions):
        setattr(attention, _RECORD, partial(calls.__setitem__, place))
    try:
        yield calls
    finally:
        for attention in attentions:
            delattr(attention, _RECORD)


def install(model: Any, attentions: list[nn.Module], projections: list[nn.Module]) -> Heads | None:
    """Add taps to a model's attention modules; None, and the model is as it was, where nothing passes them.

    What the model gives must be what it gave before, to the bit. `projections` are what attention's heads
    enter.
    """
    before = _Implementation.of(model)
    if before is None:
        return None
    plain = _logits(model)
    before.tap(attentions)
    try:
        heads, tapped = _heads(model, attentions)
        if heads is not None and torch.equal(tapped, plain):
            return Heads(*heads, sole=_are_sole(model, attentions, projections))
        _log.info("%s: queries, keys and values bypass its attention function", type(model).__name__)
    except Exception as error:  # noqa: BLE001 (whatever it is, this model's code goes another way)
        _log.debug("%s: taps: %s", type(model).__name__, error)
    before.restore()
    for attention in attentions:
        for name in TAPS.values():
            delattr(attention, name)
    return None


def put_in(model: Any, attentions: list[nn.Module]) -> None:
    """Add taps to a model in which `install` found them to show something before."""
    implementation = _Implementation.of(model)
    if implementation is None:
        raise ModelError(
            f"{type(model).__name__}'s attention function changed since it was checked; "
            "run `patchgrid model check`"
        )
    implementation.tap(attentions)


def attention_functions(model: Any) -> set[str]:
    """Return the names of the attention functions that a model's text decoder is configured with."""
    return {config._attn_implementation for config in _decoder_configs(model)} - {None}  # noqa: SLF001


def _decoder_configs(model: Any) -> list[Any]:
    decoder = model.get_submodule(decoder_path(model))
    configs = (getattr(module, "config", None) for module in decoder.modules())
    named = (config for config in configs if hasattr(config, "_attn_implementation"))
    return list({id(config): config for config in named}.values())


@dataclass(frozen=True, slots=True)
class _Implementation:
    """The attention function that a model's configurations name."""

    name: str
    configs: tuple[Any, ...]

    @classmethod
    def of(cls, model: Any) -> "_Implementation | None":
        names = attention_functions(model)
        if len(names) != 1 or not names <= set(TAPPED):
            return None
        configs = _decoder_configs(model)
        return cls(names.pop(), tuple(each for each in configs if each._attn_implementation))  # noqa: SLF001

    def tap(self, attentions: list[nn.Module]) -> None:
        for attention in attentions:
            for name in TAPS.values():
                attention.add_module(name, nn.Identity())
        tapped = _PREFIX + self.name
        AttentionInterface.register(tapped, _through_taps(self.name))
        AttentionMaskInterface.register(tapped, ALL_MASK_ATTENTION_FUNCTIONS[self.name])
        self._set(tapped)

    def restore(self) -> None:
        self._set(self.name)

    def _set(self, name: str) -> None:
        for config in self.configs:
            config._attn_implementation = name  # noqa: SLF001


def _through_taps(name: str) -> Callable[..., Any]:
    """Return an attention function that passes its inputs through taps, then calls the one of this name."""

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        **options: Any,
    ) -> Any:
        if hasattr(module, TAPS["q"]):
            query, key, value = (
                getattr(module, tap)(tensor)
                for tap, tensor in zip(TAPS.values(), (query, key, value), strict=True)
            )
        if hasattr(module, _RECORD):
            getattr(module, _RECORD)(AttentionCall(module, attention_mask, options))
        # Each modelling file has an eager function, and may have its own table of the others.
        own = sys.modules[type(module).__module__]
        table = getattr(own, "ALL_ATTENTION_FUNCTIONS", ALL_ATTENTION_FUNCTIONS)
        function = table.get_interface(name, getattr(own, "eager_attention_forward", None))
        return function(module, query, key, value, attention_mask, **options)

    return attention


@contextmanager
def _seen(attentions: list[nn.Module]) -> Iterator[list[list[tuple[int, ...]]]]:
    """Yield the shapes that pass each attention module's taps, filled while it is open."""
    shapes: list[list[tuple[int, ...]]] = [[] for _ in attentions]
    handles = [
        getattr(attention, name).register_forward_hook(
            lambda _module, _args, output, seen=seen: seen.append(tuple(output.shape))
        )
        for attention, seen in zip(attentions, shapes, strict=True)
        for name in TAPS.values()
    ]
    try:
        yield shapes
    finally:
        for handle in handles:
            handle.remove()


def _heads(model: Any, attentions: list[nn.Module]) -> tuple[tuple[int, int] | None, Tensor]:
    with _seen(attentions) as shapes:
        logits = _logits(model)
    if any(len(seen) != len(TAPS) or any(len(shape) != 4 for shape in seen) for seen in shapes):
        return None, logits
    head_counts = {(q[1], k[1], v[1]) for q, k, v in shapes}
    queries, keys, values = head_counts.pop()
    return ((queries, keys) if not head_counts and keys == values else None), logits


def _are_sole(model: Any, attentions: list[nn.Module], projections: list[nn.Module]) -> bool:
    """Cut the graph at the taps, and see whether what the projections take still depends on the stream."""
    depends: list[bool] = []

    def note(_module: Any, args: tuple[Any, ...]) -> None:
        depends.append(args[0].requires_grad)

    handles = [
        getattr(attention, name).register_forward_hook(lambda _module, _args, output: output.detach())
        for attention in attentions
        for name in TAPS.values()
    ]
    handles += [projection.register_forward_pre_hook(note) for projection in projections]
    embedded = model.get_input_embeddings().register_forward_hook(
        # A copy: CTRL writes into it, which a leaf of the graph would not bear.
        lambda _module, _args, output: output.detach().requires_grad_().clone()
    )
    try:
        with torch.enable_grad():
            _run(model)
    finally:
        for handle in (*handles, embedded):
            handle.remove()
    return not any(depends)


@torch.no_grad()
def _logits(model: Any) -> Tensor:
    return _run(model)


def _run(model: Any) -> Tensor:
    """Logits of two short rows, one of them padded on the left."""
    embeddings = model.get_input_embeddings()
    device = embeddings.weight.device
    ids = (torch.arange(8, device=device) * 7 % embeddings.num_embeddings).view(2, 4)
    mask = torch.ones_like(ids)
    mask[1, 0] = 0
    logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits
