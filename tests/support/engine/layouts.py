"""Small files in the shape of each published layout, written for the tests, with the pairs they hold.

The words are those of the tests' own tokenizer, so that the pairs can be measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patchgrid.core.types import Pair, TokenText
from support.engine.vocabulary import token_id


@dataclass(frozen=True)
class Published:
    """A file in a published shape."""

    #: What the layout is known by.
    layout: str
    records: Sequence[Mapping[str, Any]]
    pairs: Sequence[Pair]
    #: Columns without which it would not be that layout.
    needed: tuple[str, ...]
    #: Columns that are not used.
    unused: tuple[str, ...] = ()


def _ids(*words: str) -> list[int]:
    return [token_id(word) for word in words]


_CLEAN = (
    "When Mary and John went to the shop, John gave it to",
    "When Tom and Kate went to the park, Kate gave it to",
)
_CORRUPTED = (
    "When Mary and John went to the shop, Sam gave it to",
    "When Tom and Kate went to the park, Sam gave it to",
)
_HARD = (
    "When Mary and John went to the shop, Mary gave it to",
    "When Tom and Kate went to the park, Tom gave it to",
)
_NAMES = ((" Mary", " John"), (" Tom", " Kate"))
_BY_ID = [
    Pair(clean, corrupted, _ids(right), _ids(wrong))
    for clean, corrupted, (right, wrong) in zip(_CLEAN, _CORRUPTED, _NAMES, strict=True)
]


def _rows(*columns: tuple[str, Sequence[Any]]) -> list[dict[str, Any]]:
    names, values = zip(*columns, strict=True)
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _counterfactual(prompt: str, labels: list[Any], key: int) -> dict[str, Any]:
    return {"prompt": prompt, "choices": {"label": labels, "text": ["red", "blue"]}, "answerKey": key}


_YEARS = tuple(TokenText(f"{year:02d}") for year in range(100))
_SVA = ((" are", " were", " have", " do"), (" is", " was", " has", " does"))
_BOX = ("The ball was red. The", "The ball was blue. The")

#: Layouts by the data set that they are of.
PUBLISHED = {
    "EAP-IG ioi": Published(
        "EAP-IG",
        _rows(
            ("clean", _CLEAN),
            ("corrupted", _CORRUPTED),
            ("corrupted_hard", _HARD),
            ("correct_idx", _ids(" Mary", " Tom")),
            ("incorrect_idx", _ids(" John", " Kate")),
        ),
        _BY_ID,
        ("correct_idx", "incorrect_idx", "clean"),
        ("corrupted_hard",),
    ),
    "EAP-IG colored objects": Published(
        "EAP-IG",
        _rows(
            ("clean", _CLEAN),
            ("corrupted", _CORRUPTED),
            ("correct_idx", _ids(" Mary", " Tom")),
            ("incorrect_idx", _ids(" John", " Kate")),
        ),
        _BY_ID,
        ("correct_idx", "incorrect_idx"),
    ),
    "EAP-IG fact retrieval": Published(
        "EAP-IG, country and capital",
        _rows(
            ("clean", _CLEAN),
            ("capital", ("Kabul", "Tirana")),
            ("country", ("Afghanistan", "Albania")),
            ("country_idx", _ids(" Mary", " Tom")),
            ("corrupted", _CORRUPTED),
            ("corrupted_capital", ("London", "Majuro")),
            ("corrupted_country", ("United Kingdom", "Marshall Islands")),
            ("corrupted_country_idx", _ids(" John", " Kate")),
        ),
        _BY_ID,
        ("country_idx", "corrupted_country_idx"),
        ("capital", "country", "corrupted_capital", "corrupted_country"),
    ),
    "EAP-IG gender bias": Published(
        "EAP-IG, gender bias",
        _rows(
            ("clean", _CLEAN),
            ("corrupted", _CORRUPTED),
            ("clean_answer_idx", _ids(" Mary", " Tom")),
            ("corrupted_answer_idx", _ids(" John", " Kate")),
            ("label", (0, 1)),
        ),
        _BY_ID,
        ("clean_answer_idx", "corrupted_answer_idx"),
        ("label",),
    ),
    "EAP-IG hypernymy": Published(
        "EAP-IG, hypernymy",
        _rows(
            ("clean", _CLEAN),
            ("h1", ("gemstones", "uncles")),
            ("hypernym", ("gem", "relative")),
            ("answers", ("['gem', 'gems']", "['relatives', 'family']")),
            ("answers_idx", (str(_ids(" Mary", " Anna")), str(_ids(" Tom", " Tom")))),
            ("corrupted", _CORRUPTED),
            ("corrupted_answers", ("['elected', 'politicians']", "['insects']")),
            ("corrupted_answers_idx", (str(_ids(" John", " Paul")), str(_ids(" Kate")))),
            ("prob_diff", (0.1544625014066696, 0.2596019506454468)),
        ),
        [
            Pair(_CLEAN[0], _CORRUPTED[0], _ids(" Mary", " Anna"), _ids(" John", " Paul")),
            Pair(_CLEAN[1], _CORRUPTED[1], _ids(" Tom"), _ids(" Kate")),
        ],
        ("answers_idx", "corrupted_answers_idx"),
        ("h1", "hypernym", "answers", "corrupted_answers", "prob_diff"),
    ),
    "EAP-IG sva": Published(
        "EAP-IG, subject-verb agreement",
        _rows(
            ("clean", ("The cat then", "The ball then")),
            ("corrupted", ("The ball then", "The cat then")),
            ("group", ("ML-obj_rel_across_inanim_all", "ML-simple_agrmt_all")),
            ("plural", (1, 0)),
        ),
        [
            Pair("The cat then", "The ball then", *_SVA, group="ML-obj_rel_across_inanim_all"),
            Pair("The ball then", "The cat then", _SVA[1], _SVA[0], group="ML-simple_agrmt_all"),
        ],
        ("plural",),
        (),
    ),
    "EAP-IG greater-than": Published(
        "EAP-IG, greater-than",
        _rows(
            ("clean", ("the year 1352 to the year 13", "the year 1642 to the year 16")),
            ("corrupted", ("the year 1301 to the year 13", "the year 1601 to the year 16")),
            ("correct_idx", (52, 42)),
        ),
        [
            Pair("the year 1352 to the year 13", "the year 1301 to the year 13", _YEARS[53:], _YEARS[:53]),
            Pair("the year 1642 to the year 16", "the year 1601 to the year 16", _YEARS[43:], _YEARS[:43]),
        ],
        ("correct_idx",),
    ),
    "EAP-IG greater-than, 2026": Published(
        "EAP-IG, greater-than",
        _rows(
            ("clean", ("the year 1352 to the year 13", "the year 1642 to the year 16")),
            ("corrupted", ("the year 1301 to the year 13", "the year 1601 to the year 16")),
            ("label", (52, 42)),
        ),
        [
            Pair("the year 1352 to the year 13", "the year 1301 to the year 13", _YEARS[53:], _YEARS[:53]),
            Pair("the year 1642 to the year 16", "the year 1601 to the year 16", _YEARS[43:], _YEARS[:43]),
        ],
        (),
    ),
    "feature-circuits": Published(
        "feature-circuits",
        _rows(
            ("clean_prefix", _CLEAN),
            ("patch_prefix", _CORRUPTED),
            ("clean_answer", (" Mary", " Tom")),
            ("patch_answer", (" John", " Kate")),
            ("case", ("plural_plural", "singular")),
        ),
        [
            Pair(clean, corrupted, (right,), (wrong,))
            for clean, corrupted, (right, wrong) in zip(_CLEAN, _CORRUPTED, _NAMES, strict=True)
        ],
        ("clean_prefix", "patch_prefix", "clean_answer", "patch_answer"),
        ("case",),
    ),
    "auto-circuit": Published(
        "auto-circuit",
        _rows(
            ("clean", _CLEAN),
            ("corrupt", _CORRUPTED),
            ("answers", ([" Mary"], [" Tom", " Anna"])),
            ("wrong_answers", ([" John"], [" Kate"])),
        ),
        [
            Pair(_CLEAN[0], _CORRUPTED[0], (TokenText(" Mary"),), (TokenText(" John"),)),
            Pair(_CLEAN[1], _CORRUPTED[1], (TokenText(" Tom"), TokenText(" Anna")), (TokenText(" Kate"),)),
        ],
        ("wrong_answers",),
    ),
    "MIB ioi": Published(
        "MIB, indirect objects",
        _rows(
            ("template", ("When {a} and {b} …", "When {a} and {b} …")),
            (
                "metadata",
                [
                    {"indirect_object": io, "subject": s, "object": "ball", "place": "shop"}
                    for io, s in (("Mary", "John"), ("Tom", "Kate"))
                ],
            ),
            ("prompt", _CLEAN),
            ("choices", (["Mary", "John"], ["Tom", "Kate"])),
            ("answerKey", (0, 0)),
            (
                "s2_io_flip_counterfactual",
                [
                    {"prompt": hard, "choices": names, "answerKey": 1}
                    for hard, names in zip(_HARD, (["Mary", "John"], ["Tom", "Kate"]), strict=True)
                ],
            ),
        ),
        [
            Pair(clean, hard, (right,), (wrong,))
            for clean, hard, (right, wrong) in zip(_CLEAN, _HARD, _NAMES, strict=True)
        ],
        ("s2_io_flip_counterfactual", "metadata", "prompt"),
        ("template", "choices", "answerKey"),
    ),
    "MIB mcqa": Published(
        "MIB, multiple choice",
        _rows(
            ("question", ("What color is the ball?",) * 2),
            ("choices", [{"label": ["cat", "dog"], "text": ["red", "blue"]}] * 2),
            ("answerKey", (0, 1)),
            ("prompt", _BOX),
            (
                "symbol_counterfactual",
                [_counterfactual(_BOX[1], ["Tom", "Sam"], 0), _counterfactual(_BOX[0], ["Tom", "Sam"], 1)],
            ),
            (
                "answerPosition_counterfactual",
                [_counterfactual("The cat was red. The", ["cat", "dog"], 1)] * 2,
            ),
            ("idx", (0, 1)),
        ),
        [
            Pair(_BOX[0], _BOX[1], (TokenText("cat"),), (TokenText("Tom"),)),
            Pair(_BOX[1], _BOX[0], (TokenText("dog"),), (TokenText("Sam"),)),
        ],
        ("symbol_counterfactual", "choices", "answerKey"),
        ("question", "answerPosition_counterfactual", "idx"),
    ),
    "MIB arithmetic": Published(
        "MIB, arithmetic",
        _rows(
            ("idx", (0, 0, 1)),
            ("template", ("{x} and {y}",) * 3),
            ("prompt", (*_BOX, "The cat was red. The")),
            ("label", ("cat", "dog", "dog")),
            ("operator", ("+",) * 3),
            (
                "random_counterfactual",
                [
                    {"label": "Tom", "operand1": 3, "operand2": 4, "prompt": _BOX[1]},
                    # As in the data set itself: none, and one of the same sum.
                    {"label": None, "operand1": None, "operand2": None, "prompt": None},
                    {"label": "dog", "operand1": 3, "operand2": 4, "prompt": _BOX[1]},
                ],
            ),
        ),
        [Pair(_BOX[0], _BOX[1], (TokenText("cat"),), (TokenText("Tom"),))],
        ("random_counterfactual",),
        ("idx", "template", "operator"),
    ),
}
