"""Slices: what a worker is allowed to do, for how long, and what it tells those that asked."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from patchgrid.storage import Database
from patchgrid.storage.queue import control
from patchgrid.workers.node.slices import Counts, SliceEnd, Slices
from support.machines.servers import wait_for
from support.workers.gates import DONE
from support.workers.running import Calls, chunks, make_worker, running, submit_pairs, wait_for_state

#: Seconds of a slice that does not end by itself in a test, and of one that is over at once.
LONG, SHORT = 600.0, 0.0
#: Seconds that an answer may take on however slow a machine.
PATIENCE = 30


class Asking:
    """Asks for slices as Celery's pool does: each in a thread that waits for its end."""

    def __init__(self, seconds: float) -> None:
        self.counts = Counts()
        self.slices = Slices(seconds, lambda: self.counts)
        self._pool = ThreadPoolExecutor(8)

    def ask(self, model: str) -> "Future[SliceEnd]":
        """Ask for a slice, and wait until it is known."""
        before = self.slices.is_pending
        end = self._pool.submit(self.slices.work, model)
        if not before:
            wait_for(lambda: self.slices.is_pending or end.done())
        return end


@pytest.fixture
def asking() -> Asking:
    """Return slices of ten minutes."""
    return Asking(LONG)


def test_who_asks_for_a_slice_waits_until_it_ends_and_hears_what_was_done(asking: Asking) -> None:
    """Only what was done in it counts."""
    asking.counts = Counts(chunks=5, pairs=320, failed=2)
    end = asking.ask("a")
    asking.slices.take()
    assert asking.slices.model == "a"
    assert not asking.slices.is_over
    assert not end.done()
    asking.counts = Counts(chunks=7, pairs=448, failed=3)
    asking.slices.end(left=False)
    assert end.result(PATIENCE) == SliceEnd(Counts(2, 128, 1), left=False)
    assert asking.slices.model is None


def test_a_slice_is_over_when_its_time_is_up() -> None:
    """Work left is told to who asked: a successor follows."""
    asking = Asking(SHORT)
    end = asking.ask("a")
    assert not asking.slices.is_over, "it has not begun"
    asking.slices.take()
    assert asking.slices.is_over
    asking.slices.end(left=True)
    assert end.result(PATIENCE) == SliceEnd(Counts(), left=True)
    assert not asking.slices.is_over


def test_slices_are_used_in_the_order_they_were_asked_for(asking: Asking) -> None:
    """The next begins when the current one ends, not before."""
    ends = [asking.ask("a")]
    asking.slices.take()
    for model in ("b", "c"):
        ends.append(asking.ask(model))
        wait_for(lambda: asking.slices.is_pending)
    asking.slices.take()
    assert asking.slices.model == "a"
    order = []
    while asking.slices.model is not None:
        order.append(asking.slices.model)
        asking.slices.end(left=False)
        asking.slices.take()
    assert order[0] == "a"
    assert sorted(order) == ["a", "b", "c"]
    assert all(end.result(PATIENCE) == SliceEnd(Counts(), left=False) for end in ends)
    assert not asking.slices.is_pending


def test_ending_without_a_slice_changes_nothing(asking: Asking) -> None:
    """A worker without a broker never has one."""
    asking.slices.end(left=True)
    asking.slices.take()
    asking.slices.begin_own()
    assert asking.slices.model is None
    assert not asking.slices.is_over


def test_a_worker_s_own_slice_gives_way_to_one_that_is_asked_for() -> None:
    """Also before its time is up; with a broker alone are there any."""
    asking = Asking(SHORT)
    asking.slices.on_left = lambda _model: None
    asking.slices.begin_own()
    assert (asking.slices.model, asking.slices.is_over) == (None, True)
    asking.slices.take()
    assert asking.slices.is_over, "nothing is asked for: its own goes on"
    end = asking.ask("a")
    asking.slices.begin_own()
    asking.slices.take()
    assert asking.slices.model == "a"
    asking.slices.end(left=False)
    assert end.result(PATIENCE).left is False


def test_closing_hands_every_slice_on(asking: Asking) -> None:
    """The current one, those that wait, and whatever is asked for later."""
    first = asking.ask("a")
    asking.slices.take()
    asking.counts = Counts(chunks=1, pairs=64)
    second = asking.ask("b")
    asking.slices.close()
    assert first.result(PATIENCE) == SliceEnd(Counts(1, 64, 0), left=True)
    assert second.result(PATIENCE) == SliceEnd(Counts(), left=True)
    assert asking.ask("c").result(PATIENCE) == SliceEnd(Counts(), left=True)
    assert not asking.slices.is_pending


def test_a_wait_ends_with_the_first_wake_and_forgets_the_others(asking: Asking) -> None:
    """Many wakes are one; a wait without any takes its time, and one for no time returns at once."""
    assert not asking.slices.wait(0)
    for _ in range(3):
        asking.slices.wake()
    assert asking.slices.wait(LONG)
    assert not asking.slices.wait(0.05)
    assert not asking.slices.wait(-1)
    threading.Timer(0.05, asking.slices.wake).start()
    assert asking.slices.wait(PATIENCE)
    asking.ask("a")
    assert asking.slices.wait(PATIENCE), "asking wakes, too"
    asking.slices.close()


