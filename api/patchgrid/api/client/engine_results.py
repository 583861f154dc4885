"""What `Engine.attribute` returns as dataframes and pictures, without a workspace."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.api.client import frames
from patchgrid.core.errors import SpecError
from patchgrid.core.names import check_name
from patchgrid.core.sites import EDGE, HEAD_SITES, INDEX_FIELDS, index_fields, short_name
from patchgrid.core.text.wording import counted
from patchgrid.storage.chunks.naming import has_inner, indexed, sum_positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from patchgrid.core.graph import Graph
    from patchgrid.engine.results import Results, SiteScores

_FIELDS = ("pair", "method", "component", "site", "layer", *INDEX_FIELDS, "score")


def frame(
    results: "Results",
    site: str | None = None,
    *,
    method: str | None = None,
    graph: "Graph | None" = None,
    frame: str | None = None,
) -> Any:
    """Return a dataframe of scores, in units of the metric: a row a pair, method and component.

    Scores are summed over positions. Columns are those of `Job.scores`, and `method`; `pair` is the place in
    the call. Failed and skipped pairs have no rows. `site` and `method` select one; edges are named by their
    model's `graph` (`Engine.graph`). `frame` is `pandas` or `polars`; by default the first that is installed.
    Raises `SpecError` for a site or method that the call did not have.
    """
    library = frames.library(frame)
    by_method = _scores(results)
    methods = [_method(results, method)] if method is not None else list(by_method)
    if site is not None:
        check_name("site of this call", site, list(by_method[methods[0]]), "site")
    fields = _FIELDS if graph is None else (*_FIELDS, EDGE)
    return frames.frame_of(_rows(results, methods, site, graph), fields, library)


def heatmap(
    results: "Results",
    site: str | None = None,
    *,
    method: str | None = None,
    pair: int | None = None,
    title: str | None = None,
    vmax: float | None = None,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw scores by layer: by head where the site has heads, else by position; as `Job.heatmap`.

    The mean over the pairs, with positions counted from the end, or the scores of one `pair`, by its place in
    the call, at its tokens. `site` and `method` are the first of the call by default. `vmax` is the end of
    the scale; `ax` are axes to draw on. Needs matplotlib. Raises `SpecError` for what the call did not have.
    """
    from patchgrid.api.pictures import plots
    from patchgrid.api.pictures.labels import pair_labels
    from patchgrid.api.pictures.look import Look

    look = Look(title, vmax)
    scores, chosen, by = _chosen(results, site, method)
    if pair is not None and not (0 <= pair < len(results) and results[pair].scores):
        raise SpecError(f"pair {pair} is out of range or has no scores (0 to {len(results) - 1})", "pair")
    of = counted(sum(bool(each.scores) for each in results), "pair") if pair is None else f"pair {pair}"
    title = look.title or f"{chosen}, {by}; {of}"
    if chosen in HEAD_SITES:
        values = _mean(_over_positions(scores), pair)
        return plots.layer_head_heatmap(
            values, title=title, unit="metric", quantity="score", vmax=look.vmax, on=ax
        )
    values = _mean(scores.sum(axis=3) if has_inner(chosen) else scores, pair)
    labels: Sequence[int | str | tuple[str, str]] = range(-values.shape[1], 0)
    if pair is not None:
        labels = pair_labels(results[pair].tokens, results[pair].corrupted_tokens)
        values = values[:, -len(labels) :]
    return plots.layer_position_heatmap(
        values,
        labels,
        title=title,
        unit="metric",
        quantity="score",
        axis="token" if pair is not None else "position from the end",
        vmax=look.vmax,
        on=ax,
    )


def _method(results: "Results", method: str | None) -> str:
    """Return a method of a call, its first by default; `SpecError` for another."""
    methods = tuple(_scores(results))
    return check_name("method of this call", method or methods[0], methods, "method")


def _scores(results: "Results") -> "Mapping[str, SiteScores]":
    scores = results.scores
    if not scores:
        raise SpecError("no pair has scores: see the `error` of each result")
    return scores


def _chosen(results: "Results", site: str | None, method: str | None) -> tuple[NDArray[np.float64], str, str]:
    """Return `[pair, layer, position(, index)]` with the names of its site and method."""
    by = _method(results, method)
    stacked = _scores(results)[by]
    sites = [name for name in stacked if name != EDGE]
    if not sites:
        raise SpecError("edges lie in no layer: frame(results, graph=engine.graph) lists them", "site")
    chosen = check_name("site of this call", site or sites[0], sites, "site")
    scores = stacked[chosen].astype(np.float64)
    if scores.ndim < 3 + has_inner(chosen):
        raise SpecError(f"{chosen} was summed over positions: call with keep_positions=True", "site")
    return scores, chosen, by


def _over_positions(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum `[pair, layer, position, head]` over the positions that a pair has; NaN where it has no scores."""
    sums: NDArray[np.float64] = np.nansum(scores, axis=2)
    sums[np.isnan(scores).all(axis=2)] = np.nan
    return sums


def _mean(values: NDArray[np.float64], pair: int | None) -> NDArray[np.float64]:
    """Average over the pairs that have a value, or return one pair's."""
    if pair is not None:
        own: NDArray[np.float64] = values[pair]
        return own
    finite = np.isfinite(values)
    counts = finite.sum(axis=0)
    return np.where(counts, np.where(finite, values, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def _rows(
    results: "Results", methods: Sequence[str], site: str | None, graph: "Graph | None"
) -> Iterator[dict[str, Any]]:
    for number, result in enumerate(results):
        for method in methods:
            for name, scores in result.scores.get(method, {}).items():
                if site is None or name == site:
                    for place, score in _components(name, scores, graph):
                        yield {"pair": number, "method": method, **place, "score": score}


def _components(
    site: str, scores: NDArray[np.float32], graph: "Graph | None"
) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield each component of a site with its score over all positions."""
    if site == EDGE and graph is None:
        raise SpecError("edges are named by their model's graph: give graph=engine.graph", "graph")
    whole = sum_positions(scores, site)
    for index in np.ndindex(whole.shape):
        place = indexed(site, index, graph)
        name = short_name(site, place.layer, place.index, edge=place.edge)
        fields = {"component": name, "site": site, "layer": place.layer, EDGE: place.edge}
        yield fields | index_fields(site, place.index), float(whole[index])
