"""What a job patches exactly after its scores: requests, and the plan of each round."""

from sqlalchemy import Column, Double, ForeignKey, Integer, LargeBinary, String, Table

from patchgrid.storage.tables.columns import Json, job_id_column, metadata

#: What was asked for, in order, and what came of it so far; see `rounds.requests`.
refinement = Table(
    "refinement",
    metadata,
    job_id_column(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("request", Json, nullable=False),
    Column("result", Json),
    Column("created_at", Double, nullable=False),
    Column("finished_at", Double),
    sqlite_with_rowid=False,
)

#: One blob a job, round and site: the share of each component's cells that the round adds; fixed when the
#: round is planned. `refinement` is the request that it serves.
plan = Table(
    "plan",
    metadata,
    job_id_column(primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("site", String(32), primary_key=True),
    Column("refinement", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

#: One blob a chunk and site: sums over the cells of its pairs that race for a certificate.
race = Table(
    "race",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("job_id", ForeignKey("job.id"), nullable=False, index=True),
    Column("data", LargeBinary, nullable=False),
)
