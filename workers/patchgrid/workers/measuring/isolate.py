"""Measuring a chunk after a failed attempt: pair by pair, each recorded before it is started.

So a pair that takes its worker down is known by what was noted, and one that raises fails alone.
"""

import logging
from collections.abc import Callable, Sequence

from patchgrid.core.types import Pair
from patchgrid.storage.chunks.chunk_result import ChunkResult, PairOutcome, RoundResult, join_results
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.workers.errors import LeaseLostError, StopRequestedError
from patchgrid.workers.measuring.causes import is_device_broken, reason_of
from patchgrid.workers.measuring.chunk import OnShare, provenance_of
from patchgrid.workers.measuring.models import Engine

_log = logging.getLogger(__name__)


#: Measures some of a chunk's pairs, from a row number on.
MeasurePart = Callable[[int, Sequence[Pair], OnShare], ChunkResult]


def measure_carefully(
    engine: Engine,
    job: JobRecord,
    first: int,
    pairs: Sequence[Pair],
    measure: MeasurePart,
    *,
    note: Callable[[int], None],
    round_: int | None = None,
    on_share: OnShare = lambda _share: None,
) -> ChunkResult:
    """Measure a chunk pair by pair; `note` receives each pair's row number before it is started.

    Raises what `note` and `on_share` raise, and what leaves the device broken; any other error is its pair's.
    """
    parts = []
    for place, pair in enumerate(pairs):
        note(first + place)

        def on_part(share: float, place: int = place) -> None:
            on_share((place + share) / len(pairs))

        try:
            part = measure(first + place, [pair], on_part)
        except (LeaseLostError, StopRequestedError):
            raise
        except Exception as error:
            if is_device_broken(error):
                raise
            _log.warning("pair %s of job %d: %s", first + place, job.id, reason_of(error), exc_info=True)
            outcome = PairOutcome(first + place, "failed", error=reason_of(error))
            part = ChunkResult(
                provenance_of(engine, job),
                [outcome],
                {},
                methods=job.spec.query.method_names,
                round=None if round_ is None else RoundResult(round_),
            )
            on_part(1.0)
        parts.append(part)
    return join_results(parts)
