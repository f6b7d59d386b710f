"""The outbox: what is delivered, tried again, given up, and who waits for whom. The store is the real one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from deployer.adapters.store import OutboxRow, OutboxStore, SqlStore, StoreUnavailable, codec
from deployer.adapters.store.outbox import write
from deployer.core.messages import PEOPLE, Message
from deployer.engine.outbox import Away, LockedOut, LogTarget, Outbox, Patience, Refused
from tests.contract.histories import overtaken
from tests.support.build import at
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from deployer.core.status import Status

PATIENCE = Patience(first=1.0, longest=60.0, refusals=3, lockouts=3, age=3600.0)


@dataclass
class Place:
    """A target that does what the test says, and remembers what it took."""

    name: str = "forge/configs"
    audience: str = "forge/configs"
    environments: frozenset[str] | None = None
    is_here: bool = False
    answer: Callable[[OutboxRow], Exception | None] = lambda _row: None
    took: list[tuple[int, str]] = field(default_factory=list)
    asked: int = 0
    interrupted: bool = False

    def deliver(self, row: OutboxRow) -> None:
        """Take it, or raise."""
        self.asked += 1
        trouble = self.answer(row)
        if trouble is not None:
            raise trouble
        self.took.append((row.id, row.message))

    def hears_of(self, status: Status) -> bool:
        """Of any."""
        return True

    def interrupt(self) -> None:
        """Remember it."""
        self.interrupted = True

    @property
    def texts(self) -> list[str]:
        """What it took."""
        return [text for _, text in self.took]


class Site:
    """A store with messages, a clock, and outboxes over it."""

    def __init__(self, path: Path) -> None:
        """Begin with an empty one."""
        self.path = path
        self.seconds = 0.0
        self.store = SqlStore.open(path)
        self.outbox = OutboxStore(self.store.database)

    def now(self) -> datetime:
        """The time."""
        return at(self.seconds)

    def say(self, *texts: str, audience: str = "forge/configs", keys: tuple[str, ...] = ()) -> None:
        """Write messages, each with a key if there are some."""
        record = self.store.load("staging")
        told = [
            Message(text=text, audience=audience, key=key)
            for text, key in zip(texts, keys or [""] * len(texts), strict=True)
        ]
        self.store.commit(record, overtaken(record, str(record.sequence)), told)

    def box(self, *places: Any, store: Any = None) -> Outbox:
        """An outbox as a new process has it."""
        return Outbox(store or self.outbox, places, now=self.now, jitter=lambda: 0.5, patience=PATIENCE)

    def waiting(self, name: str = "forge/configs") -> int:
        """How many wait for a target."""
        return self.outbox.waiting(name, name).count


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A store."""
    site = Site(tmp_path / "deployer.db")
    yield site
    site.store.close()


def test_what_is_there_is_delivered_in_its_order_and_once(site: Site) -> None:
    """Also more than are in memory at a time; a second look finds nothing."""
    texts = [f"message {number}" for number in range(250)]
    site.say(*texts)
    place = Place()
    box = site.box(place)
    box.deliver_all()
    box.deliver_all()

    assert place.texts == texts
    assert site.waiting() == 0
    assert box.deliveries() == {("forge/configs", "delivered"): 250}


def test_each_audience_has_its_own(site: Site) -> None:
    """People are not told what is for a forge, nor another forge."""
    site.say("for people", audience=PEOPLE)
    site.say("for configs")
    site.say("for others", audience="forge/others")
    place, others = Place(), Place(name="forge/others", audience="forge/others")
    with capture_logs() as logs:
        site.box(LogTarget(), place, others).deliver_all()

    assert [(one["event"], one["message"]) for one in logs] == [("announced", "for people")]
    assert (place.texts, others.texts) == (["for configs"], ["for others"])


def test_what_a_crash_cut_off_is_sent_again_with_its_id(site: Site) -> None:
    """Taken, but not marked: at least once, and the receiver can tell."""

    class Dying(OutboxStore):
        def settle(self, *_args: Any) -> None:
            message = "the process ends here"
            raise StoreUnavailable(message)

    site.say("one", "two")
    place = Place()
    with pytest.raises(StoreUnavailable):
        site.box(place, store=Dying(site.store.database)).deliver_all()
    site.box(place).deliver_all()

    assert place.took == [(1, "one"), (2, "two"), (1, "one"), (2, "two")]


def test_a_target_that_is_away_is_left_alone_for_longer_and_longer(site: Site) -> None:
    """One question for each pause, however much waits; then everything, in its order."""
    site.say("one", "two", "three")
    place = Place(answer=lambda _row: Away("it answered 502"))
    box = site.box(place)
    pauses: list[float] = []
    for number in range(1, 9):
        box.deliver_all()
        (state,) = site.outbox.targets()
        assert (place.asked, state.attempts, state.why) == (number, number, "it answered 502")
        assert state.next_at is not None
        pauses.append((state.next_at - site.now()).total_seconds())
        box.deliver_all()
        site.seconds += pauses[-1]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    place.answer = lambda _row: None
    box.deliver_all()
    assert place.texts == ["one", "two", "three"]
    assert site.outbox.targets()[0].attempts == 0
    assert site.outbox.targets()[0].why == ""


