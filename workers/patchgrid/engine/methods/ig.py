"""Integrated gradients: gradients averaged over a straight path, times (source - base) activation.

Sundararajan et al. 2017, arXiv 1703.01365, equation 1, as a midpoint rule: of m steps, gradients are taken at
(k - 1/2) / m for k = 1 to m. Published code for circuits has k / m, from 0 to m - 1, from 1 to m or from 0 to
m; the midpoints' error falls with the square of m. Two paths:

`embedding`
    All of the model's input, the first block's `resid_pre`, moves from the base run's to what is put in, as
    in Hanna et al. 2024 (arXiv 2403.17806); the gradients are those at every site on the way. Scores of the
    first `resid_pre` sum, over positions, to what the metric changes by.
`site`
    Each site's own activation moves, one layer at a time, at all positions and heads together, in the
    otherwise unpatched base run, as in Marks et al. 2024 (arXiv 2403.19647). A layer's scores sum, over
    positions and heads, to the effect of patching that layer's whole site.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from patchgrid.core.methods import IG
from patchgrid.core.types import Component
from patchgrid.engine.methods.atp import Scores
from patchgrid.engine.patching.copies import Copy, Group, groups, patched_positions
from patchgrid.engine.patching.nodes import PatchedRun
from patchgrid.engine.runs.activations import Activations, RunOptions, parts_for, run
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.runs.stacking import of_components, stacked


def score(passes: Passes, method: IG) -> Mapping[str, Tensor]:
    """Score every component of the query's sites along the method's path."""
    along = _along_embedding if method.path == "embedding" else _along_sites
    return along(passes, method.steps)


def fractions(steps: int) -> list[float]:
    """Return the points of the path: the middles of `steps` equal parts, 0 being the base run."""
    return [(step + 0.5) / steps for step in range(steps)]


def _along_embedding(passes: Passes, steps: int) -> Mapping[str, Tensor]:
    batch = passes.batch
    pairs = range(len(batch.pairs))
    tokens, _ = passes.question.sides(batch)
    # A row a pair: what pairs share at the base run they do not share on the way.
    scores = Scores(passes, Rows.of_side(batch, tokens, pairs))
    ran = len(pairs) * (batch.width - passes.cut)
    for some in _parts(fractions(steps), max(1, passes.tokens // ran)):
        rows = [pair for _ in some for pair in pairs]
        with torch.enable_grad():
            there = moved(passes, Rows.of_side(batch, tokens, rows), some)
            index = torch.tensor(rows, device=passes.model.device)
            metric = passes.measure(there.last, index).sum()
            with scores.watching(there):
                torch.autograd.grad(metric, [there.stream[0]])
    return {site: summed / steps for site, summed in scores.by_site().items()}


def _parts(values: Sequence[float], size: int) -> Iterator[Sequence[float]]:
    for begin in range(0, len(values), size):
        yield values[begin : begin + size]


def moved(passes: Passes, rows: Rows, some: Sequence[float]) -> Activations:
    """Run a batch's pairs from some points of the path on, all pairs at one point after the other."""
    base = passes.base_rows.of_pairs(passes.base.stream[0])
    source = passes.replacement.at("resid_pre", 0, positions=base.shape[1])
    where = torch.tensor(some, device=base.device, dtype=base.dtype)
    between = base + where[:, None, None, None] * (source - base)
    stream = between.flatten(0, 1)
    options = RunOptions(
        parts_for(passes.question.sites),
        grad=True,
        start=passes.cut,
        cache=passes.before_cut(rows.first),
        keep_from=passes.cut,
        stream=stream,
    )
    return run(passes.model, rows, options)


class _Between:
    """Activations between the base run's and what is put in, a copy a row, to take gradients of."""

    def __init__(self, passes: Passes, pairs: Tensor, along: Tensor) -> None:
        self._passes = passes
        self._rows = torch.tensor(passes.base_rows.row_of, device=pairs.device)[pairs]
        self._along = along
        #: By site and layer, what was given and how far it is from the base run's to the source's.
        self.leaves: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    def at(
        self, site: str, layer: int, *, pairs: Tensor | None = None, positions: int | None = None
    ) -> Tensor:
        """Return each copy's point of the path: see `Replacement`."""
        source = self._passes.replacement.at(site, layer, pairs=pairs, positions=positions)
        base = self._passes.base.at(site, layer)
        width = min(source.shape[1], base.shape[1])
        base = base[:, -width:][self._rows.to(base.device)].to(source.device)
        change = source[:, -width:] - base
        along = self._along.to(base)[:, None, None]
        leaf = (base + along * change).requires_grad_()
        self.leaves[site, layer] = leaf, change
        return leaf


