"""What a person may ask, and what becomes of it: legal events or a refusal with a next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from deployer.cli.main import Exit
from deployer.core import commands
from deployer.core.commands import REFUSED, USAGE, Accepted, Answer, Declined, GoodRelease
from deployer.core.events import (
    Applied,
    DriftClass,
    Drifted,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    Observed,
    Paused,
    Refused,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
)
from deployer.core.record import Record, evolve
from deployer.core.types import Policy, Release
from tests.support.build import at, record_of, release

if TYPE_CHECKING:
    from deployer.core.events import Event

A, B, C = release("a"), release("b"), release("c")
NOW = at(1000)
ADA = "ada (local)"
WHY = "it is on fire"


def started(number: int, what: Release, kind: Kind = Kind.DEPLOY) -> list[Event]:
    """A rollout that the cluster took."""
    name = f"staging#{number}"
    return [
        Started(at=at(number), rollout=name, kind=kind, release=what, policy=Policy(), trigger="test"),
        Applied(at=at(number), rollout=name),
    ]


def good(number: int, what: Release, kind: Kind = Kind.DEPLOY) -> list[Event]:
    """A rollout that ended well."""
    name = f"staging#{number}"
    return [
        *([Seen(at=at(number), release=what)] if kind is Kind.DEPLOY else []),
        *started(number, what, kind),
        Observed(at=at(number), rollout=name, states=(), settled=True),
        Healthy(at=at(number), rollout=name),
        Good(at=at(number), rollout=name),
    ]


def failed(number: int, what: Release, how: FailureClass = FailureClass.CODE) -> list[Event]:
    """A deploy that failed; it is held if that class of failure holds."""
    name = f"staging#{number}"
    failure = Failure(failure_class=how, message="boom")
    held = [Held(at=at(number), rollout=name, reason="boom")] if how.holds else []
    return [
        Seen(at=at(number), release=what),
        *started(number, what),
        Failed(at=at(number), rollout=name, failure=failure),
        *held,
    ]


def releases(*goods: tuple[int, Release]) -> list[GoodRelease]:
    """The good releases, newest first."""
    return [GoodRelease(rollout=f"staging#{n}", release=what, at=at(n)) for n, what in goods]


def accepted(record: Record, answer: Answer, *types: type[Event]) -> Accepted:
    """The answer, once it is shown that its events have these types and can follow the record."""
    assert isinstance(answer, Accepted), answer
    assert [type(event) for event in answer.events] == list(types)
    for event in answer.events:
        assert (event.at, event.actor) == (NOW, ADA)
        record = evolve(record, event)
    return answer


def declined(answer: Answer, *, code: int = REFUSED) -> str:
    """Why it was declined."""
    assert isinstance(answer, Declined), answer
    assert answer.exit_code == code
    return answer.why


def pause(record: Record, *, seconds: float | None = None, reason: str = WHY) -> Answer:
    """Ada pauses."""
    until = NOW + timedelta(seconds=seconds) if seconds is not None else None
    return commands.pause(record, until=until, actor=ADA, reason=reason, now=NOW)


def retry(record: Record, reason: str = WHY) -> Answer:
    """Ada asks for a retry."""
    return commands.retry(record, actor=ADA, reason=reason, now=NOW)


def rollback(record: Record, *goods: tuple[int, Release], to: str | None = None) -> Answer:
    """Ada asks for a rollback."""
    return commands.rollback(record, to=to, releases=releases(*goods), actor=ADA, reason=WHY, now=NOW)


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    """The core cannot import them; they are the same all the same."""
    assert (REFUSED, USAGE) == (Exit.REFUSED, Exit.USAGE)


# --- pause and resume --------------------------------------------------------------------------------------


def test_a_pause_says_how_long_and_how_to_end_it() -> None:
    """With a time and without one."""
    record = record_of(*good(1, A))
    ever = accepted(record, pause(record), Paused)
    timed = accepted(record, pause(record, seconds=7200), Paused)

    assert ever.message.startswith("staging is paused until somebody resumes it")
    assert "until 2026-11-22 12:58 UTC" in timed.message
    assert "`deployer resume staging`" in timed.message
    assert [event.until for event in timed.events if isinstance(event, Paused)] == [NOW + timedelta(hours=2)]


def test_a_pause_tells_of_what_goes_on() -> None:
    """A rollout in flight is not stopped by it."""
    record = record_of(Seen(at=at(0), release=A), *started(1, A))

    assert "staging#1 is in flight and goes on" in accepted(record, pause(record), Paused).message


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_pause_cannot_be_over_before_it_begins(seconds: float) -> None:
    """A usage error."""
    assert "that is over" in declined(pause(Record(environment="staging"), seconds=seconds), code=USAGE)


def test_pause_and_retry_need_a_reason() -> None:
    """The audit log would be worth less without."""
    record = record_of(*failed(1, A))

    assert '`deployer pause staging --reason "..."`' in declined(pause(record, reason=""), code=USAGE)
    assert '`deployer retry staging --reason "..."`' in declined(retry(record, ""), code=USAGE)


def test_resume_ends_a_pause_and_is_harmless_without_one() -> None:
    """Asked twice, the second one does nothing."""
    record = record_of(Paused(at=at(0)))
    ended = commands.resume(record, actor=ADA, reason="", now=NOW)
    accepted(record, ended, Resumed)
    again = commands.resume(Record(environment="staging"), actor=ADA, reason="", now=NOW)

    assert "nothing to do" in accepted(record, again).message


# --- retry -------------------------------------------------------------------------------------------------


def test_what_is_held_is_tried_once_more() -> None:
    """The event names what git wants."""
    record = record_of(*good(1, A), *failed(2, B))
    answer = accepted(record, retry(record), RetryAsked)

    assert [event.digest for event in answer.events if isinstance(event, RetryAsked)] == [B.digest]
    assert answer.target == B
    assert "which is held, is tried once more. If it fails, it is held." in answer.message


def test_what_found_no_room_is_tried_once_more() -> None:
    """It is not held, but waits."""
    record = record_of(*good(1, A), *failed(2, B, FailureClass.CAPACITY))

    assert "which found no room, is tried" in accepted(record, retry(record), RetryAsked).message


def test_a_failed_rollback_is_tried_once_more() -> None:
    """A stall is over when a person says so."""
    failure = Failed(
        at=at(3), rollout="staging#3", failure=Failure(failure_class=FailureClass.DEADLINE, message="late")
    )
    record = record_of(
        *good(1, A), *failed(2, B), *started(3, A, Kind.ROLLBACK), failure, Seen(at=at(4), release=C)
    )

    assert accepted(record, retry(record), RetryAsked).message.startswith("What failed as staging#3 is tried")


def test_a_retry_waits_for_what_is_under_way() -> None:
    """For the rollback in flight, and for the end of a pause; it says so."""
    record = record_of(
        *good(1, A), *failed(2, B), *started(3, A, Kind.ROLLBACK), Paused(at=at(3), reason="hands off")
    )
    message = accepted(record, retry(record), RetryAsked).message

    assert "once more when staging#3 has ended, after `deployer resume staging`: it is paused." in message


def test_a_drift_that_is_not_healed_any_more_can_be_retried() -> None:
    """The budget of heals begins anew."""
    record = record_of(*good(1, A), Drifted(at=at(5), drift=DriftClass.EDITED, what="somebody scaled it"))
    after = evolve(record, accepted(record, retry(record), RetryAsked).events[0])

    assert after.repairs == ()
    assert "The heal of staging is tried once more" in accepted(record, retry(record), RetryAsked).message


def test_what_cannot_be_read_cannot_be_retried() -> None:
    """The permission would wait for a digest that git does not want now."""
    refused = Refused(at=at(9), message="x.yaml:4:5: unknown key")
    why = declined(retry(record_of(*good(1, A), *failed(2, B), refused)))

    assert why == "What git wants cannot be deployed, so there is nothing to retry: x.yaml:4:5: unknown key"


def test_nothing_to_retry_is_a_refusal() -> None:
    """Nothing seen, nothing wrong, or it is being tried right now."""
    assert "Push a config" in declined(retry(Record(environment="staging")))
    assert "nothing to retry" in declined(retry(record_of(*good(1, A))))
    trying = record_of(Seen(at=at(0), release=A), *started(1, A))
    assert "staging#1 is trying" in declined(retry(trying))


# --- rollback ----------------------------------------------------------------------------------------------


def target(record: Record, answer: Answer) -> tuple[Release, str]:
    """The release that is gone back to, and the rollout that made it good."""
    (event,) = accepted(record, answer, RollbackAsked).events
    assert isinstance(event, RollbackAsked)
    return event.release, event.made_good


def test_back_from_what_runs_is_the_good_release_before() -> None:
    """Not the same content under a newer rollout; what git wants is held, and the answer says so."""
    record = record_of(*good(1, A), *good(2, B), *good(3, B, Kind.HEAL))
    answer = rollback(record, (3, B), (2, B), (1, A))

    assert target(record, answer) == (A, "staging#1")
    message = accepted(record, answer, RollbackAsked).message
    assert "staging goes back to" in message
    assert '"commit b", which git wants, is held until git says something else' in message
    assert "`deployer retry staging --reason ...` undoes that." in message


def test_a_release_comes_back_as_it_was_sent_and_judged() -> None:
    """By the policy and with the nonce of the rollout that made it good, a listed one or the current one."""
    policy = Policy(soak=7.0)
    listed = GoodRelease(rollout="staging#1", release=A, at=at(1), policy=policy, nonce="staging#1")
    record = record_of(*good(1, A), *good(2, B))
    chosen = commands.rollback(record, to="1", releases=[listed], actor=ADA, reason="", now=NOW)
    left = replace(record_of(*good(1, A), *failed(2, B)), good_policy=policy, good_nonce="staging#1")

    for answer in (accepted(record, chosen, RollbackAsked), accepted(left, rollback(left), RollbackAsked)):
        (event,) = answer.events
        assert isinstance(event, RollbackAsked)
        assert (event.policy, event.nonce) == (policy, "staging#1")


def test_back_from_a_deploy_in_flight_is_the_good_release() -> None:
    """And from a deploy that failed, also where the rollback failed too."""
    going = record_of(*good(1, A), Seen(at=at(2), release=B), *started(2, B))
    assert target(going, rollback(going, (1, A))) == (A, "staging#1")

    left = record_of(*good(1, A), *failed(2, B))
    assert target(left, rollback(left, (1, A))) == (A, "staging#1")


def test_back_when_the_daemon_was_quicker_is_nothing_to_do() -> None:
    """The rollback is done; one release further would be held, and the good one with it."""
    record = record_of(*good(1, A), *good(2, B), *failed(3, C), *good(4, B, Kind.ROLLBACK))
    answer = accepted(record, rollback(record, (4, B), (2, B), (1, A)))

    assert answer.target == B
    assert answer.message.endswith("is what staging runs: nothing to do. `--to` names an older one.")
    further = rollback(record, (4, B), (2, B), (1, A), to="1")
    assert target(record, further) == (A, "staging#1")


def test_back_to_code_that_may_have_changed_is_said() -> None:
    """A branch's archive brings what is there now."""
    moving = release(
        "moving",
        {"name": "fruit", "import_path": "a:b", "runtime_env": {"working_dir": "https://h/o/HEAD.zip"}},
    )
    record = record_of(*good(1, moving), *good(2, B))
    message = accepted(record, rollback(record, (2, B), (1, moving)), RollbackAsked).message

    assert "Its code may not be what it was: https://h/o/HEAD.zip names no version or commit." in message


