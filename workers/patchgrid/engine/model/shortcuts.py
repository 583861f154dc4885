"""Shortcuts that save computation without changing numbers; a model may not support all of them."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """The enabled shortcuts; `find_shortcuts` tests them all when a model is loaded."""

    #: What lies before a batch's first difference is computed once, for both runs and every patched copy.
    prefix: bool = True
    #: The last block works for the last position only, once it has its keys and values.
    last_block: bool = True
    #: No logits but those that the metric reads.
    head: bool = True
    #: Attention that a patch cannot have changed is not run again.
    attention: bool = True
    #: Prompts, and beginnings of prompts, that several pairs share are computed once.
    repeats: bool = True

    @classmethod
    def none(cls) -> "Shortcuts":
        """Take none."""
        return cls(**{field.name: False for field in fields(cls)})
