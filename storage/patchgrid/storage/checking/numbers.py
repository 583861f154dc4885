"""A finished chunk's numbers worked out again: sums, sampled cells, top components."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from patchgrid.core.graph import Graph
from patchgrid.core.names import check_name
from patchgrid.core.sites import SITES, WIDE_SITES
from patchgrid.estimates import Sums
from patchgrid.storage import tables
from patchgrid.storage.checking.comparing import differences
from patchgrid.storage.checking.draws import Draws
from patchgrid.storage.checking.findings import reason
from patchgrid.storage.checking.tops import top_problems
from patchgrid.storage.chunks.alignment import Alignment, Columns, in_columns
from patchgrid.storage.chunks.inputs import read_pair
from patchgrid.storage.chunks.naming import has_positions, index_of, place_of_row
from patchgrid.storage.chunks.sums import read_sums
from patchgrid.storage.db.blobs import unpack
from patchgrid.storage.errors import CorruptData
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.pair_results.exact_scores import with_scores
from patchgrid.storage.sampling.plans import Plan, rounds_of_pairs
from patchgrid.storage.tables import exact, outcome, pair

Floats = NDArray[Any]


class Numbers:
    """What is stored of one finished chunk, read whole: bounded by the chunk's size."""

    def __init__(
        self,
        session: Session,
        job: JobRecord,
        row: Row[Any],
        pilot: Mapping[str, Sums] | None,
        graph: Graph | None,
        plans: Mapping[int, Plan],
    ) -> None:
        self._session, self._job, self._row, self._graph = session, job, row, graph
        self._name = f"chunk {row.id}"
        rounds = rounds_of_pairs(session, job.id, row.first, row.last)
        self._draws = None if pilot is None else Draws(job, pilot, plans, row.first, rounds)
        self._alignment = Alignment(job.spans)
        inside = outcome.c.pair_index.between(row.first, row.last - 1)
        query = select(outcome).where(outcome.c.job_id == job.id, inside, outcome.c.state == "done")
        done = session.execute(query.order_by(outcome.c.pair_index)).all()
        #: Row numbers of the pairs that were measured, in order.
        self._pairs = [each.pair_index for each in done]
        self._place = {index: place for place, index in enumerate(self._pairs)}
        #: Clean metric less corrupted metric of each of them.
        self._totals = np.array([each.clean_metric - each.corrupted_metric for each in done], np.float64)
        self._lengths = [len(each.tokens) for each in done]
        self._prefixes = [each.prefix or 0 for each in done]
        self._clusters = self._read_clusters()
        self._columns = self._read_columns()
        #: Blobs and exact rows read.
        self.blobs = self.cells = 0
        #: What is wrong with blobs, and the sums that could not be read.
        self._damaged: list[str] = []
        self._unread: set[tuple[str, str, str]] = set()
        self._scores = self._read_scores()
        #: What chunks have added up to, and the largest that each sum was after a round.
        self._sums: dict[tuple[str, str, str], Sums] = {}
        self._largest: dict[tuple[str, str, str], Sums] = {}
        self._add_sums([row.id])
        self._sampled_first = {key for key, sums in self._sums.items() if sums.sampled}
        self._add_sums(self._later_chunks())

    def problems(self) -> Iterator[str]:
        """Say what is wrong, one line each."""
        yield from self._damaged
        expected = {
            (method, site, kind)
            for method in self._job.spec.query.method_names
            for site in self._job.spec.query.sites
            for kind in self._job.kinds(site)
            if self._pairs
        }
        for method, site, kind in sorted((expected ^ self._sums.keys()) - self._unread):
            lacks = (method, site, kind) in expected
            yield f"{'missing' if lacks else 'unexpected'} sums of {site} ({kind}, {method})"
        cells = self._read_cells()
        self.cells = len(cells)
        for (method, site, kind), sums in self._sums.items():
            if (method, site, kind) in expected:
                yield from self._sums_problems(method, site, kind, sums, cells)
        for site in self._job.spec.query.sites:
            yield from self._cell_problems(site, cells)
        yield from self._top_problems()

    def _read_clusters(self) -> NDArray[np.int64]:
        """Return the number of each measured pair's group, 0 where a job has no groups."""
        inside = pair.c.pair_index.between(self._row.first, self._row.last - 1)
        query = select(pair.c.pair_index, pair.c.group_number).where(pair.c.job_id == self._job.id, inside)
        numbers = {index: number or 0 for index, number in self._session.execute(query)}
        return np.array([numbers.get(index, 0) for index in self._pairs], np.int64)

    def _read_columns(self) -> list[Columns]:
        if not self._job.spans:
            return [self._alignment.columns(_NO_PAIR, length, 0) for length in self._lengths]
        inside = pair.c.pair_index.between(self._row.first, self._row.last - 1)
        query = select(pair).where(pair.c.job_id == self._job.id, inside)
        pairs = {row.pair_index: read_pair(row) for row in self._session.execute(query)}
        return [
            self._alignment.columns(pairs[index], length, prefix)
            for index, length, prefix in zip(self._pairs, self._lengths, self._prefixes, strict=True)
        ]

    def _read_scores(self) -> dict[tuple[str, str], Sequence[Floats]]:
        table, scores = tables.scores, dict[tuple[str, str], Sequence[Floats]]()
        query = select(table.c.method, table.c.site, table.c.data).where(table.c.chunk_id == self._row.id)
        for method, site, data in self._session.execute(query):
            self.blobs += 1
            try:
                blob = unpack(data, f"the scores of {self._name}, {site}, job {self._job.id}")
            except CorruptData as error:
                self._damaged.append(reason(error))
                continue
            if list(blob.meta["pairs"]) != self._pairs or len(blob.arrays) != len(self._pairs):
                raise ValueError(f"scores of {site} are for other pairs")
            check_name("site", site, SITES)
            scores[method, site] = blob.arrays
        return scores

    def _later_chunks(self) -> list[int]:
        """Return the chunks in which later rounds patched cells of these pairs."""
        chunk = tables.chunk
        inside = (chunk.c.first >= self._row.first) & (chunk.c.last <= self._row.last)
        query = select(chunk.c.id).where(chunk.c.job_id == self._job.id, chunk.c.round.is_not(None), inside)
        return list(self._session.scalars(query.order_by(chunk.c.id)))

    def _add_sums(self, chunks: Sequence[int]) -> None:
        """Add the sums that chunks have committed."""
        table, sums = tables.sums, self._sums
        query = select(table).where(table.c.chunk_id.in_(chunks)).order_by(table.c.chunk_id)
        for row in self._session.execute(query):
            key, self.blobs = (row.method, row.site, row.kind), self.blobs + 1
            try:
                read = read_sums(
                    row.data, f"the sums of chunk {row.chunk_id}, {row.site}, job {self._job.id}"
                )
                sums[key] = sums[key] + read if key in sums else read
                self._largest[key] = _larger(self._largest.get(key), sums[key])
            except CorruptData as error:
                self._damaged.append(reason(error))
                self._unread.add(key)
            if row.job_id != self._job.id:
                raise ValueError(f"sums of {row.site} belong to job {row.job_id}")

    def _read_cells(self) -> list[Row[Any]]:
        inside = exact.c.pair_index.between(self._row.first, self._row.last - 1)
        query = select(exact).where(exact.c.job_id == self._job.id, inside)
        return list(self._session.execute(query.order_by(exact.c.pair_index, exact.c.cell)))

    def _stacks(self, method: str, site: str, kind: str) -> Iterator[tuple[list[int], Floats, Floats | None]]:
        """Yield stored scores by component: places of pairs, their scores `[pair, *axes]`, a mask of them."""
        arrays = self._scores[method, site]
        places = list(range(len(arrays)))
        if kind == "whole":
            if has_positions(arrays[0], site):
                arrays = [array.sum(axis=1, dtype=np.float64).astype(np.float32) for array in arrays]
            yield places, np.stack(arrays), None
        elif self._job.spans:
            values = np.stack(
                [in_columns(array, columns) for array, columns in zip(arrays, self._columns, strict=True)]
            )
            yield places, values, self._present(places, values.shape)
        else:
            for length in sorted(set(self._lengths)):
                here = [place for place in places if self._lengths[place] == length]
                yield here, np.stack([arrays[place][:, ::-1] for place in here]), None

    def _present(self, places: Sequence[int], shape: Sequence[int]) -> Floats:
        """Tell which components `[pair, layer, column(, inner)]` pairs have."""
        has = np.zeros((len(places), shape[2]), np.bool_)
        for row, place in enumerate(places):
            for number, column in enumerate(self._columns[place]):
                has[row, number] = bool(column)
        return np.broadcast_to(has.reshape(*has.shape[:1], 1, shape[2], *[1] * (len(shape) - 3)), shape)

    def _sums_problems(
        self, method: str, site: str, kind: str, sums: Sums, cells: Sequence[Row[Any]]
    ) -> Iterator[str]:
        sampled = kind == self._job.kind and (self._job.spec.patches or self._is_patched(site))
        if sums.sampled != sampled or sums.aligned != (kind == "aligned"):
            yield f"the sums of {site} ({kind}, {method}) are of the wrong kind"
            return
        grouped = self._job.groups is not None and site not in WIDE_SITES
        expected = Sums.zeros(
            sums.axes,
            sampled=sampled,
            aligned=kind == "aligned",
            grouped=grouped,
            crosses=len(self._earlier(method)) if sums.crosses else 0,
        )
        stored = self._has_stacks(method, site, kind)
        if stored:
            for places, values, present in self._stacks(method, site, kind):
                expected.add_pairs(
                    values, present, total_effects=self._totals[places], groups=self._clusters[places]
                )
        else:
            self._add_counts(expected)
        if sampled:
            self._add_cells(expected, method, site, cells)
        largest, metrics = self._largest[method, site, kind], self._totals
        squares = [
            {weight: self._largest[each, site, kind][f"{weight}aa"] for weight in "wv"}
            for each in self._earlier(method)
            if sums.crosses and (each, site, kind) in self._largest
        ]
        for name in differences(
            sums, expected, scores_known=stored, metrics=metrics, largest=largest, squares=squares
        ):
            yield f"the sums of {site} ({kind}, {method}) do not match {name}"

    def _is_patched(self, site: str) -> bool:
        """Return whether a later round was the first to patch cells of a site."""
        key = (self._job.method(), site, self._job.kind)
        return self._sums[key].sampled and key not in self._sampled_first

    def _add_counts(self, sums: Sums) -> None:
        """Add what sums tell of pairs whose scores are not kept: how many there are, and their metrics."""
        has = np.ones((len(self._pairs), 1), np.bool_)
        if sums.aligned:
            every = range(len(self._pairs))
            has = self._present(every, (len(self._pairs), 1, sums.axes[1]))[:, 0]
        spread = (1, -1, *[1] * (len(sums.axes) - 2)) if sums.aligned else (1,) * len(sums.axes)
        sums["n"][...] = has.sum(axis=0).reshape(spread)
        if sums.sampled:
            sums["d"][...] = (self._totals @ has).reshape(spread)
        if sums.groups is not None:
            present = np.broadcast_to(has.reshape(len(has), *spread), (len(has), *sums.axes))
            unknown = np.zeros(present.shape)
            sums.groups.add_pairs(self._clusters, unknown, present, self._totals, sums.axes)

    def _has_stacks(self, method: str, site: str, kind: str) -> bool:
        arrays = self._scores.get((method, site), ())
        return bool(arrays) and (kind == "whole" or has_positions(arrays[0], site))

    def _add_cells(self, sums: Sums, method: str, site: str, cells: Sequence[Row[Any]]) -> None:
        own = [row for row in cells if row.site == site]
        if not own:
            return
        scores = self._scores_by(method, site, own)
        others = [self._scores_by(each, site, own) for each in self._earlier(method)]
        index = np.array([self._index(row, sums.aligned) for row in own], np.intp).T
        sums.add_cells(
            tuple(index),
            np.array(scores, np.float64),
            np.array([row.effect for row in own], np.float64),
            np.array([row.inclusion for row in own], np.float64),
            self._totals[[self._place[row.pair_index] for row in own]],
            self._lines(site, method),
            self._clusters[[self._place[row.pair_index] for row in own]],
            np.array(others, np.float64) if sums.crosses else None,
        )

    def _earlier(self, method: str) -> Sequence[str]:
        methods = self._job.spec.query.method_names
        return methods[: methods.index(method)]

    def _scores_by(self, method: str, site: str, cells: Sequence[Row[Any]]) -> list[float]:
        """Return the stored scores of cells of a site by a method."""
        if method == self._job.method():
            return [row.score for row in cells]
        inside = exact.c.pair_index.between(self._row.first, self._row.last - 1)
        query = with_scores(method).where(exact.c.job_id == self._job.id, inside, exact.c.site == site)
        by_key = {(row.pair_index, row.cell): row.by_method for row in self._session.execute(query)}
        return [by_key[row.pair_index, row.cell] for row in cells]

    def _lines(self, site: str, method: str) -> Floats | None:
        return None if self._draws is None or method != self._job.method() else self._draws.lines(site)

    def _index(self, row: Row[Any], aligned: bool) -> list[int]:
        """Return the index of a cell's component in the sums."""
        first, *inner = index_of(place_of_row(row), self._graph)
        if not aligned:
            return [first, *inner]
        length = self._lengths[self._place[row.pair_index]]
        return [first, self._alignment.column_of(row.position, row.span, length), *inner]

    def _cell_problems(self, site: str, cells: Sequence[Row[Any]]) -> Iterator[str]:
        """Compare the cells that were patched with those that the seed draws."""
        if self._draws is None:
            return
        method, kind, aligned = self._job.method(), self._job.kind, self._job.kind == "aligned"
        own = [row for row in cells if row.site == site]
        by_place: dict[int, dict[tuple[int, ...], Row[Any]]] = {}
        for row in own:
            by_place.setdefault(self._place[row.pair_index], {})[tuple(self._index(row, aligned))] = row
        if self._has_stacks(method, site, kind):
            for places, values, present in self._stacks(method, site, kind):
                rows = [self._pairs[place] for place in places]
                sampled = [by_place.get(place, {}) for place in places]
                yield from self._draws.compare(site, rows, values, present, sampled)
        elif own and (sums := self._sums.get((method, site, kind))) is not None:
            for place, found_here in by_place.items():
                axes = list(sums.axes)
                if aligned:
                    axes[1] = len(self._columns[place])
                yield from self._draws.compare_few(site, self._pairs[place], axes, found_here)

    def _top_problems(self) -> Iterator[str]:
        top = tables.top_component
        inside = top.c.pair_index.between(self._row.first, self._row.last - 1)
        query = select(top).where(top.c.job_id == self._job.id, inside).order_by(top.c.pair_index, top.c.rank)
        rows = self._session.execute(query).all()
        method, stored = self._job.method(), {}
        for site in self._job.spec.query.sites:
            if self._has_stacks(method, site, "whole"):
                _, values, _ = next(iter(self._stacks(method, site, "whole")))
                stored[site] = values
        of_pairs = self._pairs if self._job.spec.detail != "summary" else []
        wide = [site for site in self._job.spec.query.sites if site in WIDE_SITES]
        narrow = [site for site in self._job.spec.query.sites if site not in WIDE_SITES]
        yield from top_problems(
            rows, of_pairs, stored, narrow, wide, lambda place: index_of(place, self._graph)
        )


def _larger(one: Sums | None, other: Sums) -> Sums:
    """Return the larger of two sums of each name and component."""
    if one is None or one.values.shape != other.values.shape:
        return Sums(other.values.copy(), other.aligned)
    return Sums(np.maximum(one.values, other.values), other.aligned)


_NO_PAIR: Any = None
