"""`submit --dry-run`: what a job would be, and which of its pairs would fail, without a database."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from patchgrid.cli.engines import is_installed, quietly
from patchgrid.cli.errors import DONE, FAILED, SOME_FAILED
from patchgrid.cli.pairnotes import Kinds
from patchgrid.cli.progress import aloud
from patchgrid.cli.screen import counted, say, show_json, visible
from patchgrid.engine.errors import PairError
from patchgrid.engine.types import JobSpec, Pair
from patchgrid.estimates.sampling import expected_share
from patchgrid.pairs import PairFile, PairSummary

if TYPE_CHECKING:
    from patchgrid.cli.context import Settings
    from patchgrid.engine.tokens import PairTokenizer, TokenPair

#: Pairs held at once.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Tokenized:
    """What a model's tokenizer says of the pairs."""

    #: Pairs that would fail.
    failing: int
    #: Each kind of reason by its first example, with its number of pairs.
    reasons: Sequence[tuple[str, int]]
    #: Each kind of warning, the same way.
    warnings: Sequence[tuple[str, int]]


def show_dry_run(
    settings: "Settings", spec: JobSpec, file: PairFile, summary: PairSummary, chunk_size: int
) -> int:
    """Say what a job of these pairs would be; give the exit code that it would have."""
    chunks = -(-summary.count // chunk_size)
    share = expected_share(spec.exact, pairs=summary.count)
    say(f"{counted(summary.count, 'pair')} in {counted(chunks, 'chunk')}; nothing is stored")
    tokenizer, why_not = load_tokenizer(spec)
    found = None if tokenizer is None else tokenize(tokenizer, aloud(file, summary.count, "tokenized"))
    if found is None:
        say(f"Not tokenized: {why_not}")
    else:
        _say_tokenized(found, summary.count)
    more = " (--exact gives more to jobs as short as this one)" if share > spec.exact else ""
    say(f"{100 * share:.3g} % of all cells would be patched exactly{more}")
    if settings.json:
        show_json(_document(found, summary.count, chunks, share))
    if found is None or not found.failing:
        return DONE
    return FAILED if found.failing == summary.count else SOME_FAILED


def load_tokenizer(spec: JobSpec) -> "tuple[PairTokenizer | None, str]":
    """Load a model's tokenizer from a folder or the hub's cache, never from the network.

    Gives None, and why, where that cannot be.
    """
    if not is_installed("transformers"):
        return None, "transformers is not installed (pip install 'patchgrid[worker]')"
    with quietly():
        from transformers import AutoConfig, AutoTokenizer

        from patchgrid.engine.tokens import PairTokenizer

        options: dict[str, Any] = {"revision": spec.revision, "local_files_only": True}
        options["trust_remote_code"] = False
        try:
            config = AutoConfig.from_pretrained(spec.model, **options).get_text_config()
            tokenizer = AutoTokenizer.from_pretrained(spec.model, **options)
        except (OSError, ValueError, KeyError, ImportError):
            return None, f"the tokenizer of {visible(spec.model)} is not on this machine"
    context = getattr(config, "max_position_embeddings", None)
    return (
        PairTokenizer(tokenizer, vocabulary=config.vocab_size, context=context, prepend_bos=spec.prepend_bos),
        "",
    )


def tokenize(tokenizer: "PairTokenizer", pairs: Iterable[Pair]) -> Tokenized:
    """Tokenize every pair and count those that a worker would fail."""
    reasons, warnings, failing = Kinds(), Kinds(), 0
    for index, (pair, found) in enumerate(_each(tokenizer, pairs)):
        if isinstance(found, PairError):
            failing += 1
            reasons.add(str(found), example=f"pair {pair.id or index}: {found}")
        elif found.warning is not None:
            warnings.add(found.warning)
    return Tokenized(failing, reasons.listed(), warnings.listed())


def _each(
    tokenizer: "PairTokenizer", pairs: Iterable[Pair]
) -> "Iterator[tuple[Pair, TokenPair | PairError]]":
    rest = iter(pairs)
    while batch := list(islice(rest, _BATCH)):
        yield from zip(batch, tokenizer.many(batch), strict=True)


def _say_tokenized(found: Tokenized, total: int) -> None:
    for text, count in found.warnings:
        say(f"Note ({counted(count, 'pair')}): {visible(text)}")
    if not found.failing:
        say("Tokenized: every pair can be measured")
        return
    say(f"Tokenized: {found.failing:,} of {counted(total, 'pair')} would fail")
    for text, count in found.reasons:
        say(f"  {visible(text)}{f' (and {count - 1:,} more like it)' if count > 1 else ''}")


def _document(found: Tokenized | None, total: int, chunks: int, share: float) -> dict[str, Any]:
    return {
        "pairs": {"total": total, "failing": None if found is None else found.failing},
        "chunks": chunks,
        "exact_share": share,
        "reasons": [] if found is None else [{"reason": text, "pairs": n} for text, n in found.reasons],
        "warnings": [] if found is None else [{"warning": text, "pairs": n} for text, n in found.warnings],
    }
