"""From text to token ids: what is refused, and why."""

import dataclasses
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import processors
from transformers import ByT5Tokenizer

from patchgrid.core.errors import PairError, SpecError
from patchgrid.engine import Pair, TextSpan, TokenPiece, TokenText
from patchgrid.engine.tokenization.tokens import PairTokenizer, TokenPair, TokenTexts
from support.engine.vocabulary import BOS, VOCABULARY, build_tokenizer, token_id

#: What only the tokenizer can tell: changes to a good pair, and why it is refused then.
REFUSED: list[tuple[dict[str, object], str]] = [
    ({"corrupted": "John gave it to the"}, "clean has 4 tokens, corrupted 5"),
    ({"corrupted": "Mary gave it to"}, "the same tokens: nothing to patch"),
    ({"correct": " John Mary"}, "correct answer ' John Mary' is 2 tokens after the prompt, not one"),
    ({"correct": ""}, "correct answer '' is 0 tokens after the prompt, not one"),
    ({"incorrect": " John"}, "' John' is both a correct and an incorrect answer"),
    ({"correct": 10_000}, "correct token id 10000 is not in the model's vocabulary"),
    ({"correct": -1}, "correct token id -1 is not in the model's vocabulary"),
    ({"correct": TokenText(" John Mary")}, "correct answer ' John Mary' is 2 tokens by itself, not one"),
    ({"clean": "Mary saw a ca", "corrupted": "John saw a ca", "correct": "t"}, "merges with the end"),
    ({"spans": {"verb": (1, 9)}}, "span 'verb' ends at 9, but the prompts have"),
]
#: Changes that leave it a good pair; the last two are warned of.
ACCEPTED: list[dict[str, object]] = [
    {},
    {"correct": (" John", token_id(" Tom"), TokenText("Anna"))},
    {"spans": {"verb": (1, 2)}},
    {"clean": "Mary gave it\n", "corrupted": "John gave it\n", "correct": "John", "incorrect": "Mary"},
    {"correct": "John"},
    {"clean": "When Mary, the cat.", "corrupted": "When John, the cat.", "incorrect": (" Tom", "Mary")},
]


class WholeTexts:
    """A tokenizer that says nothing of how it works, and encodes each text whole and by itself."""

    def __init__(self, made: Any = None) -> None:
        self._made = made or build_tokenizer()
        self.get_vocab = self._made.get_vocab
        self.bos_token_id = self._made.bos_token_id
        self.calls: list[str | list[str]] = []
        self.decoded: Counter[int] = Counter()

    def __call__(self, text: str | list[str], **options: Any) -> Any:
        """Encode a text, or several one by one."""
        self.calls.append(text)
        if isinstance(text, str):
            return self._made(text, **options)
        return SimpleNamespace(input_ids=[self._made(one, **options).input_ids for one in text])

    def decode(self, ids: list[int]) -> str:
        """Decode, and count what was asked."""
        self.decoded.update(ids)
        return str(self._made.decode(ids))


def tokenizer(*, bos: bool = False, context: int | None = None, prepend: bool | None = None) -> PairTokenizer:
    """The tests' own tokenizer behind the engine's."""
    made = build_tokenizer(bos)
    return PairTokenizer(made, vocabulary=len(VOCABULARY), context=context, prepend_bos=prepend)


def pair(**changes: object) -> Pair:
    """A good pair with some fields changed."""
    fields = {
        "clean": "Mary gave it to",
        "corrupted": "John gave it to",
        "correct": " John",
        "incorrect": " Mary",
    }
    return Pair(**(fields | changes))  # type: ignore[arg-type]


def outcome(made: TokenPair | PairError) -> TokenPair | str:
    """What can be compared."""
    return str(made) if isinstance(made, PairError) else made


def alone(tokenize: PairTokenizer, one: Pair, index: int) -> TokenPair | str:
    """Tokenize a pair by itself."""
    try:
        return tokenize(one, index)
    except PairError as error:
        return str(error)


def test_an_answer_is_the_token_that_it_adds_to_the_prompt() -> None:
    """Text, id and vocabulary entry name the same token."""
    for answer in (" John", token_id(" John"), TokenText(" John")):
        assert tokenizer()(pair(correct=answer), 0).correct == (token_id(" John"),)


def test_a_repeated_answer_counts_once() -> None:
    """Two ways to write one token are one answer."""
    both = (" John", token_id(" John"), TokenText(" John"))
    assert tokenizer()(pair(correct=both), 0).correct == (token_id(" John"),)


def test_a_bos_is_put_where_the_tokenizer_puts_one_and_where_it_is_asked_for() -> None:
    """The option overrides the tokenizer's own habit, both ways."""
    bos = VOCABULARY[BOS]
    assert tokenizer(bos=True)(pair(), 0).clean[0] == bos
    assert tokenizer()(pair(), 0).clean[0] != bos
    assert tokenizer(prepend=True)(pair(), 0).clean[0] == bos
    assert tokenizer(bos=True, prepend=False)(pair(), 0).clean[0] != bos


