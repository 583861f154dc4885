"""What a load finds out is remembered, and nothing that lies in the cache can do harm."""

import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch.nn.modules.module import register_module_forward_pre_hook

from patchgrid.core.errors import ModelError
from patchgrid.engine import Engine
from patchgrid.engine.checkpoint import disk_cache, weights
from patchgrid.engine.checks import findings
from patchgrid.engine.model.shortcuts import Shortcuts
from support.engine.models import save_model
from support.engine.prompts import PAIRS
from support.machines.servers import wait_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model."""
    return save_model("gemma2", tmp_path_factory.mktemp("model")).folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("PATCHGRID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def said() -> list[str]:
    """What loads say of the checks that they make."""
    return []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_second_load_runs_nothing_and_gives_the_same_numbers(
    folder: Path, said: list[str], dtype: str
) -> None:
    """No forward pass; the first one says that checks are made."""
    first = Engine.load(str(folder), device="cpu", dtype=dtype, on_check=said.append)
    assert len(said) == 1
    assert said[0].startswith(f"Checking {folder}")

    ran: list[object] = []
    handle = register_module_forward_pre_hook(lambda module, _args: ran.append(module))
    try:
        second = Engine.load(str(folder), device="cpu", dtype=dtype, on_check=said.append)
        assert not ran
    finally:
        handle.remove()
    assert len(said) == 1
    assert second.findings == first.findings
    for mine, other in zip(second.attribute(PAIRS), first.attribute(PAIRS), strict=True):
        for site, scores in mine.scores["atp"].items():
            assert (scores == other.scores["atp"][site]).all(), site


def test_asked_to_a_load_checks_again(folder: Path, said: list[str], cache: Path) -> None:
    """And leaves what it found for the next."""
    Engine.load(str(folder), device="cpu")
    [path] = (cache / "checks").iterdir()
    path.write_text("{}", encoding="utf-8")
    Engine.load(str(folder), device="cpu", recheck=True, on_check=said.append)
    assert len(said) == 1
    assert json.loads(path.read_text(encoding="utf-8"))["value"]


def test_each_weights_and_number_type_has_its_own_checks(
    folder: Path, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each version of the packages, and each set of instructions."""
    other = save_model("gemma2", tmp_path, seed=1).folder
    for name, dtype in ((folder, "float32"), (other, "float32"), (folder, "bfloat16")):
        Engine.load(str(name), device="cpu", dtype=dtype, on_check=said.append)
    assert len(said) == 3
    monkeypatch.setattr("patchgrid.engine.checkpoint.provenance.version", lambda _package: "99")
    Engine.load(str(folder), device="cpu", dtype="float32", on_check=said.append)
    assert len(said) == 4
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "other")
    Engine.load(str(folder), device="cpu", dtype="float32", on_check=said.append)
    assert len(said) == 5


def test_a_model_that_is_refused_is_refused_again(tmp_path: Path) -> None:
    """Only what passed is remembered."""
    model = save_model("opt_post_norm", tmp_path)
    for _ in range(2):
        with pytest.raises(ModelError):
            Engine.load(str(model.folder), device="cpu", dtype="float32")


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\x80\x04\x95\x10", b"[]", b"null", b'{"key": {}, "value": {}}', DEEP.encode()),
        b" " * 70_000 + b"{}",
    ],
)
def test_whatever_lies_in_the_cache_is_written_anew(
    folder: Path, said: list[str], cache: Path, content: bytes
) -> None:
    """Broken, forged, far too large."""
    first = Engine.load(str(folder), device="cpu")
    for kind in ("checks", "weights"):
        for path in (cache / kind).iterdir() if (cache / kind).exists() else ():
            path.write_bytes(content)
    second = Engine.load(str(folder), device="cpu", on_check=said.append)
    assert (len(said), second.findings, second.provenance) == (1, first.findings, first.provenance)
    Engine.load(str(folder), device="cpu", on_check=said.append)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("self_check", {"error": 1.0, "allowed": 0.5}),
        ("self_check", {"error": float("nan"), "allowed": 0.5}),
        ("self_check", {"error": "0", "allowed": 0.5}),
        ("shortcuts", {"prefix": 1}),
        ("shortcuts", []),
        ("transform", {"factor": None, "cap": None}),
        ("wiring", {"heads": {"queries": -1, "key_values": 2, "sole": True}, "tail": None, "inner": []}),
        ("wiring", {"heads": None, "tail": [3], "inner": []}),
        ("no_softmax", ["text"]),
    ],
)
def test_findings_that_are_not_what_a_load_leaves_are_ignored(
    folder: Path, said: list[str], cache: Path, part: str, value: object
) -> None:
    """Under the right key, and of the wrong kind."""
    Engine.load(str(folder), device="cpu")
    [path] = (cache / "checks").iterdir()
    document = json.loads(path.read_text(encoding="utf-8"))
    document["value"][part] = value
    path.write_text(json.dumps(document), encoding="utf-8")
    Engine.load(str(folder), device="cpu", on_check=said.append)
    assert len(said) == 1


