"""The files that the settings name: are they there, who can read them, can what is in them be used?

Owns what makes a secret's file safe. Must not say a byte of what is in one. Invariant: a file is opened only
if it is a plain one, so that no pipe makes the check wait.
"""

from __future__ import annotations

import os
import shlex
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.cli.doctoring.finding import Check, fail, ok, skip
from deployer.cli.doctoring.site import LOCAL_SECONDS, user
from deployer.core import chat, ssh_keys, webhooks
from deployer.core.sentences import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.cli.doctoring.finding import Finding
    from deployer.cli.doctoring.site import Site
    from deployer.settings import Audit, AuditPush, Repository, Route, Settings, Write

    Judge = Callable[[bytes], Finding | None]
    _File = tuple[str, Path | None, bool, Judge]

_LIMIT = 1024 * 1024
"""Bytes that are read of a file."""

_CREDENTIALS = Path("/run/credentials")
"""Where systemd puts what `LoadCredential=` names; it guards them itself, by an ACL beside the mode."""


def checks(site: Site) -> Iterator[Check]:
    """One for each file, by the setting that names it; a file that is named twice is looked at once."""
    seen: set[Path] = set()
    for setting, path, is_secret, judge in named(site.settings):
        if path in seen:
            continue
        seen.add(path)
        yield Check(
            group="files",
            subject=setting,
            limit=LOCAL_SECONDS,
            ask=partial(_file, site, path, is_secret=is_secret, judge=judge),
        )


def named(settings: Settings) -> Iterator[tuple[str, Path, bool, Judge]]:
    """Each file: its setting, its path, whether it is a secret, and what judges its content."""
    for name, repository in settings.repositories.items():
        at = f"{name}:"
        files = _for_access(repository)
        if repository.write is not None:
            writing = _for_access(repository.write)
            files += [(f"write.{one}", path, is_secret, judge) for one, path, is_secret, judge in writing]
        if repository.forge is not None:
            asked = repository.forge
            app = asked.github_app
            key = app.private_key_file if app is not None else None
            files += [
                ("forge.token_file", asked.token_file, True, password),
                ("forge.private_key_file", key, True, private_key),
                ("forge.ca_file", asked.ca_file, False, certificates),
            ]
        if repository.webhook is not None:
            hook = repository.webhook
            usable: Judge = partial(webhook_secret, hook.scheme)
            files += [
                ("webhook.secret_file", hook.secret_file, True, usable),
                ("webhook.previous_secret_file", hook.previous_secret_file, True, usable),
            ]
        for setting, path, is_secret, judge in files:
            if path is not None:
                yield f"{at} {setting}", path, is_secret, judge
    for name, environment in settings.environments.items():
        files = [
            ("cluster.token_file", environment.cluster.token_file, True, one_word),
            ("cluster.ca_file", environment.cluster.ca_file, False, certificates),
            ("allowed_signers_file", environment.signatures.allowed_signers_file, False, anything),
            ("gpg_keyring_file", environment.signatures.gpg_keyring_file, False, anything),
        ]
        for setting, path, is_secret, judge in files:
            if path is not None:
                yield f"{name}: {setting}", path, is_secret, judge
    for name, route in settings.notify.items():
        for setting, path, is_secret, judge in _of_route(route):
            if path is not None:
                yield f"notify.{name}: {setting}", path, is_secret, judge
    if settings.audit is not None:
        for setting, path, is_secret, judge in _of_audit(settings.audit):
            if path is not None:
                yield setting, path, is_secret, judge


def _of_route(route: Route) -> Iterator[_File]:
    """What signs messages, or says where they go."""
    if route.webhook is not None:
        yield "webhook.secret_file", route.webhook.secret_file, True, partial(webhook_secret, "generic")
        yield "webhook.token_file", route.webhook.token_file, True, password
        yield "webhook.ca_file", route.webhook.ca_file, False, certificates
    if route.apprise is not None:
        yield "apprise.url_file", route.apprise.url_file, True, address


def _of_audit(audit: Audit) -> Iterator[_File]:
    """What signs, and what lets the daemon in to push what was signed."""
    yield "audit.key_file", audit.key_file, True, signing_key
    if audit.push is not None:
        for setting, path, is_secret, judge in _for_access(audit.push):
            yield f"audit.push.{setting}", path, is_secret, judge


def _for_access(way: Repository | Write | AuditPush) -> list[_File]:
    """What lets the daemon in, to read or to push."""
    app = way.github_app
    return [
        ("token_file", way.token_file, True, password),
        ("ssh_key_file", way.ssh_key_file, True, private_key),
        ("known_hosts_file", way.known_hosts_file, False, anything),
        ("ca_file", way.ca_file, False, certificates),
        ("private_key_file", app.private_key_file if app is not None else None, True, private_key),
    ]


