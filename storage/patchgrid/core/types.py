"""The plain types that cross patchgrid's parts: no torch here."""

import operator
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import SupportsIndex

from patchgrid.core import names
from patchgrid.core.errors import ArgumentError, ComponentError, PairError, PatchgridError
from patchgrid.core.sites import EDGE, INDEX_KINDS, SITES, short_name, split_name
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
    """Return spans as token ranges of a prompt that has `prefix` tokens before its text."""
    return {
        name: (span.start + prefix, span.stop + prefix) if isinstance(span, TextSpan) else span
        for name, span in (spans or {}).items()
    }


@dataclass(frozen=True, slots=True)
class Pair:
    """A clean prompt, a corrupted prompt of the same token length, and their answers.

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
    #: What it shares with other pairs (a template, a source), or None: intervals for the population take
    #: groups as independent, not the pairs in them.
    group: str | None = None
    #: Number of its group in a stored job, from 0; None where each pair is its own.
    cluster: int | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("clean", "corrupted"):
            if not isinstance(getattr(self, name), str):
                raise PairError(f"{name} must be text, not {getattr(self, name)!r}")
        for name in ("correct", "incorrect"):
            object.__setattr__(self, name, _answers(name, getattr(self, name)))

    def __repr__(self) -> str:
        short = _SHORT.repr
        name = "" if self.id is None else f"id={short(self.id)}, "
        return (
            f"Pair({name}clean={short(self.clean)}, corrupted={short(self.corrupted)}, "
            f"correct={short(self.correct)}, incorrect={short(self.incorrect)})"
        )


#: Prompts in the middle of which is cut out what makes them long.
_SHORT = reprlib.Repr()
_SHORT.maxstring, _SHORT.maxother, _SHORT.maxtuple = 40, 40, 3


#: Answers other than token ids.
_WRITTEN = (str, TokenText, TokenPiece)


def _answers(name: str, value: object) -> tuple[Answer, ...]:
    """Make one answer or several a tuple; numpy's whole numbers are token ids too."""
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    answers = tuple(
        answer if isinstance(answer, _WRITTEN) else _whole(answer, PairError, f"{name} answer")
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


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Component:
    """A site, a layer, an index within it and a position; an omitted part means all of it at once.

    `Component("z", 9, head=6)` or `Component.parse("a9.h6")`; an edge is named as a whole,
    `Component.parse("a3.h2->a9.h6<q>")`.
    """

    #: One of `SITES`.
    site: str
    #: Layer, from 0; of an edge, the layer of its sender (0 for `input`).
    layer: int
    #: Index within the layer, of its site's kind: of k and v, the key-value head; of an edge, its sender's
    #: head.
    index: int | None
    #: Index into the pair's own tokens (negative: from the end), several at once, or None: all.
    position: int | tuple[int, ...] | None
    #: An edge's name, for `edge`.
    edge: str | None

    def __init__(
        self,
        site: str,
        layer: SupportsIndex,
        index: SupportsIndex | None = None,
        position: SupportsIndex | Iterable[SupportsIndex] | None = None,
        edge: str | None = None,
        **index_by_kind: SupportsIndex | None,
    ) -> None:
        """Make a component; the index can be given by its kind, `head=6` or `neuron=1234`.

        Raises `ComponentError` for an index that the site does not have, or a number that is not whole;
        `SpecError` for an unknown site.
        """
        names.check_name("site", site, SITES, "site")
        kind = SITES[site].index
        for name, number in index_by_kind.items():
            index = _index_of_kind(site, name, number, index)
        if index is not None and kind is None:
            raise ComponentError(f"site {site!r} has no index: each layer is one component; omit {index}")
        if (edge is None) == (site == EDGE):
            raise ComponentError("an edge is named by its two ends, as Component.parse('a3.h2->m5') does")
        word = "index" if kind is None else kind.name
        object.__setattr__(self, "site", site)
        object.__setattr__(self, "layer", _whole(layer, ComponentError, "layer"))
        object.__setattr__(self, "index", None if index is None else _whole(index, ComponentError, word))
        object.__setattr__(self, "position", None if position is None else _positions(position))
        object.__setattr__(self, "edge", edge)

    @classmethod
    def parse(cls, name: str) -> "Component":
        """Read a component's name, as `name` writes it: `a9.h6`, `m5@-1`, `n5.1234`, `a3.h2->a9.h6<q>@4,5`.

        An edge comes from `input`, a head `a3.h2` or an MLP `m5`, and is read by a head's query, key or value
        `a9.h6<q>`, an MLP `m9` or `logits`. Raises `ComponentError` for another text.
        """
        if not isinstance(name, str):
            raise ArgumentError(f"a component is written as text, such as 'a9.h6', not {name!r}", "component")
        stem, at, behind = name.partition("@")
        position = _read_positions(name, behind) if at else None
        if "->" in stem:
            return parse_edge(stem, position)
        parts = split_name(stem)
        if parts is None:
            raise ComponentError(
                f"cannot read component {name!r}: write it as a9.h6 (head), m5 (MLP), n5.1234 (neuron), "
                "resid_post7 or a3.h2->a9.h6<q> (edge), with @-1 behind it for one position"
            )
        return cls(*parts, position)

    @classmethod
    def of(cls, component: "Component | str") -> "Component":
        """Return a component, given as such or by name."""
        return component if isinstance(component, Component) else cls.parse(component)

    @property
    def name(self) -> str:
        """The short name the field writes: `a9.h6`, `m5`, `resid_post3`, followed by `@position`."""
        return short_name(self.site, self.layer, self.index, self.position, self.edge)

    def __repr__(self) -> str:
        return f"Component.parse({self.name!r})"


def parse_edge(name: str, position: int | tuple[int, ...] | None = None) -> Component:
    """Read an edge's name, without a position; `ComponentError` for another text."""
    sender, _, reader = name.partition("->")
    match = _SENDER.fullmatch(sender)
    if match is None or _READER.fullmatch(reader) is None:
        raise ComponentError(
            f"cannot read edge {name!r}: write it as a3.h2->a9.h6<q>, m5->m9 or input->logits"
        )
    head = None if match["h"] is None else int(match["h"])
    return Component(EDGE, int(match["a"] or match["m"] or 0), head, position, name)


_SENDER = re.compile(r"input|a(?P<a>\d+)\.h(?P<h>\d+)|m(?P<m>\d+)")
_READER = re.compile(r"logits|m\d+|a\d+(\.h\d+<[qkv]>)?")


def _index_of_kind(
    site: str, kind: str, number: SupportsIndex | None, index: SupportsIndex | None
) -> SupportsIndex | None:
    """Take an index that is given by its kind."""
    if kind not in INDEX_KINDS:
        raise ArgumentError(
            f"Component() has no argument {kind!r}; an index is given as {_one_of(INDEX_KINDS)}", kind
        )
    if number is None:
        return index
    own = SITES[site].index
    if own is None or own.name != kind:
        having = [
            name for name, record in SITES.items() if record.index == INDEX_KINDS[kind] and record.count
        ]
        raise ComponentError(f"site {site!r} has no {kind}s: leave {kind} out, or use site {_one_of(having)}")
    if index is not None:
        raise ComponentError(f"{kind} {number} and index {index} are both given: omit one")
    return number


def _one_of(values: Iterable[str]) -> str:
    *others, last = [repr(value) for value in values]
    return f"{', '.join(others)} or {last}" if others else last


def _positions(value: object) -> int | tuple[int, ...]:
    if not isinstance(value, Iterable):
        return _whole(value, ComponentError, "position")
    positions = tuple(_whole(one, ComponentError, "position") for one in value)
    if not positions:
        raise ComponentError("no position given: omit it to patch all positions at once")
    return positions


def _read_positions(name: str, text: str) -> int | tuple[int, ...]:
    """Read what follows `@`: one position or several, with commas between them."""
    numbers = text.split(",")
    if not all(_POSITION.fullmatch(number) for number in numbers):
        raise ComponentError(
            f"cannot read component {name!r}: position {text!r} is not a whole number; -1 is the last token, "
            "0 the first"
        )
    positions = tuple(map(int, numbers))
    return positions if len(positions) > 1 else positions[0]


_POSITION = re.compile("0|-?[1-9][0-9]{0,8}")
