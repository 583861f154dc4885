"""The demo model's tokenizer: one token a word, leading space included, and two tokens a year."""

import re
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from examples.demo_model import words

END = "<|endoftext|>"
PAD = "<|pad|>"
UNKNOWN = "<|unk|>"
SPECIAL = (END, PAD, UNKNOWN)

#: A word, two digits, one digit, or one other sign; the first in a run of digits carries the space.
_PIECE = r" ?[A-Za-z]+| ?[0-9]{1,2}| ?[^\sA-Za-z0-9]|\s"


def build() -> Tokenizer:
    """Build the tokenizer from the words of the prompts: nothing is learned.

    Tokens are written as GPT-2 writes them (a leading space is `Ġ`); decoding gives the text back.
    """
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *_tokens()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def load(folder: Path = Path(__file__).parent) -> Tokenizer:
    """Read the committed tokenizer, without transformers."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def _tokens() -> list[str]:
    """Every piece of every prompt, as the vocabulary writes it: years, names, then the other words."""
    digits = [f"{number:02d}" for number in range(100)]
    texts = (*words.OPENINGS, *(f" {action}." for action in words.ACTIONS), *words.YEAR_TEMPLATES)
    rest = {piece for text in texts for piece in re.findall(_PIECE, re.sub(r" {\w+}", "", text))}
    rest |= {f" {word}" for word in (*words.PLACES, *words.OBJECTS, *words.NOUNS)}
    pieces = [*digits, *(f" {pair}" for pair in digits), *(f" {name}" for name in words.NAMES), *sorted(rest)]
    return [piece.replace(" ", "Ġ") for piece in dict.fromkeys(pieces)]
