"""From a pair's text to token ids, or the reason why the model cannot measure it."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from patchgrid.core.errors import OUTSIDE_VOCABULARY, PairError
from patchgrid.core.types import Answer, Pair, TokenPiece, TokenText, place_spans
from patchgrid.engine.tokenization.prefix import Prefix

#: Pairs whose texts go to the tokenizer in one call; more are little faster and hold more memory at once.
_TOGETHER = 256
#: How vocabularies mark a piece that begins a word.
_WORD_MARKS = ("Ġ", "▁", "##")


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A pair as token ids."""

    #: Place in the caller's list.
    index: int
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    correct: tuple[int, ...]
    incorrect: tuple[int, ...]
    #: What the user should know, else None.
    warning: str | None = None
    #: Tokens at the start of both prompts that stand before their texts.
    prefix: int = 0
    #: The ids of the correct and of the incorrect answers as they were given: repeated ones, too.
    answers: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    #: The first position at which the prompts differ, or their length.
    first_difference: int = field(init=False)

    def __post_init__(self) -> None:
        places = enumerate(zip(self.clean, self.corrupted, strict=True))
        first = next((place for place, (a, b) in places if a != b), len(self.clean))
        object.__setattr__(self, "first_difference", first)

    @property
    def length(self) -> int:
        """Number of tokens of each prompt."""
        return len(self.clean)


