"""Signatures by real gpg and ssh-keygen: which count, which do not, and what is said of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.git import GitUnavailable
from deployer.adapters.git._claims import claim
from deployer.adapters.git._errors import MirrorBroken
from deployer.adapters.git._signatures import Signers, Unsigned, Verifier
from deployer.core.types import Signature
from tests.contract.git_mirror.world import CONFIG, World, bring, children, put_program
from tests.support.signing import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GITHUB = "GitHub <noreply@github.com>"

X509 = "-----BEGIN SIGNED MESSAGE-----\n MIIB\n -----END SIGNED MESSAGE-----"
EMPTY_PGP = "-----BEGIN PGP SIGNATURE-----\n \n aGVsbG8=\n -----END PGP SIGNATURE-----"
EMPTY_SSH = "-----BEGIN SSH SIGNATURE-----\n aGVsbG8=\n -----END SSH SIGNATURE-----"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """The key pairs of all tests."""
    keys = Keys(tmp_path_factory.mktemp("keys"))
    yield keys
    keys.close()


@dataclass
class Bench:
    """A repository whose commits are signed, its mirror, and the operator's files."""

    world: World
    keys: Keys

    @property
    def allowed(self) -> Path:
        """The operator's allowed signers."""
        return self.world.folder / "allowed_signers"

    @property
    def keyring(self) -> Path:
        """The operator's GPG keys."""
        return self.world.folder / "keyring.asc"

    @property
    def home(self) -> Path:
        """The verifier's folder."""
        return self.world.folder / "signers"

    def operator(
        self, *, ssh: str | None = None, gpg: tuple[str, ...] | None = None, revoked: bool = False
    ) -> Signers:
        """Write the operator's files: lines of allowed signers with `{ada}` for a key, names of GPG keys."""
        if ssh is not None:
            lines = ssh.format(ada=self.keys.public("ada"), eve=self.keys.public("eve"))
            self.allowed.write_bytes(lines.encode("utf-8", "surrogateescape"))
        if gpg is not None:
            self.keys.export(self.keyring, *gpg, armor=True, revoked=revoked)
        return Signers(
            allowed_signers_file=None if ssh is None else self.allowed,
            gpg_keyring_file=None if gpg is None else self.keyring,
        )

    def sign(self, **how: str) -> str:
        """A signed commit on main."""
        return self.keys.sign(self.world.origin, **how)

    def signed(self, **how: str) -> str:
        """The same, and the mirror has it."""
        commit = self.sign(**how)
        bring(self.world.mirror())
        return commit

    def rewrite(self, commit: str, old: bytes, new: bytes) -> str:
        """The commit with other bytes, on main."""
        origin = self.world.origin
        raw = subprocess.run(
            ["git", f"--git-dir={origin.path}", "cat-file", "commit", commit], capture_output=True, check=True
        ).stdout
        assert old in raw
        made = origin.git("hash-object", "-t", "commit", "-w", "--stdin", data=raw.replace(old, new, 1))
        origin.branch("main", made)
        return made

    def with_header(self, signature: str) -> str:
        """A commit with this in place of a signature."""
        return self.rewrite(self.sign(), b"\n\n", f"\ngpgsig {signature}\n\n".encode())

    def twice(self, one: str, other: str) -> str:
        """A commit with the signatures of two GPG keys, both good."""
        origin = self.world.origin
        base = origin.head() or ""
        second = origin.git("cat-file", "commit", self.sign(gpg=other))
        origin.branch("main", base)
        header = second[second.index("gpgsig") : second.index("\n\n")]
        return self.rewrite(self.sign(gpg=one), b"\n\n", f"\n{header}\n\n".encode())

    def verify(self, signers: Signers, commit: str) -> Signature:
        """Fetch, and verify in the mirror."""
        mirror = self.world.mirror()
        bring(mirror)
        return Verifier(signers, self.home).verify(mirror._open(), commit)


@pytest.fixture
def bench(local: World, keys: Keys) -> Bench:
    """With one unsigned commit on main."""
    local.origin.commit({CONFIG: "1"})
    return Bench(local, keys)