def _along_sites(passes: Passes, steps: int) -> Mapping[str, Tensor]:
    question, layout = passes.question, passes.model.layout
    points, pairs = fractions(steps), range(len(passes.batch.pairs))
    wholes = [Component(site, layer) for site in question.sites for layer in range(layout.n_layers)]
    moved = [(Copy(pair, whole), point) for whole in wholes for pair in pairs for point in points]
    copies = [copy for copy, _ in moved]
    # All positions of a pair are moved, whatever the site.
    anywhere = patched_positions(passes.batch, [Copy(pair, wholes[0]) for pair in pairs])
    where = anywhere[[copy.pair for copy in copies]]
    scores = _SiteScores(passes, steps)
    short = passes.model.shortcuts.prefix
    for group in groups(passes.batch, copies, where, layout.n_layers, passes.tokens, cut_short=short):
        places = list(group.places)
        along = torch.tensor([moved[place][1] for place in places], device=passes.model.device)
        scores.add(group, [copies[place] for place in places], where[places], along)
        passes.model.pulse.beat()
    return scores.by_site()


class _SiteScores:
    """The scores of a batch as its copies are run."""

    def __init__(self, passes: Passes, steps: int) -> None:
        self._passes, self._steps = passes, steps
        self._found: dict[tuple[str, int], Tensor] = {}

    def add(self, group: Group, copies: Sequence[Copy], where: Tensor, along: Tensor) -> None:
        """Run copies at their points of the path, and add what they give to their pairs' scores."""
        passes = self._passes
        pairs = torch.tensor([copy.pair for copy in copies], device=passes.model.device)
        between = _Between(passes, pairs, along)
        with torch.enable_grad():
            last = PatchedRun(passes, group, copies, where, between).last()
            metric = passes.measure(last, pairs).sum()
            leaves = [leaf for leaf, _ in between.leaves.values()]
            gradients = torch.autograd.grad(metric, leaves)
        for (key, (_, change)), gradient in zip(between.leaves.items(), gradients, strict=True):
            mine = [place for place, copy in enumerate(copies) if _key(copy) == key]
            self._add(*key, pairs[mine], (gradient[mine].float() * change[mine].float()).detach())

    def _add(self, site: str, layer: int, pairs: Tensor, products: Tensor) -> None:
        """Add `[copy, position, width]`, from some position on to the last, to the copies' pairs."""
        passes = self._passes
        if (site, layer) not in self._found:
            shape = (len(passes.batch.pairs), passes.batch.width - passes.cut, products.shape[2])
            self._found[site, layer] = products.new_zeros(shape)
        scores = self._found[site, layer]
        # Before a copy's own first position its gradient is 0.
        scores[:, scores.shape[1] - products.shape[1] :].index_add_(0, pairs.to(scores.device), products)

    def by_site(self) -> dict[str, Tensor]:
        """Return the scores, 0 where nothing can matter."""
        passes = self._passes
        layers = range(passes.model.layout.n_layers)
        return {
            site: stacked(passes, site, [self._of(site, layer) for layer in layers])
            for site in passes.question.sites
        }

    def _of(self, site: str, layer: int) -> Tensor:
        """Return one layer's scores; in the last one, no copy of any pair may have been worth running."""
        passes = self._passes
        scores = self._found.get((site, layer))
        if scores is None:
            there = passes.base.at(site, layer)
            scores = there.new_zeros(len(passes.batch.pairs), 1, there.shape[2], dtype=torch.float32)
        return of_components(passes, site, scores / self._steps)


def _key(copy: Copy) -> tuple[str, int]:
    [part] = copy.parts
    return part.site, part.layer
