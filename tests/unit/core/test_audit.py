"""The check of a whole log: every kind of change is found, and the first bad record is named."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import chain
from deployer.core.audit import Anchor, StoreFacts, Verdict, shown, verify
from deployer.core.checkpoint import SignedCheckpoint
from deployer.core.merkle import Frontier
from deployer.core.raw_log import RawEvent, UnreadableLog
from tests.support.note_signer import NoteSigner
from tests.support.raw_logs import ORIGIN, anchor, chained, facts, log

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = NoteSigner("ada").key
NAMES = ("staging", "prod", "staging", "staging", "prod", "staging", "prod", "staging")
LOG = log(*NAMES)
"""staging: ids 1 3 4 6 8; prod: ids 2 5 7."""
ANCHOR = anchor(LOG)


def findings(events: list[RawEvent], *anchors: Anchor, store: StoreFacts | None = None) -> list[str]:
    """What is found in a log, against checkpoints by the key."""
    report = verify(events, anchors=anchors, keys=[KEY], store=store)
    assert report.verdict is (Verdict.CHANGED if report.findings else Verdict.VERIFIED)
    return list(report.findings)


def changed(place: int, **columns: Any) -> list[RawEvent]:
    """The log with these values in the event at this place, from 1."""
    events = list(LOG)
    events[place - 1] = events[place - 1]._replace(**columns)
    return events


# --- an intact log -----------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=20), st.data())
def test_an_intact_log_is_verified(names: list[str], data: st.DataObject) -> None:
    """Of any environments, against checkpoints of any of its sizes, with what its store says."""
    events = log(*names)
    sizes = data.draw(st.lists(st.integers(0, len(events)), max_size=3))

    assert findings(events, *(anchor(events, size) for size in sizes), store=facts(events)) == []


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=20), st.data())
def test_the_rest_of_a_log_is_verified_on_the_tree_before_it(names: list[str], data: st.DataObject) -> None:
    """From wherever it begins; and whatever is changed in it is found, be it by the checkpoint."""
    events = log(*names)
    start = data.draw(st.integers(0, len(events)))
    before = Frontier()
    for event in events[:start]:
        before.append(bytes.fromhex(event.hash))
    kept = before.text
    anchors = [anchor(events, size) for size in {0, start, len(events)}]
    report = verify(events[start:], anchors=anchors, keys=[KEY], before=before)
    assert (report.findings, report.events, before.text) == ((), len(events) - start, kept)
    assert report.covered == len(events) - start

    if start < len(events):
        rest = chained([events[start]._replace(actor="Eve"), *events[start + 1 :]])
        assert verify(rest, anchors=anchors, keys=[KEY], before=before).findings
        short = verify(events[start:-1], anchors=anchors, keys=[KEY], before=before)
        assert f"Event {len(events)} is missing" in short.findings[-1]


@pytest.mark.parametrize(
    ("sequence", "why"), [(0, "was to come"), ("x", "is not a number"), (True, "is not a")]
)
def test_an_environment_that_is_new_to_the_rest_begins_with_a_number(sequence: Any, why: str) -> None:
    """Or else its first event is held against the first that there can be."""
    before = Frontier()
    before.append(bytes.fromhex(LOG[0].hash))
    found = verify([LOG[1]._replace(sequence=sequence)], before=before).findings

    assert len(found) == 1
    assert why in found[0]


def test_a_store_that_cannot_be_read_has_its_fault_alone() -> None:
    """Its log is not looked at, and checkpoints say nothing of it; but one that is nobody's is named."""
    unreadable = StoreFacts(
        records={}, rollouts={}, newest_id=0, faults=("It is damaged.",), is_readable=False
    )
    report = verify(LOG, anchors=[ANCHOR], keys=[KEY], store=unreadable)
    assert (report.findings, report.events) == (("It is damaged.",), 0)

    other = verify(LOG, anchors=[anchor(LOG, signer="eve")], keys=[KEY], store=unreadable)
    assert other.findings[1:] == ("The checkpoint at anchors:8 is not signed with a key that was given.",)