GOOD_SSH = "ada@example.com {ada}\n"
ADAS: dict[str, Any] = {"ssh": GOOD_SSH, "gpg": ("ada",)}

CASES = [
    pytest.param(lambda bench: bench.sign(ssh="ada"), ADAS, (True, "G"), "ada@example.com ssh_ada", id="ssh"),
    pytest.param(
        lambda bench: bench.sign(gpg="ada"), ADAS, (True, "G"), "Ada <ada@example.com> gpg_ada", id="gpg"
    ),
    pytest.param(
        lambda bench: bench.sign(),
        ADAS,
        (False, "N"),
        "commit {short} by Ada <ada@example.com> carries no signature: sign it (git commit --amend"
        " --no-edit -S) and push it again",
        id="unsigned",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="eve"),
        ADAS,
        (False, "U"),
        "commit {short} by Ada <ada@example.com> is signed with ssh key {ssh_eve}, which is not in"
        " allowed_signers_file: sign it with another key and push it again, or have an operator add it",
        id="ssh-unknown-key",
    ),
    pytest.param(
        lambda bench: bench.sign(gpg="eve", committer=GITHUB),
        ADAS,
        (False, "E"),
        "commit {short} by Ada <ada@example.com>, committed by GitHub <noreply@github.com>, is signed"
        " with GPG key {gpg_eve_short}, which is not in gpg_keyring_file: sign it with another key and"
        " push it again, or have an operator add it",
        id="gpg-unknown-key",
    ),
    pytest.param(
        lambda bench: bench.rewrite(bench.sign(ssh="ada"), b"\n\nchange", b"\n\nchanged"),
        ADAS,
        (False, "B"),
        "commit {short} by Ada <ada@example.com> has a signature by ssh key {ssh_ada} that does not fit:"
        " it was changed after it was signed, or the namespaces in allowed_signers_file leave out"
        " git: sign it again, or have an operator correct it",
        id="ssh-tampered",
    ),
    pytest.param(
        lambda bench: bench.rewrite(bench.sign(gpg="ada"), b"\n\nchange", b"\n\nchanged"),
        ADAS,
        (False, "B"),
        "commit {short} by Ada <ada@example.com> has a signature by GPG key {gpg_ada_short} that does not"
        " fit: it was changed after it was signed: sign it again",
        id="gpg-tampered",
    ),
    pytest.param(
        lambda bench: bench.rewrite(bench.sign(ssh="ada"), b"author Ada", b"author Eve"),
        ADAS,
        (False, "B"),
        "commit {short} by Eve <ada@example.com>, committed by Ada <ada@example.com>, has a signature by",
        id="ssh-other-author",
    ),
    pytest.param(
        lambda bench: bench.sign(gpg="old", program="in-2020"),
        {"gpg": ("ada", "old")},
        (False, "Y"),
        "commit {short} by Ada <ada@example.com> is signed with GPG key {gpg_old}, which has expired:"
        " sign it with another key and push it again, or have an operator add it to gpg_keyring_file with"
        " its new expiry",
        id="gpg-expired-key",
    ),
    pytest.param(
        lambda bench: bench.sign(gpg="ada", program="for-a-day"),
        ADAS,
        (False, "X"),
        "commit {short} by Ada <ada@example.com> has a signature by GPG key {gpg_ada} that has expired:"
        " sign it again",
        id="gpg-expired-signature",
    ),
    pytest.param(
        lambda bench: bench.sign(gpg="lost"),
        {"gpg": ("lost",), "revoked": True},
        (False, "R"),
        "commit {short} by Ada <ada@example.com> is signed with GPG key {gpg_lost}, which was revoked:"
        " sign it with another key and push it again",
        id="gpg-revoked-key",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada", at="2023-11-14T22:00:00Z"),
        {"ssh": 'ada@example.com valid-before="20231114Z" {ada}\n'},
        (False, "U"),
        "commit {short} by Ada <ada@example.com> is signed with ssh key {ssh_ada}, which"
        " allowed_signers_file does not allow for the time of the commit (valid-after, valid-before):"
        " sign it with another key and push it again, or have an operator correct that",
        id="ssh-expired-key",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada", at="2023-11-13T22:00:00Z"),
        {"ssh": 'ada@example.com valid-before="20231114Z" {ada}\n'},
        (True, "G"),
        "ada@example.com ssh_ada",
        id="ssh-key-expired-later",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada"),
        {"ssh": 'ada@example.com valid-after="20240101Z" {ada}\n'},
        (False, "U"),
        "not allow for the time of the commit (valid-after, valid-before)",
        id="ssh-key-not-yet-valid",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada"),
        {"ssh": 'ada@example.com namespaces="git,file" {ada}\n'},
        (True, "G"),
        "ada@example.com ssh_ada",
        id="ssh-namespace-git",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada"),
        {"ssh": 'ada@example.com namespaces="file" {ada}\n'},
        (False, "B"),
        "has a signature by ssh key {ssh_ada} that does not fit: it was changed after it was signed, or"
        " the namespaces in allowed_signers_file leave out git",
        id="ssh-other-namespace",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada"),
        {"ssh": "# team\r\n\r\n\udcff\udcfe garbage\r\nnobody\r\nada@example.com,b@example.com {ada}\r\n"},
        (True, "G"),
        "ada@example.com ssh_ada",
        id="ssh-file-with-crlf-and-garbage",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada"),
        {"ssh": ""},
        (False, "U"),
        "not in allowed_signers_file",
        id="ssh-empty",
    ),
    pytest.param(
        lambda bench: bench.sign(gpg="ada"),
        {"ssh": GOOD_SSH},
        (False, "E"),
        "commit {short} by Ada <ada@example.com> is signed with GPG key {gpg_ada_short}, and no"
        " gpg_keyring_file is set: sign it with another key and push it again, or have an operator set it",
        id="gpg-where-ssh-is-asked",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada"),
        {"gpg": ("ada",)},
        (False, "U"),
        "commit {short} by Ada <ada@example.com> is signed with ssh key {ssh_ada}, and no"
        " allowed_signers_file is set: sign it with another key and push it again, or have an operator"
        " set it",
        id="ssh-where-gpg-is-asked",
    ),
    pytest.param(
        lambda bench: bench.sign(ssh="ada"),
        {},
        (False, "U"),
        "and no allowed_signers_file is set",
        id="no-files-ssh",
    ),
    pytest.param(
        lambda bench: bench.sign(gpg="ada"),
        {},
        (False, "E"),
        "and no gpg_keyring_file is set",
        id="no-files-gpg",
    ),
    pytest.param(
        lambda bench: bench.with_header(X509),
        ADAS,
        (False, "N"),
        "commit {short} by Ada <ada@example.com> is signed with an S/MIME certificate, which is not"
        " checked: sign it with an ssh or GPG key",
        id="x509",
    ),
    pytest.param(
        lambda bench: bench.with_header(EMPTY_PGP),
        ADAS,
        (False, "N"),
        "commit {short} by Ada <ada@example.com> has a signature by a GPG key that cannot be read: sign"
        " it again",
        id="gpg-garbage",
    ),
    pytest.param(
        lambda bench: bench.twice("ada", "eve"),
        {"gpg": ("ada", "eve")},
        (False, "E"),
        "has a signature by a GPG key that cannot be read: sign it again",
        id="gpg-two-signatures",
    ),
    pytest.param(
        lambda bench: bench.sign(gpg="ada_sub"),
        ADAS,
        (True, "G"),
        "Ada <ada@example.com> gpg_ada",
        id="gpg-subkey",
    ),
]


