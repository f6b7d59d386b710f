"""The work queue by example: the rules as named cases, then the same rules under real threads."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from deployer.engine.workqueue import BACKOFF_JITTER, LONGEST_BACKOFF_SECONDS, Backoff, Schedule, WorkQueue
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 32
KEYS = 500
PATIENCE_SECONDS = 20.0
"""How long a real-thread test waits for what takes milliseconds: the machine is shared and slow."""


def no_jitter() -> float:
    """The middle of the range: the delay is the step itself."""
    return 0.5


def drain(schedule: Schedule) -> list[str]:
    """Run everything that is ready, one after the other."""
    ran = []
    while (key := schedule.take()) is not None:
        ran.append(key)
        schedule.done(key)
    return ran


# --- the rules ------------------------------------------------------------------------------------------


def test_keys_run_in_the_order_they_came() -> None:
    """First in, first out."""
    schedule = Schedule()
    assert [schedule.add(key) for key in ("c", "a", "b")] == [True, True, True]
    assert drain(schedule) == ["c", "a", "b"]


def test_a_burst_collapses_to_one_run() -> None:
    """Adding a queued key again changes neither its place nor its count, and wakes nobody."""
    schedule = Schedule()
    schedule.add("a")
    schedule.add("b")
    assert schedule.add("a") is False
    assert schedule.depth() == 2
    assert drain(schedule) == ["a", "b"]


def test_add_while_running_means_one_more_run() -> None:
    """Any number of adds during a run is one run after it, and none beside it."""
    schedule = Schedule()
    schedule.add("a")
    assert schedule.take() == "a"
    assert [schedule.add("a"), schedule.add("a")] == [False, False]
    assert schedule.take() is None
    assert schedule.done("a") is True
    assert drain(schedule) == ["a"]


def test_done_without_an_add_ends_it() -> None:
    """A key that nobody asked for again does not come back."""
    schedule = Schedule()
    schedule.add("a")
    schedule.take()
    assert not schedule.idle()
    assert schedule.done("a") is False
    assert schedule.idle()
    assert schedule.take() is None


def test_what_was_added_while_running_queues_behind_the_others() -> None:
    """A key that is always added again does not starve the rest."""
    schedule = Schedule()
    schedule.add("busy")
    schedule.take()
    schedule.add("busy")
    schedule.add("other")
    schedule.done("busy")
    assert drain(schedule) == ["other", "busy"]


def test_front_overtakes_the_queue() -> None:
    """What a person waits for runs next."""
    schedule = Schedule()
    for key in ("a", "b"):
        schedule.add(key)
    schedule.add("urgent", front=True)
    assert drain(schedule) == ["urgent", "a", "b"]


def test_front_moves_a_queued_key_up() -> None:
    """An urgent add of a key that is queued already moves it; a plain one does not move it back."""
    schedule = Schedule()
    for key in ("a", "b", "c"):
        schedule.add(key)
    assert schedule.add("c", front=True) is False
    schedule.add("c")
    assert drain(schedule) == ["c", "a", "b"]


@pytest.mark.parametrize("flags", [(True, False), (False, True)], ids=["then plain", "after plain"])
def test_front_is_remembered_while_the_key_runs(flags: tuple[bool, bool]) -> None:
    """An urgent add during a run makes the run after it urgent, whatever else is added."""
    schedule = Schedule()
    schedule.add("a")
    schedule.take()
    schedule.add("b")
    for front in flags:
        schedule.add("a", front=front)
    schedule.done("a")
    assert drain(schedule) == ["a", "b"]


def test_done_for_a_key_that_does_not_run_is_a_bug() -> None:
    """To ignore it would let one key run twice at once."""
    schedule = Schedule()
    schedule.add("a")
    with pytest.raises(ValueError, match="'a' is reported done, but it is not running"):
        schedule.done("a")


# --- delays ---------------------------------------------------------------------------------------------


def test_a_delay_fires_at_its_time_and_once() -> None:
    """Not a moment before, and not again after."""
    schedule = Schedule()
    schedule.add_at("a", 10.0)
    assert schedule.next_due() == 10.0
    assert schedule.due(9.999) == 0
    assert schedule.idle()
    assert schedule.due(10.0) == 1
    assert schedule.next_due() is None
    assert drain(schedule) == ["a"]
    assert schedule.due(1e9) == 0


def test_delays_fire_in_the_order_of_their_times() -> None:
    """After a long pause (a suspended machine) the one that waited longest goes first."""
    schedule = Schedule()
    for key, due_at in (("late", 3.0), ("soon", 1.0), ("later", 2.0)):
        schedule.add_at(key, due_at)
    assert schedule.due(5.0) == 3
    assert drain(schedule) == ["soon", "later", "late"]


@pytest.mark.parametrize("order", [(5.0, 9.0), (9.0, 5.0)], ids=["earlier first", "earlier second"])
def test_the_earliest_delay_wins(order: tuple[float, float]) -> None:
    """Of two delays of one key the earlier counts, and the later leaves no second run."""
    schedule = Schedule()
    for due_at in order:
        schedule.add_at("a", due_at)
    assert schedule.next_due() == 5.0
    assert schedule.due(5.0) == 1
    assert drain(schedule) == ["a"]
    assert schedule.due(9.0) == 0


def test_an_add_drops_the_delay() -> None:
    """A pass that runs now says itself when to look next; the old delay does not add a run."""
    schedule = Schedule()
    schedule.add_at("a", 5.0)
    schedule.add("a")
    assert schedule.next_due() is None
    assert drain(schedule) == ["a"]
    assert schedule.due(5.0) == 0


def test_a_delay_of_a_queued_key_is_not_needed() -> None:
    """The run that comes anyway sees everything."""
    schedule = Schedule()
    schedule.add("a")
    schedule.add_at("a", 5.0)
    assert schedule.next_due() is None


def test_a_delay_of_a_key_that_runs_again_is_not_needed() -> None:
    """The same when the coming run waits for the present one."""
    schedule = Schedule()
    schedule.add("a")
    schedule.take()
    schedule.add("a")
    schedule.add_at("a", 5.0)
    assert schedule.next_due() is None


def test_a_delay_set_while_running_survives_done() -> None:
    """This is how a pass says when to look next."""
    schedule = Schedule()
    schedule.add("a")
    schedule.take()
    schedule.add_at("a", 5.0)
    schedule.done("a")
    assert schedule.due(5.0) == 1
    assert drain(schedule) == ["a"]


def test_a_delay_that_fires_while_running_means_one_more_run() -> None:
    """A long pass does not swallow a delay, nor does it run beside it."""
    schedule = Schedule()
    schedule.add("a")
    schedule.take()
    schedule.add_at("a", 5.0)
    assert schedule.due(5.0) == 0
    assert schedule.take() is None
    assert schedule.done("a") is True


def test_dropped_delays_do_not_pile_up() -> None:
    """A storm of triggers on a few keys keeps the heap within twice the number of keys."""
    schedule = Schedule()
    keys = [f"k{number}" for number in range(10)]
    for round_number in range(1000):
        for key in keys:
            schedule.add_at(key, 1e6 - round_number)
            schedule.add(key)
            schedule.take()
            schedule.done(key)
    for key in keys:
        schedule.add_at(key, 1.0)
    assert len(schedule._heap) <= 2 * len(keys)
    assert schedule.due(1.0) == len(keys)


# --- back-off -------------------------------------------------------------------------------------------


def test_backoff_grows_fourfold_up_to_its_cap() -> None:
    """0.1, 0.4, 1.6, 6.4 and then 15 s for ever, also after thousands of failures."""
    backoff = Backoff(no_jitter)
    delays = [backoff.next_seconds("a") for _ in range(5000)]
    assert delays[:6] == pytest.approx([0.1, 0.4, 1.6, 6.4, 15.0, 15.0])
    assert delays[-1] == LONGEST_BACKOFF_SECONDS


def test_backoff_is_per_key_and_forgets_per_key() -> None:
    """One environment's trouble slows no other, and its recovery resets only itself."""
    backoff = Backoff(no_jitter)
    backoff.next_seconds("a")
    backoff.next_seconds("b")
    backoff.forget("a")
    backoff.forget("never seen")
    assert backoff.next_seconds("a") == pytest.approx(0.1)
    assert backoff.next_seconds("b") == pytest.approx(0.4)


