"""What was live, as it is told: the sentences in full, and the JSON that scripts rely on."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.events import (
    Approved,
    Cancelled,
    Event,
    Good,
    Kind,
    PromotionAsked,
    Proposed,
    Superseded,
    SyncAsked,
)
from deployer.core.history import Entry, advance
from deployer.core.past import Past, was_live, with_seen
from deployer.core.past_told import to_json, told
from deployer.core.provenance import Provenance, provenance
from deployer.core.types import Person
from tests.support.build import applied, at, failed, observed, release, started

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

A, B, C = release("a"), release("b"), release("c")
SHORT_A, SHORT_B, SHORT_C = (one.revision.short for one in (A, B, C))
DIGEST = A.digest[:19]
FIRST = (
    started(A, 1, second=10, actor="Ada <ada@example.com>"),
    applied(1, 11),
    Good(at=at(20), rollout="staging#1"),
)
FAILING = (started(B, 2, second=30), applied(2, 31), failed(2, 40))
BACK = (started(A, 3, Kind.ROLLBACK, 42, trigger="staging#2 failed"), applied(3, 44))
SEEN = observed(2, 32, sick=True)


def entries(log: Sequence[Event]) -> list[Entry]:
    """The rollouts of this log."""
    nothing: Mapping[str, Entry] = {}
    return list(reduce(advance, log, nothing).values())


def past_of(log: Sequence[Event], second: float) -> Past:
    """What was live."""
    return was_live("staging", entries(log), at(second))


def lines(log: Sequence[Event], second: float, *, who: Provenance | None = None) -> list[str]:
    """The sentences, with times as seconds, which read easier."""
    return [
        one.replace("2026-11-22 10:42:", "").replace(" UTC", "s") for one in told(past_of(log, second), who)
    ]


def test_the_answer_is_a_few_sentences() -> None:
    """What, who, since when, until when, how it stood, and who had a part in it."""
    deploy = entries(FIRST)[0]
    who = provenance(
        deploy,
        [Approved(at=at(5), actor="grace (token 1)", reason="fits.", plan="p", digest=A.digest, commit="x")],
    )

    assert lines((*FIRST, *FAILING), 25, who=who) == [
        f'Live in staging at 25s: {SHORT_A} "commit a" by Ada <ada@example.com> ({DIGEST}).',
        "staging#1, a deploy, brought it at 11s, and staging#2 took its place at 31s.",
        "It was good, since 20s.",
        "Set off by a push of Ada <ada@example.com>.",
        "grace (token 1) approved it, at 05s: fits.",
    ]


def test_what_came_back_is_told_with_the_deploy_that_first_brought_it() -> None:
    """And that the release was good already, by which rollout."""
    who = provenance(entries(FIRST)[0], [])

    assert lines((*FIRST, *FAILING, *BACK), 50, who=who) == [
        f'Live in staging at 50s: {SHORT_A} "commit a" by Ada <ada@example.com> ({DIGEST}).',
        "staging#3, a rollback, brought it at 44s, and it is live still.",
        "It was being judged, and was not good yet. It is on its way still.",
        "Set off because staging#2 failed, by deployer.",
        "staging#1, a deploy that began at 10s, first brought the release."
        " Set off by a push of Ada <ada@example.com>.",
        "The log has no approval of it.",
        "The release was the good one already, which staging#1 had made good at 20s.",
    ]


def test_everybody_who_had_a_part_is_told() -> None:
    """Committer, co-authors, who promoted, who wanted it, who had gates skipped."""
    person = Person(name="Forge", email="forge@example.com")
    made = replace(A, revision=replace(A.revision, committer=person, co_authors=(person,)))
    log = (started(made, 1, second=10), applied(1, 11))
    commit = A.revision.commit
    who = provenance(
        entries(log)[0],
        [
            PromotionAsked(
                at=at(1), actor="lin", source="dev", rollout="dev#3", commit=commit, reason="it is time"
            ),
            Proposed(at=at(2), commit=commit, branch="main", head="f" * 40, number=7, url="https://forge/7"),
            SyncAsked(at=at(3), actor="eve", digest=A.digest, commit=commit, skipped=("drift", "windows")),
        ],
    )
    found = lines(log, 12, who=who)

    assert found[4:] == [
        "The commit was made by Forge <forge@example.com>.",
        "Its co-authors are Forge <forge@example.com>.",
        "lin promoted it from dev, where dev#3 had proved it, by pull request #7, at 01s: it is time.",
        "eve wanted it deployed, at 03s.",
        "eve had drift, windows skipped for it, at 03s.",
        "The log has no approval of it.",
        "No release had been good before, so there was no way back.",
    ]
    hidden = (
        replace(who, promotion=replace(who.promotion, source="", rollout="", reason=""))
        if who.promotion
        else who
    )
    assert "lin promoted it, by pull request #7, at 01s." in lines(log, 12, who=hidden)


HEALED = (
    started(A, 2, Kind.HEAL, 30, trigger="drift", reason="fruit is gone."),
    applied(2, 31),
    Good(at=at(35), rollout="staging#2"),
)
OVERTAKEN = (*FAILING[:2], Superseded(at=at(33), rollout="staging#2", by="c"))
ENDED = (*FAILING[:2], Cancelled(at=at(33), rollout="staging#2"))

SAID: dict[str, tuple[tuple[Event, ...], float, str]] = {
    "nothing ever": ((), 5, "Nothing was deployed to staging before 05s, nor has been since."),
    "before the first": (FIRST, 5, "Nothing was deployed to staging before 11s, so nothing was live at 05s."),
    "it became good": (FIRST, 15, "It was being judged, and was not good yet. It became good at 20s."),
    "it failed later": (
        (*FIRST, *FAILING),
        35,
        "It was being judged, and was not good yet. It failed at 40s: fruit / D: ValueError: bad price.",
    ),
    "it was overtaken later": (
        (*FIRST, *OVERTAKEN),
        32,
        "It was being judged, and was not good yet. It was overtaken at 33s.",
    ),
    "it was ended later": (
        (*FIRST, *ENDED),
        32,
        "It was being judged, and was not good yet. It was ended by a person at 33s.",
    ),
    "it had failed": ((*FIRST, *FAILING), 41, "It had failed at 40s: fruit / D: ValueError: bad price."),
    "it was rolled back": (
        (*FIRST, *FAILING, *BACK),
        43,
        "It had failed at 40s, and was being rolled back: fruit / D: ValueError: bad price.",
    ),
    "the rollback, on its way": (
        (*FIRST, *FAILING, *BACK),
        43,
        f'staging#3, a rollback of {SHORT_A} "commit a", had begun at 42s,'
        " and the cluster had not taken it yet.",
    ),
    "overtaken": ((*FIRST, *OVERTAKEN), 34, "It had been overtaken at 33s, and was not good yet."),
    "ended": ((*FIRST, *ENDED), 34, "It had been ended by a person at 33s, and was not good yet."),
    "the way back": (
        (*FIRST, *FAILING),
        35,
        f'The good release, and so the way back, was {SHORT_A} "commit a",'
        " which staging#1 had made good at 20s.",
    ),
    "a way back of which nobody knows more": (
        (started(A, 1, Kind.ROLLBACK, 10, trigger="asked for"), applied(1, 11)),
        15,
        "The release was the good one already.",
    ),
    "healed": (
        (*FIRST, *HEALED),
        40,
        "The same release had been there since 11s, and no other in between.",
    ),
    "why it was healed": (
        (*FIRST, *HEALED),
        40,
        "The cluster had drifted: set off by deployer: fruit is gone.",
    ),
    "an attempt that failed": (
        (*FIRST, started(C, 2, second=30), failed(2, 40)),
        50,
        f'staging#2, a deploy of {SHORT_C} "commit c", had begun at 30s'
        " and failed before the cluster took it: fruit / D: ValueError: bad price.",
    ),
    "an attempt that was overtaken": (
        (*FIRST, started(C, 2, second=30), Superseded(at=at(33), rollout="staging#2", by="c")),
        50,
        f'staging#2, a deploy of {SHORT_C} "commit c", had begun at 30s'
        " and was overtaken before the cluster took it.",
    ),
    "an attempt that was ended": (
        (*FIRST, started(C, 2, second=30), Cancelled(at=at(33), rollout="staging#2")),
        50,
        f'staging#2, a deploy of {SHORT_C} "commit c", had begun at 30s'
        " and was ended before the cluster took it.",
    ),
}


@pytest.mark.parametrize(("log", "second", "sentence"), SAID.values(), ids=SAID)
def test_each_case_has_its_sentence(log: tuple[Event, ...], second: float, sentence: str) -> None:
    """In words that say what was then, and what became of it."""
    assert sentence in lines(log, second)


def test_what_was_failing_is_told_with_what_was_seen() -> None:
    """And with what became of it."""
    past = with_seen(past_of((*FIRST, *FAILING), 35), replace(SEEN, states=()))

    assert "It was failing: Nothing of it is there. It failed at 2026-11-22 10:42:40 UTC:" in " ".join(
        told(past, None)
    )


def test_sentences_are_one_line_each() -> None:
    """Whatever a commit says."""
    hostile = replace(A, revision=replace(A.revision, subject="good\nLive in production: \x1b[2J nothing"))
    found = told(past_of((started(hostile, 1), applied(1)), 5), None)

    assert all(line.isprintable() for line in found)
    assert "good\\nLive in production: \\x1b[2J nothing" in found[0]


def test_json_is_what_scripts_rely_on() -> None:
    """The documented object, whole: a key that is renamed or dropped fails here."""
    who = provenance(
        entries(FIRST)[0],
        [
            Approved(
                at=at(5), actor="grace", reason="fits", plan="p", digest=A.digest, commit="x", review="r1"
            ),
            SyncAsked(at=at(6), actor="eve", digest=A.digest, commit=A.revision.commit, skipped=("drift",)),
            PromotionAsked(at=at(7), actor="lin", source="dev", rollout="dev#3", commit=A.revision.commit),
        ],
    )
    said = {"actor": "eve", "at": "2026-11-22T10:42:06.000Z", "reason": ""}
    printed = to_json(past_of((*FIRST, *FAILING), 30.5), who)
    live = printed["live"]

    assert printed.pop("says") == told(past_of((*FIRST, *FAILING), 30.5), who)
    assert live.pop("release")["revision"] == A.revision.commit
    assert printed.pop("attempt").pop("release")["revision"] == B.revision.commit
    assert printed == {
        "environment": "staging",
        "at": "2026-11-22T10:42:30.500Z",
        "live": {
            "rollout": "staging#1",
            "kind": "deploy",
            "trigger": "push",
            "actor": "Ada <ada@example.com>",
            "reason": "",
            "started_at": "2026-11-22T10:42:10.000Z",
            "since": "2026-11-22T10:42:11.000Z",
            "until": "2026-11-22T10:42:31.000Z",
            "followed_by": "staging#2",
            "release_since": "2026-11-22T10:42:11.000Z",
            "standing": "good",
            "seen": None,
            "result": "good",
            "finished_at": "2026-11-22T10:42:20.000Z",
            "failure": None,
        },
        "good": {
            "rollout": "staging#1",
            "revision": A.revision.commit,
            "digest": A.digest,
            "subject": "commit a",
            "author": "Ada <ada@example.com>",
            "at": "2026-11-22T10:42:20.000Z",
        },
        "first_at": None,
        "brought_by": {
            "rollout": "staging#1",
            "trigger": "push",
            "started_at": "2026-11-22T10:42:10.000Z",
            "author": "Ada <ada@example.com>",
            "committer": "Ada <ada@example.com>",
            "co_authors": [],
            "approvals": [
                {
                    "actor": "grace",
                    "at": "2026-11-22T10:42:05.000Z",
                    "reason": "fits",
                    "plan": "p",
                    "review": "r1",
                }
            ],
            "skipped": [{"gates": ["drift"], **said}],
            "wanted_by": said,
            "promotion": {
                "source": "dev",
                "rollout": "dev#3",
                "revision": A.revision.commit,
                "actor": "lin",
                "at": "2026-11-22T10:42:07.000Z",
                "reason": "",
                "result": "asked",
                "ended_at": None,
                "pull_request": None,
            },
        },
    }


def test_what_is_not_known_is_null() -> None:
    """Not missing; and of an attempt nothing is told that came later."""
    nothing: dict[str, Any] = to_json(past_of((), 5), None)
    later = to_json(past_of((*FIRST, started(B, 2, second=30), failed(2, 40)), 35), None)
    now = to_json(past_of((*FIRST, started(B, 2, second=30), failed(2, 40)), 45), None)

    assert {name for name, value in nothing.items() if value is None} == {
        "live",
        "attempt",
        "good",
        "first_at",
        "brought_by",
    }
    assert (later["attempt"]["standing"], later["attempt"]["failure"]) == ("in_progress", None)
    assert (now["attempt"]["standing"], now["attempt"]["failure"]["class"]) == ("failed", "code")
    assert to_json(past_of(FIRST, 5), None)["first_at"] == "2026-11-22T10:42:11.000Z"
    without = provenance(entries(FIRST)[0], [])
    brought = to_json(past_of(FIRST, 30), without)["brought_by"]
    assert (brought["approvals"], brought["wanted_by"], brought["promotion"]) == ([], None, None)