def test_a_bos_that_the_tokenizer_lacks_is_refused() -> None:
    """It is a setting that does not fit the model, not a bad pair."""
    made = build_tokenizer()
    made.bos_token = None
    with pytest.raises(SpecError, match="no BOS token") as refused:
        PairTokenizer(made, vocabulary=len(VOCABULARY), context=None, prepend_bos=True)
    assert refused.value.field == "prepend_bos"


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_what_only_the_tokenizer_can_tell_fails_the_pair(changes: dict[str, object], reason: str) -> None:
    """Each with its own reason."""
    with pytest.raises(PairError, match=reason):
        tokenizer()(pair(**changes), 0)


def test_a_prompt_beyond_the_context_is_refused_and_one_that_fills_it_is_not() -> None:
    """The bound is the model's own."""
    assert tokenizer(context=4)(pair(), 0).length == 4
    with pytest.raises(PairError, match="4 tokens; the model's context length is 3"):
        tokenizer(context=3)(pair(), 0)


def test_an_answer_without_its_leading_space_is_warned_of() -> None:
    """'Mary' after a word is a token of its own here, but ' Mary' is what was meant."""
    made = tokenizer()(
        pair(clean="When Mary gave it to", corrupted="When John gave it to", correct="John"), 0
    )
    assert made.warning is not None
    assert "did you mean ' John'?" in made.warning
    assert tokenizer()(pair(), 0).warning is None


def test_the_first_difference_is_found() -> None:
    """Positions before it are the same in both prompts."""
    made = tokenizer()(pair(clean="When Mary gave it to", corrupted="When John gave it to"), 3)
    assert (made.first_difference, made.index, made.length) == (1, 3, 5)


def test_the_first_difference_follows_the_prompts() -> None:
    """It is made once, with the pair; prompts that never differ do so at their end."""
    made = TokenPair(0, (1, 2, 3), (1, 5, 6), (7,), (8,))
    assert made.first_difference == 1
    assert dataclasses.replace(made, corrupted=(1, 2, 4)).first_difference == 2
    assert dataclasses.replace(made, corrupted=made.clean).first_difference == 3


@pytest.mark.parametrize("prepend", [None, True])
def test_pairs_tokenized_together_are_what_each_is_alone(prepend: bool | None) -> None:
    """Good and bad, warned of or not, in their order, however many."""
    changed: list[Any] = [*(changes for changes, _ in REFUSED), *ACCEPTED, {"clean": "", "corrupted": ""}]
    mixed = [pair(**changes) for changes in changed] * 25
    together = tokenizer(prepend=prepend, context=6).many(mixed, first=7)
    whole = PairTokenizer(WholeTexts(), vocabulary=len(VOCABULARY), context=6, prepend_bos=prepend)
    expected = [alone(whole, one, index) for index, one in enumerate(mixed, start=7)]
    assert [outcome(made) for made in together] == expected
    assert len({made for made in expected if isinstance(made, str)}) > len(REFUSED)
    warned = [isinstance(made, TokenPair) and made.warning is not None for made in expected]
    assert sum(warned) == 25 * (2 if prepend is None else 1)  # the BOS makes one of them too long


def test_no_pairs_are_none() -> None:
    """The tokenizer is not asked then."""
    assert tokenizer().many([]) == []


def test_the_tokenizer_is_asked_for_each_text_once() -> None:
    """One call for pairs that share texts."""
    made = WholeTexts()
    PairTokenizer(made, vocabulary=len(VOCABULARY), context=None, prepend_bos=False).many(
        [pair(), pair(correct=" Tom"), pair(correct=3, incorrect=TokenText("Mary")), pair(correct="Tom")]
    )
    (texts,) = made.calls
    starts = ("Mary gave it to", "John gave it to", "Mary")
    answers = (" John", " Mary", " Tom", "Tom")
    assert sorted(texts) == sorted((*starts, *(starts[0] + answer for answer in answers)))


def test_a_tokenizer_in_plain_python_will_do() -> None:
    """ByT5's tokens are bytes, numbered from 3."""
    tokenize = PairTokenizer(ByT5Tokenizer(), vocabulary=384, context=None, prepend_bos=None)
    good, bad = tokenize.many([pair(correct="x", incorrect="y"), pair()])
    assert isinstance(good, TokenPair)
    assert good.clean == tuple(byte + 3 for byte in b"Mary gave it to")
    assert (good.correct, good.incorrect) == ((ord("x") + 3,), (ord("y") + 3,))
    assert outcome(bad) == "correct answer ' John' is 5 tokens after the prompt, not one"


def test_each_token_has_its_own_text_and_is_decoded_once() -> None:
    """A text is remembered for the tokenizer that gave it."""
    made = WholeTexts()
    texts = TokenTexts(made)
    ids = tuple(token_id(text) for text in ("Mary", " gave", " it", " gave"))
    assert texts(ids) == texts(ids) == ("Mary", " gave", " it", " gave")
    assert set(made.decoded.values()) == {1}


