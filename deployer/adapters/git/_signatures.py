"""Whose signature a commit carries, and whether it counts.

Owns the question to git and the sentence if the answer is no. Must not know environments, or which commits
must be signed. Invariant: a signature counts only if `git verify-commit` ends well *and* `%G?` is G, by the
operator's keys alone. What git prints decides nothing: it says `Good "git" signature` of an unknown key too.

Nothing in a repository has a say: programs and key files are set over whatever its config names.

Which time counts. For ssh, git asks whether the key was valid (`valid-after`, `valid-before`) at the time
that the *committer* claims. So who has an old key can still sign with an old date: a stolen key must leave
the file, an expiry is not enough. gpg holds a key's expiry against the present: with the key, the commits
that it signed before stop counting, until it is extended and exported anew.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import git

from deployer.adapters.git._claims import Claim, Kind, claim, fingerprint
from deployer.adapters.git._errors import Failed, GitUnavailable, TimedOut, TooMuch, harmless
from deployer.adapters.git._gpg_home import GpgHome
from deployer.core.types import Signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.adapters.git._commands import Repository

_SECONDS = 20.0
"""For one question to git or gpg: 10 ms with a few keys."""

_CACHED = 10_000
"""Outcomes that are kept: those of a long range, a few MB."""

_CACHE_SECONDS = 3600
"""How long at most: meanwhile a GPG key can expire."""

_NOTHING = "/bin/false"
"""In place of a program that is not to be asked."""

_FORMAT = "--format=%G?%x00%GK%x00%GF%x00%GP%x00%GS"
"""Without %GT, the level of trust: git 2.39 aborts where gpg tells none, as of a key that it has not."""

_DIED_WRITING = f"signal {signal.SIGPIPE:d}"
"""How `_commands` says that nobody read what git wrote."""

_FILES = {Kind.SSH: "allowed_signers_file", Kind.GPG: "gpg_keyring_file"}


class Unsigned(Exception):  # noqa: N818 - named by what follows: the environment waits
    """A commit has no signature that counts. `why` is a sentence: whose commit, which key, what to do."""

    def __init__(self, commit: str, why: str) -> None:
        """Take the commit's full id and the sentence."""
        self.commit = commit
        self.why = why
        super().__init__(why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """The operator's files of keys that may sign. Without a file, no key of that kind may.

    `allowed_signers_file` is as `ssh-keygen` has it (ALLOWED SIGNERS in its manual); `gpg_keyring_file` is
    what `gpg --export` writes, armored or not, or a keybox (`pubring.kbx`).
    """

    allowed_signers_file: Path | None = None
    gpg_keyring_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What git answered: whether `verify-commit` ended with 0; `%G?` ("": git died), key and owner."""

    confirmed: bool
    letter: str
    key: str
    signer: str


class Verifier:
    """Checks signatures against the operator's files. For one thread, like the mirror that it goes with."""

    def __init__(self, signers: Signers, home: Path) -> None:
        """Take the files, and a folder of ours alone, for gpg and git's temporary files. Touch neither."""
        self._signers = signers
        self._home = home
        self._gpg_home = GpgHome(signers.gpg_keyring_file, home)
        self._outcomes: dict[str, Signature | str] = {}
        self._outcomes_for: object = None

    def state(self) -> tuple[object, ...]:
        """What an outcome depends on besides the commit: where this changed, verify again.

        Raises GitUnavailable if one of the files cannot be read.
        """
        return tuple(
            _stamp(name, file)
            for name, file in (
                ("allowed_signers_file", self._signers.allowed_signers_file),
                ("gpg_keyring_file", self._signers.gpg_keyring_file),
            )
        )

    def verify(self, repository: Repository, commit: str) -> Signature:
        """Whose signature the commit carries. `commit` is a full id that the repository has. About 30 ms.

        Raises Unsigned if none counts; GitUnavailable for trouble of the machine, which says nothing of the
        commit; MirrorBroken if the commit cannot be read.
        """
        known_for = self.state(), int(time.monotonic() // _CACHE_SECONDS)
        if self._outcomes_for != known_for or len(self._outcomes) >= _CACHED:
            self._outcomes, self._outcomes_for = {}, known_for
        outcome = self._outcomes.get(commit)
        if outcome is None:
            outcome = self._outcomes[commit] = self._judge(repository, commit)
        if isinstance(outcome, str):
            raise Unsigned(commit, outcome)
        return outcome

    def _judge(self, repository: Repository, commit: str) -> Signature | str:
        """The signature, or the sentence that says why it does not count."""
        claimed = claim(repository.git, commit)
        if claimed.kind is Kind.UNKNOWN:
            # git dies of it as it does of a full disk, so it is not asked.
            why = "carries something that is no signature in its place: sign it with an ssh or GPG key"
            return f"{claimed.whose} {why}"
        verdict = self.ask(repository, commit, claimed.kind)
        if verdict.confirmed and verdict.letter == "G":
            return Signature(commit=commit, signer=verdict.signer or verdict.key, key=verdict.key)
        return f"{claimed.whose} {self._sentence(claimed, verdict)}"

    # --- the question ------------------------------------------------------------------------------------

    def ask(self, repository: Repository, commit: str, kind: Kind) -> Verdict:
        """Ask git both. Raises GitUnavailable."""
        with self._machine(commit):
            environment = self._environment(repository, kind)
            with repository.git.custom_environment(**environment):
                try:
                    repository.git.verify_commit("--raw", "--", commit, kill_after_timeout=_SECONDS)
                    confirmed = True
                except Failed:
                    confirmed = False
                options = ("--no-walk", "--no-notes", "--no-color", _FORMAT, "--end-of-options")
                try:
                    printed = str(repository.git.log(*options, commit, kill_after_timeout=_SECONDS))
                except Failed as error:
                    if not error.printed.endswith(_DIED_WRITING):
                        raise
                    # Where ssh-keygen cannot read the signature it goes away without reading the commit,
                    # and git dies of that, or not, as it happens (2.39).
                    return Verdict(confirmed=False, letter="", key="", signer="")
        letter, key, own, primary, signer = (harmless(part) for part in printed.split("\0", 4))
        # Of a subkey the primary key: that is what people call theirs.
        return Verdict(confirmed=confirmed, letter=letter, key=primary or own or key, signer=signer)

    def _environment(self, repository: Repository, kind: Kind) -> dict[str, str]:
        """What git gets over the mirror's own environment: our programs, the operator's keys."""
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        keyring, allowed = self._signers.gpg_keyring_file, self._signers.allowed_signers_file
        ssh = gpg = _NOTHING
        if kind is Kind.SSH:
            ssh = _program("ssh-keygen", package="openssh-client", is_needed=allowed is not None)
        if kind is Kind.GPG:
            gpg = _program("gpg", package="gnupg", is_needed=keyring is not None)
        if gpg != _NOTHING:
            self._fill_gpg_home(repository, gpg)
        config = {
            "gpg.program": gpg,
            # The same by its other name: of the two the one that is read last counts.
            "gpg.openpgp.program": gpg,
            "gpg.ssh.program": ssh,
            "gpg.x509.program": _NOTHING,
            "gpg.ssh.allowedSignersFile": str(allowed or os.devnull),
            "gpg.ssh.revocationFile": "",
            # The default takes any key that gpg has.
            "gpg.minTrustLevel": "fully",
            "log.showSignature": "false",
        }
        first = int(repository.git.environment().get("GIT_CONFIG_COUNT", "0"))
        variables = self._folders(self._gpg_home.path) | {"GIT_CONFIG_COUNT": str(first + len(config))}
        for number, (name, value) in enumerate(config.items(), start=first):
            variables[f"GIT_CONFIG_KEY_{number}"] = name
            variables[f"GIT_CONFIG_VALUE_{number}"] = value
        return variables

    def _fill_gpg_home(self, repository: Repository, gpg: str) -> None:
        for litter in self._home.glob(".git_vtag_tmp*"):  # of a git that was killed
            litter.unlink(missing_ok=True)

        def run(folder: Path, *arguments: str) -> str:
            with repository.git.custom_environment(**self._folders(folder)):
                return str(repository.git.execute([gpg, *arguments], kill_after_timeout=_SECONDS))

        self._gpg_home.fill(_stamp("gpg_keyring_file", self._signers.gpg_keyring_file), run)

    def _folders(self, gpg_home: Path) -> dict[str, str]:
        # Git writes the signature into TMPDIR: /tmp may be full, or not ours.
        return {"GNUPGHOME": str(gpg_home), "HOME": str(self._home), "TMPDIR": str(self._home)}

    # --- the sentence ------------------------------------------------------------------------------------

    def _sentence(self, claimed: Claim, verdict: Verdict) -> str:
        """What is wrong, and what to do: to be read after whose commit it is."""
        file = _FILES.get(claimed.kind, "")
        key = f"{claimed.kind.value} {verdict.key or claimed.key}".rstrip()
        anew = "sign it with another key and push it again"
        match claimed.kind, verdict.letter:
            case Kind.NONE, _:
                return "carries no signature: sign it (git commit --amend --no-edit -S) and push it again"
            case Kind.X509, _:
                return f"is signed with an {key}, which is not checked: sign it with an ssh or GPG key"
            case _ if getattr(self._signers, file) is None:
                return f"is signed with {key}, and no {file} is set: {anew}, or have an operator set it"
            case Kind.SSH, "B":
                return (
                    f"has a signature by {key} that does not fit: it was changed after it was signed, or"
                    f" the namespaces in {file} leave out git: sign it again, or have an operator correct it"
                )
            case Kind.SSH, "U" if self._lists(verdict.key):
                return (
                    f"is signed with {key}, which {file} does not allow for the time of the commit"
                    f" (valid-after, valid-before): {anew}, or have an operator correct that"
                )
            case _, "B":
                changed = "that does not fit: it was changed after it was signed: sign it again"
                return f"has a signature by {key} {changed}"
            case (_, "U") | (_, "E") if verdict.key:
                return f"is signed with {key}, which is not in {file}: {anew}, or have an operator add it"
            case _, "X":
                return f"has a signature by {key} that has expired: sign it again"
            case _, "Y":
                extended = f"have an operator add it to {file} with its new expiry"
                return f"is signed with {key}, which has expired: {anew}, or {extended}"
            case _, "R":
                return f"is signed with {key}, which was revoked: {anew}"
            case _, "G":
                return f"is signed with {key}, but git verify-commit does not confirm it: {anew}"
            case _:
                return f"has a signature by a {key} that cannot be read: sign it again"

    def _lists(self, key: str) -> bool:
        """Whether the operator's file has a line with this ssh key, by its fingerprint."""
        words: list[bytes] = []
        with suppress(OSError):
            words = (self._signers.allowed_signers_file or Path(os.devnull)).read_bytes().split()
        return any(word.startswith(b"AAAA") and fingerprint(word) == key for word in words)

    @contextmanager
    def _machine(self, commit: str) -> Iterator[None]:
        """What is the machine's fault and not the commit's."""
        what = f"cannot check the signature of commit {commit[:7]}"
        disk = "check the disk of the state directory"
        try:
            yield
        except TimedOut as error:
            message = f"{what}: no end within {error.seconds:g} s: the machine may be overloaded, or {disk}"
            raise GitUnavailable(message) from error
        except TooMuch as error:
            message = f"{what}: git printed more than it should: look at it with git verify-commit"
            raise GitUnavailable(message) from error
        except Failed as error:
            says = harmless(error.printed.strip().partition("\n")[0])
            message = f"{what}: git says: {says}: {disk}"
            raise GitUnavailable(message) from error
        except git.GitCommandNotFound as error:
            message = f"{what}: a program is not installed or not in PATH any more: install git and gnupg"
            raise GitUnavailable(message) from error
        except OSError as error:
            message = f"{what}: {self._home}: {error.strerror}: {disk}"
            raise GitUnavailable(message) from error


def _stamp(name: str, file: Path | None) -> tuple[int, int, int] | None:
    """What changes when the file is written or replaced. Raises GitUnavailable if it cannot be read."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            opened.read(1)
            found = os.fstat(opened.fileno())
    except OSError as error:
        message = f"cannot check signatures: cannot read {name} {file}: {error.strerror}: see the settings"
        raise GitUnavailable(message) from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _program(name: str, *, package: str, is_needed: bool) -> str:
    """Where a program is. Raises GitUnavailable if it is missing and needed."""
    found = shutil.which(name)
    if found is not None:
        return str(Path(found).absolute())
    if is_needed:
        message = f"cannot check signatures: {name} is not installed or not in PATH: install {package}"
        raise GitUnavailable(message)
    return _NOTHING
