"""Pairs as a model's tokenizer sees them: which would fail and why, how long they are, how they begin."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchgrid.cli.execution.counting import Shape
from patchgrid.cli.terminal.screen import say, visible
from patchgrid.core.errors import ModelError, PairError
from patchgrid.core.packages import is_installed
from patchgrid.core.text.wording import counted
from patchgrid.core.types import Answer, JobSpec, Pair
from patchgrid.engine.checkpoint.quiet import quietly
from patchgrid.storage.jobs.pair_notes import kind_of

if TYPE_CHECKING:
    from patchgrid.engine.tokenization.tokens import PairTokenizer, TokenPair

#: Pairs held at once.
_BATCH = 1000
#: Most places named per kind of error, and most pairs shown as tokens.
NAMED, SAMPLES = 3, 3
#: What configurations call the longest prompt.
_CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


@dataclass(slots=True)
class Grouped:
    """Reasons or warnings of one kind."""

    #: The first of them.
    example: str
    #: Number of pairs.
    count: int = 0
    #: Where the first few are.
    places: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sample:
    """A pair as tokens."""

    #: Its line or row.
    place: str
    #: Tokens that stand before the texts.
    prefix: int
    clean: tuple[str, ...]
    corrupted: tuple[str, ...]
    correct: "SampleAnswers"
    incorrect: "SampleAnswers"


@dataclass(frozen=True, slots=True)
class SampleAnswers:
    """One side's answers, in the order given."""

    #: As the file has them.
    answers: tuple[Answer, ...]
    #: Their token ids, and the text of each.
    ids: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(slots=True)
class Tokenized:
    """What a model's tokenizer says of the pairs."""

    #: Pairs that would fail.
    failing: int = 0
    #: Each kind of reason by its first example.
    reasons: dict[str, Grouped] = field(default_factory=dict)
    #: Each kind of warning, the same way.
    warnings: dict[str, Grouped] = field(default_factory=dict)
    #: Number of tokens of a prompt to number of pairs.
    lengths: Counter[int] = field(default_factory=Counter)
    #: Span to the number of pairs that have it.
    spans: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)

    @property
    def positions(self) -> int:
        """Tokens of the good pairs' clean prompts together."""
        return sum(length * count for length, count in self.lengths.items())

    def length_range(self) -> tuple[int, int, int] | None:
        """Return the least, the median and the largest number of tokens."""
        if not self.lengths:
            return None
        lengths, half = sorted(self.lengths), (self.lengths.total() + 1) // 2
        seen, median = 0, lengths[0]
        for length in lengths:
            seen += self.lengths[length]
            if seen >= half:
                median = length
                break
        return lengths[0], median, lengths[-1]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model's tokenizer, and its sizes where its configuration tells."""

    pairs: "PairTokenizer"
    shape: Shape | None
    #: Decodes token ids one by one.
    texts: Any


def load_tokenizer(spec: JobSpec, *, shape: bool = False) -> tuple[Loaded | None, str]:
    """Load a model's tokenizer from a folder or the hub's cache, never from the network.

    Returns None, and the reason, where that is impossible. Without `shape` a folder whose `tokenizer.json` is
    all of it needs neither transformers nor torch.
    """
    from_file = None if shape else _from_file(spec)
    if from_file is not None:
        return from_file, ""
    if not is_installed("transformers"):
        return None, "transformers is not installed (pip install 'patchgrid[model]')"
    with quietly():
        from patchgrid.engine.checkpoint.files import load_tokenizer as read_tokenizer
        from patchgrid.engine.model.configuration import read_config

        try:
            config = read_config(spec.model, spec.revision, local_files_only=True).get_text_config()
            tokenizer = read_tokenizer(spec.model, spec.revision, local_files_only=True)
        except ModelError as error:
            here = Path(spec.model).is_dir()
            unknown = f"the tokenizer of {visible(spec.model)} is not on this machine"
            return None, visible(str(error)) if here else unknown
    context = getattr(config, "max_position_embeddings", None)
    return _loaded(tokenizer, config.vocab_size, context, spec, Shape.of(config)), ""


