"""From a pair's text to token ids, or the reason why the model cannot measure it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from patchgrid.engine.errors import PairError, SpecError
from patchgrid.engine.types import Answer, Pair, TokenText


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

    @property
    def length(self) -> int:
        """Number of tokens of each prompt."""
        return len(self.clean)

    @property
    def first_difference(self) -> int:
        """The first position at which the prompts differ."""
        return next(i for i, (a, b) in enumerate(zip(self.clean, self.corrupted, strict=True)) if a != b)


def token_texts(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """Decode ids one by one, so that each position has its own text."""
    return tuple(tokenizer.decode([token]) for token in ids)


class PairTokenizer:
    """Turns pairs into token ids with one model's tokenizer."""

    def __init__(
        self, tokenizer: Any, *, vocabulary: int, context: int | None, prepend_bos: bool | None
    ) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._context = context
        self._bos = self._choose_bos(prepend_bos)
        self._entries: dict[str, tuple[int, ...]] = {}

    def __call__(self, pair: Pair, index: int) -> TokenPair:
        """Tokenize a pair.

        Raises
        ------
        PairError
            With the reason why this model cannot measure the pair.
        """
        clean, corrupted = self._prompt(pair.clean), self._prompt(pair.corrupted)
        self._check_prompts(clean, corrupted)
        correct, incorrect = (
            tuple(dict.fromkeys(self._answer(pair.clean, clean, answer, side) for answer in answers))
            for answers, side in ((pair.correct, "correct"), (pair.incorrect, "incorrect"))
        )
        shared = set(correct) & set(incorrect)
        if shared:
            text = self._tokenizer.decode([min(shared)])
            raise PairError(f"{text!r} is both a correct and an incorrect answer (token {min(shared)})")
        for name, (_, stop) in (pair.spans or {}).items():
            if stop > len(clean):
                raise PairError(f"span {name!r} ends at {stop}, but the prompts have {len(clean)} tokens")
        return TokenPair(index, clean, corrupted, correct, incorrect, self._missing_space(pair, clean))

    def _choose_bos(self, prepend: bool | None) -> tuple[int, ...]:
        bos = self._tokenizer.bos_token_id
        if prepend is None:
            ids = self._tokenizer("a").input_ids
            prepend = bos is not None and len(ids) > 0 and ids[0] == bos
        if prepend and bos is None:
            raise SpecError("this model's tokenizer has no BOS token to put before the prompts")
        return (bos,) if prepend else ()

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _prompt(self, text: str) -> tuple[int, ...]:
        return self._bos + self._encode(text)

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
                f"the prompts have {len(clean)} tokens, more than the model's context of {self._context}"
            )

    def _answer(self, prompt: str, ids: tuple[int, ...], answer: Answer, side: str) -> int:
        if isinstance(answer, int):
            if not 0 <= answer < self._vocabulary:
                raise PairError(
                    f"{side} token id {answer} is not in the model's vocabulary (0 to {self._vocabulary - 1})"
                )
            return answer
        if isinstance(answer, TokenText):
            return self._entry(answer.text, side)
        return self._following(prompt, ids, answer, side)

    def _entry(self, text: str, side: str) -> int:
        if text not in self._entries:
            self._entries[text] = self._encode(text)
        ids = self._entries[text]
        if len(ids) != 1:
            raise PairError(f"{side} answer {text!r} is {len(ids)} tokens by itself, not one")
        return ids[0]

    def _following(self, prompt: str, ids: tuple[int, ...], answer: str, side: str) -> int:
        """Return the one token that tokenizing prompt + answer adds to the prompt's own."""
        whole = self._prompt(prompt + answer)
        if whole[: len(ids)] != ids:
            raise PairError(
                f"{side} answer {answer!r} merges with the end of the prompt when tokenized: "
                'give its token id, or {"token": text} for a vocabulary entry'
            )
        added = whole[len(ids) :]
        if len(added) != 1:
            raise PairError(f"{side} answer {answer!r} is {len(added)} tokens after the prompt, not one")
        return added[0]

    def _missing_space(self, pair: Pair, clean: tuple[int, ...]) -> str | None:
        """Warn where an answer lacks the leading space that its tokenizer marks words with."""
        if pair.clean[-1:].isspace():
            return None
        for answer in (*pair.correct, *pair.incorrect):
            if isinstance(answer, str) and answer[:1].isalpha():
                spaced = self._prompt(f"{pair.clean} {answer}")
                if len(spaced) == len(clean) + 1 and spaced[:-1] == clean:
                    return (
                        f"answer {answer!r} has no leading space, which this tokenizer marks words with: "
                        f"did you mean {' ' + answer!r}?"
                    )
        return None