def test_backoff_jitter_spreads_by_a_fifth_and_does_not_build_up() -> None:
    """The ends of the range are 80 % and 120 % of the step, whatever the jitter of the steps before was."""
    low, high = Backoff(lambda: 0.0), Backoff(lambda: 1.0)
    assert [low.next_seconds("a") for _ in range(5)] == pytest.approx([0.08, 0.32, 1.28, 5.12, 12.0])
    assert [high.next_seconds("a") for _ in range(5)] == pytest.approx([0.12, 0.48, 1.92, 7.68, 18.0])


def test_backoff_of_many_keys_is_spread_out() -> None:
    """What failed together does not come back together, also at the cap."""
    backoff = Backoff(random.Random(1).random)
    last = []
    for number in range(KEYS):
        delays = [backoff.next_seconds(f"k{number}") for _ in range(6)]
        last.append(delays[-1])
    assert min(last) >= LONGEST_BACKOFF_SECONDS * (1 - BACKOFF_JITTER)
    assert max(last) <= LONGEST_BACKOFF_SECONDS * (1 + BACKOFF_JITTER)
    seconds = Counter(int(delay) for delay in last)
    assert set(seconds) == {12, 13, 14, 15, 16, 17}


# --- the queue without its clock ------------------------------------------------------------------------


