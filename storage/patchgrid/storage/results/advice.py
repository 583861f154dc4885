"""What follows from a job's verification: which method to use, and what to patch before relying on it."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy import special

from patchgrid.core.sites import EDGE
from patchgrid.core.text.number_format import ratio
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.verification import Cost

#: Confidence of what is said: a figure or a difference that may be chance gives no advice.
_CONFIDENCE = 0.95
#: Longest interval of `mean_error` that still tells a good method from a bad one.
_TELLING = 0.5
#: A slope within this of 1, and a correlation from this on, are good enough; one below the last is poor.
_SLOPE, _PEARSON, _POOR = 0.1, 0.9, 0.7
#: A part of an error from this on is most of it.
_MOSTLY = 0.5
#: Costs within this ratio count as the same.
_SAME_COST = 1.2
#: What a site's components are called.
_WORDS = {
    "z": "heads (z)",
    "attn_out": "attention (attn_out)",
    "mlp_post": "neurons (mlp_post)",
    "mlp_out": "MLPs (mlp_out)",
    EDGE: "edges",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a site."""

    #: One of `SITES`.
    site: str
    #: One sentence.
    text: str
    #: A command without its program's name and its database, `job refine 3 --top 10`, or None.
    command: str | None = None


def advise(job: JobRecord, rows: Sequence[SiteAgreement], cost: Cost) -> list[Advice]:
    """Return what a job's verification says about each site, in the order of the rows.

    A method is chosen by the error of its mean scores (`mean_error`): the cheapest of those that are not
    worse than the best beyond their standard errors, which for methods on the same cells are cautious ones.
    """
    found: list[Advice] = []
    for site, group in itertools.groupby(rows, key=lambda row: row.site):
        own = list(group)
        chosen = _chosen(own, cost)
        found += _too_little(job, own) if chosen is None else [Advice(site, _choice(job, own, chosen))]
        found += _unpatched(job, chosen or own[0])
    return found


def _chosen(rows: Sequence[SiteAgreement], cost: Cost) -> SiteAgreement | None:
    """Return the method to use, or None if the cells do not tell."""
    telling = [row for row in rows if _uncertainty(row) <= _TELLING]
    if not telling:
        return None
    best = min(telling, key=lambda row: _square(row)[0])
    good = [row for row in telling if not _worse(row, best)]
    seconds = [cost.scores.get(row.method) or math.nan for row in good]
    cheapest = min((each for each in seconds if not math.isnan(each)), default=math.nan)
    pairs = zip(good, seconds, strict=True)
    return next((row for row, each in pairs if each <= _SAME_COST * cheapest), good[0])


def _choice(job: JobRecord, rows: Sequence[SiteAgreement], chosen: SiteAgreement) -> str:
    """Say which method to use and why."""
    first, what = rows[0], _what(chosen.site)
    fault = _fault(first)
    if chosen is not first:
        why = f"{first.method} {fault or 'is no better and costs more'}"
        if not fault and _worse(first, chosen):
            why = f"the scores of {first.method} are further from the effects"
        still = f", though it {_fault(chosen)}" if _fault(chosen) else f" ({_figures(chosen)})"
        return f"{what}: {why}; use {chosen.method}{still}"
    if fault is None:
        return f"{what}: use {first.method} ({_figures(first)})"
    if len(rows) > 1:
        return f"{what}: {first.method} {fault}, and no other method is clearly better"
    ranks = _lower(first, first.mean_pearson, first.mean_pearson_se) >= _PEARSON
    use = "use it to rank, not for sizes" if ranks else ""
    other = _other(job, first.site)
    add = f"compare --method {first.method},{other}" if other else ""
    return f"{what}: " + "; ".join(part for part in (f"{first.method} {fault}", use, add) if part)


