"""The edges of a model: what each of its parts adds to what a later part reads, named and numbered.

A sender is the model's input, a head or an MLP: what it writes is added to the residual stream. A reader is a
head's query, key or value, an MLP, or the logits. What a reader reads is the sum of all senders before it,
which are always the first ones of all senders.
"""

import bisect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from patchgrid.core.errors import ComponentError
from patchgrid.core.types import Component, parse_edge


@dataclass(frozen=True)
class Graph:
    """A model's senders and readers, and the edges between them: by reader, then by sender."""

    #: Blocks of the model.
    n_layers: int
    #: Heads of a layer.
    n_heads: int
    #: Key-value heads of a layer.
    n_kv_heads: int
    #: Whether a layer's MLP reads what its attention reads, and so none of its heads.
    parallel: bool = False
    #: Whether a layer's queries, keys and values are readers of their own, head by head; else its attention
    #: is one reader.
    split: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the graph as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Graph":
        """Read back what `as_dict` wrote."""
        return cls(**values)

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """What writes to the residual stream, in order: `input`, then a layer's heads and its MLP."""
        layers = (
            (*(f"a{layer}.h{head}" for head in range(self.n_heads)), f"m{layer}")
            for layer in range(self.n_layers)
        )
        return ("input", *itertools.chain.from_iterable(layers))

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """What reads the residual stream, in order: a layer's queries, keys, values, MLP; the logits last."""
        layers = ((*self._attention(layer), f"m{layer}") for layer in range(self.n_layers))
        return (*itertools.chain.from_iterable(layers), "logits")

    @cached_property
    def reads(self) -> tuple[int, ...]:
        """For each reader, the number of senders it reads: always the first ones."""
        return tuple(self._reads())

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """For each reader, the number of its first edge; at the end, the number of all edges."""
        return (0, *itertools.accumulate(self.reads))

    @property
    def count(self) -> int:
        """How many edges there are."""
        return self.offsets[-1]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All edges by name, `sender->reader`, in order."""
        both = zip(self.readers, self.reads, strict=True)
        return tuple(f"{sender}->{reader}" for reader, reads in both for sender in self.senders[:reads])

    def ends(self, number: int) -> tuple[int, int]:
        """Return the numbers of an edge's sender and of its reader."""
        if not 0 <= number < self.count:
            raise ComponentError(f"edge {number} is out of range (0 to {self.count - 1:,})")
        reader = bisect.bisect_right(self.offsets, number) - 1
        return number - self.offsets[reader], reader

    def name(self, number: int) -> str:
        """Return an edge's name."""
        sender, reader = self.ends(number)
        return f"{self.senders[sender]}->{self.readers[reader]}"

    def number_of(self, name: str) -> int:
        """Return the number of an edge; `ComponentError` for one that the model does not have."""
        sender_name, _, reader_name = name.partition("->")
        sender, reader = self._sender_numbers.get(sender_name), self._reader_numbers.get(reader_name)
        if sender is None or reader is None:
            parse_edge(name)  # raises for a name that is not an edge's
            lacking = sender_name if sender is None else reader_name
            raise ComponentError(f"the model has no edge {name}: {lacking} {self._why_not(sender is None)}")
        if sender >= self.reads[reader]:
            raise ComponentError(
                f"the model has no edge {name}: {sender_name} does not come before {reader_name}"
            )
        return self.offsets[reader] + sender

    def component(self, number: int, position: int | tuple[int, ...] | None = None) -> Component:
        """Name an edge, at a position or at all of them, for the engine."""
        return parse_edge(self.name(number), position)

    @cached_property
    def _sender_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.senders)}

    @cached_property
    def _reader_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.readers)}

    def _why_not(self, sends: bool) -> str:
        sizes = f"{self.n_layers} layers of {self.n_heads} heads ({self.n_kv_heads} key-value heads)"
        if sends:
            return f"is not a sender: senders are input, heads and MLPs of {sizes}"
        form = "a3.h2<q>" if self.split else "a3"
        return f"is not a reader: readers are {form}, m3 and logits, of {sizes}"

    def _attention(self, layer: int) -> Iterator[str]:
        if not self.split:
            yield f"a{layer}"
            return
        for what, heads in (("q", self.n_heads), ("k", self.n_kv_heads), ("v", self.n_kv_heads)):
            for head in range(heads):
                yield f"a{layer}.h{head}<{what}>"

    def _reads(self) -> Iterator[int]:
        for layer in range(self.n_layers):
            before = 1 + layer * (self.n_heads + 1)
            for _ in self._attention(layer):
                yield before
            yield before if self.parallel else before + self.n_heads
        yield len(self.senders)
