"""A small byte-level BPE tokenizer whose words carry their leading space, as GPT-2's do."""

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
NAMES = ("Mary", "John", "Alice", "Tom", "Anna", "Paul", "Kate", "Sam")
_SPACED = (
    *("the", "a", "ca", "cat", "dog", "ball", "book", "shop", "park", "went", "gave", "took", "to", "and"),
    *("then", "when", "in", "of", "it", "was", "red", "blue", "big", "old", "said", "that"),
)
#: Words that are one token at the start of a prompt, or glued to what stands before them.
_BARE = (*NAMES, "The", "When", "Then", "cat", "dog")
#: How the byte-level alphabet writes a space.
_SPACE = "Ġ"


def _merges() -> list[tuple[str, str]]:
    """Spell each word from left to right, spaced words first so that a leading space joins its word."""
    words = [_SPACE + word for word in (*NAMES, *_SPACED)] + list(_BARE)
    steps = [(word[:end], word[end]) for word in words for end in range(1, len(word))]
    return list(dict.fromkeys(steps))


def _vocabulary() -> dict[str, int]:
    """Number the special tokens, then the letters, then what each merge makes."""
    merges = _merges()
    letters = sorted({letter for left, right in merges for letter in left + right} | {".", ","})
    pieces = (PAD, BOS, EOS, *letters, *(left + right for left, right in merges))
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


#: Token as the tokenizer writes it to id.
VOCABULARY = _vocabulary()


def token_id(text: str) -> int:
    """Look up the id of one token's text, its leading space included."""
    return VOCABULARY[text.replace(" ", _SPACE)]


def build_tokenizer(bos: bool = False, *, padding_side: str = "right", pad: bool = True) -> Any:
    """Make the tokenizer, with a BOS before each prompt if `bos`, without a padding token unless `pad`.

    `dog` followed by `Mary` is two tokens, while ` ca` followed by `t` becomes the one token ` cat`.
    """
    tokenizer = Tokenizer(models.BPE(vocab=VOCABULARY, merges=_merges()))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (PAD, BOS, EOS)])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, VOCABULARY[BOS])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=EOS,
        pad_token=PAD if pad else None,
        padding_side=padding_side,
        clean_up_tokenization_spaces=False,
    )
