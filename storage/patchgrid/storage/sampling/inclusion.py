"""The chance that a cell had to be patched, which a later round raises."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from patchgrid.core.states import ChunkState
from patchgrid.storage.chunks.checksums import CHUNK, chunk_digest
from patchgrid.storage.tables import checksum, chunk, exact

_CHANGE = (
    exact.update()
    .where(
        exact.c.job_id == bindparam("of_job"),
        exact.c.pair_index == bindparam("of_pair"),
        exact.c.cell == bindparam("of_cell"),
    )
    .values(inclusion=bindparam("chance"))
)


def change_inclusion(
    session: Session, job_id: int, indices: range, changes: Sequence[tuple[int, int, float]]
) -> None:
    """Write the chances of cells (pair, cell, inclusion) of these pairs, which earlier chunks have patched.

    The checksums of those chunks are made again: the cells are part of them.
    """
    if not changes:
        return
    session.execute(
        _CHANGE,
        [
            {"of_job": job_id, "of_pair": pair, "of_cell": cell, "chance": inclusion}
            for pair, cell, inclusion in changes
        ],
    )
    rounds = select(exact.c.round).where(
        exact.c.job_id == job_id, exact.c.pair_index.between(indices.start, indices.stop - 1)
    )
    numbers = set(session.scalars(rounds.distinct()))
    earlier = select(chunk).where(
        chunk.c.job_id == job_id,
        chunk.c.state == ChunkState.DONE,
        chunk.c.first < indices.stop,
        chunk.c.last > indices.start,
    )
    for row in session.execute(earlier.order_by(chunk.c.id)):
        if row.round in numbers:
            mine = (checksum.c.job_id == job_id) & (checksum.c.what == CHUNK)
            session.execute(
                checksum.update()
                .where(mine, checksum.c.chunk_id == row.id)
                .values(digest=chunk_digest(session, row))
            )
