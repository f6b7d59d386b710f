"""`deployer doctor`: what each finding means and how it is printed; what runs beside what, how long."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from deployer import __version__
from deployer.adapters.statedir import Holder
from deployer.cli.doctor import Line, summary, text, to_json
from deployer.cli.doctoring import clocks, clusters, programs, repositories, secret_files, state
from deployer.cli.doctoring.finding import Check, Finding, State, fail, ok, run, skip, warn
from deployer.cli.doctoring.site import is_loopback, split
from deployer.cli.main import cli
from deployer.core.live import Unreachable, Unreadable
from deployer.core.source import Branch, Pinned, Tags
from tests.support.build import app, live
from tests.support.settings_files import SMALL, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deployer.core.source import Source

SNAPSHOT = Path(__file__).parent / "snapshots" / "doctor.txt"
NOW = datetime(2026, 11, 22, 10, 42, tzinfo=UTC)
SECRET_FILE = Path("/etc/deployer/git token")
URL = "https://git.example.com/ml/configs.git"
NOBODYS = 424_242
"""A user that no machine has."""
RAY = "http://ray-staging:8265"


def line(subject: str, found: Finding) -> Line:
    """A finding about something."""
    return Line(check=Check(group="git", subject=subject, limit=1, ask=list), finding=found)


def settings(tmp_path: Path, *, url: str = URL, more: str = "", cluster: str = RAY, token: str = "") -> Any:
    """The small settings with another repository or another cluster."""
    said = SMALL.replace("https://git.example.com/ml/serve-configs.git", f"{url}{more}")
    said = said.replace(RAY, f'"{cluster}"{token}')
    return read(tmp_path / "deployer.yaml", said, check_files=False)


# --- every message -----------------------------------------------------------------------------------


def told(tmp_path: Path) -> Iterator[tuple[str, Iterable[Finding | None]]]:
    """Everything that can be found, by subject."""
    for version in ("2.39.5", "2.33.1.windows.2", "2.20.1"):
        for signs in (False, True):
            yield "git", [programs.judge_git(f"git version {version}\n", signs_by_ssh=signs)]
    yield "git", [programs.judge_git("", signs_by_ssh=False)]

    followed: dict[str, Source] = {
        "dev": Branch("env/dev"),
        "staging": Branch("env/dev"),
        "prod": Tags(pattern="v*", versions=">=1.2 <2"),
        "old": Pinned("c" * 40),
    }
    there = {"refs/heads/env/dev": "a" * 40, "refs/tags/v1.4.0": "b" * 40, "refs/tags/v2.0.0": "b" * 40}
    yield "repository all", repositories.judge_heads(followed, there, 0.31)
    yield "repository none", repositories.judge_heads(followed, {}, 0.004)
    yield "repository alone", repositories.judge_heads({}, {}, 0.02)
    for why in (
        "the server refused the credentials: check token_file and username, or github_app",
        "no answer within 10 s: check the server and the network",
        "its TLS certificate is not trusted: check the URL and ca_file",
        "there is no git repository: check the URL",
        "git says: fatal: something new",
        "cannot read its token_file /etc/deployer/git.token: Permission denied",
    ):
        yield "repository sick", [repositories.judge_trouble(URL, f"cannot read {URL}: {why}")]
    for url in (
        "http://git.example.com/a.git",
        "git://git.example.com/a.git",
        "http://127.0.0.1:9/a.git",
        URL,
    ):
        token = "\n    token_file: git.token" if url.startswith("http") else ""
        repository = settings(tmp_path, url=url, more=token).repositories["serve-configs"]
        yield f"signed {url}", repositories.judge_transport(repository, all_signed=True)
        yield f"unsigned {url}", repositories.judge_transport(repository, all_signed=False)

    for owner, mode in ((NOBODYS, 0o600), (NOBODYS, 0o640), (0, 0o600), (0, 0o666)):
        found = os.stat_result((0o100000 | mode, 1, 1, 1, owner, owner, 1, 0, 0, 0))
        yield "a secret, for root", [secret_files.judge_mode(found, SECRET_FILE, 0)]
        yield "a secret, for the daemon", [secret_files.judge_mode(found, SECRET_FILE, NOBODYS)]
    for judge in (
        secret_files.password,
        secret_files.one_word,
        secret_files.private_key,
        secret_files.certificates,
        secret_files.anything,
        lambda content: secret_files.webhook_secret("github", content),
        lambda content: secret_files.webhook_secret("gitlab", content),
        lambda content: secret_files.webhook_secret("generic", content),
        secret_files.address,
    ):
        yield "a file", [judge(content) for content in (b" \n", b"whsec_two words\n")]
    yield "a key", [secret_files.private_key(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")]
    yield "usable", [secret_files.password(b"a b\n"), secret_files.one_word(b"a\n")]
    yield "usable", [secret_files.webhook_secret("github", b"0123456789abcdef\n")]
    yield "usable", [secret_files.address(b"slack://a/b/c\n")]

    seen = f"The Ray cluster at {RAY} cannot be seen: "
    place = f"What answers at {RAY} is not understood: "
    refused = Unreachable(why=f"{seen}it did not let us in (401). Put Ray's token into a file.")
    down = Unreachable(why=f"{seen}Connection refused. Check that the head runs.")
    login = Unreadable(why=f"{place}it answered the GET with a web page. Check the address.")
    for look in (
        live(),
        live(app("fruit")),
        live(app("fruit"), app("math"), ray_version="2.77.0"),
        live(ray_version="2.4.0"),
        live(ray_version="nightly", serve_started=False),
        down,
        login,
        refused,
    ):
        yield f"cluster {RAY}", clusters.judge_look(look, 0.02, has_token=False)
    yield f"cluster {RAY}", clusters.judge_look(refused, 0.02, has_token=True)
    for look in (live(), down, login, refused):
        yield f"cluster {RAY}", [clusters.judge_anonymous(look, "2.60.0")]
    for cluster in (RAY, "http://localhost:8265", "https://ray:8265"):
        for token in ("", "\n      token_file: ray.token"):
            loaded = settings(tmp_path, cluster=cluster, token=token)
            yield f"cluster {cluster}", clusters.judge_transport(loaded.environments["staging"].cluster)

    for seconds in (0.3, -4.9, 5.2, -59, 61, -3600 * 1000):
        yield f"clock of {RAY}", [clocks.judge_ahead(seconds)]
    for seconds in (-3600, 4, 30, 3600):
        yield "clock", [clocks.judge_newest(NOW + timedelta(seconds=seconds), NOW)]

    for free in (5000 * 1024**3, 1024**3 - 1, 100 * 1024**2 - 1, 0):
        yield "disk", state.judge_room(Path("/var/lib/deployer"), free, None)
    for inodes in (10_000, 9_999, 999):
        yield "disk", state.judge_room(Path("/var/lib/deployer"), 1024**3, inodes)
    for mode in (0o700, 0o750, 0o770, 0o702):
        yield "state_dir", [state.judge_mode(Path("/var/lib/deployer"), mode)]
    for version in (__version__, "0.0.9"):
        holder = Holder(pid=4711, host="build7", started_at=NOW, version=version)
        yield "daemon", [state.judge_holder(holder)]
    yield "daemon", [state.judge_holder(Holder())]


def test_every_message_is_as_it_was_agreed(tmp_path: Path) -> None:
    """`UPDATE_SNAPSHOTS=1` writes the file anew; git shows what changed."""
    lines = [
        text(line(subject, found), 20, is_coloured=False) if found else f"-     {subject}"
        for subject, findings in told(tmp_path)
        for found in findings
    ]
    printed = "\n".join(lines).replace(__version__, "VERSION") + "\n"
    if "UPDATE_SNAPSHOTS" in os.environ:
        SNAPSHOT.write_text(printed, encoding="utf-8")

    assert printed == SNAPSHOT.read_text(encoding="utf-8")


def test_every_warning_and_failure_has_a_next_step_and_nothing_else_has(tmp_path: Path) -> None:
    """What to do is a sentence; what is fine needs none."""
    for _, findings in told(tmp_path):
        for found in findings:
            if found is not None:
                assert bool(found.next_step) == (found.state in {State.WARN, State.FAIL}), found
                assert found.next_step[-1:] in {"", ".", ")"} or "chmod" in found.next_step, found
                assert not found.says.endswith("."), found


# --- running -----------------------------------------------------------------------------------------


def check(subject: str, ask: Any, *, limit: float = 30.0) -> Check:
    """A check of anything."""
    return Check(group="git", subject=subject, limit=limit, ask=ask)


def test_what_waits_waits_at_the_same_time_and_is_told_in_order() -> None:
    """Fifty that end only when all have begun."""
    together = threading.Barrier(50)

    def ask() -> list[Finding]:
        together.wait(20)
        return [ok("there")]

    done = list(run([check(str(number), ask) for number in range(50)]))

    assert [one.subject for one, _ in done] == [str(number) for number in range(50)]
    assert all(found == [ok("there")] for _, found in done)


def test_one_that_hangs_costs_its_own_deadline_and_no_more() -> None:
    """Also more of them than may run at once: each gives its place back."""
    over = threading.Event()
    hang = [check("hangs", over.wait, limit=0.1)] * 5
    begin = time.monotonic()
    try:
        done = list(run([*hang, check("well", lambda: [ok("fine")])], at_once=2))
    finally:
        over.set()

    assert [found[0].state for _, found in done] == [State.FAIL] * 5 + [State.OK]
    assert done[0][1][0].says == "it is not known: no end within 100ms"
    assert 0.3 <= time.monotonic() - begin < 5


def test_what_is_known_is_told_while_a_later_one_still_waits() -> None:
    """A person sees the first lines at once."""
    over = threading.Event()

    def wait() -> list[Finding]:
        over.wait(20)
        return [ok("at last")]

    done = run([check("first", lambda: [ok("at once")]), check("second", wait)])

    assert next(done)[1] == [ok("at once")]
    over.set()
    assert next(done)[1] == [ok("at last")]


def test_one_that_raises_is_a_failure_and_says_nothing_that_it_read() -> None:
    """An error of the system is named; of any other the text may quote a secret."""

    def denied() -> list[Finding]:
        raise PermissionError(13, "Permission denied", "/etc/deployer/x")

    def broken() -> list[Finding]:
        message = "hunter2"
        raise ValueError(message)

    done = [found for _, (found,) in run([check("a", denied), check("b", broken)])]

    assert done[0].says == "it cannot be looked at: /etc/deployer/x Permission denied"
    assert done[1].says == "the check itself failed (ValueError)"
    assert all(found.state is State.FAIL and found.next_step for found in done)


# --- printing ----------------------------------------------------------------------------------------


def test_a_line_is_one_harmless_line() -> None:
    """Whatever a server says of itself."""
    evil = fail("a\x1b[2Jb\nc\u202ed", "do\nthis")

    assert text(line("x", evil), 3, is_coloured=False) == "FAIL  x    ab cd\n      -> do this"
    assert to_json([line("x", evil)])["findings"][0]["says"] == "ab cd"


def test_colours_are_only_in_the_label() -> None:
    """And only where they are wanted."""
    shown = text(line("x", fail("a", "b")), 1, is_coloured=True)

    assert click.unstyle(shown) == text(line("x", fail("a", "b")), 1, is_coloured=False)
    assert shown.startswith("\x1b[31m\x1b[1mFAIL\x1b[0m  x")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], "0 ok, 0 failed."),
        ([ok("a"), warn("a", "b")], "1 ok, 1 warning, 0 failed."),
        (
            [warn("a", "b"), warn("a", "b"), fail("a", "b"), skip("c")],
            "0 ok, 2 warnings, 1 failed, 1 not checked.",
        ),
    ],
)
def test_the_summary_counts(findings: list[Finding], expected: str) -> None:
    """Failures always, the others where there are any."""
    assert summary([line("x", found) for found in findings]) == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "git,disks"], "'disks' is none of settings, git, files"),
        (["--timeout", "0s"], "--timeout must be longer than 0s"),
        (["--timeout", "5"], "5 has no unit"),
    ],
)
def test_a_wrong_option_is_a_usage_error(arguments: list[str], told: str) -> None:
    """Before anything is looked at."""
    done = CliRunner().invoke(cli, ["doctor", *arguments])

    assert done.exit_code == 64
    assert told in done.stderr


def test_settings_that_cannot_be_used_end_it_with_3(tmp_path: Path) -> None:
    """With every problem, as for the daemon."""
    (tmp_path / "deployer.yaml").write_text("repositories: {}\n")
    done = CliRunner().invoke(cli, ["doctor", "-c", str(tmp_path / "deployer.yaml")])

    assert done.exit_code == 3
    assert "environments is missing" in done.stderr


# --- details -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("git@git.example.com:ml/configs.git", "git.example.com"),
        ("forge:configs.git", "forge"),
        ("ssh://git@git.example.com/ml/configs.git", "git.example.com"),
        ("ssh://git.example.com:22/ml/configs.git", "git.example.com"),
        ("ssh://git@git.example.com:2222/ml/configs.git", "[git.example.com]:2222"),
    ],
)
def test_the_host_is_named_as_known_hosts_has_it(url: str, host: str) -> None:
    """With its port where that is not ssh's own."""
    assert repositories.host_of(url) == host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("ray", False),
        ("10.0.0.1", False),
        (None, False),
    ],
)
def test_loopback_is_what_stays_on_this_machine(host: str | None, expected: bool) -> None:
    """By address, or by the one name that everybody has."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "a.db is damaged: x.y. Stop it. Restore a backup.",
            ("a.db is damaged: x.y", "Stop it. Restore a backup."),
        ),
        ("it is locked ('lsof a.db' names it).", ("it is locked ('lsof a.db' names it)", "Do that.")),
    ],
)
def test_a_message_is_split_into_what_is_and_what_to_do(message: str, expected: tuple[str, str]) -> None:
    """At the end of its first sentence, which is not a dot in a file's name."""
    assert split(message, "Do that.") == expected


