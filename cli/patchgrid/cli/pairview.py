"""One pair on the screen."""

import dataclasses
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
from patchgrid.storage.naming import indexed
from patchgrid.storage.pairview import PairView
from patchgrid.storage.writing import ExactCell

#: Exact effects shown; an export has them all.
SHOWN_EXACT = 20
#: Components in a pair's JSON where the rows that were kept do not tell.
TOP = 5


@dataclass(frozen=True, slots=True)
class Scored:
    """One component of the pair."""

    site: str
    layer: int
    head: int | None
    neuron: int | None
    #: Index into the pair's own tokens, or None: all at once.
    position: int | None
    #: Score by the method shown, metric units.
    score: float
    #: An edge's name, or None.
    edge: str | None = None

    @property
    def name(self) -> str:
        """The short name."""
        return short_name(self.site, self.layer, self.head, self.position, neuron=self.neuron, edge=self.edge)


def show_pair(settings: Settings, job: JobRecord, view: PairView, count: int) -> None:
    """Print a pair: facts, tokens, strongest components, exact effects."""
    show_table([Column(f"pair {view.name}"), Column("")], _facts(job, view))
    if view.tokens:
        _show_tokens(view)
    strongest = whole_components(view, count)
    if strongest:
        scale = Scale(component.score for component in strongest)
        show_table(
            [Column("component"), Column("score", number=True)],
            [(component.name, scale.write(component.score)) for component in strongest],
            _strongest_title(job, view),
        )
    if view.exact:
        _show_exact(settings, job, view.exact)
    if view.state == "pending":
        say("This pair has not been measured yet")


def _strongest_title(job: JobRecord, view: PairView) -> str:
    by = f" by {view.method}" if len(job.spec.methods) > 1 else ""
    return f"Strongest components{by}"


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
            name = dataclasses.replace(component, position=None).name
            row += [name, scale.write(component.score)] if component.score else [None, None]
    show_table(columns, rows, "Tokens")


def _show_exact(settings: Settings, job: JobRecord, cells: Sequence[ExactCell]) -> None:
    largest = sorted(cells, key=lambda cell: abs(cell.effect), reverse=True)[:SHOWN_EXACT]
    scale = Scale(value for cell in largest for value in (cell.score, cell.effect))
    rows = []
    for cell in largest:
        drawn = f"{cell.inclusion:.3f}"
        rows.append((cell.name, scale.write(cell.score), scale.write(cell.effect), drawn))
    columns = [Column("component")]
    columns += [Column(title, number=True) for title in ("score", "exact effect", "inclusion")]
    show_table(columns, rows, "Patched exactly")
    if len(cells) > SHOWN_EXACT:
        command = settings.command(f"results export {job.id} --what exact")
        say(f"{len(cells) - SHOWN_EXACT:,} smaller ones: {command}")


def whole_components(view: PairView, count: int) -> list[Scored]:
    """Give the pair's strongest components over all positions, the strongest first, of all that was kept."""
    # Of sites with very many components a few were kept, and not the scores of all.
    found = [
        Scored(one.site, one.layer, one.head, one.neuron, None, one.score, one.edge)
        for one in view.top
        if one.site not in view.scores
    ]
    for site in view.scores:
        scores = whole_scores(view, site)
        for number in np.argsort(-np.abs(scores), axis=None, kind="stable")[:count]:
            index = np.unravel_index(number, scores.shape)
            found.append(_scored(view, site, index, None, float(scores[index])))
    return sorted(found, key=lambda component: abs(component.score), reverse=True)[:count]


def strongest_by_position(view: PairView) -> list[Scored]:
    """Give each position's strongest component; nothing where positions were not kept."""
    best: dict[int, Scored] = {}
    for site, scores in view.scores.items():
        if not has_positions(view, site):
            continue
        for position in range(scores.shape[1]):
            part = scores[:, position]
            index = np.unravel_index(int(np.abs(part).argmax()), part.shape)
            score = float(part[index])
            if position not in best or abs(score) > abs(best[position].score):
                best[position] = _scored(view, site, index, position, score)
    return [best[position] for position in sorted(best)]


def _scored(view: PairView, site: str, index: Sequence[Any], position: int | None, score: float) -> Scored:
    place = indexed(site, [int(along) for along in index], view.graph)
    return Scored(site, place.layer, place.head, place.neuron, position, score, place.edge)


def pair_json(job: JobRecord, view: PairView) -> dict[str, Any]:
    """Give all that is kept of a pair as JSON."""
    strongest = whole_components(view, len(view.top) or TOP)
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
        "method": view.method,
        "metric": job.spec.metric,
        "clean_metric": view.clean_metric,
        "corrupted_metric": view.corrupted_metric,
        "top": [{"component": one.name, **plain(one)} for one in strongest],
        "scores": plain(view.scores),
        "exact": plain(view.exact),
    }