def wrapped(before: str, after: str = "", *, prepend: bool | None = None) -> PairTokenizer:
    """The tests' tokenizer with tokens of its own before and behind each text."""
    made = build_tokenizer()
    specials = [token for token in (*before.split(), *after.split()) if token not in VOCABULARY]
    made.add_special_tokens({"extra_special_tokens": specials})
    ids = [(token, made.convert_tokens_to_ids(token)) for token in {*before.split(), *after.split()}]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}".strip(), special_tokens=ids
    )
    return PairTokenizer(made, vocabulary=len(made), context=None, prepend_bos=prepend)


@pytest.mark.parametrize(
    ("before", "after", "prefix"),
    [
        ("<eos>", "", ("<eos>",)),  # XGLM and BioGPT put </s>
        ("[gMASK] <sop>", "", ("[gMASK]", "<sop>")),  # GLM
        ("", "<eos>", ()),  # T5
        ("[CLS]", "[SEP]", ("[CLS]",)),  # BERT
        ("<bos>", "<eos>", ("<bos>",)),
        ("", "", ()),
    ],
)
def test_what_the_tokenizer_puts_before_a_text_is_put_and_what_it_puts_behind_is_not(
    before: str, after: str, prefix: tuple[str, ...]
) -> None:
    """Whatever it is; answers and both prompts are what they are without it."""
    made, plain = wrapped(before, after)(pair(), 0), tokenizer()(pair(), 0)
    assert made.prefix == len(prefix) == made.length - plain.length
    for ids, bare in ((made.clean, plain.clean), (made.corrupted, plain.corrupted)):
        assert ids[made.prefix :] == bare
    assert (made.correct, made.incorrect) == (plain.correct, plain.incorrect)
    assert made.first_difference == len(prefix)
    assert made.warning is None
    assert wrapped(before, after, prepend=False)(pair(), 0).clean == plain.clean


def test_a_bos_that_is_asked_for_stands_for_a_prefix_without_one() -> None:
    """A tokenizer's own prefix that has the BOS in it stays as it is."""
    assert wrapped("<eos>", prepend=True).prefix.ids == (VOCABULARY[BOS],)
    assert wrapped("<bos> <eos>", prepend=True).prefix.ids == (VOCABULARY[BOS], VOCABULARY["<eos>"])


@pytest.mark.parametrize("before", ["<bos>", "[gMASK] <sop>"])
def test_a_prompt_that_begins_with_the_prefix_gets_no_second_one(before: str) -> None:
    """What a chat template makes; the same tokens as without, and a warning."""
    tokenize, text = wrapped(before), before.replace(" ", "")
    own = tokenize(pair(clean=f"{text}Mary gave it to", corrupted=f"{text}John gave it to"), 0)
    given = tokenize(pair(), 0)
    assert (own.clean, own.corrupted, own.prefix) == (given.clean, given.corrupted, given.prefix)
    assert own.warning is not None
    assert own.warning.endswith("; no BOS is added")


def test_a_prompt_that_begins_with_the_end_of_the_prefix_gets_the_beginning() -> None:
    """Every part once; a text with the first part has its own beginning."""
    tokenize = wrapped("[gMASK] <sop>")
    given = tokenize(pair(), 0)
    assert (
        tokenize(pair(clean="<sop>Mary gave it to", corrupted="<sop>John gave it to"), 0).clean == given.clean
    )
    odd = tokenize(pair(clean="[gMASK]Mary gave it to", corrupted="[gMASK]John gave it to"), 0)
    assert (odd.clean, odd.prefix) == ((given.clean[0], *given.clean[2:]), 1)


def test_a_pair_with_the_prefix_in_one_prompt_has_it_once_in_both() -> None:
    """And says so."""
    tokenize = wrapped("<bos>")
    made, given = tokenize(pair(corrupted="<bos>John gave it to"), 0), tokenize(pair(), 0)
    assert (made.clean, made.corrupted, made.prefix) == (given.clean, given.corrupted, 1)
    assert made.warning == (
        "only the corrupted prompt already begins with '<bos>'; it is added to the other prompt only"
    )


def test_a_span_of_the_text_does_not_count_the_prefix() -> None:
    """One of the prompt does."""
    spans = {"text": TextSpan(0, 4), "prompt": (0, 6)}
    assert wrapped("[gMASK] <sop>")(pair(spans=spans), 0).length == 6
    with pytest.raises(PairError, match="span 'text' ends at 5, but the prompts have 4 tokens"):
        tokenizer()(pair(spans={"text": TextSpan(0, 5)}), 0)


def test_a_piece_is_looked_up_in_the_vocabulary() -> None:
    """As the vocabulary writes it; a word that lacks its mark is told."""
    assert tokenizer()(pair(correct=TokenPiece("ĠJohn")), 0).correct == (token_id(" John"),)
    with pytest.raises(PairError, match=r"'the' is not a piece .* \(did you mean 'Ġthe'\?\)"):
        tokenizer()(pair(correct=TokenPiece("the")), 0)
    with pytest.raises(PairError, match=r"'zzz' is not a piece in the model's vocabulary$"):
        tokenizer()(pair(correct=TokenPiece("zzz")), 0)
