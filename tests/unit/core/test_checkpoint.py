"""Checkpoints: the grammar of tlog-checkpoint and signed-note, and whose signature counts."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.checkpoint import (
    Checkpoint,
    InvalidCheckpoint,
    NoteSignature,
    SignedCheckpoint,
    key_id,
    parse,
    parse_all,
    signed,
)
from deployer.core.sshsig import InvalidSignature
from tests.support.note_signer import NoteSigner

ORIGIN = "deployer.example.com/audit"
ADA, EVE = NoteSigner("ada"), NoteSigner("eve")
ROOT = bytes(range(32))
NOTE = ADA.note(ORIGIN, 1024, ROOT)
TEXT = NOTE.text
BEGIN, _, LINES = TEXT.partition("\n\n")

# The example of https://c2sp.org/tlog-checkpoint, signed by a key of another kind.
C2SP = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u2014 "
    "example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+"
    "zyWE+xeMcTOAYQ8=\n"
)

NAMES = st.from_regex(r"\A[a-z0-9./-]{1,30}\Z") | st.sampled_from(["\u00fcber/log", "log!", "\u2014x"])


def test_a_note_is_what_the_specifications_say() -> None:
    """Three lines, an empty one, and the signature of ssh behind the id of its key."""
    [first, size, root, empty, line, end] = TEXT.split("\n")
    [dash, name, value] = line.split(" ")
    blob = base64.b64decode(value)

    assert (first, size, empty, end) == (ORIGIN, "1024", "", "")
    assert base64.b64decode(root) == ROOT
    assert (dash, name) == ("\u2014", ORIGIN)
    assert blob[4:].startswith(b"SSHSIG")
    ssh_key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + ADA.key.raw
    hashed = ORIGIN.encode() + b"\n\xffsshsig/deployer-audit\n" + ssh_key
    assert blob[:4] == hashlib.sha256(hashed).digest()[:4]


def test_the_id_of_a_key_is_what_every_version_before_computed() -> None:
    """Another one would make every note that was kept look as if nobody had signed it."""
    assert key_id(ORIGIN, ADA.key).hex() == "4b2fa999"


def test_the_example_of_the_specification_is_read() -> None:
    """Its signature is of a kind and a key that are not ours, and is let stand."""
    note = parse(C2SP)

    assert (note.checkpoint.origin, note.checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert note.text == C2SP
    assert not note.is_signed_by(ADA.key)


@given(NAMES, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(origin: str, size: int, root: bytes) -> None:
    """Every checkpoint comes back equal, and the same bytes."""
    line = NoteSignature(name="someone", key_id=b"1234", value=b"x")
    note = SignedCheckpoint(checkpoint=Checkpoint(origin=origin, size=size, root=root), signatures=(line,))

    assert parse(note.text) == note
    assert parse(note.text).text == note.text


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 0, ROOT),
        ("a b", 0, ROOT),
        ("a+b", 0, ROOT),
        ("a\u200bb", 0, ROOT),
        ("a", -1, ROOT),
        ("a", 2**63, ROOT),
        ("a", 0, ROOT[:31]),
    ],
)
def test_what_could_not_be_written_is_not_made(origin: str, size: int, root: bytes) -> None:
    """So nothing is signed that nobody could read again."""
    with pytest.raises(InvalidCheckpoint):
        Checkpoint(origin=origin, size=size, root=root)


# --- whose signature counts --------------------------------------------------------------------------------


def test_a_note_is_signed_by_its_key() -> None:
    """And by no other."""
    assert parse(TEXT).is_signed_by(ADA.key)
    assert not parse(TEXT).is_signed_by(EVE.key)


def test_a_witness_may_sign_too() -> None:
    """What others wrote below a note does not matter, whatever their ids are."""
    witness = NoteSignature(name="witness.example.com", key_id=b"\0\0\0\1", value=b"?" * 64)
    same_id = NoteSignature(name="witness.example.com", key_id=key_id(ORIGIN, ADA.key), value=b"?" * 64)
    same_name = NoteSignature(name=ORIGIN, key_id=b"\0\0\0\1", value=b"?" * 64)
    note = parse(replace(NOTE, signatures=(witness, same_id, *NOTE.signatures, same_name)).text)

    assert note.is_signed_by(ADA.key)


def test_two_keys_may_sign() -> None:
    """While one is replaced by the other."""
    both = replace(NOTE, signatures=(*NOTE.signatures, *EVE.note(ORIGIN, 1024, ROOT).signatures))

    assert parse(both.text).is_signed_by(ADA.key)
    assert parse(both.text).is_signed_by(EVE.key)


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(ADA.sign(b"another text"), id="of another text"),
        pytest.param(ADA.sign(NOTE.checkpoint.text.encode(), namespace="git"), id="for commits"),
        pytest.param(EVE.sign(NOTE.checkpoint.text.encode()), id="by another key"),
        pytest.param(ADA.sign(NOTE.text.encode()), id="of the whole note"),
        pytest.param(b"x", id="nothing"),
    ],
)
def test_a_signature_that_does_not_fit_spoils_the_note(blob: bytes) -> None:
    """Also beside one that fits: whoever put it there wanted something."""
    [good] = NOTE.signatures
    bad = replace(good, value=blob)

    with pytest.raises(InvalidSignature):
        parse(replace(NOTE, signatures=(bad,)).text).is_signed_by(ADA.key)
    with pytest.raises(InvalidSignature):
        parse(replace(NOTE, signatures=(good, bad)).text).is_signed_by(ADA.key)
    with pytest.raises(InvalidSignature):
        signed(NOTE.checkpoint, ADA.key, blob)


@pytest.mark.parametrize(
    "changed",
    [
        replace(NOTE.checkpoint, size=1023),
        replace(NOTE.checkpoint, root=bytes(32)),
        replace(NOTE.checkpoint, origin="deployer.example.com/other"),
    ],
)
def test_a_changed_checkpoint_is_not_signed(changed: Checkpoint) -> None:
    """Neither under its name, nor with the id that the key has under that name."""
    line = NoteSignature(
        name=changed.origin, key_id=key_id(changed.origin, ADA.key), value=NOTE.signatures[0].value
    )
    assert not replace(NOTE, checkpoint=replace(changed, origin="elsewhere")).is_signed_by(ADA.key)
    with pytest.raises(InvalidSignature, match="the key did not sign this text"):
        replace(NOTE, checkpoint=changed, signatures=(line,)).is_signed_by(ADA.key)


# --- the grammar -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no checkpoint in it"),
        ("\n\n", "there is no checkpoint in it"),
        (TEXT.removesuffix("\n"), "line 5 does not end: it was cut off"),
        (BEGIN + "\n", "the checkpoint in line 1 has no signature"),
        (f"{BEGIN}\n\n", "the checkpoint in line 1 has no signature"),
        (f"{BEGIN}\n\n\n{LINES}", "the checkpoint in line 1 has no signature"),
        (f"{BEGIN}\n\n{LINES * 65}", "the checkpoint in line 1 has more than 64 signatures"),
        (f"{BEGIN}\nmore\n\n{LINES}", "line 4 is to be empty: a checkpoint has three lines"),
        (TEXT.replace(ORIGIN, "a b", 1), "line 1 is no origin"),
        (TEXT.replace(ORIGIN, "a+b", 1), "line 1 is no origin"),
        (TEXT.replace(ORIGIN, "a\u00a0b", 1), "line 1 is no origin"),
        (TEXT.replace(ORIGIN, "a\u202eb", 1), "line 1 is no origin"),
        (f"{ORIGIN}\n", "line 2 is no number of events"),
        (f"\n\n{ORIGIN}\n\n", "line 4 is no number of events"),
        (TEXT.replace("1024", "01024"), "line 2 is no number of events"),
        (TEXT.replace("1024", "+1024"), "line 2 is no number of events"),
        (TEXT.replace("1024", "1,024"), "line 2 is no number of events"),
        (TEXT.replace("1024", " 1024"), "line 2 is no number of events"),
        (TEXT.replace("1024", "\u0661"), "line 2 is no number of events"),
        (TEXT.replace("1024", str(2**63)), "line 2 is no number of events"),
        (TEXT.replace("1024", "9" * 5000), "line 2 is no number of events"),
        (f"{ORIGIN}\n1024\n", "line 3 is no root"),
        (TEXT.replace("Hh8=", "Hh8"), "line 3 is no root"),
        (TEXT.replace("Hh8=", "Hh9="), "line 3 is no root"),
        (TEXT.replace("Hh8=", "AAAA"), "line 3 is no root"),
        (TEXT.replace("Hh8=", "Hh8= "), "line 3 is no root"),
        (TEXT.replace("Hh8=", "Hh\u00e4="), "line 3 is no root"),
        (TEXT.replace("\n", "\r\n"), "line 1 has a control character"),
        (TEXT + "\t\n", "line 6 has a control character"),
        (f"{BEGIN}\n\n\u2014 {ORIGIN}\n", "line 5 is no signature"),
        (f"{BEGIN}\n\n\u2014 {ORIGIN} \n", "line 5 is no signature"),
        (f"{BEGIN}\n\n\u2014 {ORIGIN} AAAAAA==\n", "line 5 is no signature"),
        (f"{BEGIN}\n\n\u2014 {ORIGIN} AAAAAAB=\n", "line 5 is no signature"),
        (f"{BEGIN}\n\n\u2014 {ORIGIN}  AAAAAAA=\n", "line 5 is no signature"),
        (f"{BEGIN}\n\n\u2014 a+b AAAAAAA=\n", "line 5 is no signature"),
        (f"{BEGIN}\n\n\u2014  AAAAAAA=\n", "line 5 is no signature"),
        (f"{BEGIN}\n\n- {ORIGIN} AAAAAAA=\n", "the checkpoint in line 1 has no signature"),
        (f"{TEXT}{ORIGIN}\n", "line 7 is no number of events"),
    ],
)
def test_what_is_no_note_is_refused(text: str, why: str) -> None:
    """With the line, and without a word of what stands there."""
    with pytest.raises(InvalidCheckpoint) as caught:
        parse_all(text)

    assert str(caught.value).startswith(why)


def test_one_is_one() -> None:
    """Where one note is asked for, nothing stands before it or behind it."""
    for text in (TEXT * 2, f"\n{TEXT}", f"{TEXT}\n"):
        with pytest.raises(InvalidCheckpoint, match="there is to be one checkpoint"):
            parse(text)


@pytest.mark.parametrize("between", ["", "\n", "\n\n\n"])
def test_notes_may_stand_below_one_another(between: str) -> None:
    """As in a file that is only ever added to; each knows its line."""
    texts = [TEXT, ADA.note(ORIGIN, 2048, ROOT).text, C2SP]
    notes = parse_all(f"{between}{between.join(texts)}{between}")
    lines = [len(between) + 1, 2 * len(between) + 6, 3 * len(between) + 11]

    assert [note.text for note in notes] == texts
    assert [note.line for note in notes] == lines


def test_the_log_of_a_branch_is_read() -> None:
    """What `git log` prints where each message is a note, the newest first."""
    texts = [ADA.note(ORIGIN, size, ROOT).text for size in (2048, 1024)]
    log = "\n".join(
        f"commit {number * 40} (HEAD -> main)\nAuthor: Ada <ada@example.com>\nDate:   Mon\n\n"
        + "".join(f"    {line}\n" for line in text.splitlines())
        for number, text in zip("ab", texts, strict=True)
    )
    notes = parse_all(log)

    assert [note.text for note in notes] == texts
    assert notes[0].line == 5


@given(st.text(alphabet=st.sampled_from(f"{TEXT}0 \r"), max_size=300) | st.text(max_size=100))
def test_any_text_is_notes_or_refused(text: str) -> None:
    """Nothing else is raised, and what is read is all that is there."""
    try:
        notes = parse_all(text)
    except InvalidCheckpoint:
        return
    assert "".join(note.text for note in notes).replace("\n", "") == text.replace("\n", "")


def is_signed(note: bytes) -> bool:
    """Whether these bytes are a note that the key signed."""
    try:
        return parse(note.decode()).is_signed_by(ADA.key)
    except (UnicodeDecodeError, InvalidCheckpoint, InvalidSignature):
        return False


@given(st.integers(0, len(TEXT.encode()) - 1), st.integers(1, 255))
def test_no_byte_of_a_note_can_be_another(place: int, change: int) -> None:
    """It is no note, or signed by nobody, or by nobody who could have."""
    changed = bytearray(TEXT.encode())
    changed[place] ^= change

    assert is_signed(TEXT.encode())
    assert not is_signed(bytes(changed))
