"""The pilot: a few of the job's pairs, scored first, tell how large each component's scores are."""

from collections.abc import Callable, Sequence

from patchgrid.engine.types import Pair
from patchgrid.estimates import Sums, expected_share, pilot_rows
from patchgrid.storage.database import Database
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.pilot import keep_first_pilot, pilot_pairs, read_pilot
from patchgrid.workers.components import Alignment, arrange, failure
from patchgrid.workers.models import Engine


def job_pilot(
    database: Database,
    engine: Engine,
    job: JobRecord,
    *,
    batch_tokens: int | None = None,
    on_batch: Callable[[float], None] = lambda _done: None,
) -> dict[str, Sums]:
    """Give the job's pilot by site, scoring its pairs if no worker has; empty where none is needed."""
    if not 0 < expected_share(job.spec.exact, pairs=job.pairs) < 1:
        return {}
    with database.read() as session:
        known = read_pilot(session, job.id)
        pairs = [] if known else pilot_pairs(session, job.id, pilot_rows(job.pairs))
    if known:
        return known
    pilot = score_pilot(engine, job, pairs, batch_tokens=batch_tokens, on_batch=on_batch)
    with database.write() as session:
        return keep_first_pilot(session, job.id, pilot)


def score_pilot(
    engine: Engine,
    job: JobRecord,
    pairs: Sequence[Pair],
    *,
    batch_tokens: int | None = None,
    on_batch: Callable[[float], None] = lambda _done: None,
) -> dict[str, Sums]:
    """Score pairs and sum their scores as the job's components; pairs that cannot be scored are left out."""
    results = engine.attribute(
        pairs,
        sites=job.spec.sites,
        method=job.spec.method,
        direction=job.spec.direction,
        metric=job.spec.metric,
        prepend_bos=job.spec.prepend_bos,
        batch_tokens=batch_tokens,
        on_batch=on_batch,
    )
    alignment = Alignment(job.spans)
    pilot: dict[str, Sums] = {}
    for pair, result in zip(pairs, results, strict=True):
        if failure(result) is not None:
            continue
        for site, scores in result.scores.items():
            found = arrange(scores, alignment, alignment.columns(pair, len(result.tokens)), job.kind)
            if site not in pilot:
                axes, aligned = found.values.shape, job.kind == "aligned"
                pilot[site] = Sums.zeros(axes, sampled=False, aligned=aligned)
            pilot[site].add_pair(found.values, found.present)
    # Sites of which no pair could be scored are known to be so, and not tried again by the next worker.
    return {site: pilot.get(site, Sums.zeros((), sampled=False)) for site in job.spec.sites}