def test_a_restart_does_not_ask_earlier(site: Site) -> None:
    """The pause is in the store."""
    site.say("one")
    place = Place(answer=lambda _row: Away("it is asked too often", 600.0))
    site.box(place).deliver_all()
    place.answer = lambda _row: None
    site.seconds = 599
    site.box(place).deliver_all()
    assert place.took == []

    site.seconds = 600
    site.box(place).deliver_all()
    assert place.texts == ["one"]


def test_a_clock_that_is_set_back_does_not_silence_a_target(site: Site) -> None:
    """A pause that is longer than any is none."""
    site.seconds = 1000
    site.say("one")
    place = Place(answer=lambda _row: Away("it answered 502"))
    site.box(place).deliver_all()
    place.answer = lambda _row: None
    site.seconds = -1e6
    site.box(place).deliver_all()

    assert place.texts == ["one"]


def test_jitter_spreads_the_pauses() -> None:
    """Up to a fifth shorter or longer, and never without end."""
    assert [PATIENCE.pause(3, jitter) for jitter in (0.0, 0.5, 1.0)] == pytest.approx([3.2, 4.0, 4.8])
    assert PATIENCE.pause(10_000, 0.5) == 60.0


def test_a_message_that_is_not_taken_keeps_nobody_waiting(site: Site) -> None:
    """It is tried again by itself, so many times, and then is a dead letter."""
    site.say("one", "bad", "three")
    place = Place(answer=lambda row: Refused("no such commit") if row.message == "bad" else None)
    box = site.box(place)
    with capture_logs() as logs:
        for _ in range(4):
            box.deliver_all()
            site.seconds += 100

    assert place.texts == ["one", "three"]
    assert place.asked == 2 + 3
    (letter,) = site.outbox.letters()
    assert (letter.id, letter.target, letter.message, letter.attempts, letter.why) == (
        2,
        "forge/configs",
        "bad",
        3,
        "no such commit",
    )
    assert box.deliveries() == {
        ("forge/configs", "delivered"): 2,
        ("forge/configs", "failed"): 3,
        ("forge/configs", "dead"): 1,
    }
    assert [one["event"] for one in logs] == ["delivery_refused", "delivery_refused", "dead_letters"]


def test_a_dead_letter_that_a_person_revives_is_delivered(site: Site) -> None:
    """As often as if it were new; one that is dropped is not."""
    site.say("one", "two")
    place = Place(answer=lambda _row: Refused("no"))
    box = site.box(place)
    for _ in range(3):
        box.deliver_all()
        site.seconds += 100
    two, one = site.outbox.letters()
    site.outbox.revive([one], site.now())
    site.outbox.drop([two])
    place.answer = lambda _row: None
    box.deliver_all()

    assert place.texts == ["one"]
    assert site.outbox.letters() == []
    assert site.waiting() == 0


def test_who_does_not_let_us_in_is_not_asked_on_and_on(site: Site) -> None:
    """All that waits is dead then, with what to do; what comes later is tried again."""
    site.say("one", "two")
    place = Place(answer=lambda _row: LockedOut("it refused the token: check token_file"))
    box = site.box(place)
    for _ in range(5):
        box.deliver_all()
        site.seconds += 100

    assert place.asked == 3
    assert {(one.message, one.why) for one in site.outbox.letters()} == {
        ("one", "it refused the token: check token_file"),
        ("two", "it refused the token: check token_file"),
    }
    place.answer = lambda _row: None
    site.say("three")
    box.deliver_all()
    assert place.texts == ["three"]
    site.outbox.revive(site.outbox.letters(), site.now())
    box.deliver_all()
    assert place.texts == ["three", "one", "two"]


def test_a_lockout_that_ends_in_time_loses_nothing(site: Site) -> None:
    """An hour of another trouble between two of them does not count either."""
    site.say("one")
    troubles: list[Exception | None] = [LockedOut("401"), LockedOut("401"), Away("502"), LockedOut("401")]
    place = Place(answer=lambda _row: troubles.pop(0) if troubles else None)
    box = site.box(place)
    for _ in range(5):
        box.deliver_all()
        site.seconds += 100

    assert place.texts == ["one"]
    assert site.outbox.letters() == []


