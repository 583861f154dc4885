"""The tokens that stand before a prompt's text: what the tokenizer puts there, and never twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from patchgrid.core.errors import SpecError

#: Texts that are encoded with and without special tokens, until one has tokens of its own.
_PROBES = ("a", "the", "1", ".")


@dataclass(frozen=True, slots=True)
class Prefix:
    """What stands before every prompt of a job; empty: nothing does."""

    ids: tuple[int, ...] = ()
    #: The same as text.
    text: str = ""

    @classmethod
    def choose(cls, tokenizer: Any, prepend_bos: bool | None) -> Self:
        """Give what `prepend_bos` asks for: None the tokenizer's own prefix, True a BOS, False nothing.

        `SpecError` for a BOS that the tokenizer does not have.
        """
        if prepend_bos is False:
            return cls()
        ids = own_prefix(tokenizer)
        if prepend_bos:
            bos = tokenizer.bos_token_id
            if bos is None:
                message = "this model's tokenizer has no BOS token to put before the prompts"
                raise SpecError(message, "prepend_bos")
            ids = ids if bos in ids else (bos,)
        return cls(ids, tokenizer.decode(list(ids)) if ids else "")

    def missing(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Give the part that has to be put before these tokens, which may begin with the prefix or its end.

        A text that begins with the prefix's first token has its own, whatever follows.
        """
        if self.ids and self.ids[0] in ids[:1]:
            return ()
        starts = range(1, len(self.ids))
        own = next((at for at in starts if tuple(ids[: len(self.ids) - at]) == self.ids[at:]), len(self.ids))
        return self.ids[:own]

    def length(self, ids: Sequence[int]) -> int:
        """Count the tokens at the start of a whole prompt that are the prefix's."""
        pairs = enumerate(zip(self.ids, ids, strict=False))
        return next((place for place, (own, token) in pairs if own != token), min(len(self.ids), len(ids)))


def own_prefix(tokenizer: Any) -> tuple[int, ...]:
    """Give what a tokenizer puts before a text by itself; what it puts behind (an EOS) is no part of it."""
    for probe in _PROBES:
        whole = tuple(tokenizer(probe).input_ids)
        plain = tuple(tokenizer(probe, add_special_tokens=False).input_ids)
        if not plain:
            continue
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start]
    return ()
