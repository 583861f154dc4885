"""The plain types that cross patchgrid's parts: no torch here."""

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from patchgrid.core import names
from patchgrid.core.errors import ComponentError, PairError, PatchgridError
from patchgrid.core.spec import JobSpec as JobSpec


@dataclass(frozen=True, slots=True)
class TokenText:
    """An answer given as the text of one vocabulary entry, whatever the prompt ends with."""

    #: Text that the tokenizer turns, by itself, into exactly one token.
    text: str


@dataclass(frozen=True, slots=True)
class TokenPiece:
    """An answer given as the vocabulary itself writes an entry: `Ġthe`, `▁the`, `##ing`."""

    #: The entry's key in the tokenizer's vocabulary.
    piece: str


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A token range counted from the first token of the text, not from the first of the prompt.

    What a tokenizer puts before a text (a BOS) is not counted, so it fits models with and without one.
    """

    #: First token, from 0.
    start: int
    #: The token behind the last.
    stop: int


#: An answer: a token id, the text that would follow the prompt, or a vocabulary entry by its text or piece.
Answer = int | str | TokenText | TokenPiece
#: A token range `(start, stop)`, or one that does not count what stands before the text.
Span = tuple[int, int] | TextSpan


def place_spans(spans: Mapping[str, Span] | None, prefix: int) -> dict[str, tuple[int, int]]:
    """Give spans as token ranges of a prompt that has `prefix` tokens before its text."""
    return {
        name: (span.start + prefix, span.stop + prefix) if isinstance(span, TextSpan) else span
        for name, span in (spans or {}).items()
    }


@dataclass(frozen=True, slots=True)
class Pair:
    """A clean prompt, a corrupted prompt of the same token length, and the answers told apart.

    `correct` and `incorrect` may be given as one answer or several.
    """

    #: The prompt on which the model shows the behaviour.
    clean: str
    #: The prompt that differs in what the behaviour depends on.
    corrupted: str
    #: The answer or answers that fit the clean prompt.
    correct: tuple[Answer, ...]
    #: The answer or answers they are compared with.
    incorrect: tuple[Answer, ...]
    #: The name given in the input, or None: the row number stands for it.
    id: str | None = None
    #: Named token ranges `(start, stop)`, the same in both prompts, a BOS counted but in a `TextSpan`.
    spans: Mapping[str, Span] | None = None

    def __post_init__(self) -> None:
        for name in ("clean", "corrupted"):
            if not isinstance(getattr(self, name), str):
                raise PairError(f"{name} must be text, not {getattr(self, name)!r}")
        for name in ("correct", "incorrect"):
            object.__setattr__(self, name, _answers(name, getattr(self, name)))


def _answers(name: str, value: object) -> tuple[Answer, ...]:
    """Make one answer or several a tuple; numpy's whole numbers are token ids too."""
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    written = str | TokenText | TokenPiece
    answers = tuple(
        answer if isinstance(answer, written) else _whole(answer, PairError, f"{name} answer")
        for answer in several
    )
    if not answers:
        raise PairError(f"no {name} answer given")
    return answers


def _whole(value: object, error: type[PatchgridError], what: str) -> int:
    """Read a whole number, numpy's included; True and 1.0 are none."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise error(f"{what} {value!r} is not a whole number")
    return operator.index(value)


@dataclass(frozen=True, slots=True)
class Component:
    """A site, a layer, an index within it and a position; what is left out means all of it at once.

    An edge is named as a whole, `a3.h2->a9.h6<q>`: see `Component.of_edge`.
    """

    #: One of `names.SITES`.
    site: str
    #: Layer, from 0; of an edge, the layer of what it comes from (0 for `input`).
    layer: int
    #: Head within the layer, for `q`, `k`, `v` and `z`; for `k` and `v`, the key-value head.
    head: int | None = None
    #: Neuron within the layer, for `mlp_post`.
    neuron: int | None = None
    #: Index into the pair's own tokens (negative: from the end), several at once, or None: all.
    position: int | tuple[int, ...] | None = None
    #: An edge's name, for `edge`.
    edge: str | None = None

    def __post_init__(self) -> None:
        names.check_name("site", self.site, names.SITES, "site")
        inner = names.INNER.get(self.site)
        for name in ("head", "neuron"):
            if getattr(self, name) is not None and inner != name and self.site != names.EDGE:
                having = [site for site, its in names.INNER.items() if its == name]
                raise ComponentError(
                    f"site {self.site!r} has no {name}s: leave {name} out, or use site {_one_of(having)}"
                )
        if (self.edge is None) == (self.site == names.EDGE):
            raise ComponentError("an edge is named by its two ends, as Component.of_edge('a3.h2->m5') does")
        for name in ("layer", "head", "neuron"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole(getattr(self, name), ComponentError, name))
        if self.position is not None:
            object.__setattr__(self, "position", _positions(self.position))

    @classmethod
    def of_edge(cls, name: str, position: int | tuple[int, ...] | None = None) -> "Component":
        """Read an edge's name: what it comes from, `->`, what reads it.

        It comes from `input`, a head `a3.h2` or an MLP `m5`, and is read by a head's query, key or value
        `a9.h6<q>`, an MLP `m9` or `logits`. Raises `ComponentError` for another text.
        """
        sender, arrow, reader = name.partition("->")
        match = _SENDER.fullmatch(sender)
        if not arrow or match is None or _READER.fullmatch(reader) is None:
            raise ComponentError(
                f"cannot read edge {name!r}: write it as a3.h2->a9.h6<q>, m5->m9 or input->logits"
            )
        layer = int(match["a"] or match["m"] or 0)
        head = None if match["h"] is None else int(match["h"])
        return cls(names.EDGE, layer, head, position=position, edge=name)

    @property
    def name(self) -> str:
        """The short name the field writes: `a9.h6`, `m5`, `resid_post3`, with `@position` behind it."""
        return short_name(self.site, self.layer, self.head, self.position, neuron=self.neuron, edge=self.edge)


_SENDER = re.compile(r"input|a(?P<a>\d+)\.h(?P<h>\d+)|m(?P<m>\d+)")
_READER = re.compile(r"logits|m\d+|a\d+(\.h\d+<[qkv]>)?")


def _one_of(values: Sequence[str]) -> str:
    *others, last = [repr(value) for value in values]
    return f"{', '.join(others)} or {last}" if others else last


def _positions(value: object) -> int | tuple[int, ...]:
    if not isinstance(value, Iterable):
        return _whole(value, ComponentError, "position")
    positions = tuple(_whole(one, ComponentError, "position") for one in value)
    if not positions:
        raise ComponentError("no position given: leave it out to patch all of them at once")
    return positions


def short_name(
    site: str,
    layer: int,
    head: int | None = None,
    position: object = None,
    *,
    neuron: int | None = None,
    edge: str | None = None,
) -> str:
    """Write a component's short name.

    `a9.h6` (z), `q9.h6`, `m5` (mlp_out), `m5.n70` (mlp_post), `a9` (attn_out), `resid_post3`, an edge's own.
    """
    position_part = "" if position is None else f"@{position}"
    if edge is not None:
        return edge + position_part
    stem = {"z": "a", "attn_out": "a", "mlp_out": "m"}.get(site, site)
    if site == "mlp_post" and neuron is not None:
        stem = "m"
    inner_part = ("" if head is None else f".h{head}") + ("" if neuron is None else f".n{neuron}")
    return f"{stem}{layer}{inner_part}{position_part}"
