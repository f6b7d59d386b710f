"""The repositories: do they answer, may we read them, is there what each environment follows?

Owns what is asked of a remote: where its branches and tags are, once. Must not fetch. Invariant: nothing is
written but a mirror without content in the doctor's own folder; the daemon's mirrors are not touched.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.cli.doctoring.finding import Check, fail, ok, skip, warn
from deployer.cli.doctoring.programs import is_ssh
from deployer.cli.doctoring.secret_files import is_hidden, is_readable
from deployer.cli.doctoring.site import is_loopback
from deployer.cli.repositories import access, source
from deployer.core.sentences import sentence
from deployer.core.source import HEADS, TAGS, Branch, Pinned, Tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.cli.doctoring.finding import Finding
    from deployer.cli.doctoring.site import Site
    from deployer.core.source import Source
    from deployer.settings import Repository

_KEYGEN_SECONDS = 10.0

_ANY = f"{HEADS}main"
"""What is asked for where no branch is followed: whether it is there does not matter."""

_STEPS = (
    "add|ask|check|free|give|install|it must be|keep|mount|put|rename|run|set|the next look|unset|use|write"
)
_CAUSE_AND_STEP = re.compile(rf"(.+): ((?:{_STEPS}) .+)", re.DOTALL)
"""How the git adapter ends its sentences."""


def checks(site: Site) -> Iterator[Check]:
    """One for each repository."""
    for name in site.settings.repositories:
        yield Check(
            group="git", subject=f"repository {name}", limit=site.patience, ask=partial(_ask, site, name)
        )


def judge_heads(
    followed: Mapping[str, Source], there: Mapping[str, str], seconds: float
) -> Iterator[Finding]:
    """What it means that `there` are these refs, for the environments and what each follows."""
    found: list[str] = []
    pinned: list[str] = []
    missing: list[Finding] = []
    for name, wanted in followed.items():
        match wanted:
            case Branch() if wanted.ref in there:
                found.append(wanted.name)
            case Branch():
                step = f"Push it, or correct environments.{name}.branch."
                missing.append(fail(f"there is no branch {wanted.name}, which {name} follows", step))
            case Tags():
                tag = wanted.newest([ref.removeprefix(TAGS) for ref in there if ref.startswith(TAGS)])
                if tag is not None:
                    found.append(f"tag {tag}")
                    continue
                step = f"Push one, or correct environments.{name}.tags."
                says = f"there is no tag {wanted.pattern} of version {wanted.versions}, which {name} follows"
                missing.append(fail(says, step))
            case Pinned():
                # Only a fetch would tell, and that may move a whole tree.
                pinned.append(f"; {wanted} is not looked for")
    read = ", ".join(dict.fromkeys(found))
    says = f"reads {read}" if read else "can be read"
    yield ok(says + "".join(dict.fromkeys(pinned)), seconds=seconds)
    yield from missing


def judge_transport(repository: Repository, *, all_signed: bool) -> Iterator[Finding]:
    """Who is between us and the server can read along, or say what is deployed."""
    url = urlsplit(repository.url)
    if url.scheme not in {"http", "git"} or is_loopback(url.hostname):
        return
    if repository.token_file is not None or repository.github_app is not None:
        yield warn(f"{url.scheme}:// shows the token to everybody on the way", "Use https:// for it.")
    if not all_signed:
        yield warn(
            f"{url.scheme}:// lets everybody on the way say what is deployed",
            "Use https:// or ssh, or set signatures for every environment that follows it.",
        )


def judge_trouble(url: str, why: str) -> Finding:
    """The git adapter's sentence, as what is the case and what to do."""
    cause = why.removeprefix(f"cannot read {url}: ")
    found = _CAUSE_AND_STEP.fullmatch(cause)
    if found is None and cause.startswith("cannot read its"):
        return fail(cause, "Put the file there, and give it to the user that the daemon runs as.")
    if found is None:
        return fail(cause, f"Try `git ls-remote {url}` as the user that the daemon runs as.")
    return fail(found[1], sentence(found[2]))


def host_of(url: str) -> str:
    """The host of an address for ssh, as known_hosts has it: `host`, or `[host]:port`."""
    if not url.startswith("ssh://"):
        return url.partition(":")[0].rpartition("@")[2]
    parts = urlsplit(url)
    port = parts.port or 22
    return str(parts.hostname) if port == 22 else f"[{parts.hostname}]:{port}"  # noqa: PLR2004 - ssh's port


def _ask(site: Site, name: str) -> Iterator[Finding]:
    # Takes a tenth of a second, in which the other checks already wait.
    from deployer.adapters.git import GitUnavailable, Mirror

    repository = site.settings.repositories[name]
    of_it = {key: one for key, one in site.settings.environments.items() if one.repository == name}
    followed = {key: source(one) for key, one in of_it.items()}
    secrets = [path for path in (repository.token_file, repository.ssh_key_file) if path is not None]
    if repository.github_app is not None:
        secrets.append(repository.github_app.private_key_file)
    all_signed = all(one.signatures.verify != "none" for one in of_it.values())
    yield from judge_transport(repository, all_signed=all_signed)
    yield from _known_hosts(repository)
    if any(is_hidden(site, path) for path in secrets):
        yield skip("not asked: only the daemon can read what lets it in")
        return
    mirror = Mirror(
        site.scratch / f"{name}.git",
        repository.url,
        access=access(repository),
        look_timeout_seconds=site.seconds,
    )
    site.ends.append(mirror.interrupt)
    branches = [one.ref for one in followed.values() if isinstance(one, Branch)]
    tags = [one.refs for one in followed.values() if isinstance(one, Tags)]
    begin = time.monotonic()
    try:
        there = mirror.heads(branches or ([] if tags else [_ANY]), tags)
    except GitUnavailable as error:
        yield judge_trouble(repository.url, error.why)
        return
    finally:
        mirror.close()
    yield from judge_heads(followed, there, time.monotonic() - begin)


def _known_hosts(repository: Repository) -> Iterator[Finding]:
    """Whether the server's key is among those that ssh is given; names in the file may be hashed."""
    file, program = repository.known_hosts_file, shutil.which("ssh-keygen")
    if file is None or program is None or not is_ssh(repository.url) or not is_readable(file):
        return
    host = host_of(repository.url)
    done = subprocess.run(  # noqa: S603 - no shell, and a host of the settings begins with no dash
        [program, "-F", host, "-f", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_KEYGEN_SECONDS,
        check=False,
    )
    if done.returncode:
        step = f"Check its key with its owner, then add it to {file}; `ssh-keyscan` prints it."
        # Without a key file of ours, the user's own configuration may call the host otherwise.
        say = warn if repository.ssh_key_file is None else fail
        yield say(f"known_hosts_file has no key of {host}", step)
