"""What all tests share."""

from collections.abc import Iterator

import pytest

from support.workers.signals import stop_passing_on_ignored_signals

stop_passing_on_ignored_signals()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what loading models remembers away from the user's own, in child processes, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHGRID_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