def test_back_from_a_heal_in_flight_is_the_release_before() -> None:
    """The heal is on its way to what shall not run any more."""
    record = record_of(*good(1, A), *good(2, B), *started(3, B, Kind.HEAL))

    assert target(record, rollback(record, (2, B), (1, A))) == (A, "staging#1")


def test_held_releases_are_no_way_back() -> None:
    """After a rollback from C to B, the next one goes to A."""
    record = record_of(*good(1, A), *good(2, B), *good(3, C))
    asked = accepted(record, rollback(record, (3, C), (2, B), (1, A)), RollbackAsked)
    (event,) = asked.events
    there = record_of(*good(1, A), *good(2, B), *good(3, C), event, *good(4, B, Kind.ROLLBACK))

    assert asked.target == B
    assert target(there, rollback(there, (4, B), (3, C), (2, B), (1, A))) == (A, "staging#1")


def test_no_other_good_release_is_a_refusal() -> None:
    """It names the held ones, if there are any."""
    assert "nothing became good here yet" in declined(rollback(record_of(*failed(1, A))))
    assert "no other good release" in declined(rollback(record_of(*good(1, A)), (1, A)))
    record = record_of(*good(1, A), *good(2, B))
    (event,) = accepted(record, rollback(record, (2, B), (1, A)), RollbackAsked).events
    there = record_of(*good(1, A), *good(2, B), event, *good(3, A, Kind.ROLLBACK))
    why = declined(rollback(there, (3, A), (2, B), (1, A)))

    assert "Held are:\n  staging#2" in why


