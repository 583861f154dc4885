"""From text to token ids: what is refused, and why."""

import pytest

from patchgrid.engine import Pair, TokenText
from patchgrid.engine.errors import PairError, SpecError
from patchgrid.engine.tokens import PairTokenizer
from support.vocabulary import BOS, VOCABULARY, build_tokenizer, token_id


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
    with pytest.raises(SpecError, match="no BOS token"):
        PairTokenizer(made, vocabulary=len(VOCABULARY), context=None, prepend_bos=True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"corrupted": "John gave it to the"}, "clean has 4 tokens, corrupted 5"),
        ({"corrupted": "Mary gave it to"}, "the same tokens: nothing to patch"),
        ({"correct": " John Mary"}, "correct answer ' John Mary' is 2 tokens after the prompt, not one"),
        ({"incorrect": " John"}, "' John' is both a correct and an incorrect answer"),
        ({"correct": 10_000}, "correct token id 10000 is not in the model's vocabulary"),
        ({"correct": -1}, "correct token id -1 is not in the model's vocabulary"),
        ({"correct": TokenText(" John Mary")}, "correct answer ' John Mary' is 2 tokens by itself, not one"),
        ({"clean": "Mary saw a ca", "corrupted": "John saw a ca", "correct": "t"}, "merges with the end"),
        ({"spans": {"verb": (1, 9)}}, "span 'verb' ends at 9, but the prompts have 4 tokens"),
    ],
)
def test_what_only_the_tokenizer_can_tell_fails_the_pair(changes: dict[str, object], reason: str) -> None:
    """Each with its own reason."""
    with pytest.raises(PairError, match=reason):
        tokenizer()(pair(**changes), 0)


def test_a_prompt_beyond_the_context_is_refused_and_one_that_fills_it_is_not() -> None:
    """The bound is the model's own."""
    assert tokenizer(context=4)(pair(), 0).length == 4
    with pytest.raises(PairError, match="4 tokens, more than the model's context of 3"):
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
