"""Sets of edges with plain PyTorch hooks: the whole model is run again until nothing changes any more.

In each run every reader reads the run's own stream plus a change; the changes are then made anew from what
the senders gave in it. With each run one more attention or MLP is what it is in the end.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from reference.edges import EdgeReference, _added, _hooked, _reading, _sender
from reference.patching import Array
from reference.sites import by_position, last_logits, places, visiting

Changes = Mapping[str, Tensor]
_Seen = dict[tuple[str, int], Tensor]


class EdgeSetReference(EdgeReference):
    """One pair's sets of edges."""

    def of_sets(self, sets: Sequence[Sequence[str]], metric: str) -> Array:
        """Patch each set exactly: effects `[set]`."""
        measure = self.reference.metric(metric)
        with torch.no_grad():
            before = measure(self.reference.base.logits)
            return np.array([float(measure(self._with_set(each)) - before) for each in sets])

    def _with_set(self, edges: Sequence[str]) -> Tensor:
        by_reader: dict[str, list[str]] = {}
        for edge in edges:
            sender, reader = edge.split("->")
            by_reader.setdefault(reader, []).append(sender)
        changes: dict[str, Tensor] = {}
        for _ in range(2 * self.graph.n_layers + 1):
            _, seen = self._run(changes)
            changes = {
                reader: sum(
                    (self._sent_by(some, changes, seen) for some in _by_layer(senders)), torch.zeros(1)
                )
                for reader, senders in by_reader.items()
            }
        return self._run(changes)[0]

    def _sent_by(self, senders: Sequence[str], changes: Changes, seen: _Seen) -> Tensor:
        """What senders of one layer and site add more than they do in a run with these changes."""
        heads = [_sender(sender)[2] for sender in senders]
        site, layer, _ = _sender(senders[0])
        source = self._rows(site, self.reference.source.activations[site, layer].detach())
        if site != "z":
            return source - self._rows(site, seen[site, layer])

        def move(site: str, tensor: Tensor) -> None:
            if site == "z":
                self._rows("z", tensor)[:, heads] = source[:, heads]

        _, moved = self._run(changes, (layer, move))
        return self._rows("attn_out", moved["attn_out", layer]) - self._rows(
            "attn_out", seen["attn_out", layer]
        )

    def _rows(self, site: str, tensor: Tensor) -> Tensor:
        return by_position(site, tensor, self.reference.heads)

    def _run(self, changes: Changes, move: tuple[int, Any] | None = None) -> tuple[Tensor, _Seen]:
        """Run the base prompt with a change to what each reader reads; give what the senders gave."""
        seen: _Seen = {}
        with _readers(self._model, changes) as noting:

            def visit(site: str, layer: int, tensor: Tensor) -> None:
                # Attention that is one reader gives its heads in the run on its own stream.
                whole = f"a{layer}" in changes and site == "z"
                if noting != ([f"a{layer}"] if whole else []):
                    return
                if move is not None and layer == move[0]:
                    move[1](site, tensor)
                seen[site, layer] = tensor.clone()

            with visiting(self._model, visit):
                return last_logits(self._model, [self.reference.base_ids])[0], seen


def _by_layer(senders: Sequence[str]) -> list[list[str]]:
    """Put heads of a layer together: where a norm follows them, they act together."""
    found: dict[tuple[str, int], list[str]] = {}
    for sender in senders:
        found.setdefault(_sender(sender)[:2], []).append(sender)
    return list(found.values())


@contextmanager
def _readers(model: Any, changes: Changes) -> Iterator[list[str]]:
    """Have readers read changed streams, all in one run; give the reader that a block is run again for."""
    where, blocks = places(model), model.get_submodule(places(model).blocks)
    noting: list[str] = []
    noted: dict[str, Any] = {}
    again: dict[int, list[str]] = {}
    with ExitStack() as stack:
        for reader, change in changes.items():
            simple = reader == "logits" or (reader[0] == "m" and where.after_attention is not None)
            if simple:
                stack.enter_context(_reading(model, reader, change[None]))
                continue
            layer = int(reader[1:].partition(".")[0])
            again.setdefault(layer, []).append(reader)
            if "." not in reader:
                part = blocks[layer].get_submodule(where.mlp_out if reader[0] == "m" else where.attn_out)
                stack.enter_context(_hooked(part.register_forward_hook(_exchange(reader, noting, noted))))
        for layer, readers in again.items():

            def run(
                block: Any, args: tuple[Any, ...], kwargs: dict[str, Any], readers: list[str] = readers
            ) -> None:
                if noting:
                    return
                for reader in readers:
                    noting.append(reader)
                    block(_added(args[0].clone(), changes[reader][None]), *args[1:], **kwargs)
                    noting.clear()

            hook = blocks[layer].register_forward_pre_hook(run, with_kwargs=True)
            stack.enter_context(_hooked(hook))
        stack.enter_context(_exchanged(model, noting, noted, again))
        yield noting


def _exchange(reader: str, noting: list[str], noted: dict[str, Any]) -> Any:
    def exchange(_part: Any, _args: Any, output: Any) -> Any:
        first, *others = output if isinstance(output, tuple) else (output,)
        if noting == [reader]:
            noted[reader] = (first.clone(), *others) if others else first.clone()
        return output if noting else noted.get(reader, output)

    return exchange


@contextmanager
def _exchanged(
    model: Any, noting: list[str], noted: dict[str, Any], again: Mapping[int, Sequence[str]]
) -> Iterator[None]:
    """Have attention take the heads of its inputs that readers were run again for."""
    own = sys.modules[type(model).__module__]

    def taking(function: Any) -> Any:
        def attention(module: Any, *args: Any, **kwargs: Any) -> Any:
            inputs = list(args)
            for reader in again.get(module.layer_idx, ()):
                _, dot, inner = reader.partition(".h")
                if not dot:
                    continue
                place, head = "qkv".index(inner[-2]), int(inner.partition("<")[0])
                if noting == [reader]:
                    noted[reader] = inputs[place].clone()
                elif not noting:
                    heads = torch.arange(inputs[place].shape[1]).view(1, -1, 1, 1)
                    inputs[place] = torch.where(heads == head, noted[reader], inputs[place])
            return function(module, *inputs, **kwargs)

        return attention

    eager, table = getattr(own, "eager_attention_forward", None), ALL_ATTENTION_FUNCTIONS._global_mapping
    sdpa = table["sdpa"]
    table["sdpa"] = taking(sdpa)
    if eager is not None:
        own.eager_attention_forward = taking(eager)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        table["sdpa"] = sdpa
        if eager is not None:
            own.eager_attention_forward = eager  # type: ignore[attr-defined]