@pytest.mark.parametrize(
    "to",
    ["staging#1", "1", "01", A.revision.commit, A.revision.commit[:7].upper(), A.digest, A.digest[:15]],
)
def test_a_release_is_named_by_rollout_commit_or_digest(to: str) -> None:
    """In every form in which the commands print it."""
    record = record_of(*good(1, A), *good(2, B))

    assert target(record, rollback(record, (2, B), (1, A), to=to)) == (A, "staging#1")


@pytest.mark.parametrize("to", ["staging#9", "9", "main", "abc", "f" * 40, "sha256:", "sha256:0", "", "#"])
def test_an_unknown_release_is_answered_with_the_known_ones(to: str) -> None:
    """A usage error; also a prefix that is too short to mean anything."""
    record = record_of(*good(1, A), *good(2, B))
    why = declined(rollback(record, (2, B), (1, A), to=to), code=USAGE)

    assert f"no good release '{to}'" in why
    assert "staging#2  " in why
    assert "staging#1  " in why


def test_an_ambiguous_release_is_answered_with_the_candidates() -> None:
    """One commit that made two digests: the person takes the rollout's number then."""
    record = record_of(*good(1, A), *good(2, B))
    twin = Release(revision=A.revision, config=C.config)
    why = declined(rollback(record, (2, B), (3, twin), (1, A), to=A.revision.commit[:8]), code=USAGE)

    assert "could be any of these" in why
    assert [line.split()[0] for line in why.splitlines()[1:]] == ["staging#3", "staging#1"]


