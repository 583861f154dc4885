"""Models: kept warm, given up when not enough memory, left to other workers when they cannot be loaded."""

import threading
import time
import weakref

import pytest

from patchgrid.core.errors import ModelError
from patchgrid.core.types import JobSpec
from patchgrid.storage import Database
from patchgrid.storage.queue import workers
from patchgrid.storage.queue.workers import LoadFailure
from patchgrid.workers.measuring.models import Engine, ModelKey, Models
from patchgrid.workers.node.device import Device
from patchgrid.workers.node.load_backoff import LoadBackoff
from patchgrid.workers.testing import StandIn, load
from support.machines.servers import wait_for
from support.workers.running import (
    Calls,
    chunks,
    registered,
    running,
    state,
    submit_pairs,
    wait_for_state,
    work_off,
)


class Memory:
    """Memory of so many models."""

    def __init__(self) -> None:
        #: The engines that are held on to, by weak references of the test.
        self.engines: list[weakref.ref[Engine]] = []
        self.freed = 0

    def used(self) -> int:
        """Count the engines that are still there."""
        return sum(engine() is not None for engine in self.engines)

    def free(self) -> None:
        """Count."""
        self.freed += 1


class Loader:
    """Loads stand-ins into a memory, which holds so many beside each other."""

    def __init__(self, memory: Memory, room: int = 99) -> None:
        self._memory, self._room = memory, room
        self.loaded: list[ModelKey] = []

    def __call__(self, key: ModelKey) -> Engine:
        """Load a model."""

        class Held(StandIn):
            """One that can be referred to weakly."""

        if self._memory.used() >= self._room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        self.loaded.append(key)
        plain = load(key)
        engine = Held(plain.provenance)
        self._memory.engines.append(weakref.ref(engine))
        return engine


def spec(model: str, **values: str) -> JobSpec:
    """Return the spec of a job of a model."""
    return JobSpec.of(model, **values)  # type: ignore[arg-type]


def test_a_model_is_loaded_once_for_all_jobs_that_ask_for_the_same() -> None:
    """Another revision or number type is another model."""
    memory = Memory()
    loader = Loader(memory)
    models = Models(loader, memory, lambda: 99)
    engine = models.get(spec("a"))
    assert models.get(spec("a", metric="logprob", direction="noise")) is engine
    assert models.get(spec("a", revision="main")) is not engine
    assert models.get(spec("a", dtype="bfloat16")) is not engine
    assert loader.loaded == [ModelKey("a"), ModelKey("a", "main"), ModelKey("a", None, "bfloat16")]
    assert models.loaded == ("a", "a", "a")


def test_the_model_used_longest_ago_is_given_up_when_memory_is_short() -> None:
    """Room for two: of a, b and then a again, a third one's coming costs b its place."""
    memory = Memory()
    loader = Loader(memory)
    models = Models(loader, memory, lambda: 2)
    for name in ("a", "b", "a", "c"):
        models.get(spec(name))
    assert models.loaded == ("a", "c")
    assert memory.used() == 2
    assert memory.freed == 1
    models.get(spec("b"))
    assert models.loaded == ("c", "b")
    assert [key.model for key in loader.loaded] == ["a", "b", "c", "b"]


def test_a_model_larger_than_the_limit_is_kept_all_the_same() -> None:
    """There is nothing else to give up."""
    memory = Memory()
    models = Models(Loader(memory), memory, lambda: 0)
    assert models.get(spec("a")) is models.get(spec("a"))
    assert models.loaded == ("a",)


def test_others_are_given_up_for_a_model_that_does_not_fit_beside_them() -> None:
    """It is tried once more, alone; the error of that goes to the caller."""
    memory = Memory()
    models = Models(Loader(memory, room=2), memory, lambda: 99)
    for name in ("a", "b", "c"):
        models.get(spec(name))
    assert models.loaded == ("c",)
    assert memory.used() == 1
    tight = Models(Loader(memory, room=0), memory, lambda: 99)
    with pytest.raises(RuntimeError, match="out of memory"):
        tight.get(spec("a"))
    assert tight.loaded == ()


def test_another_error_of_loading_leaves_the_others_alone() -> None:
    """A folder that is not there is no reason to give up what works."""
    memory = Memory()
    models = Models(load, memory, lambda: 99)
    models.get(spec("a"))
    with pytest.raises(ModelError, match="no model folder"):
        models.get(spec("unloadable"))
    assert models.loaded == ("a",)


def test_a_model_is_left_out_twice_as_long_after_each_failure() -> None:
    """Up to a bound; it starts anew once it could be loaded."""
    load_backoff = LoadBackoff(0.05, most=0.15)
    assert load_backoff.available(["a", "b"]) == ["a", "b"]
    assert load_backoff.next_in() is None
    assert [load_backoff.fail("a") for _ in range(4)] == [0.05, 0.1, 0.15, 0.15]
    assert load_backoff.available(["a", "b"]) == ["b"]
    assert 0 < (load_backoff.next_in() or 0) <= 0.15
    wait_for(lambda: load_backoff.next_in() is None)
    assert load_backoff.available(["a", "b"]) == ["a", "b"]
    assert load_backoff.next_in() is None
    assert load_backoff.clear("a")
    assert not load_backoff.clear("a")
    assert load_backoff.fail("a") == 0.05