def test_the_report_has_the_counts() -> None:
    """How much there was, how many checkpoints, and how far the newest of them goes."""
    report = verify(LOG, anchors=[anchor(LOG, 6), anchor(LOG, 3)], keys=[KEY])

    assert (report.events, report.environments, report.checkpoints, report.covered) == (8, 2, 2, 6)
    assert report.summary == (
        "Verified: 8 events of 2 environments, 2 signed checkpoints; the newest covers 6 of the events."
    )


def test_without_a_checkpoint_the_report_says_what_that_means() -> None:
    """A log that was cut off looks intact."""
    assert verify(LOG[:1]).summary == (
        "Verified: 1 event of 1 environment; no checkpoint was given, so a log cut off or written "
        "anew would not"
        " be noticed."
    )


def test_without_a_key_nothing_is_verified() -> None:
    """Unless something is found: that counts for more. The checkpoint is compared all the same."""
    report = verify(LOG, anchors=[ANCHOR])
    short = verify(LOG[:-1], anchors=[ANCHOR])

    assert report.verdict is Verdict.UNCHECKED
    assert report.unchecked == (
        "No key was given, so no signature was checked: a checkpoint could be anybody's.",
    )
    assert report.summary == "Not fully checked: 8 events of 2 environments."
    assert short.verdict is Verdict.CHANGED
    assert short.summary == "NOT as it was written: 1 finding in 7 events of 2 environments."


def test_the_verdicts_are_the_exit_codes() -> None:
    """Of the command and of the script."""
    assert [verdict.value for verdict in Verdict] == [0, 1, 2]


# --- one event ---------------------------------------------------------------------------------------------

EDITED = "Event 3 of staging (id 4) was changed after it was written: its hash is not of what it says."


@pytest.mark.parametrize("column", ["type", "at", "actor", "reason", "rollout", "data"])
def test_an_edited_event_is_named(column: str) -> None:
    """Whatever was edited in it."""
    assert findings(changed(4, **{column: "another"})) == [EDITED]
    assert findings(changed(4, **{column: "\ud800"})) == [EDITED]


def test_an_edited_hash_is_named() -> None:
    """The event's own, and the one before it."""
    assert findings(changed(4, hash="1" * 64)) == [EDITED]
    assert findings(changed(4, hash=LOG[3].hash.upper())) == [EDITED]
    assert findings(changed(4, previous_hash="1" * 64)) == [
        "Event 3 of staging (id 4) does not follow the one before it: its previous hash is another."
    ]


def test_an_event_whose_hash_was_made_anew_breaks_the_next() -> None:
    """Who goes on is found at the next one, up to the last."""
    edited = LOG[3]._replace(actor="nobody")
    events = changed(4, actor="nobody", hash=chain.link(edited.previous_hash, edited.chained))

    assert findings(events) == [
        "Event 4 of staging (id 6) does not follow the one before it: its previous hash is another."
    ]


def test_the_first_bad_event_of_each_environment_is_named() -> None:
    """What comes after it is only counted."""
    events = [event._replace(actor="nobody") if event.id > 3 else event for event in LOG]

    assert findings(events) == [
        EDITED,
        "Event 2 of prod (id 5) was changed after it was written: its hash is not of what it says.",
    ]


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("environment", None, "Event 3 of None (id 4) is damaged: its environment is not text."),
        ("environment", b"staging", "Event 3 of b'staging' (id 4) is damaged: its environment is not text."),
        ("sequence", "3", "Event 3 of staging (id 4) is damaged: its sequence is not a number."),
        ("sequence", 3.0, "Event 3.0 of staging (id 4) is damaged: its sequence is not a number."),
        ("sequence", True, "Event True of staging (id 4) is damaged: its sequence is not a number."),
        ("data", b"{}", "Event 3 of staging (id 4) is damaged: its data is not text."),
        ("data", {}, "Event 3 of staging (id 4) is damaged: its data is not text."),
        ("hash", 7, "Event 3 of staging (id 4) is damaged: its hash is not text."),
        ("id", "4", "Event 3 of staging (id 4) is damaged: its id is not a number."),
        ("id", True, "Event 3 of staging (id True) is damaged: its id is not a number."),
    ],
)
def test_what_is_of_another_type_is_named(column: str, value: object, what: str) -> None:
    """A database keeps anything in any column, and JSON anything in any member."""
    assert findings(changed(4, **{column: value}))[0] == what


