"""A tokenizer read from `tokenizer.json` alone, without transformers and torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from patchgrid.core.packages import is_installed

#: Classes that transformers loads as the file has it, and settings that change nothing about the tokens.
_CLASSES = frozenset({"TokenizersBackend", "PreTrainedTokenizerFast"})
_HARMLESS = frozenset(
    {
        *("backend", "bos_token", "eos_token", "pad_token", "unk_token", "tokenizer_class", "is_local"),
        *("local_files_only", "model_max_length", "chat_template", "padding_side", "name_or_path"),
        *("model_input_names", "tokenizer_file", "processor_class", "model_specific_special_tokens"),
    }
)
_MOST = 64 << 20


@dataclass(frozen=True, slots=True)
class FileTokenizer:
    """What `PairTokenizer` asks of a tokenizer, by the package tokenizers."""

    _made: Any
    #: Id of the BOS, or None.
    bos_token_id: int | None

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the tokenizer of a model's folder; None where transformers would make something else of it."""
        if not is_installed("tokenizers"):
            return None
        try:
            settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
            if settings.get("tokenizer_class") not in _CLASSES or not _is_plain(settings):
                return None
            if (folder / "tokenizer.json").stat().st_size > _MOST:
                return None
            from tokenizers import Tokenizer

            made = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception:  # noqa: BLE001 (tokenizers raises that; transformers says what is wrong)
            return None
        added = {token.content for token in made.get_added_tokens_decoder().values()}
        named = [settings.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")]
        if any(token is not None and token not in added for token in named):
            return None
        made.no_truncation()
        made.no_padding()
        bos = settings.get("bos_token")
        return cls(made, None if bos is None else made.token_to_id(bos))

    def __call__(self, text: str | Sequence[str], add_special_tokens: bool = True) -> Any:
        """Encode a text, or several."""
        if isinstance(text, str):
            return SimpleNamespace(
                input_ids=self._made.encode(text, add_special_tokens=add_special_tokens).ids
            )
        encodings = self._made.encode_batch_fast(list(text), add_special_tokens=add_special_tokens)
        return SimpleNamespace(input_ids=[each.ids for each in encodings])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        return str(self._made.decode(list(ids), skip_special_tokens=False))

    def get_vocab(self) -> dict[str, int]:
        """Return the vocabulary, piece to id."""
        vocabulary: dict[str, int] = self._made.get_vocab()
        return vocabulary

    def __len__(self) -> int:
        return int(self._made.get_vocab_size())


def _is_plain(settings: dict[str, Any]) -> bool:
    texts = ("bos_token", "eos_token", "pad_token", "unk_token")
    clean_up = settings.get("clean_up_tokenization_spaces", False)
    harmless = settings.keys() <= _HARMLESS | {"clean_up_tokenization_spaces"}
    return harmless and not clean_up and all(isinstance(settings.get(name, ""), str | None) for name in texts)
