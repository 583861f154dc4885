"""What a job's budget of exact patching gives each component, said before the job runs."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress

from patchgrid.cli.context import Settings
from patchgrid.cli.execution.counting import SiteCount
from patchgrid.cli.terminal.screen import counted, say
from patchgrid.core.errors import PatchgridError, SpecError
from patchgrid.core.sites import WIDE_SITES
from patchgrid.core.text.number_format import percent
from patchgrid.core.text.wording import seconds
from patchgrid.core.types import JobSpec
from patchgrid.estimates.regression import FIT_FROM
from patchgrid.storage.results.pace import Pace, pace
from patchgrid.storage.sampling.shares import exact_share

#: Cells per component below which intervals are wide, and below which most components have none.
ENOUGH, FEWEST = int(FIT_FROM), 2


def pace_of(settings: Settings, spec: JobSpec) -> Pace | None:
    """Return the pace of the newest job of a model in the database; None without one, and for a server."""
    if settings.server is None:
        with suppress(PatchgridError), settings.reading() as session:
            return pace(session, spec)
    return None


def check_budget(spec: JobSpec, counts: Sequence[SiteCount]) -> None:
    """Refuse a budget that gives less than one cell of all that a job has; `SpecError`."""
    cells = sum(each.share * each.cells for each in counts)
    total = sum(each.cells for each in counts)
    if not spec.patches or not total or cells >= 1:
        return
    remedy = _remedy(spec, _pairs(counts), ENOUGH)
    raise SpecError(
        f"exact {_plain(spec.share)} of {total:,} cells patches nothing: use {remedy} for intervals, or "
        "exact 0 for scores alone",
        "exact",
    )


def say_budget(
    spec: JobSpec, pairs: int, counts: Sequence[SiteCount] = (), known: Pace | None = None
) -> None:
    """Say how many cells a component gets, what that does not give, and what it takes."""
    if spec.patches and pairs:
        cost = _cost(spec, pairs, counts, known)
        for text, lacking in _lines(spec, pairs):
            say(f"Exact patching: {text}{cost}{lacking}")
            cost = ""


def _lines(spec: JobSpec, pairs: int) -> Iterator[tuple[str, str]]:
    """Yield what the sites get, and what that does not give: neurons and edges by themselves."""
    sites = spec.query.sites
    narrow, wide = ([site for site in sites if (site in WIDE_SITES) is kind] for kind in (False, True))
    if narrow:
        share = exact_share(spec, narrow[0], pairs=pairs)
        draws = share * pairs
        text = f"about {_few(draws)} of {counted(pairs, 'pair')} per component ({percent(share)})"
        yield text, _warning(spec, pairs, draws)
    for site in wide:
        share = exact_share(spec, site, pairs=pairs)
        if share == 0:
            yield f"nothing of {site}", "; --exact-per-component does not apply to it: add --exact 0.001"
        else:
            lacking = "; components with large scores get most of them, and most others have no interval"
            yield f"{percent(share)} of {site}", "" if share * pairs >= ENOUGH else lacking


def _warning(spec: JobSpec, pairs: int, draws: float) -> str:
    """Say what so few cells do not give, and what would."""
    if draws >= ENOUGH or draws >= pairs:
        return ""
    what = "most components get no interval" if draws < FEWEST else "intervals will be wide"
    return f"; {what}: for {min(ENOUGH, pairs)} each, use {_remedy(spec, pairs, ENOUGH)}"


def _remedy(spec: JobSpec, pairs: int, draws: int) -> str:
    """Name the options that would give so many cells per component, and the number of pairs."""
    wanted = min(draws, pairs)
    share = _rounded_up(wanted / pairs) if pairs else 1.0
    if all(site in WIDE_SITES for site in spec.query.sites):
        return f"--exact {share:g}"
    ways = f"--exact {share:g} or --exact-per-component {wanted}"
    if spec.share and not spec.exact_per_component:
        ways = f"--exact {share:g}, --exact-per-component {wanted} or {math.ceil(draws / spec.share):,} pairs"
    return ways


def _cost(spec: JobSpec, pairs: int, counts: Sequence[SiteCount], known: Pace | None) -> str:
    """Write the number of patched runs and the seconds they take, as far as they are known."""
    if not counts:
        return ""
    runs = sum(each.exact for each in counts)
    took = ""
    if known is not None:
        took = f", about {seconds(runs * known.effect)}"
        if set(spec.query.method_names) <= known.scores.keys():
            scoring = pairs * sum(known.scores[name] for name in spec.query.method_names)
            took += f" besides {seconds(scoring)} of scoring"
        took += f" at the pace of job {known.job}"
    return f", {counted(runs, 'patched run')}{took}"


def _pairs(counts: Sequence[SiteCount]) -> int:
    first = counts[0]
    return max(1, first.cells // first.components) if first.components else 1


def _plain(share: float) -> str:
    """Write a share without an exponent."""
    return f"{share:.12f}".rstrip("0")


def _few(value: float) -> str:
    """Write a small number with a decimal."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _rounded_up(share: float) -> float:
    """Round a share up to two digits."""
    scale = 10.0 ** (math.floor(math.log10(share)) - 1)
    return min(1.0, math.ceil(share / scale - 1e-9) * scale)