def test_a_device_knows_its_memory_and_which_gpu_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU: this process's; a GPU is named as the machine knows it."""
    cpu = Device("cpu")
    assert 0 < cpu.used() < cpu.limit() < cpu.total()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [Device(name).label for name in ("cuda:0", "cuda:1", "cuda", "cuda:2", "cpu")] == [
        "cuda:0 (GPU 3)",
        "cuda:1 (GPU 5)",
        "cuda (GPU 3)",
        "cuda:2",
        "cpu",
    ]


def test_another_worker_takes_what_one_cannot_load(database: Database) -> None:
    """The one says why, once, leaves the model out and goes on with another; no attempt is counted."""
    model = "unloadable here"
    job, other = submit_pairs(database, 16, model=model), submit_pairs(database, 8, model="fine")
    healthy = Calls()

    def load_anyway(_key: ModelKey) -> Engine:
        return healthy(ModelKey("loadable"))

    with running(database, Calls(), models=(model, "fine"), name="bad"):
        wait_for_state(database, other, "done")
        with database.read() as session:
            [failure] = workers.load_failures(session, model)
        assert isinstance(failure, LoadFailure)
        assert (failure.worker, failure.attempts) == ("bad", 1)
        assert failure.error == f"cannot load {model}: ModelError: no model folder at {model}"
        wait_for(lambda: registered(database)[0].message is None, 5)
        assert state(database, job) == "pending" or chunks(database, job)[0] == ("pending", 0, 1)
        with running(database, load_anyway, models=(model,), name="good"):
            wait_for_state(database, job, "done")
    assert [(done, attempts) for done, attempts, _ in chunks(database, job)] == [("done", 1)] * 4
    with database.read() as session:
        assert workers.load_failures(session, model) == []


def test_a_model_that_nobody_can_load_makes_nobody_spin(database: Database) -> None:
    """Each worker has tried once; the job waits, and the chunk is free."""
    job = submit_pairs(database, 8, model="unloadable")
    first, second = Calls(), Calls()
    with (
        running(database, first, models=("unloadable",), name="a"),
        running(database, second, models=("unloadable",), name="b"),
    ):
        wait_for(lambda: len(first.loaded) + len(second.loaded) == 2)
        time.sleep(0.5)
        with database.read() as session:
            assert [each.worker for each in workers.load_failures(session, "unloadable")] == ["a", "b"]
        assert [row.state for row in registered(database)] == ["idle", "idle"]
        assert "no model folder" in str(registered(database)[0].message)
    assert (len(first.loaded), len(second.loaded)) == (1, 1)
    assert {(each[0], each[1]) for each in chunks(database, job)} == {("pending", 0)}


def test_a_model_that_can_be_loaded_after_all_is_taken_up_again(database: Database) -> None:
    """After the wait; what was said of it is taken back."""
    job = submit_pairs(database, 8, model="late")
    calls = Calls()
    broken = threading.Event()
    broken.set()

    def load_late(key: ModelKey) -> Engine:
        if broken.is_set():
            raise OSError("the disk is not mounted")
        return calls(key)

    with running(database, load_late, models=("late",), load_retry=0.3):
        wait_for(lambda: any(row.message for row in registered(database)))
        with database.read() as session:
            assert len(workers.load_failures(session, "late")) == 1
        broken.clear()
        wait_for_state(database, job, "done")
        with database.read() as session:
            assert workers.load_failures(session, "late") == []
        wait_for(lambda: registered(database)[0].message is None)


def test_a_lease_is_kept_while_a_model_loads(database: Database) -> None:
    """However much longer than the lease that takes."""
    job = submit_pairs(database, 4)
    calls = Calls()

    def load_slowly(key: ModelKey) -> Engine:
        time.sleep(1.0)
        return calls(key)

    work_off(database, load_slowly, lease_seconds=0.4)
    assert chunks(database, job) == [("done", 1, 1)]


def test_a_worker_with_other_weights_leaves_a_job_to_those_with_the_first(database: Database) -> None:
    """The numbers of two models are never mixed; it says why, and does not spin."""
    job = submit_pairs(database, 8)
    work_off(database, Calls(), max_chunks=1)

    def load_changed(key: ModelKey) -> Engine:
        return load(ModelKey(key.model + " after training"))

    with running(database, load_changed, name="changed"):
        wait_for(lambda: "was started with different weights" in str(registered(database)[0].message), 10)
        time.sleep(0.3)
        assert chunks(database, job)[1] == ("pending", 0, 1)
    assert work_off(database, Calls()) == "idle"
    assert [each[:2] for each in chunks(database, job)] == [("done", 1)] * 2