def _too_little(job: JobRecord, rows: Sequence[SiteAgreement]) -> Iterator[Advice]:
    """Say that there are too few cells, or too few pairs, to choose by."""
    row = rows[0]
    if row.components < 3 or (row.mean_n >= 3 and row.mean_slope is None):
        # All components have one mean score: there is nothing to rank.
        return
    methods = " or ".join(each.method for each in rows)
    if row.n == row.cells or (row.mean_error_sampling is not None and row.mean_error_sampling < _MOSTLY):
        are = "pair is" if row.pairs == 1 else "pairs are"
        yield Advice(row.site, f"{_what(row.site)}: {row.pairs:,} {are} too few to judge {methods}")
    else:
        text = f"{_what(row.site)}: too few cells are patched to judge {methods}"
        yield Advice(row.site, text, f"job refine {job.id} --exact +0.05")


def _unpatched(job: JobRecord, row: SiteAgreement) -> Iterator[Advice]:
    """Say how many of the top components by score were never patched."""
    top = min(row.top_k, row.components)
    if row.top_patched < top:
        count = f"only {row.top_patched}" if row.top_patched else "none"
        text = f"{_what(row.site)}: {count} of the top {top} by {row.method} are patched"
        yield Advice(row.site, text, f"job refine {job.id} --top {top}")


def _fault(row: SiteAgreement) -> str | None:
    """Say what is wrong with a method's mean scores beyond the standard errors, or None."""
    if row.mean_slope is None or row.mean_pearson is None:
        return None
    slope = f"(slope {row.mean_slope:.2f})"
    low, high = (_end(row, row.mean_slope, row.mean_slope_se, side) for side in (-1, 1))
    if high < 0:
        return f"has the wrong sign {slope}"
    if _end(row, row.mean_pearson, row.mean_pearson_se, 1) < _PEARSON:
        how = "poorly" if row.mean_pearson < _POOR else "only roughly"
        return f"ranks components {how} (Pearson {row.mean_pearson:.2f})"
    if low > 1 + _SLOPE:
        return f"understates {slope}"
    if high < 1 - _SLOPE:
        return f"overstates {slope}"
    return None


def _figures(row: SiteAgreement) -> str:
    return f"Pearson {ratio(row.mean_pearson)}, slope {row.mean_slope:.2f}"


def _other(job: JobRecord, site: str) -> str | None:
    """Return a method that may do better at a site and that the job does not have."""
    usual = ("eap-ig",) if site == EDGE else ("atp*",) if site in ("q", "k") else ("ig", "relp")
    return next((method for method in usual if method not in job.spec.query.method_names), None)


def _what(site: str) -> str:
    return _WORDS.get(site, site)


def _square(row: SiteAgreement) -> tuple[float, float]:
    """Return the square of the mean scores' error, nearly normal where that is near 0, and its error."""
    if row.mean_error is None or row.mean_error_se is None:
        return math.inf, math.inf
    return row.mean_error**2, 2 * max(row.mean_error, 0.01) * row.mean_error_se


def _uncertainty(row: SiteAgreement) -> float:
    """Return the length of the interval of the mean scores' error."""
    square, error = _square(row)
    if not math.isfinite(error):
        return math.inf
    low, high = (math.sqrt(max(0.0, square + side * _half(row, error))) for side in (-1, 1))
    return high - low


def _worse(row: SiteAgreement, than: SiteAgreement) -> bool:
    """Tell whether a method's error is larger than another's, beyond chance."""
    (square, error), (other, other_error) = _square(row), _square(than)
    return square - other > _half(row, math.hypot(error, other_error))


def _half(row: SiteAgreement, error: float) -> float:
    """Return half an interval of a standard error, with Student's t for the pairs that it comes from."""
    return float(special.stdtrit(max(1, row.pairs - 1), (1 + _CONFIDENCE) / 2)) * error


def _end(row: SiteAgreement, value: float, error: float | None, side: int) -> float:
    """Return an end of a figure's interval; infinitely far without an error."""
    return value + side * (math.inf if error is None else _half(row, error))


def _lower(row: SiteAgreement, value: float | None, error: float | None) -> float:
    return -math.inf if value is None else _end(row, value, error, -1)
