"""Who may use the HTTP service, and whose jobs are whose."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    text,
)

from patchgrid.storage.tables.columns import Json, job_id_column, metadata

#: Who may use the HTTP service. `hash`: SHA-256 of the secret part of the token, in hexadecimal digits. A
#: token is revoked, never deleted: jobs remember whose they are. Of a name's tokens one is not revoked.
token = Table(
    "token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("used_at", Double),
    # NULL: what the server allows tokens without limits of their own.
    Column("max_priority", Integer),
    Column("max_bytes", BigInteger),
    sqlite_autoincrement=True,
)
_IN_USE = text("revoked_at IS NULL")
Index("uq_token_name", token.c.name, unique=True, sqlite_where=_IN_USE, postgresql_where=_IN_USE)

#: A job's owners. `owner`: `token 3`, `user alice`, or `open` (the HTTP service without tokens).
#: `withdrawn_at`: when this owner cancelled or deleted the job; for the others it continues.
submission = Table(
    "submission",
    metadata,
    job_id_column(primary_key=True),
    Column("owner", String(80), primary_key=True),
    Column("token_id", ForeignKey("token.id"), index=True),
    Column("submitted_at", Double, nullable=False),
    Column("withdrawn_at", Double),
    Index("ix_submission_owner", "owner", "job_id"),
)

#: What a client called a submit, so that repeating it does nothing: the job that it gave. `hash`: SHA-256 of
#: the client's key, which may be of any length.
idempotency = Table(
    "idempotency",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", String(64), nullable=False),
    job_id_column(),
    Column("token_id", ForeignKey("token.id")),
    Index("ix_idempotency_job_id", "job_id"),
)
Index("uq_idempotency_token", idempotency.c.token_id, idempotency.c.hash, unique=True)
# No NULL is like another to a unique index.
_OPEN = text("token_id IS NULL")
Index("uq_idempotency_open", idempotency.c.hash, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