class Messages:
    """Asks a running worker for slices, one after another, as messages with successors do."""

    def __init__(self, work: Callable[[str], SliceEnd], model: str) -> None:
        #: The end of each slice.
        self.ends: list[SliceEnd] = []
        self._thread = threading.Thread(target=self._run, args=(work, model), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[str], SliceEnd], model: str) -> None:
        while not self.ends or self.ends[-1].left:
            self.ends.append(work(model))

    def join(self) -> list[SliceEnd]:
        """Wait until a slice leaves nothing."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.ends


def test_a_worker_ends_a_slice_when_nothing_is_left(database: Database) -> None:
    """At once, not when its time is up; the counts are those of the job, failures included."""
    job = submit_pairs(database, 12, {3: "NAN"})
    with running(database, Calls(), slice=LONG, poll=LONG) as one:
        [end] = Messages(one.worker.slices.work, "stand-in").join()
        assert end == SliceEnd(Counts(chunks=3, pairs=12, failed=1), left=False)
        assert chunks(database, job) == [DONE] * 3
        [end] = Messages(one.worker.slices.work, "stand-in").join()
        assert end == SliceEnd(Counts(), left=False)


def test_a_worker_ends_a_slice_of_which_the_time_is_up(database: Database) -> None:
    """After a chunk, stored by then: each slice is told of its own."""
    job = submit_pairs(database, 20)
    with running(database, Calls(), slice=0.001, poll=LONG) as one:
        ends = Messages(one.worker.slices.work, "stand-in").join()
    assert sum((end.counts.chunks for end in ends), 0) == 5
    assert sum((end.counts.pairs for end in ends), 0) == 20
    assert [end.left for end in ends] == [True] * (len(ends) - 1) + [False]
    assert len(ends) >= 3
    assert chunks(database, job) == [DONE] * 5


def test_a_worker_whose_message_is_lost_goes_on_by_itself_and_sends_for_others(database: Database) -> None:
    """After `--poll` seconds, in slices of its own: each with work left asks for a message."""
    job = submit_pairs(database, 20)
    asked: list[str] = []
    worker = make_worker(database, Calls(), slice=0.001, poll=0.05, idle_exit=1.0)
    worker.slices.on_left = asked.append
    assert worker.run() == "idle"
    assert chunks(database, job) == [DONE] * 5
    assert asked
    assert set(asked) == {"stand-in"}


def test_a_worker_that_ends_hands_its_slice_on(database: Database) -> None:
    """Whoever waits for it is not left waiting: the message's successor goes to another worker."""
    job = submit_pairs(database, 12)
    with running(database, Calls(), slice=LONG, poll=LONG, max_chunks=1) as one:
        end = one.worker.slices.work("stand-in")
        assert one.join() == "max chunks"
    assert end == SliceEnd(Counts(chunks=1, pairs=4, failed=0), left=True)
    assert chunks(database, job) == [DONE, ("pending", 0, 0), ("pending", 0, 0)]
    assert one.worker.slices.work("stand-in") == SliceEnd(Counts(), left=True)


def test_a_message_for_one_model_does_not_keep_another_waiting(database: Database) -> None:
    """A slice lets a worker work on what is most urgent of all it serves; priorities are the database's."""
    left, right = (submit_pairs(database, 4, model=model) for model in ("left", "right"))
    with running(database, Calls(), models=("left", "right"), slice=LONG, poll=LONG) as one:
        assert Messages(one.worker.slices.work, "left").join()[-1].left is False
        wait_for_state(database, left, "done")
        wait_for_state(database, right, "done")


def test_a_message_for_a_model_that_cannot_be_loaded_is_handed_on(database: Database) -> None:
    """Another worker may load it; this one keeps it for a slice, or it would take it again at once."""
    submit_pairs(database, 4, model="unloadable")
    with running(database, Calls(), models=("unloadable",), slice=0.1) as one:
        ends = [one.worker.slices.work("unloadable") for _ in range(3)]
    assert ends == [SliceEnd(Counts(), left=True)] * 3
    worker = make_worker(database, Calls(), models=("unloadable",), slice=LONG, idle_exit=0.5)
    with ThreadPoolExecutor() as pool:
        end = pool.submit(worker.slices.work, "unloadable")
        assert worker.run() == "idle"
        assert end.result(PATIENCE) == SliceEnd(Counts(), left=True)


def test_a_message_for_a_model_without_work_ends_though_it_could_not_be_loaded(database: Database) -> None:
    """Its slice over, no successor follows."""
    job = submit_pairs(database, 4, model="unloadable")
    with running(database, Calls(), models=("unloadable",), slice=0.1) as one:
        wait_for(lambda: one.worker.slices.work("unloadable").left)
        with database.write() as session:
            control.cancel(session, job.id)
        assert Messages(one.worker.slices.work, "unloadable").join()[-1] == SliceEnd(Counts(), left=False)
