"""The broker as the command line sees it: a bell to ring once a job is stored."""

from patchgrid.cli.terminal.screen import say
from patchgrid.core.packages import require
from patchgrid.workers.errors import BrokerUnavailable


def check_broker(url: str | None) -> None:
    """Refuse a broker URL that cannot be used, before anything is stored."""
    if url is not None:
        require("cluster", "--broker (PATCHGRID_BROKER)")
        from patchgrid.workers.broker.broker import make_app

        make_app(url)


def ring(url: str | None, job_id: int) -> None:
    """Wake the workers for a job that is stored already; a broker that is away costs no more than a line."""
    if url is None:
        say("No broker is named (--broker): workers find it when they next look, every --poll seconds")
        return
    from patchgrid.workers.broker import bell

    try:
        bell.ring(url, job_id)
    except BrokerUnavailable as error:
        say(f"Warning: {error}; the job is stored, workers find it when they next look")
