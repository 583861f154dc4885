"""One pair on the screen."""

import dataclasses
from itertools import zip_longest

from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.screen import say
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.states import PairState
from patchgrid.core.text.number_format import number
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.pair_results.exact_scores import cell_name
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.pair_results.strongest import (
    strongest_by_position,
    whole_components,
)
from patchgrid.storage.results.task_line import answer_words

#: Exact effects shown; an export has them all.
SHOWN_EXACT = 20


def show_pair(
    settings: Settings, job: JobRecord, view: PairView, count: int, *, unit: str | None = None
) -> None:
    """Print a pair: facts, tokens, strongest components, exact effects; `unit` is that of the last two."""
    show_table([Column(f"pair {view.name}"), Column("")], _facts(job, view))
    if unit is not None:
        say(f"Scores and effects: {unit} of this pair")
    if view.tokens:
        _show_tokens(view)
    strongest = whole_components(view, count)
    if strongest:
        show_table(
            [Column("component"), Column("score", number=True)],
            [(component.name, number(component.score, sign=True)) for component in strongest],
            _strongest_title(job, view),
        )
    if view.exact:
        _show_exact(settings, job, view)
    if view.state == PairState.PENDING:
        say("This pair has not been measured yet")
    if view.state == PairState.SKIPPED:
        say("This pair was skipped: the model gets it wrong (--only-correct)")


def _strongest_title(job: JobRecord, view: PairView) -> str:
    by = f" by {view.method}" if len(job.spec.query.method_names) > 1 else ""
    return f"Strongest components{by}"


def _facts(job: JobRecord, view: PairView) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [("job", job.id), ("row", view.index), ("state", view.state)]
    facts += [(name, text) for name, text in (("error", view.error), ("warning", view.warning)) if text]
    facts += [("clean", view.pair.clean), ("corrupted", view.pair.corrupted)]
    facts.append(("correct", answer_words(view.pair.correct, view.correct_tokens)))
    facts.append(("incorrect", answer_words(view.pair.incorrect, view.incorrect_tokens)))
    if view.pair.group is not None:
        facts.append(("group", view.pair.group))
    if view.clean_metric is not None:
        facts.append((f"{job.spec.metric}, clean", number(view.clean_metric, sign=True)))
        facts.append((f"{job.spec.metric}, corrupted", number(view.corrupted_metric, sign=True)))
    if view.clean_preference is not None and view.corrupted_preference is not None:
        sides = (("clean", view.clean_preference), ("corrupted", view.corrupted_preference))
        facts += [(f"{side} prefers", _preferred(preference)) for side, preference in sides]
    return facts


def _preferred(preference: float) -> str:
    if not preference:
        return "neither"
    return f"{'correct' if preference > 0 else 'incorrect'} (by {abs(preference):.3g})"


def _show_tokens(view: PairView) -> None:
    columns = [Column("index", number=True), Column("position", number=True), Column("token")]
    columns.append(Column("corrupted"))
    rows: list[list[object]] = []
    for place, (clean, corrupted) in enumerate(zip_longest(view.tokens, view.corrupted_tokens)):
        rows.append(
            [place, place - len(view.tokens), repr(clean), "" if clean == corrupted else repr(corrupted)]
        )
    if view.spans or view.prefix:
        columns.append(Column("span" if view.spans else ""))
        for place, row in enumerate(rows):
            inside = ["(prefix)"] if place < (view.prefix or 0) else []
            inside += [name for name, (start, stop) in view.spans.items() if start <= place < stop]
            row.append(", ".join(inside))
    strongest = strongest_by_position(view)
    if strongest:
        columns += [Column("strongest here"), Column("score", number=True)]
        for row, component in zip(rows, strongest, strict=True):
            name = dataclasses.replace(component, position=None).name
            row += [name, number(component.score, sign=True)] if component.score else [None, None]
    show_table(columns, rows, "Tokens")


def _token(view: PairView, position: int | None) -> str | None:
    """Write the token at a position, with the corrupted prompt's where it differs."""
    if position is None:
        return None
    clean, corrupted = view.tokens[position], view.corrupted_tokens[position]
    return repr(clean) if clean == corrupted else f"{clean!r} / {corrupted!r}"


def _show_exact(settings: Settings, job: JobRecord, view: PairView) -> None:
    cells, placed = view.exact, any(cell.position is not None for cell in view.exact)
    largest = sorted(cells, key=lambda cell: abs(cell.effect), reverse=True)[:SHOWN_EXACT]
    rows = []
    for cell in largest:
        drawn = f"{cell.inclusion:.3f}"
        row = [cell_name(cell, len(view.tokens)), *[_token(view, cell.position)] * placed]
        rows.append([*row, number(cell.score, sign=True), number(cell.effect, sign=True), drawn])
    columns = [Column("component"), *[Column("token")] * placed]
    columns += [Column(title, number=True) for title in ("score", "exact effect", "inclusion")]
    show_table(columns, rows, "Patched exactly")
    if len(cells) > SHOWN_EXACT:
        command = settings.command(f"results export {job.id} --what exact")
        say(f"{len(cells) - SHOWN_EXACT:,} smaller ones: {command}")
