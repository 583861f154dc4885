"""What a backend tells while it works, on stderr."""

from collections.abc import Iterable

from patchgrid.api.client.backends.backend import Reports
from patchgrid.cli.terminal.progress import aloud
from patchgrid.cli.terminal.screen import say
from patchgrid.cli.terminal.upload_progress import shown_upload
from patchgrid.core.types import Pair


def _storing(pairs: Iterable[Pair], total: int) -> Iterable[Pair]:
    return aloud(pairs, total, "stored")


#: Lines at intervals, and a bar for uploads.
REPORTS = Reports(say, _storing, shown_upload)