class TokenTexts:
    """Decodes ids one by one, so that each position has its own text, and each id only once."""

    def __init__(self, tokenizer: Any) -> None:
        self._text: Callable[[int], str] = functools.cache(lambda token: tokenizer.decode([token]))

    def __call__(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return each id's text."""
        return tuple(map(self._text, ids))


class PairTokenizer:
    """Turns pairs into token ids with one model's tokenizer."""

    def __init__(
        self, tokenizer: Any, *, vocabulary: int, context: int | None, prepend_bos: bool | None
    ) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._context = context
        #: What stands before every prompt.
        self.prefix = Prefix.choose(tokenizer, prepend_bos)

    def many(self, pairs: Sequence[Pair], first: int = 0) -> list[TokenPair | PairError]:
        """Tokenize pairs together, far faster than one by one.

        Returns what each pair is as tokens, its index counted from `first`, or the reason why this model
        cannot measure it.
        """
        made: list[TokenPair | PairError] = []
        for start in range(0, len(pairs), _TOGETHER):
            together = pairs[start : start + _TOGETHER]
            encoded = _Encoded(self._tokenizer, together)
            made += [self._try(pair, first + start + n, encoded) for n, pair in enumerate(together)]
        return made

    def __call__(self, pair: Pair, index: int) -> TokenPair:
        """Tokenize one pair.

        Raises
        ------
        PairError
            With the reason why this model cannot measure the pair.
        """
        (made,) = self.many([pair], index)
        if isinstance(made, PairError):
            raise made
        return made

    def _try(self, pair: Pair, index: int, encoded: "_Encoded") -> TokenPair | PairError:
        try:
            return self._check(pair, index, encoded)
        except PairError as error:
            return error.with_traceback(None)  # which would keep all of `encoded`

    def _check(self, pair: Pair, index: int, encoded: "_Encoded") -> TokenPair:
        texts = encoded.alone(pair.clean), encoded.alone(pair.corrupted)
        added = [self.prefix.missing(ids) for ids in texts]
        clean, corrupted = (before + ids for before, ids in zip(added, texts, strict=True))
        self._check_prompts(clean, corrupted)
        sides = tuple(
            tuple(self._answer(pair.clean, answer, side, encoded) for answer in answers)
            for answers, side in ((pair.correct, "correct"), (pair.incorrect, "incorrect"))
        )
        correct, incorrect = (tuple(dict.fromkeys(ids)) for ids in sides)
        shared = set(correct) & set(incorrect)
        if shared:
            text = self._tokenizer.decode([min(shared)])
            raise PairError(f"{text!r} is both a correct and an incorrect answer (token {min(shared)})")
        prefix = min(map(self.prefix.length, (clean, corrupted)))
        for name, (_, stop) in place_spans(pair.spans, prefix).items():
            if stop > len(clean):
                raise PairError(f"span {name!r} ends at {stop}, but the prompts have {len(clean)} tokens")
        warnings = (self._own_prefix(added), _missing_space(pair, encoded))
        warning = "; ".join(text for text in warnings if text is not None) or None
        answers = sides[0], sides[1]
        return TokenPair(index, clean, corrupted, correct, incorrect, warning, prefix, answers)

    def _own_prefix(self, added: Sequence[tuple[int, ...]]) -> str | None:
        """Say so where a prompt begins with the prefix itself, as what a chat template makes does."""
        sides = zip(("clean", "corrupted"), added, strict=True)
        own = [name for name, put in sides if put != self.prefix.ids]
        if not own:
            return None
        text = repr(self.prefix.text)
        if len(own) == 2:
            return f"the prompts already begin with {text}; no BOS is added"
        return f"only the {own[0]} prompt already begins with {text}; it is added to the other prompt only"

    def _check_prompts(self, clean: tuple[int, ...], corrupted: tuple[int, ...]) -> None:
        if len(clean) != len(corrupted):
            raise PairError(
                f"the prompts differ in length: clean has {len(clean)} tokens, corrupted {len(corrupted)}"
            )
        if not clean:
            raise PairError("the prompts have no tokens")
        if clean == corrupted:
            raise PairError("the clean and the corrupted prompt are the same tokens: nothing to patch")
        if self._context is not None and len(clean) > self._context:
            raise PairError(
                f"the prompts have {len(clean)} tokens; the model's context length is {self._context}"
            )

    def _answer(self, prompt: str, answer: Answer, side: str, encoded: "_Encoded") -> int:
        if isinstance(answer, int):
            if not 0 <= answer < self._vocabulary:
                raise PairError(
                    f"{side} token id {answer} {OUTSIDE_VOCABULARY} (0 to {self._vocabulary - 1})"
                )
            return answer
        if isinstance(answer, TokenPiece):
            return self._piece(answer.piece, side)
        if isinstance(answer, TokenText):
            ids, text, where = encoded.alone(answer.text), answer.text, "by itself"
        else:
            ids, text, where = _following(prompt, answer, side, encoded), answer, "after the prompt"
        if len(ids) != 1:
            raise PairError(f"{side} answer {text!r} is {len(ids)} tokens {where}, not one")
        return ids[0]

    def _piece(self, piece: str, side: str) -> int:
        token = self._pieces.get(piece)
        if token is None or token >= self._vocabulary:
            marked = [mark + piece for mark in _WORD_MARKS if mark + piece in self._pieces]
            hint = f" (did you mean {marked[0]!r}?)" if marked else ""
            raise PairError(f"{side} answer {piece!r} is not a piece in the model's vocabulary{hint}")
        return token

    @functools.cached_property
    def _pieces(self) -> Mapping[str, int]:
        """The vocabulary, piece to id."""
        pieces: Mapping[str, int] = self._tokenizer.get_vocab()
        return pieces


class _Encoded:
    """The token ids of every text that some pairs need, encoded in one call."""

    def __init__(self, tokenizer: Any, pairs: Sequence[Pair]) -> None:
        texts = list(dict.fromkeys(text for pair in pairs for text in _texts(pair)))
        encoded = tokenizer(texts, add_special_tokens=False).input_ids
        self._ids = {text: tuple(ids) for text, ids in zip(texts, encoded, strict=True)}

    def alone(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text, without a BOS."""
        return self._ids[text]

    def after(self, prompt: str, text: str) -> tuple[int, ...] | None:
        """Return the tokens that prompt + text adds to the prompt's own; None where it changes those."""
        before, whole = self._ids[prompt], self._ids[prompt + text]
        return whole[len(before) :] if whole[: len(before)] == before else None


def _texts(pair: Pair) -> Iterator[str]:
    """Yield the texts that a pair's checks ask for."""
    yield pair.clean
    yield pair.corrupted
    for answer in (*pair.correct, *pair.incorrect):
        if isinstance(answer, TokenText):
            yield answer.text
        elif isinstance(answer, str):
            yield pair.clean + answer
            if _may_lack_space(pair.clean, answer):
                yield f"{pair.clean} {answer}"


def _following(prompt: str, answer: str, side: str, encoded: _Encoded) -> tuple[int, ...]:
    """Return the tokens that tokenizing prompt + answer adds to the prompt's own."""
    added = encoded.after(prompt, answer)
    if added is None:
        raise PairError(
            f"{side} answer {answer!r} merges with the end of the prompt when tokenized: "
            'give its token id, or {"token": text} for a vocabulary entry'
        )
    return added


def _missing_space(pair: Pair, encoded: _Encoded) -> str | None:
    """Warn where an answer lacks the leading space that its tokenizer marks words with."""
    for answer in (*pair.correct, *pair.incorrect):
        if isinstance(answer, str) and _may_lack_space(pair.clean, answer):
            spaced = encoded.after(pair.clean, f" {answer}")
            if spaced is not None and len(spaced) == 1:
                return (
                    f"answer {answer!r} has no leading space, but this tokenizer marks words with one: "
                    f"did you mean {' ' + answer!r}?"
                )
    return None


def _may_lack_space(prompt: str, answer: str) -> bool:
    return answer[:1].isalpha() and not prompt[-1:].isspace()
