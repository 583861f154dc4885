"""Errors: ours and, for those who know nothing of us, Python's own."""

import builtins
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import patchgrid
from patchgrid.core.errors import ArgumentError, PatchgridError, SpecError
from patchgrid.core.types import Component, Pair

#: Bases that others derive from, and that are never raised themselves.
ROOTS = {"PatchgridError", "StorageError", "ServerError"}
#: What an error is, by the built-in kind that it must have; every other one is listed below.
LOOKUPS = {
    *("DatabaseMissing", "JobNotFound", "PairNotFound", "TokenNotFound", "WorkerNotFound", "NothingKept"),
    *("NotThere", "DemoMissingError", "FolderMissing"),
}
TIMEOUTS = {"OutOfTime", "DatabaseLocked", "ServerBusy"}
CONNECTIONS = {
    *("DatabaseUnavailable", "DatabaseUnreachable", "BrokerUnavailable", "ServerUnreachable"),
    "ConnectionCut",
}
IMPORTS = {"MissingExtraError", "FramesMissing"}
SYSTEM = {"DatabaseGone", "DatabaseFull", "OutputError"}
PERMISSIONS = {"NotAuthorised", "NotAllowed"}
STATES = {
    *("DatabaseOlder", "DatabaseNewer", "TooManyOpenJobs", "QuotaExceeded", "JobChanged", "JobShared"),
    *("JobFinished", "ModelChangedError", "JobCancelledError", "DeviceBrokenError", "JobFailed", "NotHere"),
    "JobUnfinishedError",
    *("JobPaused", "ServerFailed", "NotPatchgrid", "CeleryFailedError"),
}
KINDS = {
    LookupError: LOOKUPS,
    TimeoutError: TIMEOUTS,
    ConnectionError: CONNECTIONS,
    ImportError: IMPORTS,
    OSError: SYSTEM,
    PermissionError: PERMISSIONS,
    RuntimeError: STATES,
    NotImplementedError: {"NotSupported"},
    TypeError: {"ArgumentError"},
}
_BUILT_IN = {value for value in vars(builtins).values() if isinstance(value, type)} - {Exception, object}


def _every(kind: type[PatchgridError]) -> Iterator[type[PatchgridError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _every(each)


def _ours() -> dict[str, type[PatchgridError]]:
    for module in pkgutil.walk_packages(patchgrid.__path__, "patchgrid."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)
    classes = {each for each in _every(PatchgridError) if each.__module__.startswith("patchgrid.")}
    return {each.__name__: each for each in classes if each.__name__ not in ROOTS}


def test_every_error_is_a_built_in_one_as_well() -> None:
    """Of the kind that fits; what is in no list is a value that is wrong."""
    ours = _ours()
    listed = {name: kind for kind, names in KINDS.items() for name in names}
    assert listed.keys() <= ours.keys()
    for name, error in ours.items():
        assert issubclass(error, listed.get(name, ValueError)), name
        assert _BUILT_IN & set(error.__mro__), name


@pytest.mark.parametrize(
    ("make", "ours", "built_in"),
    [
        (lambda: Component("zz", 1), SpecError, ValueError),
        (lambda: Component("z", "one"), PatchgridError, ValueError),
        (lambda: Component("z", 1, unit=2), ArgumentError, TypeError),
        (lambda: Component.parse("a9h6"), PatchgridError, ValueError),
        (lambda: Component.parse(9), ArgumentError, TypeError),
        (lambda: Pair(1, "b", " c", " d"), PatchgridError, ValueError),
        (lambda: Pair("a", "b", None, " d"), PatchgridError, ValueError),
        (lambda: Pair("a", "b", [], " d"), PatchgridError, ValueError),
    ],
)
def test_a_wrong_argument_is_ours_and_built_in(make, ours, built_in) -> None:  # type: ignore[no-untyped-def]
    """Whoever catches either kind catches it."""
    with pytest.raises(ours):
        make()
    with pytest.raises(built_in):
        make()