@pytest.mark.parametrize(("make", "files", "answer", "expected"), CASES)
def test_what_counts_and_what_is_said(
    bench: Bench,
    make: Callable[[Bench], str],
    files: dict[str, Any],
    answer: tuple[bool, str],
    expected: str,
) -> None:
    """By what real git answers: whether `verify-commit` ended with 0, and `%G?`."""
    commit = make(bench)
    signers = bench.operator(**files)
    mirror = bench.world.mirror()
    bring(mirror)
    verifier, repository = Verifier(signers, bench.home), mirror._open()

    verdict = verifier.ask(repository, commit, claim(repository.git, commit).kind)

    assert (verdict.confirmed, verdict.letter) == answer
    if answer == (True, "G"):
        signer, _, key = expected.rpartition(" ")
        found = verifier.verify(repository, commit)
        assert found == Signature(commit=commit, signer=signer, key=bench.keys.ids[key])
        return
    with pytest.raises(Unsigned) as caught:
        verifier.verify(repository, commit)
    short = {f"{name}_short": full[-16:] for name, full in bench.keys.ids.items()}
    wanted = expected.format(short=commit[:7], **bench.keys.ids, **short)
    assert caught.value.commit == commit
    if wanted.startswith("commit ") and not wanted.endswith(" by"):
        assert caught.value.why == wanted
    else:
        assert wanted in caught.value.why