def test_programs_are_asked_for_only_where_the_settings_need_them(tmp_path: Path) -> None:
    """Each with the first that needs it."""
    assert programs.needed(settings(tmp_path)) == {}

    signed = "\n    signatures: {allowed_signers_file: a, gpg_keyring_file: b}\n"
    loaded = read(
        tmp_path / "deployer.yaml",
        SMALL.replace("https://git.example.com/ml/serve-configs.git", "git@git.example.com:a.git")
        + signed.removeprefix("\n"),
        check_files=False,
    )

    assert programs.needed(loaded) == {
        "ssh": "repository serve-configs",
        "ssh-keygen": "the signatures of staging",
        "gpg": "the signatures of staging",
    }


def test_every_file_that_the_settings_name_is_looked_at(tmp_path: Path) -> None:
    """Secrets as secrets."""
    more = (
        "\n    github_app: {app_id: '1', installation_id: '2', private_key_file: k}\n    ca_file: c"
        "\n    webhook: {scheme: github, secret_file: s, previous_secret_file: p}"
        "\n    forge: {kind: gitlab, token_file: f, ca_file: fc}"
    )
    loaded = settings(tmp_path, more=more, token="\n      token_file: t")
    found = {setting: (path.name, is_secret) for setting, path, is_secret, _ in secret_files.named(loaded)}

    assert found == {
        "serve-configs: private_key_file": ("k", True),
        "serve-configs: webhook.secret_file": ("s", True),
        "serve-configs: webhook.previous_secret_file": ("p", True),
        "serve-configs: ca_file": ("c", False),
        "serve-configs: forge.token_file": ("f", True),
        "serve-configs: forge.ca_file": ("fc", False),
        "staging: cluster.token_file": ("t", True),
    }