def test_get_waits_no_longer_than_its_timeout() -> None:
    """With nothing to do it returns None."""
    assert WorkQueue().get(timeout=0.01) is None


def test_the_figures_tell_ready_from_running() -> None:
    """`depth` counts what has no worker; `idle` also looks at what runs, and not at delays."""
    queue = WorkQueue()
    assert (queue.depth(), queue.idle()) == (0, True)
    queue.add("a")
    queue.add("b")
    assert (queue.depth(), queue.idle()) == (2, False)
    assert queue.get() == "a"
    assert queue.get() == "b"
    queue.done("a")
    assert (queue.depth(), queue.idle()) == (0, False)
    queue.add_after("b", 60)
    queue.done("b")
    assert (queue.depth(), queue.idle()) == (0, True)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_delay_is_an_add(seconds: float) -> None:
    """`add_after` with nothing left to wait does not need the timer."""
    queue = WorkQueue()
    queue.add_after("a", seconds)
    assert queue.get(timeout=0) == "a"


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_delay_that_is_no_time_is_a_bug(seconds: float) -> None:
    """It would never fire, and nobody would know."""
    with pytest.raises(ValueError, match="the delay of 'a' must be a number of seconds"):
        WorkQueue().add_after("a", seconds)


def test_add_backoff_tells_its_delay() -> None:
    """The steps grow until `forget`."""
    queue = WorkQueue(jitter=no_jitter)
    assert [queue.add_backoff("a") for _ in range(3)] == pytest.approx([0.1, 0.4, 1.6])
    queue.forget("a")
    assert queue.add_backoff("a") == pytest.approx(0.1)


def test_a_trigger_overtakes_the_backoff() -> None:
    """A new commit does not wait for an old failure, but that failure's steps are not forgotten."""
    queue = WorkQueue(jitter=no_jitter)
    for _ in range(4):
        queue.add_backoff("a")
    queue.add("a")
    assert queue.get(timeout=0) == "a"
    assert queue.add_backoff("a") == pytest.approx(15.0)


def test_shutdown_drops_what_is_queued_and_ignores_what_comes() -> None:
    """`get` returns None at once although keys were ready."""
    queue = WorkQueue()
    queue.add("a")
    queue.shutdown()
    queue.add("b", front=True)
    queue.add_after("c", 0)
    queue.add_after("d", 1)
    queue.add_backoff("e")
    assert queue.get() is None
    assert (queue.depth(), queue.idle()) == (0, True)
    assert queue._schedule.next_due() is None


def test_shutdown_while_running() -> None:
    """The pass that runs may end; it is not followed by the one that was asked for."""
    queue = WorkQueue()
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    queue.shutdown()
    assert not queue.idle()
    queue.done("a")
    assert queue.idle()
    assert queue.get() is None


# --- real threads ---------------------------------------------------------------------------------------


@pytest.fixture
def queue() -> Iterator[WorkQueue]:
    """A started queue that is stopped at the end."""
    queue = WorkQueue()
    queue.start()
    yield queue
    queue.stop()


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Let threads take turns a thousand times as often, so that races have their chance."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def test_a_delay_fires_near_its_time(queue: WorkQueue) -> None:
    """The timer thread makes the key ready: not early, and not much late."""
    asked = time.monotonic()
    queue.add_after("a", 0.2)
    eventually(lambda: queue.depth() == 1, within=5, every=0.005, what="the delayed key is ready")
    assert 0.2 <= time.monotonic() - asked < 5.0
    assert queue.get() == "a"


def test_a_shorter_delay_wakes_the_timer_early(queue: WorkQueue) -> None:
    """A timer that naps for a minute is woken by a key that is due before it."""
    queue.add_after("late", 60)
    eventually(lambda: queue._schedule.next_due() is not None, within=5)
    queue.add_after("soon", 0.05)
    assert queue.get(timeout=PATIENCE_SECONDS) == "soon"


def test_a_delay_beyond_all_bounds_does_not_end_the_timer(queue: WorkQueue) -> None:
    """`Condition.wait` refuses figures above some 292 years; the timer never passes them on."""
    queue.add_after("never", 1e300)
    queue.add_after("soon", 0.05)
    assert queue.get(timeout=PATIENCE_SECONDS) == "soon"
    queue.done("soon")
    queue.add_after("again", 0.05)
    assert queue.get(timeout=PATIENCE_SECONDS) == "again"


