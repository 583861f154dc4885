"""What was measured, and what measured it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    literal_column,
    text,
)

from patchgrid.core.states import OUTCOMES
from patchgrid.storage.tables.columns import (
    Json,
    component_columns,
    job_id_column,
    metadata,
    method_column,
    pair_key_columns,
    state_column,
)

provenance = Table(
    "provenance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("revision", Text),
    Column("config_hash", Text, nullable=False),
    Column("weights_hash", Text, nullable=False),
    Column("versions", Json, nullable=False),
    Column("dtype", String(16), nullable=False),
    Column("device", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("graph", Json),
)

# The preferences are those of `estimates.task`; the answers' tokens are as
# text, in the order of the pair's answers. Both are NULL where the pair failed.
outcome = Table(
    "outcome",
    metadata,
    *pair_key_columns(),
    *state_column(OUTCOMES),
    Column("error", Text),
    Column("warning", Text),
    Column("tokens", Json, nullable=False),
    Column("corrupted_tokens", Json, nullable=False),
    Column("clean_metric", Double),
    Column("corrupted_metric", Double),
    Column("prefix", Integer),
    Column("clean_preference", Double),
    Column("corrupted_preference", Double),
    Column("correct_tokens", Json),
    Column("incorrect_tokens", Json),
    sqlite_with_rowid=False,
)
_FAILED = text("state = 'failed'")
Index(
    "ix_outcome_failed",
    outcome.c.job_id,
    outcome.c.state,
    outcome.c.pair_index,
    sqlite_where=_FAILED,
    postgresql_where=_FAILED,
)
#: The failed pairs' keys, with the condition of that index word for word, or no database would use it. The
#: rest of a row is in `outcome`: read from here, SQLite would read all pairs of the job.
failed_pair = outcome.alias("failed_pair")
HAS_FAILED = failed_pair.c.state == literal_column("'failed'")

#: One row a chunk: whether the model does the task on its pairs; see `estimates.task.TaskSummary`. The pairs
#: that are named are a few row numbers.
task = Table(
    "task",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    job_id_column(),
    Column("pairs", Integer, nullable=False),
    Column("measured", Integer, nullable=False),
    Column("clean_sum", Double, nullable=False),
    Column("corrupted_sum", Double, nullable=False),
    Column("difference_squares", Double, nullable=False),
    Column("clean_correct", Integer, nullable=False),
    Column("corrupted_incorrect", Integer, nullable=False),
    Column("swapped", Integer, nullable=False),
    Column("swapped_pairs", Json, nullable=False),
    Column("outside_vocabulary", Integer, nullable=False),
    Column("outside_pairs", Json, nullable=False),
    Index("ix_task_job_id", "job_id"),
)

#: One row a chunk that was patched: effects of patches that are nothing but rounding; see
#: `estimates.rounding.Rounding`.
rounding = Table(
    "rounding",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    job_id_column(),
    Column("cells", Integer, nullable=False),
    Column("squares", Double, nullable=False),
    Index("ix_rounding_job_id", "job_id"),
)

#: One blob a chunk, site, kind and method: the sums over the chunk's pairs.
sums = Table(
    "sums",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("kind", String(16), primary_key=True),
    method_column(),
    job_id_column(),
    Column("data", LargeBinary, nullable=False),
)
Index("ix_sums_job", sums.c.job_id, sums.c.method, sums.c.site, sums.c.kind, sums.c.chunk_id)

#: One blob a finished job, site, kind and method: its chunks' sums added up, once.
total = Table(
    "total",
    metadata,
    job_id_column(primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("kind", String(16), primary_key=True),
    method_column(),
    Column("data", LargeBinary, nullable=False),
)

#: One blob a job and site: the sums over the job's pilot pairs, by the first of its methods, fixed by the
#: first worker.
pilot = Table(
    "pilot",
    metadata,
    job_id_column(primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

#: One blob a job and site: mean activations, `[layer, width]`, where they are put into the base run; fixed by
#: the first worker.
mean = Table(
    "mean",
    metadata,
    job_id_column(primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

#: One blob a chunk, site and method: the scores of the chunk's pairs.
scores = Table(
    "scores",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    Column("site", String(32), primary_key=True),
    method_column(),
    job_id_column(),
    Column("data", LargeBinary, nullable=False),
    Index("ix_scores_job_id", "job_id"),
)

#: Seconds that a chunk's scores took by each method; `shared` is what all methods share, `exact` patching.
cost = Table(
    "cost",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    method_column(),
    job_id_column(),
    Column("seconds", Double, nullable=False),
    Index("ix_cost_job_id", "job_id"),
)

# `cell` numbers a pair's cells by round, in the order of an export; `score` is by the first of the job's
# methods. A later round raises the inclusion of the cells that there were.
exact = Table(
    "exact",
    metadata,
    *pair_key_columns(),
    Column("cell", Integer, primary_key=True),
    *component_columns(),
    Column("position", Integer),
    Column("span", Text),
    Column("score", Double, nullable=False),
    Column("effect", Double, nullable=False),
    Column("inclusion", Double, nullable=False),
    Column("round", Integer),
    sqlite_with_rowid=False,
)

#: The score of a cell of `exact` by each further method of its job.
method_score = Table(
    "method_score",
    metadata,
    *pair_key_columns(),
    Column("cell", Integer, primary_key=True),
    method_column(),
    Column("score", Double, nullable=False),
    Column("round", Integer),
    sqlite_with_rowid=False,
)

# The components of largest |score| by the first of the job's methods, over all sites.
top_component = Table(
    "top_component",
    metadata,
    *pair_key_columns(),
    Column("rank", Integer, primary_key=True),
    *component_columns(),
    Column("score", Double, nullable=False),
    sqlite_with_rowid=False,
)

#: A finished job's answer, for SQL: by each method every component, of sites with very many the strongest;
#: see `results.component_table`. `rank` is the place in the order of `results top`, from 1 for each method.
component_estimate = Table(
    "component_estimate",
    metadata,
    job_id_column(primary_key=True),
    method_column(),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    *component_columns(),
    # Counted from the end (-1 is the last), or a span's name; both NULL: all positions at once.
    Column("position", Integer),
    Column("span", Text),
    # The two ends of an edge.
    Column("sender", Text),
    Column("receiver", Text),
    Column("n", Integer, nullable=False),
    Column("mean", Double, nullable=False),
    Column("mean_abs", Double, nullable=False),
    Column("std", Double),
    Column("estimate", Double),
    Column("ci_low", Double),
    Column("ci_high", Double),
    Column("exact_n", Integer, nullable=False),
    # The interval for the job's own pairs; the other is for the population that they are a sample of.
    Column("pairs_low", Double),
    Column("pairs_high", Double),
    # Estimated from fewer than three cells shrunk toward the mean score; NULL before v0002.
    Column("shrunk", Boolean),
    # Few cells carry the variance, and the interval may be too short.
    Column("heavy", Boolean),
    Index("ix_component_estimate_component", "component", "job_id"),
    sqlite_with_rowid=False,
)

#: Checksums of immutable data (see `checksums`): of a job as it was submitted, of each finished
#: chunk, of a job's end. `chunk_id` is 0 except for chunks.
checksum = Table(
    "checksum",
    metadata,
    job_id_column(primary_key=True),
    Column("what", String(8), primary_key=True),
    Column("chunk_id", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    sqlite_with_rowid=False,
)