# --- which events there are --------------------------------------------------------------------------------


def test_a_removed_event_is_named() -> None:
    """By its id and by its sequence."""
    assert findings([event for event in LOG if event.id != 4]) == [
        "Id 4 is missing: event 2 of prod (id 5) comes next.",
        "Event 3 of staging is missing: event 4 of staging (id 6) comes next.",
    ]
    assert findings([event for event in LOG if event.id not in {3, 4, 5}]) == [
        "Ids 3 to 5 are missing: event 4 of staging (id 6) comes next.",
        "Events 2 to 3 of staging are missing: event 4 of staging (id 6) comes next.",
        "Event 2 of prod is missing: event 3 of prod (id 7) comes next.",
    ]


def test_a_gap_in_a_log_that_was_written_anew_is_named() -> None:
    """All hashes fit; the sequence of an event is what does not."""
    skipped = chained(event._replace(sequence=event.sequence + (event.id > 3)) for event in LOG)

    assert findings(skipped) == [
        "Event 3 of staging is missing: event 4 of staging (id 4) comes next.",
        "Event 2 of prod is missing: event 3 of prod (id 5) comes next.",
    ]


def test_the_end_of_one_environment_leaves_a_gap() -> None:
    """Although its chain is intact, and no store says how long it was."""
    assert findings([event for event in LOG if event.id != 7]) == [
        "Id 7 is missing: event 5 of staging (id 8) comes next."
    ]


def test_an_inserted_event_is_named() -> None:
    """Also one that was put into its chain."""
    extra = chained([LOG[0], LOG[2], LOG[3]._replace(actor="nobody")])[-1]

    assert findings([*LOG[:4], extra._replace(id=9), *LOG[4:]])[:2] == [
        "Ids 5 to 8 are missing: event 3 of staging (id 9) comes next.",
        "Event 3 of staging (id 9) is out of place: event 4 was to come.",
    ]


def test_two_events_that_changed_places_are_named() -> None:
    """With their ids, or each with the id of the other."""
    swapped = [*LOG[:2], LOG[3], LOG[2], *LOG[4:]]
    moved = [event._replace(id=number) for number, event in enumerate(swapped, start=1)]

    assert findings(swapped)[:2] == [
        "Id 3 is missing: event 3 of staging (id 4) comes next.",
        "Event 2 of staging is missing: event 3 of staging (id 4) comes next.",
    ]
    assert findings(swapped)[2] == "Event 2 of staging (id 3) is out of place: it comes after id 4."
    assert findings(moved) == ["Event 2 of staging is missing: event 3 of staging (id 3) comes next."]


def test_two_environments_that_changed_places_are_found_by_a_checkpoint() -> None:
    """Their chains are intact; what happened before what is in the tree."""
    swapped = [LOG[1], LOG[0], *LOG[2:]]
    moved = [event._replace(id=number) for number, event in enumerate(swapped, start=1)]

    assert findings(moved) == []
    assert findings(moved, ANCHOR) == [
        "The first 8 events are not what was signed (checkpoint at anchors:8): the log was changed "
        "after event 0 of"
        " all, and written anew from there."
    ]


def test_an_event_that_was_given_to_another_environment_is_named() -> None:
    """In both."""
    assert findings(changed(4, environment="prod")) == [
        "Event 2 of prod is missing: event 3 of prod (id 4) comes next.",
        "Event 3 of staging is missing: event 4 of staging (id 6) comes next.",
    ]


# --- what a store says elsewhere ---------------------------------------------------------------------------


def test_what_the_store_sees_by_itself_comes_first() -> None:
    """Its faults are findings."""
    assert findings(LOG, store=facts(LOG, faults=("The file is damaged: yes.",))) == [
        "The file is damaged: yes."
    ]


def test_a_log_that_was_cut_off_carelessly_is_found_by_its_store() -> None:
    """By the record of the environment, by its history, and by the last id that was given out."""
    store = facts(LOG)

    assert findings(LOG[:7], store=store) == [
        "The log of staging ends at event 4, but its record is of event 5: its end was changed.",
        "The newest event has id 7, but ids up to 8 were given out: the end of the log was changed.",
    ]
    assert findings([], store=store) == [
        "The log of prod is empty, but its record is of event 3: its end was changed.",
        "The log of prod starts 0 rollouts, but its history has 1.",
        "The log of staging is empty, but its record is of event 5: its end was changed.",
        "The log of staging starts 0 rollouts, but its history has 1.",
        "The newest event has id 0, but ids up to 8 were given out: the end of the log was changed.",
    ]


