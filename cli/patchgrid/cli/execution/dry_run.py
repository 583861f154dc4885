"""`submit --dry-run`: what a job would be, and which of its pairs would fail, without a database."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from patchgrid.cli.errors import DONE, FAILED, SOME_FAILED
from patchgrid.cli.execution.budget import check_budget, pace_of, say_budget
from patchgrid.cli.execution.counting import (
    SiteCount,
    added_cells,
    added_words,
    count_passes,
    count_sites,
)
from patchgrid.cli.execution.tokenizing import (
    Tokenized,
    grouped_json,
    load_tokenizer,
    say_tokenized,
    tokenize,
)
from patchgrid.cli.terminal.progress import aloud
from patchgrid.cli.terminal.screen import counted, say, show_json
from patchgrid.core.plain import plain
from patchgrid.core.refinement import Refinement
from patchgrid.core.types import JobSpec
from patchgrid.pairs import PairFile, PairSummary
from patchgrid.storage.access.submitting import check_refinements
from patchgrid.storage.jobs.jobs import default_chunk_size
from patchgrid.storage.results.pace import Pace
from patchgrid.storage.sampling.shares import exact_share

if TYPE_CHECKING:
    from patchgrid.cli.context import Settings


def show_dry_run(
    settings: "Settings",
    spec: JobSpec,
    file: PairFile,
    summary: PairSummary,
    chunk_size: int | None,
    refinements: Sequence[Refinement] = (),
) -> int:
    """Say what a job of these pairs would be; return the exit code that it would have."""
    chunks = -(-summary.count // (chunk_size or default_chunk_size(summary.count)))
    say(f"{counted(summary.count, 'pair')} in {counted(chunks, 'chunk')}; nothing is stored")
    loaded, why_not = load_tokenizer(spec, shape=True)
    shape = None if loaded is None else loaded.shape
    pairs = aloud(file.numbered(), summary.count, "tokenized")
    tokenized = None if loaded is None else tokenize(loaded, pairs, file.unit)
    if tokenized is None:
        say(f"Not tokenized: {why_not}")
    else:
        say_tokenized(tokenized, summary.count)
    able = summary.count - (0 if tokenized is None else tokenized.failing)
    counts = [] if shape is None or tokenized is None else count_sites(spec, shape, able, tokenized.positions)
    passes = count_passes(spec, None if shape is None else shape.layers)
    _say_counts(spec, counts, passes, able, pace_of(settings, spec))
    check_refinements(spec, summary.count, refinements)
    added = [added_cells(each, counts, able) for each in refinements] if counts else []
    for each, cells in zip(refinements, added, strict=False):
        say(added_words(each, cells))
    if settings.json:
        share = exact_share(spec, spec.query.sites[0], pairs=summary.count)
        document = _document(tokenized, summary.count, chunks, share)
        show_json(document | {"sites": plain(counts), "passes": passes, "refinements": plain(added)})
    if tokenized is None or not tokenized.failing:
        return DONE
    return FAILED if tokenized.failing == summary.count else SOME_FAILED


def _say_counts(
    spec: JobSpec, counts: Sequence[SiteCount], passes: Mapping[str, int], pairs: int, known: Pace | None
) -> None:
    """Say what would be measured and what that takes."""
    for each in counts:
        patched = f"{each.exact:,} of {each.cells:,} cells ({100 * each.share:.3g} %)"
        say(f"{each.site}: {counted(each.components, 'component')}, about {patched} patched exactly")
    check_budget(spec, counts)
    say_budget(spec, pairs, counts, known)
    words = ", ".join(f"{number:,} for {method}" for method, number in passes.items())
    say(f"Model passes per pair, about: {words}; each exact effect takes less than one more")


def _document(tokenized: Tokenized | None, total: int, chunks: int, share: float) -> dict[str, Any]:
    return {
        "pairs": {"total": total, "failing": None if tokenized is None else tokenized.failing},
        "chunks": chunks,
        "exact_share": share,
        "reasons": [] if tokenized is None else grouped_json(tokenized.reasons, "reason"),
        "warnings": [] if tokenized is None else grouped_json(tokenized.warnings, "warning"),
    }
