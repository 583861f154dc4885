"""The layouts of pair files, ours and those of published data sets, in one table; detected by columns."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from patchgrid.core.text.messages import misspelt
from patchgrid.pairs.records import cells
from patchgrid.pairs.records.cells import Kind

#: Fields that each pair must have, and those that it may.
REQUIRED = ("clean", "corrupted", "correct", "incorrect")
OPTIONAL = ("id", "spans", "group")
#: Columns in which pandas keeps its index.
INDEX_COLUMNS = frozenset({"", "Unnamed: 0", "__index_level_0__"})
_COMMON = frozenset({"clean", "corrupted", "prompt"})


@dataclass(frozen=True, slots=True)
class Take:
    """The source of a pair's field."""

    #: The columns of its value.
    columns: tuple[str, ...]
    #: Their reader.
    kind: Kind

    @property
    def column(self) -> str:
        """The column named in messages."""
        return self.columns[0]


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a pair, and their readers."""

    #: Its name for users.
    name: str
    #: Field to source.
    fields: Mapping[str, Take]
    #: A note for the user.
    note: str | None = None
    #: Columns that exclude this layout.
    never: frozenset[str] = frozenset()
    #: Whether any other column excludes it.
    alone: bool = False
    #: Whether rows with equal prompts or answers are skipped rather than refused.
    lenient: bool = False
    #: Columns that a pair must have.
    required: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        needed = {column for name in REQUIRED for column in self.fields[name].columns}
        object.__setattr__(self, "required", frozenset(needed))

    @property
    def known(self) -> frozenset[str]:
        """All columns that it reads."""
        return self.required | {column for take in self.fields.values() for column in take.columns}

    @property
    def named(self) -> tuple[str, ...]:
        """All columns that it reads, in the order of a pair's fields."""
        order = ("id", *REQUIRED, "spans", "group")
        return tuple(dict.fromkeys(column for name in order for column in self.fields[name].columns))

    @property
    def distinctive(self) -> frozenset[str]:
        """The columns that tell it from others."""
        return self.required - _COMMON

    def is_another(self, columns: Collection[str]) -> bool:
        """Return whether a file with these columns is of another layout, though it has all of this one's."""
        others = [name for name in columns if name not in self.known and name not in INDEX_COLUMNS]
        return (self.alone and bool(others)) or not self.never.isdisjoint(others)

    def renamed(self, columns: Mapping[str, str]) -> Self:
        """Return the layout with fields in other columns than its own."""
        layout = self
        for name, column in columns.items():
            layout = layout._moved(name, column)
        return layout

    def _moved(self, name: str, column: str) -> Self:
        if name.endswith("_idx"):
            taken = Take((column,), cells.TOKEN_IDS)
            return replace(self, fields={**self.fields, name.removesuffix("_idx"): taken})
        if self is OWN or (self.name == OWN.name and name in REQUIRED):
            of_ids = self.fields[name].kind is cells.ANSWERS and column.endswith(_ID_ENDINGS)
            taken = Take((column,), cells.TOKEN_IDS if of_ids else self.fields[name].kind)
            return replace(self, fields={**self.fields, name: taken})
        old = self.fields[name].column
        return replace(
            self,
            fields={
                each: replace(take, columns=tuple(column if one == old else one for one in take.columns))
                for each, take in self.fields.items()
            },
        )

    def described(self, chosen: Collection[str] = ()) -> Iterator[str]:
        """Say of each field what it is made of: `correct = country_idx (token ids)`.

        An optional field is only described if `chosen`.
        """
        for name, take in self.fields.items():
            if name in OPTIONAL and name not in chosen:
                continue
            columns = " and ".join(take.columns)
            plain = take.kind in (cells.TEXT, cells.ANSWERS, cells.SPANS, cells.LABEL_TEXT)
            yield f"{name} = {columns}" if plain else f"{name} = {columns} ({take.kind.name})"


#: Endings of columns that hold token ids.
_ID_ENDINGS = ("idx", "_id", "_ids")


def _layout(name: str, *takes: tuple[str, Kind], **more: object) -> Layout:
    """Make a layout of what the four fields are made of, in their order; columns are joined by `+`."""
    fields = {
        field_name: Take(tuple(columns.split("+")), kind)
        for field_name, (columns, kind) in zip(REQUIRED, takes, strict=True)
    }
    fields |= {"id": Take(("id",), cells.LABEL_TEXT), "spans": Take(("spans",), cells.SPANS)}
    fields |= {"group": Take(("group",), cells.LABEL_TEXT)}
    return Layout(name, fields, **more)  # type: ignore[arg-type]


_CLEAN, _CORRUPTED, _PROMPT = ("clean", cells.TEXT), ("corrupted", cells.TEXT), ("prompt", cells.TEXT)
_YEARS_NOTE = (
    "no incorrect_idx column, so {column} is read as in EAP-IG's greater-than file: the start year's two "
    "digits YY, not a token id; correct answers are the two-digit years above YY, incorrect ones 00 to YY"
)
_ANSWER_COLUMNS = frozenset({"correct", "incorrect", "incorrect_idx", "answers", "wrong_answers"})