def test_a_log_to_which_was_added_is_found_by_its_store() -> None:
    """Its record does not know of what was added."""
    assert findings(LOG, store=replace(facts(LOG), records={"prod": 2})) == [
        "The log of prod ends at event 3, but its record is of event 2: its end was changed.",
        "The log of staging ends at event 5, but its record is missing: its end was changed.",
    ]


def test_a_rollout_that_was_taken_out_of_the_history_is_found() -> None:
    """Or was put there."""
    assert findings(LOG, store=replace(facts(LOG), rollouts={"staging": 2})) == [
        "The log of prod starts 1 rollout, but its history has 0.",
        "The log of staging starts 1 rollout, but its history has 2.",
    ]


def test_the_length_of_a_broken_log_is_not_compared() -> None:
    """It has its finding, and another one would say less."""
    store = replace(facts(LOG), records={"staging": 99, "prod": 3})

    assert findings(changed(4, actor="nobody"), store=store) == [EDITED]


def unreadable() -> Iterator[RawEvent]:
    """A log of which only five events can be read."""
    yield from itertools.islice(LOG, 5)
    message = "line 6 is not JSON"
    raise UnreadableLog(message)


def test_a_log_that_cannot_be_read_on_is_a_finding() -> None:
    """What cannot be read is not taken for missing; what was read is held against the checkpoints."""
    expected = "After 5 events the log cannot be read on: line 6 is not JSON."
    report = verify(unreadable(), anchors=[ANCHOR, anchor(LOG, 4)], keys=[KEY], store=facts(LOG))

    assert report.findings == (expected,)
    assert verify(unreadable(), anchors=[anchor(log(*"abcd"))], keys=[KEY]).findings == (
        expected,
        "The first 4 events are not what was signed (checkpoint at anchors:4): the log was changed "
        "after event 0 of"
        " all, and written anew from there.",
    )


# --- checkpoints -------------------------------------------------------------------------------------------


def test_a_log_that_was_cut_off_with_care_is_found_by_its_checkpoint() -> None:
    """With a store that fits it: an older copy looks the same."""
    short = LOG[:6]

    assert findings(short, store=facts(short)) == []
    assert findings(short, anchor(LOG, 5), ANCHOR, anchor(LOG, 7), store=facts(short)) == [
        "Events 7 to 8 are missing: the log has 6 events, but 8 were signed (checkpoint at anchors:8)."
    ]
    assert findings(LOG[:7], ANCHOR) == [
        "Event 8 is missing: the log has 7 events, but 8 were signed (checkpoint at anchors:8)."
    ]


def test_a_log_that_was_written_anew_is_found_by_its_checkpoint() -> None:
    """All its hashes fit. The checkpoints say between which sizes it was changed."""
    forged = chained(changed(4, actor="nobody"))

    assert findings(forged, store=facts(forged)) == []
    assert findings(forged, *(anchor(LOG, size) for size in (8, 1, 3, 6, 0))) == [
        "The first 6 events are not what was signed (checkpoint at anchors:6): the log was changed "
        "after event 3 of"
        " all, and written anew from there."
    ]


def test_what_is_newer_than_the_newest_checkpoint_is_bound_by_its_chain_alone() -> None:
    """Written anew, it looks intact: the next checkpoint is what binds it."""
    forged = chained(changed(8, actor="nobody"))

    assert findings(forged, anchor(LOG, 7)) == []
    assert len(findings(forged, ANCHOR)) == 1


def test_an_edited_event_does_not_fit_its_checkpoint_either() -> None:
    """The tree is made of what the events say, not of the hashes that are stored with them."""
    assert findings(changed(4, actor="nobody"), anchor(LOG, 3), ANCHOR) == [
        EDITED,
        "The first 8 events are not what was signed (checkpoint at anchors:8): the log was changed "
        "after event 3 of"
        " all, and written anew from there.",
    ]
    assert len(findings(changed(4, actor="\ud800"), ANCHOR)) == 2