def test_a_long_list_is_cut() -> None:
    """Nobody reads a thousand lines at 3 am."""
    many = [(number, release(f"r{number}")) for number in range(12, 0, -1)]
    record = record_of(*good(1, A))
    why = declined(rollback(record, *many, to="nothing"), code=USAGE)

    assert len(why.splitlines()) == 10
    assert "and 4 more: see `deployer history`" in why


def test_without_any_good_release_that_is_said() -> None:
    """There is nothing to list."""
    assert "nor any other" in declined(rollback(record_of(*failed(1, A)), to="1"), code=USAGE)


def test_a_held_release_is_refused_with_the_way_to_lift_it() -> None:
    """Retry is for what git wants; else git has to want it first."""
    record = record_of(*good(1, A), *good(2, B))
    (event,) = accepted(record, rollback(record, (2, B), (1, A)), RollbackAsked).events
    there = record_of(*good(1, A), *good(2, B), event, *good(3, A, Kind.ROLLBACK))
    other = record_of(*good(1, A), *good(2, B), event, *good(3, A, Kind.ROLLBACK), Seen(at=at(9), release=C))

    wanted = declined(rollback(there, (3, A), (2, B), (1, A), to="2"))
    assert "): `deployer retry staging --reason ...` tries it once more" in wanted
    assert "ask git for it, then `deployer retry" in declined(rollback(other, (2, B), to="2"))


def test_what_runs_needs_no_rollback_unless_it_drifted() -> None:
    """Asked for by name. A cluster that was edited is put back."""
    record = record_of(*good(1, A))
    assert (
        "is what staging runs: nothing to do." in accepted(record, rollback(record, (1, A), to="1")).message
    )

    edited = record_of(*good(1, A), Drifted(at=at(5), drift=DriftClass.EDITED, what="somebody scaled it"))
    answer = accepted(edited, rollback(edited, (1, A), to="1"), RollbackAsked)
    assert answer.message == f'staging goes back to {A.revision.short} "commit a".'


def test_a_rollback_under_way_is_not_begun_again() -> None:
    """Asked for, or in flight: pressing the key twice goes back once. Another target is another matter."""
    record = record_of(*good(1, A), *good(2, B))
    (event,) = accepted(record, rollback(record, (2, B), (1, A)), RollbackAsked).events
    asked = evolve(record, event)
    going = record_of(*good(1, A), *failed(2, B), *started(3, A, Kind.ROLLBACK))

    for busy in (asked, going):
        for to in (None, "1"):
            answer = accepted(busy, rollback(busy, (2, B), (1, A), to=to))
            assert ("on its way back to" in answer.message, answer.under_way) == (True, True)
    other = record_of(*good(1, C), *good(2, A), *failed(3, B), *started(4, A, Kind.ROLLBACK))
    assert target(other, rollback(other, (2, A), (1, C), to="1")) == (C, "staging#1")


def test_nothing_is_held_if_git_wants_the_same() -> None:
    """Also where git has said nothing that can be deployed."""
    record = record_of(*good(1, A), *good(2, B), Seen(at=at(3), release=A), Refused(at=at(4), message="bad"))

    assert "is held" not in accepted(record, rollback(record, (2, B), (1, A), to="1"), RollbackAsked).message


def test_a_good_release_is_found_by_any_of_its_names() -> None:
    """Its rollout, its number, its commit, its digest; nothing for what is none, or could be two."""
    first, second = (
        GoodRelease(rollout=f"staging#{n}", release=what, at=at(n)) for n, what in ((1, A), (2, B))
    )
    releases = [second, first]
    for name in ("staging#1", "1", A.revision.commit[:8], A.digest):
        assert commands.find_good("staging", name, releases) is first
    assert commands.find_good("staging", "7", releases) is None
    assert commands.find_good("staging", "sha256:", releases) is None
