"""A job's sampling, repeated: many samples at once, as one more axis of the components."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.estimates.truth import Floats, Truth
from patchgrid.estimates import (
    Sums,
    allocate,
    expected_share,
    lines_of,
    pilot_rows,
    pilot_scales,
    pilot_share,
    sample_allocated,
    sample_many,
)
from patchgrid.estimates.group_sums import GROUP_SUMS, GroupSums
from patchgrid.estimates.sampling import uniform

Mask = NDArray[np.bool_]
#: Draws of its own that the first generation gave each component, where a job had that many pairs.
_FLOOR = 30.0


@dataclass(frozen=True)
class Batch:
    """What jobs are about, one a replay; the second axis has one entry where all have the same pairs."""

    #: Scores and effects, float64 `[pair, replay, component]`.
    scores: Floats
    effects: Floats
    #: float64 `[pair, replay]`.
    totals: Floats
    sites: NDArray[np.int64]
    #: Numbers of the pairs' groups, int64 `[pair]`, the same for all jobs; None: each pair is its own.
    groups: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, truths: Sequence[Truth]) -> Self:
        """Put jobs beside each other, a truth each; of one truth, all replays are of its pairs."""
        scores, effects = (
            np.stack([each.scores[0] for each in truths], axis=1),
            np.stack([each.effects for each in truths], axis=1),
        )
        totals = np.stack([each.total_effects for each in truths], axis=1)
        groups = truths[0].groups
        repeats = len(np.unique(groups)) < len(groups)
        same = repeats and all(np.array_equal(each.groups, groups) for each in truths)
        return cls(scores, effects, totals, truths[0].sites, groups if same else None)

    @property
    def pairs(self) -> int:
        """Pairs of each job."""
        return len(self.scores)

    def of_site(self, number: int, rows: Sequence[int] | None = None) -> "Batch":
        """Return the components of one site, in these pairs."""
        chosen = slice(None) if rows is None else list(rows)
        own = self.sites == number
        return Batch(
            self.scores[chosen][:, :, own],
            self.effects[chosen][:, :, own],
            self.totals[chosen],
            self.sites[own],
            None if self.groups is None else self.groups[chosen],
        )

    def by_site(self, rows: Sequence[int] | None = None) -> Iterator[tuple[str, "Batch"]]:
        """Yield each site's name and components."""
        for number in np.unique(self.sites).tolist():
            yield str(number), self.of_site(number, rows)


@dataclass(frozen=True)
class Replays:
    """Samples of one job each."""

    #: With axes `[replay, component]`.
    sums: Sums
    #: Cells patched in all of them, those of the pilot included.
    patched: int
    #: Of each site, which cells were drawn, bool `[pair, replay, component]`, and with which chances.
    cells: Mapping[str, tuple[Mask, Floats]]


def by_score(batch: Batch, share: float, seed: int, count: int) -> Replays:
    """Draw as the first generation did (`--allocate score`), the same share of cells; of one job's pairs."""
    assert batch.scores.shape[1] == 1, "all replays have the same pairs"
    rate, floor = _first_generation(share, batch.pairs)
    parts, cells, rows = [], {}, range(batch.pairs)
    for site, own in batch.by_site():
        scores = own.scores[:, 0]
        # The plan is the same for every seed; further words of the generator are the other replays' numbers.
        _, chances = sample_many(
            scores,
            rate=rate,
            floor=floor,
            pairs=batch.pairs,
            seed=seed,
            site=site,
            rows=rows,
            scales=_scales(batch, site)[0],
        )
        shape = (batch.pairs, count, scores.shape[1])
        wanted = np.broadcast_to(chances[:, None], shape)
        mask = uniform(seed, site, rows, count * shape[2]).reshape(shape) < wanted
        parts.append(_sums(own, mask, wanted))
        cells[site] = mask, wanted
    return Replays(_joined(parts), _count(cells), cells)


def by_residual(batch: Batch, share: float, seed: int, count: int) -> Replays:
    """Draw as `--allocate residual` does: a pilot, a plan from it, and the sample, for each replay."""
    pilots, in_pilot, rows = {}, 0, pilot_rows(batch.pairs)
    for site, own in batch.by_site(rows):
        chosen = np.array(pilot_share(share, batch.pairs))
        mask, chances = _draw(own, count, chosen, _scales(batch, site), seed, site, rows, stream=1)
        pilots[site] = _sums(own, mask, chances)
        in_pilot += int(mask.sum())
    plans = [_plan(pilots, replay, share, batch.pairs) for replay in range(count)]
    parts, cells = [], {}
    for site, own in batch.by_site():
        shares = np.stack([plan[site] for plan in plans])
        mask, chances = _draw(own, count, shares, _scales(batch, site), seed, site, range(batch.pairs))
        parts.append(_sums(own, mask, chances, lines_of(pilots[site])))
        cells[site] = mask, chances
    return Replays(_joined(parts), in_pilot + _count(cells), cells)