def test_the_files_of_routes_are_looked_at(tmp_path: Path) -> None:
    """What signs, what lets in, and where apprise sends to."""
    hook = "{url: 'https://x.example', secret_file: s, token_file: t, ca_file: c}"
    more = f"notify:\n  a: {{webhook: {hook}}}\n  b: {{apprise: {{url_file: u}}}}\n"
    loaded = read(tmp_path / "deployer.yaml", SMALL + more, check_files=False)
    found = {setting: (path.name, is_secret) for setting, path, is_secret, _ in secret_files.named(loaded)}

    assert found == {
        "notify.a: webhook.secret_file": ("s", True),
        "notify.a: webhook.token_file": ("t", True),
        "notify.a: webhook.ca_file": ("c", False),
        "notify.b: apprise.url_file": ("u", True),
    }


def test_the_key_of_an_app_that_asks_the_forge_is_looked_at(tmp_path: Path) -> None:
    """As one that lets git in."""
    app = "{app_id: '1', installation_id: '2', private_key_file: k}"
    loaded = settings(tmp_path, more=f"\n    forge: {{kind: github, github_app: {app}}}")
    found = {setting: (path.name, is_secret) for setting, path, is_secret, _ in secret_files.named(loaded)}

    assert found == {"serve-configs: forge.private_key_file": ("k", True)}