OWN = _layout("patchgrid", _CLEAN, _CORRUPTED, ("correct", cells.ANSWERS), ("incorrect", cells.ANSWERS))
AUTO_CIRCUIT = _layout(
    "auto-circuit",
    _CLEAN,
    ("corrupt", cells.TEXT),
    ("answers", cells.TOKEN_TEXTS),
    ("wrong_answers", cells.TOKEN_TEXTS),
)
#: All of them; the first that fits is taken.
LAYOUTS = (
    OWN,
    _layout(
        "EAP-IG", _CLEAN, _CORRUPTED, ("correct_idx", cells.TOKEN_IDS), ("incorrect_idx", cells.TOKEN_IDS)
    ),
    _layout(
        "EAP-IG, country and capital",
        *(_CLEAN, _CORRUPTED),
        *(("country_idx", cells.TOKEN_IDS), ("corrupted_country_idx", cells.TOKEN_IDS)),
    ),
    _layout(
        "EAP-IG, gender bias",
        *(_CLEAN, _CORRUPTED),
        *(("clean_answer_idx", cells.TOKEN_IDS), ("corrupted_answer_idx", cells.TOKEN_IDS)),
    ),
    _layout(
        "EAP-IG, hypernymy",
        *(_CLEAN, _CORRUPTED),
        *(("answers_idx", cells.DISTINCT_IDS), ("corrupted_answers_idx", cells.DISTINCT_IDS)),
        note="a token id that a list has twice counts once",
    ),
    _layout(
        "EAP-IG, subject-verb agreement",
        *(_CLEAN, _CORRUPTED),
        *(("plural", cells.AGREEING), ("plural", cells.NOT_AGREEING)),
        note="the file names no answers: correct ones are forms of be, have and do that agree with the "
        "subject, incorrect ones those that do not (EAP-IG compares all verbs of a list of its own)",
        never=_ANSWER_COLUMNS | {"correct_idx"},
    ),
    _layout(
        "EAP-IG, greater-than",
        *(_CLEAN, _CORRUPTED),
        *(("correct_idx", cells.YEARS_ABOVE), ("correct_idx", cells.YEARS_UP_TO)),
        note=_YEARS_NOTE.format(column="correct_idx"),
        never=_ANSWER_COLUMNS,
    ),
    _layout(
        "EAP-IG, greater-than",
        *(_CLEAN, _CORRUPTED),
        *(("label", cells.YEARS_ABOVE), ("label", cells.YEARS_UP_TO)),
        note=_YEARS_NOTE.format(column="label"),
        never=_ANSWER_COLUMNS | {"correct_idx"},
        alone=True,
    ),
    _layout(
        "feature-circuits",
        *(("clean_prefix", cells.TEXT), ("patch_prefix", cells.TEXT)),
        *(("clean_answer", cells.ANSWERS), ("patch_answer", cells.ANSWERS)),
    ),
    AUTO_CIRCUIT,
    _layout(
        "MIB, indirect objects",
        *(_PROMPT, ("s2_io_flip_counterfactual", cells.PROMPT_IN)),
        *(("metadata", cells.INDIRECT_OBJECT), ("metadata", cells.SUBJECT)),
        lenient=True,
    ),
    _layout(
        "MIB, multiple choice",
        *(_PROMPT, ("symbol_counterfactual", cells.PROMPT_IN)),
        *(("choices+answerKey", cells.CHOSEN), ("symbol_counterfactual", cells.CHOSEN_IN)),
        note="as in MIB, an answer is its label as a vocabulary entry by itself ('A', not ' A')",
        lenient=True,
    ),
    _layout(
        "MIB, arithmetic",
        *(_PROMPT, ("random_counterfactual", cells.PROMPT_IN)),
        *(("label", cells.LABEL), ("random_counterfactual", cells.LABEL_IN)),
        note="as in MIB, an answer is its digits as a vocabulary entry by itself",
        lenient=True,
    ),
)


_KNOWN = frozenset().union(*(layout.known for layout in LAYOUTS))


def find_layout(columns: Collection[str], chosen: Mapping[str, str]) -> Layout | None:
    """Return the layout of a file with these columns, of which `chosen` names some by field; None: of none.

    One with a misspelt column is not taken for another that needs fewer.
    """
    exact, corrected = _first_fit(columns, chosen), _first_fit(_corrected(columns), chosen)
    if exact is not None and corrected is not None and len(corrected.required) > len(exact.required):
        return None
    return exact


def nearest_layout(columns: Collection[str], chosen: Mapping[str, str]) -> Layout:
    """Return the layout that lacks least of a file which is in none."""

    def nearness(layout: Layout) -> tuple[int, int]:
        return len(layout.distinctive & set(columns)), -len(layout.required - set(columns))

    # What a layout of few columns could be is told by another.
    others = (layout.renamed(chosen) for layout in LAYOUTS if not layout.never)
    if chosen:
        others = (layout for layout in others if _is_told(layout, columns, chosen))
    return _first_fit(_corrected(columns), chosen) or max(others, key=nearness)


def _first_fit(columns: Collection[str], chosen: Mapping[str, str]) -> Layout | None:
    for layout in LAYOUTS:
        renamed = layout.renamed(chosen)
        if (
            _is_told(renamed, columns, chosen)
            and renamed.required.issubset(columns)
            and not renamed.is_another(columns)
        ):
            return renamed
    return None


def _is_told(layout: Layout, columns: Collection[str], chosen: Mapping[str, str]) -> bool:
    """Return whether a column that no user named speaks for a layout, or it is our own."""
    own = layout.distinctive - set(chosen.values())
    return layout.name == OWN.name or any(name in columns for name in own)


def _corrected(columns: Collection[str]) -> set[str]:
    """Put the right name of each misspelt column beside it."""
    missing = [name for name in sorted(_KNOWN) if name not in columns]
    strange = [name for name in columns if name not in _KNOWN]
    return set(columns) | {right for name in strange if (right := misspelt(name, missing)) is not None}
