"""`submit --dry-run`: what a job would be, and which of its pairs would fail, without a database."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchgrid.cli.counting import Shape, SiteCount, count_passes, count_sites
from patchgrid.cli.errors import DONE, FAILED, SOME_FAILED
from patchgrid.cli.progress import aloud
from patchgrid.cli.screen import counted, say, show_json, visible
from patchgrid.engine.errors import ModelError, PairError
from patchgrid.engine.packages import is_installed
from patchgrid.engine.quiet import quietly
from patchgrid.engine.types import JobSpec, Pair
from patchgrid.pairs import PairFile, PairSummary
from patchgrid.storage.jobs import default_chunk_size
from patchgrid.storage.pairnotes import Kinds
from patchgrid.storage.plain import plain
from patchgrid.storage.shares import exact_share

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
    #: Tokens of the others' clean prompts together.
    positions: int = 0


def show_dry_run(
    settings: "Settings", spec: JobSpec, file: PairFile, summary: PairSummary, chunk_size: int | None
) -> int:
    """Say what a job of these pairs would be; give the exit code that it would have."""
    chunks = -(-summary.count // (chunk_size or default_chunk_size(summary.count)))
    say(f"{counted(summary.count, 'pair')} in {counted(chunks, 'chunk')}; nothing is stored")
    tokenizer, shape, why_not = load_tokenizer(spec)
    found = None if tokenizer is None else tokenize(tokenizer, aloud(file, summary.count, "tokenized"))
    if found is None:
        say(f"Not tokenized: {why_not}")
    else:
        _say_tokenized(found, summary.count)
    able = summary.count - (0 if found is None else found.failing)
    counts = [] if shape is None or found is None else count_sites(spec, shape, able, found.positions)
    passes = count_passes(spec, None if shape is None else shape.layers)
    _say_counts(spec, counts, passes, summary.count)
    if settings.json:
        share = exact_share(spec, spec.sites[0], pairs=summary.count)
        document = _document(found, summary.count, chunks, share)
        show_json(document | {"sites": plain(counts), "passes": passes})
    if found is None or not found.failing:
        return DONE
    return FAILED if found.failing == summary.count else SOME_FAILED


def load_tokenizer(spec: JobSpec) -> "tuple[PairTokenizer | None, Shape | None, str]":
    """Load a model's tokenizer and sizes from a folder or the hub's cache, never from the network.

    Gives None, and why, where that cannot be.
    """
    if not is_installed("transformers"):
        return None, None, "transformers is not installed (pip install 'patchgrid[worker]')"
    with quietly():
        from patchgrid.engine.configuration import read_config
        from patchgrid.engine.modelfiles import load_tokenizer as read_tokenizer
        from patchgrid.engine.tokens import PairTokenizer

        try:
            config = read_config(spec.model, spec.revision, local_files_only=True).get_text_config()
            tokenizer = read_tokenizer(spec.model, spec.revision, local_files_only=True)
        except ModelError as error:
            here = Path(spec.model).is_dir()
            unknown = f"the tokenizer of {visible(spec.model)} is not on this machine"
            return None, None, visible(str(error)) if here else unknown
    context = getattr(config, "max_position_embeddings", None)
    return (
        PairTokenizer(tokenizer, vocabulary=config.vocab_size, context=context, prepend_bos=spec.prepend_bos),
        Shape.of(config),
        "",
    )


def tokenize(tokenizer: "PairTokenizer", pairs: Iterable[Pair]) -> Tokenized:
    """Tokenize every pair and count those that a worker would fail."""
    reasons, warnings, failing, positions = Kinds(), Kinds(), 0, 0
    for index, (pair, found) in enumerate(_each(tokenizer, pairs)):
        if isinstance(found, PairError):
            failing += 1
            reasons.add(str(found), example=f"pair {pair.id or index}: {found}")
            continue
        positions += found.length
        if found.warning is not None:
            warnings.add(found.warning)
    return Tokenized(failing, reasons.listed(), warnings.listed(), positions)


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


def _say_counts(spec: JobSpec, counts: Sequence[SiteCount], passes: Mapping[str, int], pairs: int) -> None:
    """Say what would be measured and what that takes."""
    for each in counts:
        patched = f"{each.exact:,} of {each.cells:,} cells ({100 * each.share:.3g} %)"
        say(f"{each.site}: {counted(each.components, 'component')}, about {patched} patched exactly")
    share = max(exact_share(spec, site, pairs=pairs) for site in spec.sites)
    more = " (--exact gives more to jobs as short as this one)" if share > spec.exact else ""
    if more or not counts:
        say(f"{100 * share:.3g} % of all cells would be patched exactly{more}")
    words = ", ".join(f"{number:,} by {method}" for method, number in passes.items())
    say(f"A pair's scores take about so many passes through the model: {words}; an exact effect part of one")


def _document(found: Tokenized | None, total: int, chunks: int, share: float) -> dict[str, Any]:
    return {
        "pairs": {"total": total, "failing": None if found is None else found.failing},
        "chunks": chunks,
        "exact_share": share,
        "reasons": [] if found is None else [{"reason": text, "pairs": n} for text, n in found.reasons],
        "warnings": [] if found is None else [{"warning": text, "pairs": n} for text, n in found.warnings],
    }
