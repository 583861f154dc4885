"""Certificates: which components certainly have the largest mean effects, and what a race patches next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.refinement import FIRST, Refinement
from patchgrid.core.text.number_format import percent
from patchgrid.estimates import Sums
from patchgrid.estimates.racing import RACE_SUMS, Racers, Standing, first_shares, next_shares, stand
from patchgrid.estimates.regression import lines_of
from patchgrid.storage import tables
from patchgrid.storage.chunks.naming import site_names
from patchgrid.storage.db.blobs import unpack
from patchgrid.storage.errors import NothingToRefine
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import aligned_labels, job_sums
from patchgrid.storage.rounds.planning import whole
from patchgrid.storage.sampling.plans import Plan, SitePlan, read_plans

Floats = NDArray[np.float64]
#: What a certificate takes for granted.
ASSUMES = (
    "it speaks of this job's pairs, and assumes that no component's effect comes from a few pairs that its "
    "random sample of {first} or more has missed"
)
#: Components that are not certainly in and are listed: the largest.
_LISTED = 50


@dataclass(frozen=True, slots=True, eq=False)
class _Site:
    """One site's components in a race."""

    name: str
    sums: Sums
    lines: Floats
    race: Floats
    #: Share of each component's cells that have joined.
    joined: Floats


class Race:
    """A job's race, as far as its rounds have come."""

    def __init__(self, session: Session, job: JobRecord, asked: Refinement) -> None:
        self._session, self._job, self._asked = session, job, asked
        self._sites = self._read()
        self.names = [name for site in self._sites for name in self._names(site)]
        self._here = np.concatenate([site.sums["n"].ravel() > 0 for site in self._sites])
        self.names = [name for name, here in zip(self.names, self._here, strict=True) if here]
        self.racers = self._racers()
        self.standing: Standing = stand(
            self.racers,
            asked.certify,
            confidence=asked.confidence,
            tolerance=asked.tolerance,
            signed=asked.ranking == "signed",
        )

    def check(self) -> None:
        """Raise `NothingToRefine` if there is nothing to certify, or if the budget cannot pay a round."""
        count, cells = len(self.names), float(self.racers.n.sum())
        if self._asked.certify >= count:
            raise NothingToRefine(
                f"job {self._job.id} has only {count} components: certify fewer than that, not "
                f"{self._asked.certify}"
            )
        first = self._cost(self._wanted()) / cells
        if not self.standing.decided and self.used + first > self._asked.max_exact:
            least = math.ceil(100 * (self.used + first)) / 100  # rounded down, it would be refused again
            raise NothingToRefine(
                f"the first round patches {percent(first)} of the job's cells ({FIRST} pairs of each "
                f"component), and {percent(self.used)} are already patched: give --max-exact {least:.2f} "
                "or more"
            )

    @property
    def used(self) -> float:
        """Share of the components' cells that are patched."""
        patched = sum(float(site.sums["m"].sum()) for site in self._sites if site.sums.sampled)
        return patched / float(self.racers.n.sum())

    def next_plan(self) -> Plan | None:
        """Return what the next round patches; None: it is decided, or the budget is spent."""
        if self.standing.decided:
            return None
        wanted = self._wanted()
        if self.used + self._cost(wanted) / float(self.racers.n.sum()) > self._asked.max_exact:
            return None
        shares = np.zeros(len(self._here))
        shares[self._here] = wanted
        ends = np.cumsum([site.sums["n"].size for site in self._sites])[:-1]
        plan = {}
        for site, own in zip(self._sites, np.split(shares, ends), strict=True):
            share = own.reshape(site.sums.axes)
            plan[site.name] = SitePlan(self._job.rounds + 1, share, lines=site.lines)
        return plan

    def certificate(self) -> dict[str, Any]:
        """Return where the race stands, as JSON-ready values."""
        standing, t = self.standing, self.racers.sums[0]
        cells = float(self.racers.n.sum())
        hardest = float(np.max(np.where(np.isfinite(self.racers.exact), self.racers.n, t), initial=0))
        uniform = float(np.minimum(hardest, self.racers.n).sum())
        states = np.where(
            standing.is_in,
            "in",
            np.where(standing.is_out, "out", np.where(standing.tied, "tied", "undecided")),
        )
        counts = {state: int((states == state).sum()) for state in ("in", "out", "tied", "undecided")}
        return {
            "k": self._asked.certify,
            "ranking": self._asked.ranking,
            "confidence": self._asked.confidence,
            "tolerance": self._asked.tolerance,
            "holds": standing.decided,
            "counts": counts,
            "above": _number(standing.above),
            "cells": round(self.used * cells),
            "cells_in_all": round(cells),
            "uniform_cells": round(uniform),
            "pairs": self._job.pairs,
            "assumes": ASSUMES.format(first=FIRST),
            "components": self._rows(states),
        }

    def _rows(self, states: NDArray[Any]) -> list[dict[str, Any]]:
        """Return what is known of components: those certainly in, and the largest of the others."""
        standing, racers = self.standing, self.racers
        size = standing.middle if self._asked.ranking == "signed" else np.abs(standing.middle)
        order = np.argsort(-size, kind="stable")
        others = [number for number in order.tolist() if states[number] != "in"]
        certain = [number for number in order.tolist() if states[number] == "in"]
        undecided = [number for number in others if states[number] != "out"]
        out = [number for number in others if states[number] == "out"]
        listed = [*certain, *undecided, *out[:_LISTED]]
        return [
            {
                "component": self.names[number],
                "state": str(states[number]),
                "estimate": _number(standing.middle[number]),
                "low": _number(standing.low[number]),
                "high": _number(standing.high[number]),
                "cells": int(racers.sums[0][number]),
                "pairs": int(racers.n[number]),
                "mean_residual": _number(racers.sums[1][number] / max(racers.sums[0][number], 1)),
                "spread": _number(standing.spread[number]),
                "exact": bool(np.isfinite(racers.exact[number])),
            }
            for number in listed
        ]

    @property
    def _joined(self) -> Floats:
        joined: Floats = np.concatenate([site.joined.ravel() for site in self._sites])[self._here]
        return joined

    def _wanted(self) -> Floats:
        """Return the share of each component's cells that has joined after the next round."""
        if not self._joined.any():
            return first_shares(self.racers)
        return next_shares(self.racers, self.standing, self._joined)

    def _cost(self, wanted: Floats) -> float:
        """Return how many cells the next round patches at most."""
        return float((np.maximum(wanted - self._joined, 0) * self.racers.n).sum())

    def _read(self) -> list[_Site]:
        job, sites = self._job, []
        why_not = self._asked.unsupported(job.spec.query.sites)
        if why_not is not None:
            raise NothingToRefine(why_not)
        plans = [plan for _, plan in sorted(read_plans(self._session, job.id).items())]
        for name in job.spec.query.sites:
            sums = job_sums(self._session, job, name, job.kind)
            if sums is None:
                continue
            races = [plan[name] for plan in plans if name in plan and plan[name].races]
            lines = lines_of(sums) if not races else races[0].lines
            assert lines is not None, "a plan that races has lines"
            joined = races[-1].shares if races else np.zeros(sums.axes)
            sites.append(_Site(name, sums, lines, _race_sums(self._session, job.id, name, sums.axes), joined))
        if not sites:
            raise NothingToRefine(f"job {job.id} has no measured pair")
        return sites

    def _names(self, site: _Site) -> list[str]:
        labels = aligned_labels(self._job.spans, site.sums.axes[1]) if site.sums.aligned else []
        return site_names(site.name, site.sums.axes, labels)

    def _racers(self) -> Racers:
        columns: list[tuple[Floats, ...]] = []
        for site in self._sites:
            sums, n = site.sums, np.maximum(site.sums["n"], 1)
            mean_a, mean_d = sums["a"] / n, (sums["d"] if sums.sampled else 0 * n) / n
            level, by_a, by_d = site.lines
            known = mean_a + level + by_a * mean_a + by_d * mean_d
            exact = np.full(sums.axes, np.nan)
            if sums.sampled:
                exact = np.where(whole(sums), (sums["wa"] + sums["wr"]) / n, np.nan)
            columns.append((sums["n"], known, sums["abs_a"] / n, exact, *site.race))
        n, known, scales, exact, *race = (
            np.concatenate([each[number].ravel() for each in columns])[self._here]
            for number in range(4 + len(RACE_SUMS))
        )
        return Racers(n, known, np.maximum(scales, np.finfo(np.float64).tiny), np.stack(race), exact)


def _race_sums(session: Session, job_id: int, site: str, axes: Sequence[int]) -> Floats:
    """Add up what the job's chunks have committed of a race at a site."""
    table = tables.race
    query = select(table.c.chunk_id, table.c.data).where(table.c.job_id == job_id, table.c.site == site)
    sums = np.zeros((len(RACE_SUMS), *axes))
    for row in session.execute(query.order_by(table.c.chunk_id)):
        blob = unpack(row.data, f"the race of job {job_id}, chunk {row.chunk_id}, {site},")
        sums += blob.arrays[0].reshape(blob.meta["axes"])
    return sums


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
