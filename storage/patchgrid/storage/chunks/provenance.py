"""The provenance of a chunk's numbers: model and versions."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from patchgrid.core.graph import Graph
from patchgrid.storage import tables
from patchgrid.storage.db.dialects import insert_new

#: Finds the row of the hash `made_by`.
# The lock keeps a concurrent deletion of the last job that used a row from removing it before we refer to it.
FIND_PROVENANCE = (
    select(tables.provenance.c.id)
    .where(tables.provenance.c.hash == bindparam("made_by"))
    .with_for_update(read=True, key_share=True)
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """The provenance of a chunk's numbers; chunks with different provenance are not added up."""

    #: Hub id or local folder.
    model: str
    #: Hub revision (commit), or None for a local folder.
    revision: str | None
    #: Hash of the model's configuration.
    config_hash: str
    #: Hash of the model's weights.
    weights_hash: str
    #: Package name to version: patchgrid, torch, transformers, nnsight, ...
    versions: Mapping[str, str]
    #: Number type the model ran in.
    dtype: str
    #: Device the model ran on.
    device: str
    #: Seed of the sample.
    seed: int
    #: How the model's edges are numbered (`Graph.as_dict`), where edges were measured.
    graph: Mapping[str, Any] | None = None

    @property
    def hash(self) -> str:
        """Hash of all of it: equal content has one row."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        names = ("model", "revision", "config_hash", "weights_hash", "dtype", "device", "seed")
        values = {name: getattr(self, name) for name in names} | {"versions": dict(self.versions)}
        # What there was before there were graphs keeps its hash.
        return values if self.graph is None else values | {"graph": self.graph}


def canonical_json(value: object) -> str:
    """Write a value as JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def provenance_id(session: Session, used: Provenance) -> int:
    """Return the id of the row for this provenance, writing it if it is new."""
    key = {"made_by": used.hash}
    row_id = session.scalar(FIND_PROVENANCE, key)
    if row_id is None:
        insert_new(session, tables.provenance, used.as_dict() | {"hash": used.hash})
        row_id = session.scalar(FIND_PROVENANCE, key)
    assert row_id is not None, "a provenance row was removed as it was written"
    return int(row_id)


def provenances(session: Session, job_id: int) -> list[Provenance]:
    """Return what made the job's numbers so far, in order of first use; more than one is worth a remark."""
    table = tables.provenance
    rows = session.execute(select(table).where(table.c.id.in_(_used(job_id))).order_by(table.c.id)).mappings()
    fields = [field.name for field in dataclasses.fields(Provenance)]
    return [Provenance(**{name: row[name] for name in fields}) for row in rows]


def job_graph(session: Session, job_id: int) -> Graph | None:
    """Return the graph that numbers the edges a job measured; None before it has measured any."""
    table = tables.provenance
    query = select(table.c.graph).where(table.c.id.in_(_used(job_id)), table.c.graph.is_not(None))
    values = session.scalar(query.order_by(table.c.id).limit(1))
    return None if values is None else Graph.from_dict(values)


def weights_hashes(session: Session, job_id: int) -> set[str]:
    """Return the hashes of the weights that made the job's numbers so far.

    A runner whose own hash is not among a non-empty set must not continue: the job would mix two models.
    """
    table = tables.provenance
    return set(session.scalars(select(table.c.weights_hash).where(table.c.id.in_(_used(job_id)))))


def delete_unused(session: Session, ids: Collection[int]) -> None:
    """Remove those of these provenance rows that no chunk refers to any more."""
    table = tables.provenance
    used = select(tables.chunk.c.id).where(tables.chunk.c.provenance_id == table.c.id).exists()
    session.execute(table.delete().where(table.c.id.in_(ids), ~used))


def used_ids(session: Session, job_id: int) -> list[int]:
    """Return the ids of the provenance rows that the job's chunks refer to."""
    return list(session.scalars(_used(job_id)))


def _used(job_id: int) -> Select[tuple[int]]:
    chunk = tables.chunk
    return (
        select(chunk.c.provenance_id)
        .where(chunk.c.job_id == job_id, chunk.c.provenance_id.is_not(None))
        .distinct()
    )
