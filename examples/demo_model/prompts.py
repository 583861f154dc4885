"""Prompts of the two behaviours, and which of their combinations training never sees."""

import dataclasses
import itertools
import random
from dataclasses import dataclass
from typing import TypeVar

from examples.demo_model import words

T = TypeVar("T")

#: Fixes what is held out; training and pair files have seeds of their own.
SPLIT_SEED = 20
#: Share of each kind of combination that is held out.
HELD_OUT_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class IoiPrompt:
    """Two people, one of whom gives something to the other: the receiver's name comes next."""

    #: Index into `words.OPENINGS`.
    opening: int
    #: Index into `words.ACTIONS`.
    action: int
    place: str
    object: str
    #: The name that comes once (indirect object), the right answer.
    io: str
    #: The name that comes twice (subject).
    subject: str
    #: Whether the indirect object is named first (ABBA) or second (BABA).
    io_first: bool
    #: Who gives: the subject, unless the prompt is a corrupted one.
    giver: str

    @property
    def text(self) -> str:
        """The prompt, up to where the receiver's name belongs."""
        a, b = (self.io, self.subject) if self.io_first else (self.subject, self.io)
        opening = words.OPENINGS[self.opening].format(a=a, b=b, place=self.place)
        return f"{opening} {self.giver} {words.ACTIONS[self.action].format(object=self.object)}"

    def given_by(self, name: str) -> "IoiPrompt":
        """Return the same prompt with another giver."""
        return dataclasses.replace(self, giver=name)


@dataclass(frozen=True, slots=True)
class YearPrompt:
    """Something lasts from one year to a later one of the same century."""

    #: Index into `words.YEAR_TEMPLATES`.
    template: int
    noun: str
    #: First two digits of both years.
    century: int
    #: Last two digits of the first year, 1 to 98.
    year: int

    @property
    def text(self) -> str:
        """The prompt, up to where the last two digits of the later year belong."""
        start = f"{self.century}{self.year:02d}"
        template = words.YEAR_TEMPLATES[self.template]
        return template.format(noun=self.noun, start=start, century=self.century)

    def starting(self, year: int) -> "YearPrompt":
        """Return the same prompt with another first year of its century."""
        return dataclasses.replace(self, year=year)


@dataclass(frozen=True, slots=True)
class Combinations:
    """What prompts may be put together from: one part of the split."""

    #: Unordered pairs of names, in alphabetical order.
    name_pairs: tuple[tuple[str, str], ...]
    #: (opening, action) indices.
    ioi_templates: tuple[tuple[int, int], ...]
    #: (century, year) of the first year.
    start_years: tuple[tuple[int, int], ...]
    #: (template index, noun).
    year_templates: tuple[tuple[int, str], ...]

    def ioi(self, rng: random.Random) -> IoiPrompt:
        """Draw an indirect-object prompt: either name is the subject, in either order."""
        io, subject = rng.sample(rng.choice(self.name_pairs), 2)
        opening, action = rng.choice(self.ioi_templates)
        return IoiPrompt(
            opening=opening,
            action=action,
            place=rng.choice(words.PLACES),
            object=rng.choice(words.OBJECTS),
            io=io,
            subject=subject,
            io_first=rng.random() < 0.5,
            giver=subject,
        )

    def years(self, rng: random.Random) -> YearPrompt:
        """Draw a greater-than prompt."""
        template, noun = rng.choice(self.year_templates)
        century, year = rng.choice(self.start_years)
        return YearPrompt(template=template, noun=noun, century=century, year=year)


def split() -> tuple[Combinations, Combinations]:
    """Return the combinations that training draws from and those it never sees.

    A held-out prompt is new in both of its parts. Its two names never met in training, and its opening
    never went with its action; its first year never began a training prompt, and its noun never came in its
    template.
    """
    rng = random.Random(SPLIT_SEED)
    pairs = _divide(rng, list(itertools.combinations(sorted(words.NAMES), 2)))
    templates = _divide(rng, list(itertools.product(range(len(words.OPENINGS)), range(len(words.ACTIONS)))))
    years = _divide(rng, list(itertools.product(words.CENTURIES, range(2, 99))))
    nouns = _divide(rng, list(itertools.product(range(len(words.YEAR_TEMPLATES)), words.NOUNS)))
    return (
        Combinations(pairs[0], templates[0], years[0], nouns[0]),
        Combinations(pairs[1], templates[1], years[1], nouns[1]),
    )


def _divide(rng: random.Random, items: list[T]) -> tuple[tuple[T, ...], tuple[T, ...]]:
    rng.shuffle(items)
    held_out = round(HELD_OUT_SHARE * len(items))
    return tuple(items[held_out:]), tuple(items[:held_out])