@pytest.mark.parametrize("wiring", [{"tail": ["model.gone"]}, {"inner": ["gone", "q_proj"]}])
def test_parts_that_are_not_there_are_found_again(
    folder: Path, cache: Path, wiring: dict[str, object]
) -> None:
    """Paths are names of modules, or nothing."""
    first = Engine.load(str(folder), device="cpu", dtype="bfloat16")
    [path] = (cache / "checks").iterdir()
    document = json.loads(path.read_text(encoding="utf-8"))
    document["value"]["wiring"] |= wiring
    path.write_text(json.dumps(document), encoding="utf-8")
    second = Engine.load(str(folder), device="cpu", dtype="bfloat16")
    assert second._model.wiring == first._model.wiring


@pytest.mark.parametrize("where", ["none", "/proc/nowhere", "file"])
def test_a_load_needs_no_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, said: list[str]
) -> None:
    """Where none may be written, all checks are made each time."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATCHGRID_CACHE", str(tmp_path / "file") if where == "file" else where)
    for _ in range(2):
        Engine.load(str(folder), device="cpu", on_check=said.append)
    assert len(said) == 2


def test_the_cache_is_where_the_system_s_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unless its own variable names it; a relative XDG_CACHE_HOME does not count, as its standard says."""
    monkeypatch.delenv("PATCHGRID_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert disk_cache.cache_folder() == Path("/xdg/patchgrid")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert disk_cache.cache_folder() == tmp_path / ".cache" / "patchgrid"


def settle(path: Path) -> None:
    """Wait until a file counts as written to its end."""
    wait_for(lambda: time.time_ns() - path.stat().st_ctime_ns > weights._SETTLED)


def test_weights_are_hashed_once_and_again_when_they_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the new ones have the same size, name and time of writing."""
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    path = copy / "model.safetensors"
    settle(path)
    first = weights.folder_hash(copy)
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        assert weights.folder_hash(copy) == first
    times = path.stat()
    tensors = load_file(path)
    name = min(tensors)
    save_file(tensors | {name: tensors[name] + 1}, path, metadata={"format": "pt"})
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert weights.folder_hash(copy) != first


def test_a_hash_of_a_file_that_may_still_be_written_is_not_kept(
    folder: Path, tmp_path: Path, cache: Path
) -> None:
    """Its next version could bear the same time."""
    weights.folder_hash(Path(shutil.copytree(folder, tmp_path / "model")))
    assert not (cache / "weights").exists()


def _write_often(number: int) -> None:
    for turn in range(100):
        disk_cache.remember("test", {"one": "key"}, {"text": f"{number}" * (1 + turn)})


def test_many_processes_share_a_cache() -> None:
    """A reader finds what one of them wrote, whole."""
    disk_cache.remember("test", {"one": "key"}, {"text": "first"})
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        going = pool.map_async(_write_often, range(3))
        while not going.ready():
            found = disk_cache.recall("test", {"one": "key"})
            assert len(set(found["text"])) == 1 or found["text"] == "first"
        going.get()
    folder = disk_cache.cache_folder()
    assert folder is not None
    assert [path.suffix for path in (folder / "test").iterdir()] == [".json"]


def test_the_oldest_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A cache that grew without end would be a leak."""
    monkeypatch.setattr(disk_cache, "_KEPT", 3)
    for number in range(5):
        disk_cache.remember("test", {"number": number}, number)
        os.utime(max((cache / "test").iterdir(), key=lambda path: path.stat().st_ctime_ns), (number, number))
    assert [disk_cache.recall("test", {"number": number}) for number in range(5)] == [None, None, 2, 3, 4]


def test_findings_name_all_that_they_depend_on(folder: Path) -> None:
    """A field that is added to `Findings` is one that is remembered."""
    found = Engine.load(str(folder), device="cpu").findings
    key = {"test": 1}
    findings.remember_findings(key, found)
    assert findings.remembered_findings(key) == found
    assert found.shortcuts != Shortcuts.none()
