"""What is anchored of a log, and whether it is still the log that was signed."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import anchoring, checkpoint
from deployer.core.anchoring import Anchorage, Kept, KeptNote, Loss, Misfit
from deployer.core.events import DaemonStopped, Event, StoreRestored
from deployer.core.merkle import EMPTY, Frontier, root
from tests.support.note_signer import NoteSigner

ORIGIN = "deployer.example.com/audit"
AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SIGNER = NoteSigner("ada")
HASHES = [f"{number:064x}" for number in range(1, 10)]
ROOTS = [root(bytes.fromhex(one) for one in HASHES[:size]) for size in range(10)]


def kept(size: int, *, origin: str = ORIGIN, at: datetime = AT, of: bytes | None = None) -> KeptNote:
    """A checkpoint of the log of `HASHES`, or with another root."""
    return KeptNote(note=SIGNER.note(origin, size, of or ROOTS[size]), at=at)


# --- the ref ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        ("deployer.example.com/audit", "deployer.example.com%2Faudit"),
        ("plain-1_a", "plain-1_a"),
        ("..", "%2E%2E"),
        (".a.", "%2Ea%2E"),
        ("a..b", "a%2E.b"),
        ("a.lock", "a%2Elock"),
        ("a.lock.b", "a.lock.b"),
        ("a%2Fb", "a%252Fb"),
        ("a~b^c:d?e*f[g\\h", "a%7Eb%5Ec%3Ad%3Fe%2Af%5Bg%5Ch"),
        ("@{-1}", "%40%7B-1%7D"),
    ],
)
def test_a_name_becomes_a_ref(name: str, ref: str) -> None:
    """What git does not take is written as in a URL."""
    assert anchoring.ref_below(name) == f"deployer/audit/{ref}"


NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="+"), min_size=1, max_size=80
)


@given(NAMES)
def test_git_takes_every_ref(name: str) -> None:
    """And no part of it is longer than the name of a file may be."""
    ref = f"refs/{anchoring.ref_below(name)}"
    done = subprocess.run(["git", "check-ref-format", ref], check=False, timeout=20)
    assert done.returncode == 0
    assert all(len(part) <= 255 - len(".lock") for part in ref.split("/"))


@given(NAMES, NAMES)
def test_no_two_names_share_a_ref(one: str, other: str) -> None:
    """Nor is one the folder of another."""
    refs = anchoring.ref_below(one), anchoring.ref_below(other)
    assert (refs[0] == refs[1]) == (one == other)
    assert all(ref.count("/") == 2 for ref in refs)


# --- the tree ---------------------------------------------------------------------------------------------


def test_a_tree_grows_by_what_comes_next() -> None:
    """Part by part."""
    tree = Frontier()
    anchoring.grow(tree, [(1, HASHES[0]), (2, HASHES[1])])
    anchoring.grow(tree, [(3, HASHES[2])])
    assert (tree.size, tree.root) == (3, ROOTS[3])


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([(1, HASHES[0]), (3, HASHES[1])], "after its event 1 comes one with id 3"),
        ([("1", HASHES[0])], "after its event 0 comes one with id 1"),
        ([(1, None)], "the hash of the event with id 1 is none"),
        ([(1, "ab")], "the hash of the event with id 1 is none"),
        ([(1, HASHES[0].upper().replace("0", "A"))], "the hash of the event with id 1 is none"),
    ],
)
def test_what_does_not_come_next_is_refused(rows: list[tuple[object, object]], why: str) -> None:
    """A gap, an id that is no number, a hash that is none."""
    with pytest.raises(Misfit) as caught:
        anchoring.grow(Frontier(), rows)
    assert (str(caught.value), caught.value.is_proof) == (why, True)


# --- whether it fits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(6))
def test_a_checkpoint_of_this_log_fits(size: int) -> None:
    """Whether the log has grown since or not; also that of no event."""
    assert anchoring.fits(kept(size), ORIGIN, 5, ROOTS[size] if size else EMPTY)


@pytest.mark.parametrize(
    ("note", "root_there", "why", "is_proof"),
    [
        (kept(7), None, "7 events were signed, and the store has 5", True),
        (kept(4), ROOTS[3], "the first 4 events of the store are not those that were signed", True),
        (
            kept(4, origin="x"),
            ROOTS[4],
            f"it is of another log: its origin is x, not {ORIGIN}",
            False,
        ),
    ],
)
def test_one_of_another_log_does_not(note: KeptNote, root_there: bytes, why: str, is_proof: bool) -> None:
    """Cut off, written anew, or of another name."""
    with pytest.raises(Misfit) as caught:
        anchoring.fits(note, ORIGIN, 5, root_there)
    assert (str(caught.value), caught.value.is_proof) == (why, is_proof)


def test_what_a_person_gave_up_is_excused() -> None:
    """What was signed of it before; nothing below, above, or after."""
    losses = [Loss(kept=3, had=7, at=AT)]
    for size in (4, 7):
        assert not anchoring.fits(kept(size, at=AT), ORIGIN, 5, b"x", losses)
        assert anchoring.fits(kept(5), ORIGIN, 5, ROOTS[5], losses)
    for note in (kept(3), kept(8), kept(5, at=AT + timedelta(seconds=1))):
        with pytest.raises(Misfit):
            anchoring.fits(note, ORIGIN, 5, b"x", losses)


def test_what_a_person_named_is_excused_whenever_it_was_signed() -> None:
    """The clock may have been ahead; but it is of what was given up, and nothing else."""
    late = AT + timedelta(hours=1)
    losses = [Loss(kept=3, had=7, at=AT, roots=frozenset({ROOTS[5].hex(), ROOTS[8].hex(), ROOTS[2].hex()}))]
    assert not anchoring.fits(kept(5, at=late), ORIGIN, 4, b"x", losses)
    for note in (kept(5, at=late, of=ROOTS[6]), kept(6, at=late), kept(8, at=late), kept(2, at=late)):
        with pytest.raises(Misfit):
            anchoring.fits(note, ORIGIN, 4, b"x", losses)


def test_what_is_excused_says_how_much_was_left() -> None:
    """Of several that gave it up, the one that left the most."""
    losses = [Loss(kept=3, had=7, at=AT), Loss(kept=5, had=7, at=AT), Loss(kept=4, had=7, at=AT)]
    assert [anchoring.excused(kept(size), losses) for size in (3, 4, 5, 6, 8)] == [None, 3, 4, 5, None]


def test_a_log_is_not_shorter_than_is_remembered() -> None:
    """Unless a person has restored an older copy since, or said that so many were lost."""
    late = AT + timedelta(seconds=1)
    losses = [Loss(kept=3, had=7, at=AT)]
    for size, at, known in (
        (5, AT, []),
        (0, None, []),
        (7, late, losses),
        (9, AT, losses),
        (9, None, losses),
    ):
        anchoring.remembers(Kept(place="file", where="/x", size=size, at=at), 5, known)
    for size, at, known in ((6, AT, []), (9, late, losses), (6, AT, [Loss(kept=6, had=9, at=late)])):
        with pytest.raises(Misfit, match=f"{size} events were signed, and the store has 5") as caught:
            anchoring.remembers(Kept(place="file", where="/x", size=size, at=at), 5, known)
        assert caught.value.is_proof


def test_a_loss_is_what_the_log_says_of_one() -> None:
    """As far as it was known: what the store had beyond the copy, and what had been signed."""

    def restored(lost: int | None, signed: int, *roots: str) -> StoreRestored:
        return StoreRestored(at=AT, backup="sha256:0", events=10, lost=lost, signed=signed, given_up=roots)

    events: list[Event] = [
        restored(5, 0),
        DaemonStopped(at=AT),
        restored(5, 20),
        restored(None, 12),
        restored(0, 0, "a", "b"),
    ]
    assert anchoring.losses(events) == [
        Loss(kept=10, had=15, at=AT),
        Loss(kept=10, had=20, at=AT),
        Loss(kept=10, had=12, at=AT),
        Loss(kept=10, had=10, at=AT, roots=frozenset("ab")),
    ]


def test_a_refusal_says_what_to_do() -> None:
    """Another thing for a store that was changed than for a log that was given another name."""
    proof = anchoring.refusal(Misfit("x"), "y")
    assert proof.startswith("The store is not the one that was signed: x (y). Nothing is signed any more. ")
    assert "`deployer restore FILE --accept-loss --reason TEXT --checkpoint ANCHORS --key KEY`" in proof
    assert "`git log --format=%B` prints of the ref" in proof
    assert "move that file away" in anchoring.refusal(Misfit("x", is_proof=False), "y")


# --- notes ------------------------------------------------------------------------------------------------


def test_a_commits_message_is_a_note() -> None:
    """Also where git left its last line break out; anything else is nothing that proves anything."""
    note = kept(3).note
    assert anchoring.read(note.text) == anchoring.read(note.text.rstrip("\n")) == note
    for text in ("", "hello\n", f"{note.text}{note.text}"):
        with pytest.raises(Misfit, match="it is no checkpoint") as caught:
            anchoring.read(text)
        assert not caught.value.is_proof


def test_a_file_that_was_cut_off_is_whole_up_to_the_last_note() -> None:
    """Wherever it was cut."""
    first, second = kept(3).note.text, kept(5).note.text
    text = first + second
    for end in range(len(text) + 1):
        whole, torn = anchoring.split(text[:end])
        assert whole + torn == text[:end]
        assert whole == ("" if end < len(first) else first if end < len(text) else text)


def test_the_newest_of_a_file_is_its_last() -> None:
    """However many signatures it has, and whatever stands before it."""
    note = kept(5).note
    other = NoteSigner("eve").note(ORIGIN, 5, ROOTS[5])
    two = f"{note.text}{other.signatures[0].line}"
    for before in ("", kept(3).note.text, "rubbish\n"):
        assert anchoring.newest(before + note.text) == note
        found = anchoring.newest(before + two)
        assert found is not None
        assert len(found.signatures) == 2
    assert anchoring.newest("") is None
    with pytest.raises(Misfit):
        anchoring.newest("hello\n\u2014 a b\n")


def test_all_of_a_file_are_its_notes() -> None:
    """As far as it is whole; what is anything else is told."""
    first, second = kept(3).note, kept(5).note
    assert anchoring.notes("") == anchoring.notes(first.text[:-3]) == []
    assert [note.text for note in anchoring.notes(first.text + second.text)] == [first.text, second.text]
    assert anchoring.notes(first.text + second.text[:-3]) == [first]
    with pytest.raises(Misfit, match="it is no file of checkpoints") as caught:
        anchoring.notes(f"hello\n{first.text}")
    assert not caught.value.is_proof


def test_a_note_is_one_line_for_syslog() -> None:
    """Printable ASCII, within what syslog must take; all of the note is in it."""
    note = SIGNER.note("a" * 80, 10**18, ROOTS[3])
    line = anchoring.line(note)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 1024 - 100
    words = line.split(" ")
    assert words[:2] == ["audit", "checkpoint"]
    again = f"{words[2]}\n{words[3]}\n{words[4]}\n\n\u2014 {words[5]} {words[6]}\n"
    assert checkpoint.parse(again) == note


# --- what is known of the places --------------------------------------------------------------------------

ONE = Kept(place="git", where="refs/x of y", size=7, at=AT, trouble="It is down.")
FILE = Kept(place="file", where="/x")


def test_what_is_known_is_read_as_it_was_written() -> None:
    """And of a place of another name nothing is known."""
    known = Anchorage(kept=(FILE, ONE), misfit="")
    assert anchoring.anchorage(known.text) == known
    assert known.of("git", "refs/x of y") is ONE
    assert known.of("git", "elsewhere") == Kept(place="git", where="elsewhere")
    assert anchoring.anchorage(Anchorage(misfit="x").text) == Anchorage(misfit="x")


PLACE = '{"misfit": "", "kept": [{"place": "file", "where": "x", "size": %s, "at": %s, "trouble": ""}]}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"kept": [{}]}',
        '{"kept": [1], "misfit": ""}',
        PLACE % ("1e999", "null"),
        PLACE % ("1", '"2026-11-24T03:00:00"'),
        PLACE % ("1", "7"),
        '{"misfit": "", "kept": ' + "[" * 100_000,
    ],
    ids=lambda text: text[:100] or "empty",
)
def test_what_is_nothing_of_the_kind_is_nothing(text: str) -> None:
    """It is found out again."""
    assert anchoring.anchorage(text) == Anchorage()