def anything(content: bytes) -> Finding | None:
    """Whoever uses it says what is wrong with it; empty it is of no use to anybody."""
    return None if content.strip() else fail("it is empty", "Write into it what the setting says.")


def password(content: bytes) -> Finding | None:
    """A token or a password for git or a forge, which is its first line."""
    if not content.partition(b"\n")[0].strip():
        return fail("its first line is empty", "Write the token into it, and nothing else.")
    return None


def address(content: bytes) -> Finding | None:
    """Where apprise sends to."""
    try:
        chat.address(content)
    except ValueError as error:
        what, _, step = str(error).partition(": ")
        return fail(f"it {what}", f"{step[:1].upper()}{step[1:]}.")
    return None


def one_word(content: bytes) -> Finding | None:
    """Ray's token, which goes into a header."""
    if len(content.split()) != 1:
        return fail("it does not hold one word", "Write Ray's token into it, and nothing else.")
    return None


def private_key(content: bytes) -> Finding | None:
    """A key as `ssh-keygen` and GitHub write them."""
    if b"PRIVATE KEY-----" not in content:
        return fail("it holds no private key", "Write the key into it, with its BEGIN and END lines.")
    if b"BEGIN ENCRYPTED PRIVATE KEY" in content or b"Proc-Type: 4,ENCRYPTED" in content:
        return fail(
            "its key needs a passphrase, which nobody is asked for", "Make a key without a passphrase."
        )
    return None


def signing_key(content: bytes) -> Finding | None:
    """A key that ssh-keygen signs checkpoints with."""
    try:
        ssh_keys.private_key(content.decode("ascii", "replace"))
    except ssh_keys.InvalidKeys as error:
        return fail(str(error), "Make another: `ssh-keygen -t ed25519 -N ''`.")
    return None


def certificates(content: bytes) -> Finding | None:
    """PEM."""
    if b"CERTIFICATE-----" not in content:
        return fail("it holds no certificate", "Write the authority's certificate into it, in PEM.")
    return None


def webhook_secret(scheme: webhooks.Scheme, content: bytes) -> Finding | None:
    """As the daemon reads it, also how short it may be."""
    try:
        webhooks.key(scheme, content.removesuffix(b"\n").removesuffix(b"\r"))
    except ValueError as error:
        says, _, step = str(error).partition(": ")
        more = " Then give the same to the forge." if step.startswith("make") else ""
        return fail(says, sentence(step) + more)
    return None


def judge_mode(found: os.stat_result, path: Path, daemon_uid: int) -> Finding | None:
    """Whether a secret's file is safe, and the daemon's to read."""
    shown = shlex.quote(str(path))
    # Root reads what belongs to whomever.
    if daemon_uid not in {0, found.st_uid}:
        owner = user(daemon_uid)
        return fail(
            f"{path} belongs to {user(found.st_uid)}, and the daemon runs as {owner}",
            f"Type: chown {daemon_uid} {shown} && chmod 600 {shown}",
        )
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(found.st_mode)
        return fail(
            f"{path} can be read or changed by others than its owner (mode {mode:04o})",
            f"Type: chmod 600 {shown}",
        )
    return None


def is_readable(path: Path) -> bool:
    """Whether we may read it."""
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def is_hidden(site: Site, path: Path) -> bool:
    """Whether the daemon may well read it although we cannot: it is another user, or systemd gives it."""
    return not is_readable(path) and (site.is_others or _is_systemds(path))


def _file(site: Site, path: Path, *, is_secret: bool, judge: Judge) -> Iterator[Finding]:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            yield fail(f"{path} is no file", "Correct the setting, which must name a file.")
            return
        loose = None
        if is_secret and not _is_systemds(path):
            loose = judge_mode(found, path, site.daemon_uid)
        if loose is not None:
            yield loose
        with path.open("rb") as file:
            unusable = judge(file.read(_LIMIT))
    except OSError as error:
        denied = isinstance(error, PermissionError)
        if _is_systemds(path):
            yield skip(f"{path} is there for the service alone, while it runs")
        elif denied and site.is_others:
            yield skip(f"{path} cannot be read by this user; the daemon runs as {user(site.daemon_uid)}")
        else:
            owner = "Give it to the user that the daemon runs as."
            step = owner if denied else "Put the file there, or correct the setting."
            yield fail(f"{path} cannot be read: {error.strerror}", step)
    else:
        if unusable is not None:
            yield fail(f"{path}: {unusable.says}", unusable.next_step)
        elif loose is None:
            yield ok(f"{path}{f' (mode {stat.S_IMODE(found.st_mode):04o})' if is_secret else ''}")


def _is_systemds(path: Path) -> bool:
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    return path.is_relative_to(_CREDENTIALS) or (bool(given) and path.is_relative_to(str(given)))