def test_something_else_in_the_place_of_a_signature(bench: Bench) -> None:
    """Git dies of it; for us it is a commit that does not count, and no trouble of the machine."""
    commit = bench.with_header("hello")

    with pytest.raises(Unsigned, match="carries something that is no signature in its place: sign it with"):
        bench.verify(bench.operator(**ADAS), commit)


@pytest.mark.parametrize("size", [0, 1_000_000])
def test_an_ssh_signature_that_cannot_be_read(bench: Bench, size: int) -> None:
    """Git answers B or dies of SIGPIPE, as it happens: it does not count, and is no machine trouble."""
    commit = bench.rewrite(bench.with_header(EMPTY_SSH), b"\n\n", b"\n\n" + b"x" * size)

    with pytest.raises(Unsigned, match=r"has a signature by (a )?ssh key that (does not fit|cannot be read)"):
        bench.verify(bench.operator(**ADAS), commit)


def test_a_signed_tag_does_not_sign_its_commit(bench: Bench) -> None:
    """What was signed is the name; the branch may be at a commit without it."""
    commit = bench.sign()
    bench.keys.sign_tag(bench.world.origin, "v1", commit, ssh="ada")

    with pytest.raises(Unsigned, match="carries no signature"):
        bench.verify(bench.operator(**ADAS), commit)


def test_what_the_repository_brings_along_does_not_count(bench: Bench) -> None:
    """Its own signers, programs, mailmap and attributes, also in the mirror's config: none counts."""
    folder = bench.world.folder
    canary = folder / "canary"
    evil = folder / "evil"
    evil.write_text(f'#!/bin/sh\necho "$0 $*" >>{canary}\necho "[GNUPG:] GOODSIG 1 Eve"\nexit 0\n')
    evil.chmod(0o755)
    shipped = f"eve@example.com {bench.keys.public('eve')}\n"
    files = {
        ".gitattributes": "* filter=evil",
        "allowed_signers": shipped,
        ".mailmap": "Eve <a@b> <ada@example.com>",
    }
    bench.world.origin.commit(dict(files))
    commit = bench.sign(ssh="eve")
    (folder / "shipped").write_text(shipped)
    mirror = bench.world.mirror()
    bring(mirror)
    for repo in (bench.world.origin, bench.world.mirrored):
        for name in (
            "gpg.ssh.program",
            "gpg.program",
            "gpg.openpgp.program",
            "gpg.x509.program",
            "filter.evil.clean",
        ):
            repo.git("config", name, str(evil))
        repo.git("config", "gpg.ssh.allowedSignersFile", str(folder / "shipped"))
        repo.git("config", "gpg.ssh.defaultKeyCommand", str(evil))
        repo.git("config", "gpg.minTrustLevel", "undefined")
        repo.git("config", "log.showSignature", "true")
        repo.git("config", "log.mailmap", "true")
        repo.git("config", "alias.verify-commit", f"!{evil}")
        repo.git("config", "core.pager", str(evil))
    mirror.release()

    with pytest.raises(Unsigned, match=r"is signed with ssh key .*, which is not in allowed_signers_file"):
        bench.verify(bench.operator(**ADAS), commit)
    own = bench.verify(bench.operator(ssh="team {eve}\n"), commit)

    assert own.signer == "team"
    assert not canary.exists()


