"""One pair on the screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from patchgrid.cli.context import Settings
from patchgrid.cli.figures import Scale
from patchgrid.cli.pairscores import has_positions, whole_scores
from patchgrid.cli.screen import plain, say
from patchgrid.cli.tables import Column, show_table
from patchgrid.engine.types import TokenText, short_name
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.pairview import PairView
from patchgrid.storage.writing import ExactCell

#: Exact effects shown; an export has them all.
SHOWN_EXACT = 20


@dataclass(frozen=True, slots=True)
class Scored:
    """One component of the pair."""

    site: str
    layer: int
    head: int | None
    #: Index into the pair's own tokens, or None: all at once.
    position: int | None
    #: Attribution score, metric units.
    score: float

    @property
    def name(self) -> str:
        """The short name."""
        return short_name(self.site, self.layer, self.head, self.position)


def show_pair(settings: Settings, job: JobRecord, view: PairView, count: int) -> None:
    """Print a pair: facts, tokens, strongest components, exact effects."""
    show_table([Column(f"pair {view.name}"), Column("")], _facts(job, view))
    if view.tokens:
        _show_tokens(view)
    strongest = whole_components(view)[:count]
    if strongest:
        scale = Scale(component.score for component in strongest)
        show_table(
            [Column("component"), Column("score", number=True)],
            [(component.name, scale.write(component.score)) for component in strongest],
            "Strongest components",
        )
    if view.exact:
        _show_exact(settings, job, view.exact)
    if view.state == "pending":
        say("This pair has not been measured yet")


def _facts(job: JobRecord, view: PairView) -> list[tuple[str, object]]:
    scale = Scale([view.clean_metric, view.corrupted_metric])
    facts: list[tuple[str, object]] = [("job", job.id), ("row", view.index), ("state", view.state)]
    facts += [(name, text) for name, text in (("error", view.error), ("warning", view.warning)) if text]
    facts += [("clean", view.pair.clean), ("corrupted", view.pair.corrupted)]
    facts += [("correct", _answers(view.pair.correct)), ("incorrect", _answers(view.pair.incorrect))]
    if view.clean_metric is not None:
        facts.append((f"{job.spec.metric}, clean", scale.write(view.clean_metric)))
        facts.append((f"{job.spec.metric}, corrupted", scale.write(view.corrupted_metric)))
    return facts


def _answers(answers: Sequence[object]) -> str:
    texts = [repr(answer.text if isinstance(answer, TokenText) else answer) for answer in answers]
    return ", ".join(texts)


def _show_tokens(view: PairView) -> None:
    columns = [Column("position", number=True), Column("token"), Column("corrupted")]
    rows: list[list[object]] = []
    for place, (clean, corrupted) in enumerate(zip_longest(view.tokens, view.corrupted_tokens)):
        rows.append([place, repr(clean), "" if clean == corrupted else repr(corrupted)])
    if view.spans:
        columns.append(Column("span"))
        for place, row in enumerate(rows):
            inside = [name for name, (start, stop) in view.spans.items() if start <= place < stop]
            row.append(", ".join(inside))
    strongest = strongest_by_position(view)
    if strongest:
        columns += [Column("strongest here"), Column("score", number=True)]
        scale = Scale(component.score for component in strongest)
        for row, component in zip(rows, strongest, strict=True):
            name = short_name(component.site, component.layer, component.head)
            row += [name, scale.write(component.score)] if component.score else [None, None]
    show_table(columns, rows, "Tokens")


def _show_exact(settings: Settings, job: JobRecord, cells: Sequence[ExactCell]) -> None:
    largest = sorted(cells, key=lambda cell: abs(cell.effect), reverse=True)[:SHOWN_EXACT]
    scale = Scale(value for cell in largest for value in (cell.score, cell.effect))
    rows = []
    for cell in largest:
        where = cell.position if cell.span is None else cell.span
        name = short_name(cell.site, cell.layer, cell.head, where)
        drawn = f"{cell.inclusion:.3f}"
        rows.append((name, scale.write(cell.score), scale.write(cell.effect), drawn))
    columns = [Column("component")]
    columns += [Column(title, number=True) for title in ("score", "exact effect", "inclusion")]
    show_table(columns, rows, "Patched exactly")
    if len(cells) > SHOWN_EXACT:
        command = settings.command(f"results export {job.id} --what exact")
        say(f"{len(cells) - SHOWN_EXACT:,} smaller ones: {command}")


def whole_components(view: PairView) -> list[Scored]:
    """Give the pair's components over all positions, the strongest first: all that was kept."""
    if not view.scores:
        return [Scored(one.site, one.layer, one.head, None, one.score) for one in view.top]
    found = []
    for site in view.scores:
        for (layer, *head), score in np.ndenumerate(whole_scores(view, site)):
            found.append(Scored(site, layer, head[0] if head else None, None, float(score)))
    return sorted(found, key=lambda component: abs(component.score), reverse=True)


def strongest_by_position(view: PairView) -> list[Scored]:
    """Give each position's strongest component; nothing where positions were not kept."""
    best: dict[int, Scored] = {}
    for site, scores in view.scores.items():
        if not has_positions(view, site):
            continue
        for position in range(scores.shape[1]):
            part = scores[:, position]
            layer, *head = np.unravel_index(int(np.abs(part).argmax()), part.shape)
            score = float(part[(layer, *head)])
            if position not in best or abs(score) > abs(best[position].score):
                place = int(head[0]) if head else None
                best[position] = Scored(site, int(layer), place, position, score)
    return [best[position] for position in sorted(best)]


def pair_json(job: JobRecord, view: PairView) -> dict[str, Any]:
    """Give all that is kept of a pair as JSON."""
    return {
        "job": job.id,
        "pair": view.name,
        "row": view.index,
        "state": view.state,
        "error": view.error,
        "warning": view.warning,
        "clean": view.pair.clean,
        "corrupted": view.pair.corrupted,
        "correct": plain(view.pair.correct),
        "incorrect": plain(view.pair.incorrect),
        "spans": plain(view.spans),
        "tokens": list(view.tokens),
        "corrupted_tokens": list(view.corrupted_tokens),
        "metric": job.spec.metric,
        "clean_metric": view.clean_metric,
        "corrupted_metric": view.corrupted_metric,
        "top": [{"component": one.name, **plain(one)} for one in whole_components(view)[: len(view.top)]],
        "scores": plain(view.scores),
        "exact": plain(view.exact),
    }
