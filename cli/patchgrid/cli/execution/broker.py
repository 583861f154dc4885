"""The broker as the command line sees it."""

from patchgrid.core.packages import require


def check_broker(url: str | None) -> None:
    """Refuse a broker URL that cannot be used, before anything is stored."""
    if url is not None:
        require("cluster", "--broker (PATCHGRID_BROKER)")
        from patchgrid.workers.broker.broker import make_app

        make_app(url)