def _from_file(spec: JobSpec) -> Loaded | None:
    from patchgrid.engine.tokenization.file_tokenizer import FileTokenizer

    folder = Path(spec.model)
    tokenizer = FileTokenizer.read(folder) if spec.revision is None and folder.is_dir() else None
    if tokenizer is None:
        return None
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config = config.get("text_config", config)
        vocabulary = int(config["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    context = next((config[name] for name in _CONTEXTS if isinstance(config.get(name), int)), None)
    return _loaded(tokenizer, vocabulary, context, spec, None)


def _loaded(
    tokenizer: Any, vocabulary: int, context: int | None, spec: JobSpec, shape: Shape | None
) -> Loaded:
    from patchgrid.engine.tokenization.tokens import PairTokenizer, TokenTexts

    pair_tokenizer = PairTokenizer(
        tokenizer, vocabulary=vocabulary, context=context, prepend_bos=spec.query.prepend_bos
    )
    return Loaded(pair_tokenizer, shape, TokenTexts(tokenizer))


def tokenize(loaded: Loaded, pairs: Iterable[tuple[int | None, Pair]], unit: str) -> Tokenized:
    """Tokenize every pair, given with its line or row, and count those that a worker would fail."""
    tokenized = Tokenized()
    for place, pair, result in _tokenized_pairs(loaded.pairs, pairs):
        where = f"{unit} {place}" if pair.id is None else f"{unit} {place} ({pair.id})"
        tokenized.spans.update(list(pair.spans or ()))
        if isinstance(result, PairError):
            tokenized.failing += 1
            _add(tokenized.reasons, str(result), where)
            continue
        tokenized.lengths[result.length] += 1
        if result.warning is not None:
            _add(tokenized.warnings, result.warning, where)
        if len(tokenized.samples) < SAMPLES:
            tokenized.samples.append(_sample(loaded, where, pair, result))
    return tokenized


def _sample(loaded: Loaded, where: str, pair: Pair, result: "TokenPair") -> Sample:
    correct, incorrect = (
        SampleAnswers(answers, ids, tuple(loaded.texts(ids)))
        for answers, ids in zip((pair.correct, pair.incorrect), result.answers, strict=True)
    )
    clean, corrupted = (tuple(loaded.texts(ids)) for ids in (result.clean, result.corrupted))
    return Sample(where, result.prefix, clean, corrupted, correct, incorrect)


def _add(kinds: dict[str, Grouped], text: str, where: str) -> None:
    group = kinds.setdefault(kind_of(text), Grouped(text))
    group.count += 1
    if len(group.places) < NAMED:
        group.places.append(where)


def _tokenized_pairs(
    tokenizer: "PairTokenizer", pairs: Iterable[tuple[int | None, Pair]]
) -> "Iterator[tuple[int | None, Pair, TokenPair | PairError]]":
    rest = iter(pairs)
    while batch := list(islice(rest, _BATCH)):
        results = tokenizer.many([pair for _, pair in batch])
        yield from ((place, pair, each) for (place, pair), each in zip(batch, results, strict=True))


def say_tokenized(tokenized: Tokenized, total: int) -> None:
    """Say which pairs would fail and why, and what is to be known of others."""
    for group in tokenized.warnings.values():
        say(f"Note ({counted(group.count, 'pair')}): {visible(group.example)}")
    if not tokenized.failing:
        say("Tokenized: every pair can be measured")
        return
    say(f"Tokenized: {tokenized.failing:,} of {counted(total, 'pair')} would fail")
    for group in tokenized.reasons.values():
        more = f" (and {group.count - 1:,} more like it)" if group.count > 1 else ""
        say(f"  {visible(', '.join(group.places))}: {visible(group.example)}{more}")


def grouped_json(kinds: dict[str, Grouped], name: str) -> list[dict[str, Any]]:
    """Return reasons or warnings as JSON."""
    return [{name: group.example, "pairs": group.count, "first": group.places} for group in kinds.values()]


def sample_json(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return the samples as JSON."""
    return [
        {
            "pair": sample.place,
            "prefix": sample.prefix,
            "clean": list(sample.clean),
            "corrupted": list(sample.corrupted),
            "correct": list(sample.correct.texts),
            "correct_ids": list(sample.correct.ids),
            "incorrect": list(sample.incorrect.texts),
            "incorrect_ids": list(sample.incorrect.ids),
        }
        for sample in samples
    ]