@pytest.mark.parametrize("form", ["armored", "binary", "keybox"])
def test_a_keyring_in_each_of_its_forms(bench: Bench, form: str) -> None:
    """As `gpg --export` writes it, with and without armor, and as gpg keeps it."""
    commit = bench.sign(gpg="ada")
    signers = bench.operator(gpg=("eve", "ada"))
    if form == "binary":
        bench.keys.export(bench.keyring, "ada", "eve")
    if form == "keybox":
        shutil.copy(bench.keys.folder / "gnupg" / "pubring.kbx", bench.keyring)

    assert bench.verify(signers, commit).key == bench.keys.ids["gpg_ada"]


def test_a_state_directory_with_a_long_name_is_no_trouble(bench: Bench) -> None:
    """Importing, gpg asks an agent, and a socket's name is 108 bytes at most."""
    commit = bench.sign(gpg="ada")
    mirror = bench.world.mirror()
    bring(mirror)

    verifier = Verifier(bench.operator(**ADAS), bench.home / ("x" * 100) / ("y" * 100))

    assert verifier.verify(mirror._open(), commit).signer == "Ada <ada@example.com>"


def test_a_file_that_the_operator_changed_counts_at_once(bench: Bench) -> None:
    """Added, taken out, added: no outcome of before is given, and `state` tells that it changed."""
    by_ssh = bench.signed(ssh="eve")
    by_gpg = bench.signed(gpg="eve")
    mirror = bench.world.mirror()
    bring(mirror)
    repository = mirror._open()
    both = GOOD_SSH + "eve@example.com {eve}\n"
    verifier = Verifier(bench.operator(**ADAS), bench.home)
    states = []
    for ssh, gpg in ((GOOD_SSH, ("ada",)), (both, ("ada", "eve")), (GOOD_SSH, ("ada",)), (both, ("eve",))):
        bench.operator(ssh=ssh, gpg=gpg)
        states.append(verifier.state())
        for commit in (by_ssh, by_gpg):
            if "eve" in gpg:
                assert "eve@example.com" in verifier.verify(repository, commit).signer
            else:
                with pytest.raises(Unsigned, match="which is not in"):
                    verifier.verify(repository, commit)

    assert all(before != after for before, after in pairwise(states))


def test_an_outcome_is_kept_and_not_for_ever(bench: Bench, git_calls: Callable[[], list[str]]) -> None:
    """The second time nothing is run, good or bad; the memory of it has an end."""
    commits = [bench.signed(ssh="ada"), bench.signed()]
    mirror = bench.world.mirror()
    bring(mirror)
    repository, verifier = mirror._open(), Verifier(bench.operator(**ADAS), bench.home)

    def outcome(commit: str) -> str:
        try:
            return verifier.verify(repository, commit).signer
        except Unsigned as error:
            return error.why

    first = [outcome(commit) for commit in commits]
    git_calls()
    again = [outcome(commit) for commit in commits]

    assert again == first
    assert git_calls() == []
    verifier._outcomes |= {str(number): "" for number in range(10_000)}
    assert outcome(commits[0]) == first[0]
    assert len(verifier._outcomes) == 1


