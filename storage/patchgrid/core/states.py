"""The states of jobs, chunks, pairs and workers, as the database, exports and answers write them.

A member equals its text (`JobState.DONE == "done"`).
"""

from enum import StrEnum


class JobState(StrEnum):
    """What a job is doing."""

    #: No chunk was claimed yet.
    PENDING = "pending"
    #: Chunks are measured.
    RUNNING = "running"
    #: No chunk is claimed until the job is resumed.
    PAUSED = "paused"
    #: Every chunk is finished.
    DONE = "done"
    #: Every chunk is finished, and every pair failed.
    FAILED = "failed"
    #: Cancelled before it was finished.
    CANCELLED = "cancelled"


class ChunkState(StrEnum):
    """What is done about a chunk."""

    #: Waiting for a worker.
    PENDING = "pending"
    #: Being measured by the worker that holds its lease.
    LEASED = "leased"
    #: Waiting for a paused job to be resumed.
    HELD = "held"
    #: Its results are stored.
    DONE = "done"
    #: Failed too often; its pairs are error rows.
    FAILED = "failed"
    #: Its job was cancelled.
    CANCELLED = "cancelled"


class PairState(StrEnum):
    """The outcome of a pair."""

    #: Not measured yet; it has no row in the table `outcome`.
    PENDING = "pending"
    #: Measured.
    DONE = "done"
    #: Could not be measured.
    FAILED = "failed"
    #: The model gets it wrong, and the job wants only pairs that it gets right.
    SKIPPED = "skipped"


class WorkerState(StrEnum):
    """What a worker is doing, as it last said."""

    #: Starting.
    STARTING = "starting"
    #: Without a chunk.
    IDLE = "idle"
    #: Measuring.
    WORKING = "working"
    #: Waiting for the database's disk or server.
    WAITING = "waiting"
    #: Finishing its chunk before it stops.
    DRAINING = "draining"
    #: Stopped.
    STOPPED = "stopped"


#: The state of a job that is being deleted in steps; for everybody else it no longer exists.
DELETING = "deleting"
#: Jobs whose chunks are not all finished and may still be.
OPEN_JOBS = (JobState.PENDING, JobState.RUNNING, JobState.PAUSED)
#: Jobs whose chunks can be claimed.
RUNNABLE_JOBS = (JobState.PENDING, JobState.RUNNING)
#: Jobs with nothing left to measure.
FINISHED_JOBS = (JobState.DONE, JobState.FAILED)
#: Jobs of which nothing more is measured unless someone asks for it.
ENDED_JOBS = (*FINISHED_JOBS, JobState.CANCELLED)
#: Chunks that wait.
WAITING_CHUNKS = (ChunkState.PENDING, ChunkState.HELD)
#: Chunks that are not finished and may still be.
OPEN_CHUNKS = (ChunkState.PENDING, ChunkState.LEASED, ChunkState.HELD)
#: Chunks that nothing more is written of.
FINISHED_CHUNKS = (ChunkState.DONE, ChunkState.FAILED)
#: States that a row of the table `outcome` can have.
OUTCOMES = (PairState.DONE, PairState.FAILED, PairState.SKIPPED)
