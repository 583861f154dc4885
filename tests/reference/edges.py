"""Edge scores and path patching with plain PyTorch hooks: a forward, and a backward, for each reader.

A reader's input is changed, and nothing else's: its block is run once more on the changed stream, what the
reader gave there is noted, and the run goes on with that in its place.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from patchgrid.core.graph import Graph
from reference.patching import Array, Reference, Run
from reference.sites import by_position, last_logits, places, visiting


class EdgeReference:
    """One pair's edges: exact effects, and scores at the base run or along the path to the source."""

    def __init__(self, reference: Reference, graph: Graph) -> None:
        self.reference, self.graph = reference, graph
        self._model = reference.model

    def scores(self, metric: str, fractions: Sequence[float] = (0.0,)) -> Array:
        """Score every edge: `[edge, position]`, gradients averaged over points of the input's path."""
        found = [self._scores_at(metric, fraction) for fraction in fractions]
        return np.asarray(np.mean(found, axis=0))

    def effects(
        self, names: Sequence[str], metric: str, positions: Sequence[int], share: float = 1.0
    ) -> Array:
        """Patch each edge exactly at these positions, with its sender moved a share of the way: `[edge]`.

        Edges of one reader are patched side by side, a row each.
        """
        sent: dict[str, Tensor] = {}
        by_reader: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            sender, reader = name.split("->")
            by_reader.setdefault(reader, []).append(number)
            if sender not in sent:
                sent[sender] = torch.zeros_like(change := self._sent(sender, share))
                sent[sender][list(positions)] = change[list(positions)]
        measure, found = self.reference.metric(metric), np.zeros(len(names))
        with torch.no_grad():
            before = measure(self.reference.base.logits)
            for reader, numbers in by_reader.items():
                changes = torch.stack([sent[names[number].split("->")[0]] for number in numbers])
                for number, logits in zip(numbers, self._logits(reader, changes), strict=True):
                    found[number] = float(measure(logits) - before)
        return found

    def _scores_at(self, metric: str, fraction: float) -> Array:
        here, first = self._run_at(fraction)
        found = np.zeros((self.graph.count, len(self.reference.base_ids)))
        for number, reader in enumerate(self.graph.readers):
            change = torch.zeros_like(first, requires_grad=True)
            value = self.reference.metric(metric)(self._logits(reader, change[None], first)[0])
            [gradient] = torch.autograd.grad(value, change)
            begin = self.graph.offsets[number]
            for sender in range(self.graph.reads[number]):
                found[begin + sender] = self._score(here, self.graph.senders[sender], gradient)
        return found

    def _score(self, here: Run, sender: str, gradient: Tensor) -> Array:
        site, layer, head = _sender(sender)
        change = self._change(site, layer)
        if site == "z":
            z, out = here.activations["z", layer], here.activations["attn_out", layer]
            [gradient] = torch.autograd.grad(out, z, gradient.view(out.shape), retain_graph=True)
            gradient = by_position("z", gradient, self.reference.heads)[:, head]
            change = change[:, head]
        return (gradient * change).sum(-1).detach().double().numpy()

    def _change(self, site: str, layer: int) -> Tensor:
        """Source minus base at all positions."""
        both = (run.activations[site, layer].detach() for run in (self.reference.source, self.reference.base))
        source, base = (by_position(site, values, self.reference.heads) for values in both)
        return source - base

    def _sent(self, sender: str, share: float) -> Tensor:
        """What a sender adds to the stream more than in the base run, `[position, d_model]`."""
        site, layer, head = _sender(sender)
        change = share * self._change(site, layer)
        if site != "z":
            return change
        seen: list[Tensor] = []

        def move(site: str, _layer: int, tensor: Tensor) -> None:
            if site == "z":
                by_position("z", tensor, self.reference.heads)[:, head] += change[:, head]
            elif site == "attn_out":
                seen.append(by_position(site, tensor.clone(), self.reference.heads))

        with torch.no_grad(), visiting(self._model, move, only=layer):
            last_logits(self._model, [self.reference.base_ids])
        base = self.reference.base.activations["attn_out", layer].detach()
        return seen[0] - by_position("attn_out", base, self.reference.heads)

    def _run_at(self, fraction: float) -> tuple[Run, Tensor]:
        """Run the base prompt with its input moved so far to the source's; give that input, too."""
        first = self.reference.base.activations["resid_pre", 0].detach()[0]
        first = first + fraction * self._change("resid_pre", 0)
        seen: dict[tuple[str, int], Tensor] = {}

        def keep(site: str, layer: int, tensor: Tensor) -> None:
            seen[site, layer] = tensor

        with _starting_with(self._model, first), visiting(self._model, keep):
            logits = last_logits(self._model, [self.reference.base_ids])[0]
        return Run(logits, seen), first

    def _logits(self, reader: str, changes: Tensor, first: Tensor | None = None) -> Tensor:
        """Run the base prompt once for each change to what a reader reads, `[change, position, d_model]`."""
        with ExitStack() as stack:
            if first is not None:
                stack.enter_context(_starting_with(self._model, first))
            stack.enter_context(_reading(self._model, reader, changes))
            return last_logits(self._model, [self.reference.base_ids] * len(changes))