def test_backoff_comes_back_by_itself(queue: WorkQueue) -> None:
    """A failed key is handed out again once its delay is over."""
    queue.add("a")
    assert queue.get(timeout=0) == "a"
    delay = queue.add_backoff("a")
    failed = time.monotonic()
    queue.done("a")
    assert queue.get(timeout=PATIENCE_SECONDS) == "a"
    # The delay began a little before `failed` was read.
    assert time.monotonic() - failed >= delay - 0.01


def test_stop_ends_the_timer_thread() -> None:
    """One thread waits on the clock, and none is left after `stop`, which may come twice or too early."""

    def timers() -> int:
        return sum(thread.name == "workqueue-timer" for thread in threading.enumerate())

    never_started = WorkQueue()
    never_started.stop()
    before = timers()
    queue = WorkQueue()
    queue.start()
    for number in range(KEYS):
        queue.add_after(f"k{number}", 60)
    queue.add_after("soon", 0.01)
    # The timer lets go of the lock only by waiting, so once this returns it naps for a minute.
    assert queue.get(timeout=PATIENCE_SECONDS) == "soon"
    assert timers() == before + 1
    queue.stop()
    queue.stop()
    assert timers() == before


def waiting(queue: WorkQueue) -> int:
    """How many workers wait for a key."""
    return len(queue._ready._waiters)  # type: ignore[attr-defined]  # CPython's own list; there is no public one


def test_shutdown_unblocks_all_workers(queue: WorkQueue) -> None:
    """Every worker that waits without a time-out returns None and ends."""
    got: list[str | None] = []

    def work() -> None:
        got.append(queue.get())

    threads = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    eventually(lambda: waiting(queue) == WORKERS, within=PATIENCE_SECONDS, what="all workers wait")
    queue.shutdown()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert got == [None] * WORKERS


def test_a_key_added_while_running_wakes_another_worker(queue: WorkQueue) -> None:
    """The worker that is done may go on to something else; the key does not wait for it."""
    got: list[str | None] = []
    queue.add("a")
    assert queue.get() == "a"
    other = threading.Thread(target=lambda: got.append(queue.get()), daemon=True)
    other.start()
    eventually(lambda: waiting(queue) == 1, within=PATIENCE_SECONDS, what="the other worker waits")
    queue.add("a")
    assert waiting(queue) == 1
    queue.done("a")
    other.join(PATIENCE_SECONDS)
    assert got == ["a"]


def test_as_many_keys_run_at_once_as_there_are_workers(queue: WorkQueue) -> None:
    """Each of 32 keys finds a worker while 31 others run: no pass waits for another environment's."""
    everyone_runs = threading.Barrier(WORKERS)

    def work() -> None:
        key = queue.get()
        if key is not None:
            everyone_runs.wait(PATIENCE_SECONDS)
            queue.done(key)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for number in range(WORKERS):
        queue.add(f"k{number}")
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not everyone_runs.broken
    assert queue.idle()


@pytest.mark.usefixtures("many_switches")
def test_no_key_runs_twice_at_once_and_nothing_is_lost(queue: WorkQueue) -> None:
    """32 workers, 500 keys, 4 producers that use every way to add: each change is seen by a later pass."""
    keys = [f"k{number}" for number in range(KEYS)]
    wanted = dict.fromkeys(keys, 0)
    seen = dict.fromkeys(keys, 0)
    runs = Counter[str]()
    running = {key: threading.Lock() for key in keys}
    collisions: list[str] = []

    def work() -> None:
        while (key := queue.get()) is not None:
            if not running[key].acquire(blocking=False):
                collisions.append(key)
            seen[key] = wanted[key]
            runs[key] += 1
            if runs[key] % 3 == 0:
                queue.add_after(key, 0.001)
            elif runs[key] % 7 == 0:
                queue.forget(key)
                queue.add_backoff(key)
            running[key].release()
            queue.done(key)

    def produce(part: int) -> None:
        # Each key has one producer, so that counting up needs no lock of its own.
        mine = keys[part::4]
        for round_number, key in itertools.product(range(6), mine):
            wanted[key] += 1
            if round_number % 2:
                queue.add(key, front=round_number == 3)
            else:
                queue.add_after(key, 0.0005)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
    producers = [threading.Thread(target=produce, args=(part,), daemon=True) for part in range(4)]
    for thread in (*workers, *producers):
        thread.start()
    for thread in producers:
        thread.join(PATIENCE_SECONDS)
    eventually(lambda: seen == wanted, within=PATIENCE_SECONDS, what="every change was seen")
    queue.shutdown()
    for thread in workers:
        thread.join(PATIENCE_SECONDS)
    assert collisions == []
    assert queue.idle()
    assert set(runs) == set(keys)
    assert set(wanted.values()) == {6}
