"""The checks of `patchgrid doctor`, one function per subject."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil

from patchgrid.core.errors import PatchgridError
from patchgrid.core.packages import MissingExtraError, is_installed, require
from patchgrid.core.text.wording import size
from patchgrid.storage import Database
from patchgrid.storage.errors import DatabaseMissing, StorageError

OK, WARN, FAIL = "ok", "warn", "fail"
#: Free bytes below which to warn.
_LOW_DISK, _LOW_CACHE, _LOW_MEMORY = 1e9, 1e10, 2e9
#: Network file systems, where SQLite's locks are unreliable.
_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smbfs",
    "smb3",
    "lustre",
    "gpfs",
    "beegfs",
    "fuse.sshfs",
    "ceph",
    "9p",
    "afs",
)
#: The checked extras, and their purposes.
_EXTRAS = {
    "model": "running models",
    "cluster": "--broker",
    "server": "patchgrid serve",
    "postgres": "PostgreSQL",
    "parquet": "Parquet files",
    "plot": "pictures",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    #: `ok`, `warn` or `fail`.
    status: str
    #: What was checked.
    what: str
    #: What was found.
    found: str
    #: What to do about it; empty: nothing.
    advice: str = ""


def examine(url: str, broker: str | None = None) -> list[Finding]:
    """Run all checks; the broker's if there is one."""
    folder = _database_folder(url)
    findings = [*_packages(), *_torch(), _memory(), _database(url, folder)]
    if folder is not None:
        findings += [_disk("disk of the database", folder, _LOW_DISK), *_file_system(folder)]
    if broker is not None:
        findings.append(_broker(broker))
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return [*findings, _disk("disk of the model cache", cache, _LOW_CACHE)]


def _packages() -> Iterator[Finding]:
    yield Finding(OK, "patchgrid", f"{version('patchgrid')} on Python {sys.version.split()[0]}")
    missing: dict[str, list[str]] = {}
    for text in requires("patchgrid") or ():
        name, extra = _requirement(text)
        if name == "patchgrid" or (extra and extra not in _EXTRAS):
            continue
        if extra and not _is_there(name):
            missing.setdefault(extra, []).append(name)
        else:
            yield _package(name, text, extra)
    for extra, names in missing.items():
        yield Finding(
            WARN,
            f"[{extra}]",
            f"not installed ({', '.join(names)}); needed for {_EXTRAS[extra]}",
            f"pip install 'patchgrid[{extra}]'",
        )


def _requirement(text: str) -> tuple[str, str | None]:
    """Read the name and the extra out of `torch>=2.8; extra == 'worker'`."""
    requirement, _, marker = text.partition(";")
    words = "".join(letter if letter.isalnum() or letter in "-_." else " " for letter in requirement)
    name = words.split()[0]
    extra = marker.partition("extra == ")[2].strip().strip("'\"")
    return name, extra or None


def _package(name: str, text: str, extra: str | None) -> Finding:
    install = f"pip install 'patchgrid[{extra}]'" if extra else "pip install patchgrid"
    if not _is_there(name):
        return Finding(FAIL, name, "not installed", install)
    found = version(name)
    if not _fits(text, found):
        return Finding(FAIL, name, f"{found}, but {text.partition(';')[0].strip()} is needed", install)
    return Finding(OK, name, found)


def _is_there(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _fits(text: str, installed_version: str) -> bool:
    """Return whether a version matches a requirement, if `packaging` is installed."""
    if not is_installed("packaging"):
        return True
    from packaging.requirements import Requirement

    return Requirement(text).specifier.contains(installed_version, prereleases=True)


def _torch() -> Iterator[Finding]:
    if not is_installed("torch"):
        return
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            text = f"{torch.cuda.get_device_name(index)}, {size(free)} of {size(total)} free"
            yield Finding(OK, f"cuda:{index}", text)
    elif Path("/dev/nvidia0").exists():
        advice = "install a CUDA build of torch, or check the driver with nvidia-smi"
        yield Finding(WARN, "device", "this machine has a GPU, but this torch build cannot use it", advice)
    else:
        yield Finding(OK, "device", "no GPU: models run on the CPU")
    yield _threads(torch.get_num_threads())


def _threads(threads: int) -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{threads} for {usable} usable cores"
    if threads > usable:
        return Finding(
            WARN, "threads", found, f"set OMP_NUM_THREADS={usable}: too many threads slow each other"
        )
    return Finding(OK, "threads", found)


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{size(memory.available)} of {size(memory.total)} free"
    if memory.available < _LOW_MEMORY:
        return Finding(WARN, "memory", found, "stop other programs, or use a smaller model")
    return Finding(OK, "memory", found)


def _broker(url: str) -> Finding:
    """An unavailable broker is a warning: workers still poll the database."""
    try:
        require("cluster", "--broker (PATCHGRID_BROKER)")
    except MissingExtraError as error:
        return Finding(FAIL, "broker", *str(error).split(": ", 1))
    from kombu.exceptions import KombuError

    from patchgrid.workers.broker.broker import label, make_app

    try:
        with make_app(url).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
    except PatchgridError as error:
        return Finding(FAIL, "broker", str(error), "name another with --broker")
    except (KombuError, OSError) as error:
        advice = "check that Redis is running and the password is right; until then workers poll the database"
        return Finding(WARN, "broker", f"{label(url)}: {str(error).splitlines()[0]}", advice)
    return Finding(OK, "broker", f"{label(url)} answers")


def _database(url: str, folder: Path | None) -> Finding:
    try:
        with Database.open(url, create=False) as database:
            return Finding(OK, "database", f"{database.label}, up to date")
    except DatabaseMissing as error:
        if folder is None or not folder.is_dir():
            return Finding(
                FAIL, "database", str(error), "create the folder, or name another database with --db"
            )
        if not os.access(folder, os.W_OK):
            return Finding(FAIL, "database", f"no permission to write {folder}", "name another with --db")
        return Finding(OK, "database", "does not exist yet: the first run creates it")
    except StorageError as error:
        return Finding(FAIL, "database", str(error), "see the message")


def _database_folder(url: str) -> Path | None:
    """Return the folder of an SQLite file, else None."""
    path = url.removeprefix("sqlite:///")
    return Path(path).absolute().parent if path not in (url, "", ":memory:") else None


def _disk(what: str, folder: Path, low: float) -> Finding:
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), Path("/"))
    free = shutil.disk_usage(there).free
    found = f"{size(free)} free at {folder}"
    return Finding(WARN, what, found, "free some space") if free < low else Finding(OK, what, found)


def _file_system(folder: Path) -> Iterator[Finding]:
    """SQLite needs a local disk."""
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    if not mounts:
        return
    kind = max(mounts, key=lambda part: len(part.mountpoint)).fstype
    if kind in _NETWORK:
        advice = "SQLite's locks are unreliable here: move the file to a local disk, or use PostgreSQL"
        yield Finding(WARN, "file system", f"{kind}, a network file system", advice)