def test_a_checkpoint_of_nothing_has_the_root_of_nothing() -> None:
    """It is signed before the first event."""
    wrong = NoteSigner("ada").note(ORIGIN, 0, bytes(32))

    assert findings(LOG, anchor(LOG, 0)) == []
    assert findings(LOG, Anchor(place="x", note=wrong)) == [
        "No events are not what was signed (checkpoint at x): the log was changed after event 0 of "
        "all, and written"
        " anew from there."
    ]


def test_another_root_of_the_same_size_is_found() -> None:
    """Whichever of the two comes first: the log was shown to somebody with another history."""
    other = anchor(chained(changed(4, actor="nobody")))

    assert len(findings(LOG, ANCHOR, other)) == len(findings(LOG, other, ANCHOR)) == 1


def test_a_checkpoint_of_another_key_is_not_believed() -> None:
    """It is a finding, and its size and its root do not matter."""
    forged = anchor(log(*NAMES, "staging"), signer="eve")

    assert findings(LOG, forged) == ["The checkpoint at anchors:9 is not signed with a key that was given."]
    assert verify(LOG, anchors=[forged, ANCHOR], keys=[NoteSigner("eve").key, KEY]).findings == (
        "Event 9 is missing: the log has 8 events, but 9 were signed (checkpoint at anchors:9).",
    )


def test_a_signature_that_does_not_fit_is_named_with_its_reason() -> None:
    """For another purpose, or of another text."""
    note = ANCHOR.note
    [line] = note.signatures
    blob = NoteSigner("ada").sign(note.checkpoint.text.encode(), namespace="git")
    bad = SignedCheckpoint(checkpoint=note.checkpoint, signatures=(replace(line, value=blob),))

    assert findings(LOG, replace(ANCHOR, note=bad)) == [
        "The checkpoint at anchors:8 has a signature that is no good: it was made for git, not for "
        "deployer-audit."
    ]


def test_all_checkpoints_are_of_one_log() -> None:
    """Of that which was named, or else of that of the first."""
    other = anchor(LOG, 3, origin="elsewhere")
    sentence = "The checkpoint at {} is of another log: its origin is {}, not {}."

    assert findings(LOG, ANCHOR, other) == [sentence.format("anchors:3", "elsewhere", ORIGIN)]
    assert findings(LOG, other, ANCHOR) == [sentence.format("anchors:8", ORIGIN, "elsewhere")]
    assert verify(LOG, anchors=[ANCHOR], keys=[KEY], origin="elsewhere").findings == (
        sentence.format("anchors:8", ORIGIN, "elsewhere"),
    )


def test_what_a_row_holds_does_no_harm_where_it_is_shown() -> None:
    """No terminal code, and not a whole page of it."""
    assert shown("a\x1b[2J\n\u202e\ud800b") == "a\ufffd[2J\ufffd\ufffd\ufffdb"
    assert shown("a" * 80) == "a" * 80
    assert shown("a" * 81) == "a" * 80 + "..."
    assert findings(changed(1, environment="x" * 99, sequence=2))[0] == (
        f"Event 1 of {'x' * 80}... is missing: event 2 of {'x' * 80}... (id 1) comes next."
    )


@given(st.data())
def test_any_change_is_found(data: st.DataObject) -> None:
    """Of any column of any event to any other value of its type, or of another."""
    place = data.draw(st.integers(1, len(LOG)))
    column = data.draw(st.sampled_from(RawEvent._fields))
    before = getattr(LOG[place - 1], column)
    value = data.draw((st.integers() | st.text() | st.none()).filter(lambda value: value != before))

    assert findings(changed(place, **{column: value}))


@given(st.permutations(LOG), st.integers(0, len(LOG) - 1))
def test_any_other_order_or_selection_is_found(events: list[RawEvent], length: int) -> None:
    """Against the newest checkpoint, and if ids are given out anew."""
    kept = [event._replace(id=number) for number, event in enumerate(events[:length], start=1)]

    assert findings(kept, ANCHOR)
    if events != LOG:
        assert findings([event._replace(id=number) for number, event in enumerate(events, 1)], ANCHOR)