# --- trouble of the machine ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        pytest.param(
            lambda bench: bench.allowed.unlink(),
            "cannot check signatures: cannot read allowed_signers_file {allowed}: No such file or directory",
            id="no-signers",
        ),
        pytest.param(
            lambda bench: bench.keyring.unlink(),
            "cannot check signatures: cannot read gpg_keyring_file {keyring}: No such file or directory",
            id="no-keyring",
        ),
        pytest.param(
            lambda bench: bench.keyring.write_text("hello"),
            "cannot use gpg_keyring_file {keyring}: gpg says: gpg: no valid OpenPGP data found.: write it"
            " with `gpg --armor --export KEY...`, without private keys",
            id="garbage",
        ),
        pytest.param(
            lambda bench: bench.keyring.write_bytes(b"\0\0\0\x20\1\1\0\2KBXf" + bytes(20)),
            "cannot use gpg_keyring_file {keyring}: there is no public key in it",
            id="empty-keybox",
        ),
        pytest.param(
            lambda bench: bench.keys.gpg(
                *("--yes", "--output", str(bench.keyring), "--export-secret-keys", "ada@example.com")
            ),
            "cannot use gpg_keyring_file {keyring}: gpg says: ",
            id="private-key",
        ),
        pytest.param(
            lambda bench: bench.home.write_text(""),
            "cannot check the signature of commit {short}: {home}: File exists: check the disk",
            id="home",
        ),
    ],
)
def test_trouble_of_the_machine_is_no_verdict(
    bench: Bench, spoil: Callable[[Bench], object], why: str
) -> None:
    """It says which file, and goes away when that is put right."""
    commit = bench.sign(gpg="ada")
    signers = bench.operator(**ADAS)
    mirror = bench.world.mirror()
    bring(mirror)
    verifier = Verifier(signers, bench.home)
    spoil(bench)

    with pytest.raises(GitUnavailable) as caught:
        verifier.verify(mirror._open(), commit)

    names = {"allowed": bench.allowed, "keyring": bench.keyring, "home": bench.home, "short": commit[:7]}
    assert why.format(**names) in caught.value.why
    if bench.home.is_file():
        bench.home.unlink()
    bench.operator(**ADAS)
    assert verifier.verify(mirror._open(), commit).signer == "Ada <ada@example.com>"


@pytest.mark.parametrize(
    ("how", "name", "package"), [("ssh", "ssh-keygen", "openssh-client"), ("gpg", "gpg", "gnupg")]
)
def test_a_program_that_is_missing_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str, name: str, package: str
) -> None:
    """Only where a signature needs it."""
    commit, unsigned = bench.signed(**{how: "ada"}), bench.signed()
    signers = bench.operator(**ADAS)
    programs = bench.world.folder / "programs"
    programs.mkdir()
    for program in ("git", "env"):
        (programs / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", str(programs))

    with pytest.raises(Unsigned, match="carries no signature"):
        bench.verify(signers, unsigned)
    with pytest.raises(GitUnavailable) as caught:
        bench.verify(signers, commit)

    message = f"cannot check signatures: {name} is not installed or not in PATH: install {package}"
    assert caught.value.why == message


def test_a_commit_that_is_not_there_is_a_broken_mirror(bench: Bench) -> None:
    """Which is fetched anew by who keeps it."""
    with pytest.raises(MirrorBroken):
        bench.verify(bench.operator(**ADAS), "1" * 40)


def test_a_gpg_that_hangs_ends_with_the_mirror(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop of the daemon does not wait for it, and nothing stays behind."""
    commit = bench.sign(gpg="ada")
    signers = bench.operator(**ADAS)
    mirror = bench.world.mirror()
    bring(mirror)
    put_program(bench.world.folder / "gpg-bin" / "gpg", "#!/bin/sh\nexec sleep 600\n", monkeypatch)
    threading.Timer(0.3, mirror.interrupt).start()

    with pytest.raises(GitUnavailable, match="the daemon is shutting down"):
        Verifier(signers, bench.home).verify(mirror._open(), commit)
    mirror.release()

    assert [command for command in children() if "sleep" in command] == []


def test_nothing_is_left_behind(bench: Bench) -> None:
    """No agent, no temporary file; the folders are for nobody else."""
    commits = [bench.signed(gpg="ada"), bench.signed(ssh="ada")]
    mirror = bench.world.mirror()
    bring(mirror)
    verifier = Verifier(bench.operator(**ADAS), bench.home)
    for commit in commits:
        verifier.verify(mirror._open(), commit)
    mirror.release()

    agents = subprocess.run(["pgrep", "-af", str(bench.home)], capture_output=True, text=True, check=False)
    (folder,) = bench.home.iterdir()
    assert agents.stdout == ""
    assert re.fullmatch(r"gnupg-[0-9a-f]{16}", folder.name)
    assert {bench.home.stat().st_mode & 0o777, folder.stat().st_mode & 0o777} == {0o700}