def has_plan(share: float, pairs: int) -> bool:
    """Tell whether a budget is large enough for a plan by residuals; below, a job draws by score."""
    return pilot_share(share, pairs) > 0


def _draw(
    own: Batch,
    count: int,
    shares: Floats,
    scales: Floats,
    seed: int,
    site: str,
    rows: Sequence[int],
    stream: int = 0,
) -> tuple[Mask, Floats]:
    shape = (own.pairs, count, own.scores.shape[2])
    return sample_allocated(
        np.broadcast_to(own.scores, shape),
        shares=shares,
        scales=scales,
        seed=seed,
        site=site,
        rows=rows,
        stream=stream,
    )


def _first_generation(share: float, pairs: int) -> tuple[float, float]:
    """Return the rate and the draws of its own for each component that gave a job this share of its cells."""
    own = _FLOOR / pairs
    rate, floor = (2 * (share - own), _FLOOR) if own < share < 2 * own else (share, 0.0)
    assert np.isclose(expected_share(rate, pairs=pairs, floor=floor), share)
    return rate, floor


def _plan(pilots: dict[str, Sums], replay: int, share: float, pairs: int) -> dict[str, Floats]:
    own = {site: of_replay(sums, replay) for site, sums in pilots.items()}
    return allocate(own, share=share, pairs=pairs)


def _scales(batch: Batch, site: str) -> Floats:
    """Return the scales that each replay's pilot tells, `[replay, component]`."""
    pilot = batch.of_site(int(site), pilot_rows(batch.pairs)).scores
    found = []
    for replay in range(pilot.shape[1]):
        sums = Sums.zeros(pilot.shape[2:], sampled=False)
        sums.add_pairs(pilot[:, replay])
        found.append(pilot_scales(sums, pilot.shape[2:]))
    return np.stack(found)


def _sums(own: Batch, mask: Mask, chances: Floats, lines: Floats | None = None) -> Sums:
    """Add up one site's samples `[pair, replay, component]`; `lines` are those that the pilot tells."""
    grouped = own.groups is not None
    sums = Sums.zeros(mask.shape[1:], sampled=True, grouped=grouped)
    for replay in range(own.scores.shape[1]):
        alone = Sums.zeros(mask.shape[2:], sampled=True, grouped=grouped)
        alone.add_pairs(own.scores[:, replay], total_effects=own.totals[:, replay], groups=own.groups)
        where = slice(None) if own.scores.shape[1] == 1 else slice(replay, replay + 1)
        for into, part in zip(_arrays(sums, alone), _arrays(alone, alone), strict=True):
            into[:, where] += part[:, None]
    pair, replay, component = np.nonzero(mask)
    # With one entry of the second axis, all replays have it.
    same = replay % own.scores.shape[1]
    sums.add_cells(
        (replay, component),
        own.scores[pair, same, component],
        own.effects[pair, same, component],
        chances[mask],
        own.totals[pair, same],
        lines,
        None if own.groups is None else own.groups[pair],
    )
    return sums


def of_replay(sums: Sums, replay: int, chosen: Mask | slice = slice(None)) -> Sums:
    """Return the sums of one replay, of some of its components."""
    groups = None
    if sums.groups is not None:
        groups = GroupSums({at: each[:, replay, chosen] for at, each in sums.groups.values.items()})
    return Sums(np.ascontiguousarray(sums.values[:, replay, chosen]), groups=groups)


def _arrays(sums: Sums, like: Sums) -> list[Floats]:
    """Return a job's sums and those of the groups that `like` has."""
    if sums.groups is None or like.groups is None:
        return [sums.values]
    for number in like.groups.values:
        sums.groups.values.setdefault(number, np.zeros((len(GROUP_SUMS), *sums.axes)))
    return [sums.values, *(sums.groups.values[number] for number in like.groups.values)]


def _count(cells: Mapping[str, tuple[Mask, Floats]]) -> int:
    return int(sum(mask.sum() for mask, _ in cells.values()))


def _joined(parts: Sequence[Sums]) -> Sums:
    groups = None
    if parts[0].groups is not None:
        by_part = [sums.groups.values for sums in parts if sums.groups is not None]
        groups = GroupSums({at: np.concatenate([each[at] for each in by_part], axis=2) for at in by_part[0]})
    return Sums(np.concatenate([sums.values for sums in parts], axis=2), groups=groups)
