"""Random subsets of components that were patched together: what they say of those hardly patched alone."""

from sqlalchemy import Column, Integer, LargeBinary, String, Table

from patchgrid.storage.tables.columns import job_id_column, metadata

#: One row a job and site: which components are dealt into how many blocks; fixed at the first measurement.
missed_design = Table(
    "missed_design",
    metadata,
    job_id_column(primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("blocks", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

#: One blob a job, site, pair and round: each block's effect, and its summed scores; see `estimates.missed`.
missed = Table(
    "missed",
    metadata,
    job_id_column(primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("pair_index", Integer, primary_key=True, autoincrement=False),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