def _sender(name: str) -> tuple[str, int, int]:
    """Site, layer and head (0 where there is none) of a sender."""
    if name == "input":
        return "resid_pre", 0, 0
    layer, _, head = name[1:].partition(".h")
    return ("z" if head else "mlp_out"), int(layer), int(head or 0)


@contextmanager
def _starting_with(model: Any, first: Tensor) -> Iterator[None]:
    """Have the first block read this stream, `[position, d_model]`, in its first run."""
    block = model.get_submodule(places(model).blocks)[0]
    streams = [first[None]]

    def put(_block: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (streams.pop(), *args[1:]) if streams else args

    with _hooked(block.register_forward_pre_hook(put)):
        yield


@contextmanager
def _reading(model: Any, reader: str, change: Tensor) -> Iterator[None]:
    """Have one reader read the stream with a change of each prompt, `[prompt, position, d_model]`."""
    where, blocks = places(model), model.get_submodule(places(model).blocks)
    if reader == "logits":

        def add(_block: Any, _args: Any, output: Any) -> Any:
            return (output[0] + change, *output[1:]) if isinstance(output, tuple) else output + change

        with _hooked(blocks[-1].register_forward_hook(add)):
            yield
        return
    layer, _, inner = reader[1:].partition(".h")
    block = blocks[int(layer)]
    if reader[0] == "m" and where.after_attention is not None:
        norm = block.get_submodule(where.after_attention)
        with _hooked(norm.register_forward_pre_hook(lambda _norm, args: (_added(args[0], change),))):
            yield
        return
    again = _Again(block, change)
    if inner:
        head, site = int(inner.partition("<")[0]), inner[-2]
        with _exchanged_attention(model, int(layer), again, site, head), again.running():
            yield
        return
    part = block.get_submodule(where.mlp_out if reader[0] == "m" else where.attn_out)
    with _hooked(part.register_forward_hook(again.exchange)), again.running():
        yield


def _added(tensor: Tensor, change: Tensor) -> Tensor:
    return tensor + change.view(tensor.shape)


class _Again:
    """A block that is run a second time, before its own run, on the changed stream."""

    def __init__(self, block: Any, change: Tensor) -> None:
        self._block, self._change = block, change
        self.second = False
        self.noted: Any = None

    @contextmanager
    def running(self) -> Iterator[None]:
        with _hooked(self._block.register_forward_pre_hook(self._run, with_kwargs=True)):
            yield

    def _run(self, block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.second:
            self.second = True
            block(_added(args[0], self._change), *args[1:], **kwargs)
            self.second = False

    def exchange(self, _part: Any, _args: Any, output: Any) -> Any:
        """Note what a part gives on the changed stream, and give it in the own run."""
        if self.second:
            # Falcon's blocks write into it.
            first, *others = output if isinstance(output, tuple) else (output,)
            self.noted = (first.clone(), *others) if others else first.clone()
            return output
        return self.noted


@contextmanager
def _exchanged_attention(model: Any, layer: int, again: _Again, site: str, head: int) -> Iterator[None]:
    """Have a layer's attention take one head of one input from the run on the changed stream."""
    own = sys.modules[type(model).__module__]
    place = "qkv".index(site)

    def taking(function: Any) -> Any:
        def attention(module: Any, *args: Any, **kwargs: Any) -> Any:
            if module.layer_idx != layer:
                return function(module, *args, **kwargs)
            inputs = list(args)
            if again.second:
                again.noted = inputs[place]
            else:
                heads = torch.arange(inputs[place].shape[1]).view(1, -1, 1, 1)
                inputs[place] = torch.where(heads == head, again.noted, inputs[place])
            return function(module, *inputs, **kwargs)

        return attention

    eager, table = own.eager_attention_forward, ALL_ATTENTION_FUNCTIONS._global_mapping
    sdpa = table["sdpa"]
    own.eager_attention_forward, table["sdpa"] = taking(eager), taking(sdpa)
    try:
        yield
    finally:
        own.eager_attention_forward, table["sdpa"] = eager, sdpa


@contextmanager
def _hooked(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()
