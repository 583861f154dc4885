"""The tokens that a tokenizer puts before a prompt, never twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from patchgrid.core.errors import SpecError

#: Texts to encode with and without special tokens, until one has tokens.
_PROBES = ("a", "the", "1", ".")


@dataclass(frozen=True, slots=True)
class Prefix:
    """The prefix of every prompt of a job; may be empty."""

    ids: tuple[int, ...] = ()
    #: The same as text.
    text: str = ""

    @classmethod
    def choose(cls, tokenizer: Any, prepend_bos: bool | None) -> Self:
        """Return what `prepend_bos` asks for: None the tokenizer's own prefix, True a BOS, False nothing.

        `SpecError` for a BOS that the tokenizer does not have.
        """
        if prepend_bos is False:
            return cls()
        ids = own_prefix(tokenizer)
        if prepend_bos:
            bos = tokenizer.bos_token_id
            if bos is None:
                message = "this model's tokenizer has no BOS token: use --no-prepend-bos"
                raise SpecError(message, "prepend_bos")
            ids = ids if bos in ids else (bos,)
        return cls(ids, tokenizer.decode(list(ids)) if ids else "")

    def missing(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the part that has to be put before these tokens, which may begin with the prefix or its end.

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
    """Return the prefix that a tokenizer adds by itself, without a suffix such as an EOS."""
    for probe in _PROBES:
        whole = tuple(tokenizer(probe).input_ids)
        plain = tuple(tokenizer(probe, add_special_tokens=False).input_ids)
        if not plain:
            continue
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start]
    return ()