def test_what_waited_for_too_long_is_dead(site: Site) -> None:
    """By its age, so that a target which is away for days is not told old news when it is back."""
    site.say("old")
    place = Place(answer=lambda _row: Away("it answered 502"))
    box = site.box(place)
    box.deliver_all()
    # The test's history gives its events the time of their place in it.
    site.seconds = PATIENCE.age + 2
    site.say("new")
    box.deliver_all()

    assert [one.message for one in site.outbox.letters()] == ["old"]
    place.answer = lambda _row: None
    site.seconds += 100
    box.deliver_all()
    assert place.texts == ["new"]


def test_what_waits_to_be_tried_again_dies_of_age_too(site: Site) -> None:
    """It is as old as the rest."""
    site.say("old")
    place = Place(answer=lambda _row: Refused("no"))
    box = site.box(place)
    box.deliver_all()
    place.answer = lambda _row: Away("it answered 502")
    site.seconds = PATIENCE.age + 100
    box.deliver_all()

    assert [(one.message, one.why) for one in site.outbox.letters()] == [("old", "it answered 502")]


def test_only_the_newest_of_a_key_counts(site: Site) -> None:
    """What was not delivered before is moot: in the outbox, waiting for another try, or dead."""
    site.say("a1", "b1", "a2", keys=("a", "b", "a"))
    place = Place()
    box = site.box(place)
    box.deliver_all()
    assert place.texts == ["b1", "a2"]

    place.answer = lambda row: Refused("no") if row.message == "a3" else None
    site.say("a3", keys=("a",))
    box.deliver_all()
    site.say("a4", keys=("a",))
    site.seconds += 100
    box.deliver_all()
    assert place.texts == ["b1", "a2", "a4"]
    assert site.outbox.next_at("forge/configs") is None


def test_a_dead_letter_is_moot_once_a_newer_one_was_delivered(site: Site) -> None:
    """Nobody has to act on it any more."""
    site.say("a1", "x", keys=("a", ""))
    place = Place(answer=lambda _row: Refused("no"))
    box = site.box(place)
    for _ in range(3):
        box.deliver_all()
        site.seconds += 100
    assert [one.message for one in site.outbox.letters()] == ["x", "a1"]
    place.answer = lambda _row: None
    site.say("a2", keys=("a",))
    box.deliver_all()

    assert [one.message for one in site.outbox.letters()] == ["x"]


def test_a_target_that_crashes_is_as_good_as_away(site: Site) -> None:
    """The message stays, and the log has the traceback."""
    site.say("one")
    place = Place(answer=lambda _row: OSError("broken pipe"))
    box = site.box(place)
    with capture_logs() as logs:
        box.deliver_all()
    place.answer = lambda _row: None
    site.seconds = 10
    box.deliver_all()

    assert "delivery_crashed" in [one["event"] for one in logs]
    assert place.texts == ["one"]


def test_a_reason_is_one_harmless_line_without_passwords(site: Site) -> None:
    """It is shown in a terminal, and in a page."""
    site.say("one")
    place = Place(answer=lambda _row: Away("cannot reach https://u:hunter2@x\x1b[31m\nred" + "x" * 900))
    site.box(place).deliver_all()
    (state,) = site.outbox.targets()

    assert state.why.startswith("cannot reach https://<redacted>@x\\nred")
    assert len(state.why) <= 510


# --- threads ---------------------------------------------------------------------------------------------


def test_a_target_that_hangs_delays_no_other(site: Site) -> None:
    """Each has a thread of its own, and a stop does not wait for what hangs."""
    leave, entered = threading.Event(), threading.Event()

    def hang(_row: OutboxRow) -> None:
        entered.set()
        leave.wait(30)

    site.say("for one")
    hanging = Place(answer=hang)
    other = Place(name="other", audience="other")
    box = site.box(hanging, other)
    box.start()
    try:
        assert entered.wait(20)
        site.say("for another", audience="other")
        box.recorded(site.store.load("staging"), overtaken(site.store.load("staging"), "x")[0])
        eventually(lambda: other.texts == ["for another"], within=20)
        box.stop()
        assert hanging.interrupted
    finally:
        leave.set()
    assert hanging.took in ([], [(1, "for one")])


def test_only_targets_that_may_have_something_are_woken(site: Site) -> None:
    """By the environment of the event; and by what was written before the start, and at any call."""
    place = Place(environments=frozenset({"production"}))
    box = site.box(place)
    box.start()
    try:
        eventually(lambda: site.outbox.targets() != [], within=20)
        site.say("one")
        box.wake({"log"})
        box.recorded(site.store.load("production"), overtaken(site.store.load("staging"), "x")[0])
        eventually(lambda: place.texts == ["one"], within=20)
        site.say("two")
        box.wake()
        eventually(lambda: place.texts == ["one", "two"], within=20)
        site.say("three")
        box.observed(None)  # type: ignore[arg-type]  # this place hears of any
        eventually(lambda: place.texts == ["one", "two", "three"], within=20)
    finally:
        box.stop()


def test_what_is_cut_off_by_a_stop_is_held_against_nobody(site: Site) -> None:
    """A forge that is interrupted answers with an error, which is ours."""
    site.say("one")
    entered, cut = threading.Event(), threading.Event()

    def interrupted(_row: OutboxRow) -> Exception:
        entered.set()
        cut.wait(20)
        return Away("the daemon is shutting down")

    place = Place(answer=interrupted)
    here = Place(name="here", audience="here", is_here=True)
    box = site.box(place, here)
    box.start()
    assert entered.wait(20)
    box.leave()
    assert not place.interrupted
    cut.set()
    site.say("last words", audience="here")
    box.stop()

    assert here.texts == ["last words"]
    assert [one.attempts for one in site.outbox.targets()] == [0, 0]
    assert site.waiting() == 1


def test_what_everybody_took_long_ago_is_removed(site: Site) -> None:
    """Not what one of them has still to take, nor a dead letter, nor what is young."""
    month = 31 * 86_400.0
    places = [Place(name=name, audience=PEOPLE) for name in ("one", "other")]
    places[1].answer = lambda row: Refused("never") if row.message == "bad" else None
    site.say(*(f"old {number}" for number in range(150)), "bad", audience=PEOPLE)
    box = site.box(*places)
    box.deliver_all()
    for _ in range(2):
        site.seconds += 100.0
        box.deliver_all()
    site.seconds = month
    with site.store.database.writing() as connection:
        write(connection, "staging", ["young"], at=codec.stamp(at(month)), event_id=1)
    site.outbox.register("slow", PEOPLE)
    old = at(month - 86_400.0)
    assert site.outbox.forget(PEOPLE, {"one", "other", "slow"}, before=old, limit=500) == 0
    assert site.outbox.forget("forge/configs", {"one"}, before=old, limit=500) == 0

    again = site.box(*places)
    again.start()

    def left() -> bool:
        kept = [row.message for row in site.outbox.everything(500)]
        assert kept == ["bad", "young"], kept
        return True

    eventually(left, within=10)
    again.stop()
    assert [letter.message for letter in site.outbox.letters_of([151])] == ["bad"]


def test_a_store_that_fails_for_a_while_ends_no_thread(site: Site) -> None:
    """What waits is delivered once it is back."""

    class Failing(OutboxStore):
        broken = True

        def due(self, *args: Any) -> list[OutboxRow]:
            if self.broken:
                message = "the disk is full"
                raise StoreUnavailable(message)
            return super().due(*args)

    failing = Failing(site.store.database)
    site.say("one")
    place = Place()
    box = site.box(place, store=failing)
    with capture_logs() as logs:
        box.start()
        try:
            eventually(lambda: "outbox_waits" in [one["event"] for one in logs], within=20)
            failing.broken = False
            box.wake()
            eventually(lambda: place.texts == ["one"], within=20)
        finally:
            box.stop()


# --- whatever fails --------------------------------------------------------------------------------------

ANSWERS = {
    "ok": None,
    "away": Away("502"),
    "later": Away("429", 30.0),
    "locked": LockedOut("401"),
    "refused": Refused("422"),
    "crash": RuntimeError("bug"),
}

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from("abc")),
        st.tuples(st.just("round"), st.sampled_from(sorted(ANSWERS))),
        st.tuples(st.just("restart"), st.just("")),
        st.tuples(st.just("revive"), st.just("")),
        st.tuples(st.just("wait"), st.sampled_from(["1", "100"])),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_whatever_fails_each_key_ends_at_its_newest(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    """Whatever the order of failures, restarts and revivals: no older one after a newer one, none lost."""
    site = Site(tmp_path_factory.mktemp("outbox") / "deployer.db")
    with closing(site.store), capture_logs():
        newest: dict[str, str] = {}
        number = 0
        place = Place()
        box = site.box(place)
        for what, argument in steps:
            if what == "say":
                number += 1
                newest[argument] = f"{argument}{number}"
                site.say(newest[argument], keys=(argument,))
            elif what == "restart":
                box = site.box(place)
            elif what == "revive":
                site.outbox.revive(site.outbox.letters(), site.now())
            elif what == "wait":
                site.seconds += float(argument)
            else:
                place.answer = lambda _row, said=argument: ANSWERS[said]  # type: ignore[misc]
                box.deliver_all()
        place.answer = lambda _row: None
        for _ in range(3):
            site.seconds += 1000
            box.deliver_all()
        dead = {one.message for one in site.outbox.letters()}

    numbers = {key: [int(text[1:]) for text in place.texts if text[0] == key] for key in "abc"}
    assert all(found == sorted(found) for found in numbers.values())
    for text in newest.values():
        assert (text in place.texts) != (text in dead)
    assert dead <= set(newest.values())
