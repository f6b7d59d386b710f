"""The settings of routes: what they become, and what is refused with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.core.notices import About, Severity
from deployer.core.routes import Route
from deployer.core.windows import Recurring
from deployer.settings import routes
from tests.support.settings_files import SMALL, errors, read

if TYPE_CHECKING:
    from pathlib import Path

HOOK = "webhook: {url: 'https://hooks.example.com/x', secret_file: secret}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are written, with files beside them that they may name."""
    for name, content in {
        "secret": "0123456789abcdef0123",
        "short": "0123",
        "loose": "0123456789abcdef",
        "slack": "slack://T1JJ3T3L2/A1BRTD4JD/hunter2hunter2",
        "two": "slack://hunter2hunter2\nslack://b",
        "word": "hunter2hunter2",
    }.items():
        (tmp_path / name).write_text(f"{content}\n")
        (tmp_path / name).chmod(0o644 if name == "loose" else 0o600)
    (tmp_path / "ca.pem").write_text("something\n")
    return tmp_path / "deployer.yaml"


def route(*more: str) -> str:
    """The small settings with the route `ops`, whose keys are on lines 13 and later."""
    return SMALL + "notify:\n  ops:\n" + "".join(f"    {line}\n" for line in (HOOK, *more))


def test_without_it_nobody_is_told(file: Path) -> None:
    """There are no routes."""
    assert routes(read(file, SMALL)) == ()


def test_the_least_that_is_needed_is_told_everything(file: Path) -> None:
    """Of all environments, at every hour."""
    found = read(file, route())
    assert routes(found) == (Route(name="ops"),)
    hook = found.notify["ops"].webhook
    assert hook is not None
    assert (hook.url, hook.secret_file) == ("https://hooks.example.com/x", file.parent / "secret")
    assert (hook.token_file, hook.ca_file) == (None, None)


def test_all_that_can_be_said(file: Path) -> None:
    """As the core has it."""
    text = route(
        "environments: [staging]",
        "kinds: [failed, drift]",
        "severity: warning",
        "quiet_hours: [{cron: '0 20 * * *', duration: 12h, time_zone: Europe/Berlin}]",
        "always: [staging]",
    )
    assert routes(read(file, text)) == (
        Route(
            name="ops",
            environments=frozenset({"staging"}),
            about=frozenset({About.FAILED, About.DRIFT}),
            severity=Severity.WARNING,
            quiet=(Recurring(cron="0 20 * * *", duration=43200.0, time_zone="Europe/Berlin"),),
            always=frozenset({"staging"}),
        ),
    )


def test_a_receiver_of_this_machine_needs_no_https(file: Path) -> None:
    """Nobody is on the way."""
    text = route().replace("https://hooks.example.com/x", "http://127.0.0.1:8080/x")
    hook = read(file, text).notify["ops"].webhook
    assert hook is not None
    assert hook.url == "http://127.0.0.1:8080/x"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "kinds: [faild]",
            "14:12: notify.ops.kinds must be kinds of messages, and 'faild' is none (did you mean 'failed'?)",
        ),
        (
            "kinds: []",
            "14:12: notify.ops.kinds has no entry, so nothing would be told: add one, or remove it, which"
            " means all",
        ),
        ("severity: bad", "14:15: notify.ops.severity must be 'info', 'warning' or 'critical'"),
        (
            "environments: [stagign]",
            "14:19: notify.ops.environments: no environment is called 'stagign' (did you mean 'staging'?)",
        ),
        (
            "always: [prod]",
            "14:13: notify.ops.always: no environment is called 'prod' (known: staging)",
        ),
        (
            "quiet_hours: [{cron: '0 20 * *', duration: 12h, time_zone: UTC}]",
            "14:26: notify.ops.quiet_hours[0].cron must be a cron expression such as 0 9 * * MON-THU:"
            " '0 20 * *' has 4 of the five fields: write minute, hour, day, month and weekday",
        ),
        ("kind: [failed]", "14:5: unknown key 'kind' in notify.ops (did you mean 'kinds'?)"),
    ],
    ids=["kind", "no-kinds", "severity", "environment", "always", "cron", "unknown"],
)
def test_what_a_route_may_not_be(file: Path, line: str, message: str) -> None:
    """One error, at its place, with what to do."""
    assert errors(file, route(line)) == [message]


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (
            "{secret_file: secret}",
            "13:14: notify.ops.webhook.url is missing: add it, as in `url: https://hooks.example.com/deployer`",
        ),
        (
            "{url: 'https://x.example'}",
            "13:14: notify.ops.webhook.secret_file is missing: add it, as in"
            " `secret_file: /etc/deployer/notify.secret`",
        ),
        (
            "{url: 'http://x.example', secret_file: secret}",
            "13:20: notify.ops.webhook.url must begin with https://: over http everybody on the way could"
            " read the messages",
        ),
        (
            "{url: 'https://ada:pw@x.example', secret_file: secret}",
            "13:20: notify.ops.webhook.url holds a user name or a password: put a token into a file, and"
            " name that as token_file",
        ),
        (
            "{url: 'https://x.example', secret_file: short}",
            "13:54: notify.ops.webhook.secret_file names a file that cannot sign: it is shorter than 16"
            " bytes: make one with `openssl rand -hex 32`",
        ),
        (
            "{url: 'http://127.0.0.1:1', secret_file: secret, ca_file: ca.pem}",
            "13:72: notify.ops.webhook.ca_file is only used with https://, and url is not: remove this",
        ),
    ],
    ids=["no-url", "no-secret", "http", "login", "short", "ca"],
)
def test_what_a_webhook_may_not_be(file: Path, hook: str, message: str) -> None:
    """One error, at its place, with what to do, and nothing of a secret."""
    found = errors(file, route().replace(HOOK.removeprefix("webhook: "), hook))
    assert found == [message]


def test_a_secret_that_others_can_read_is_refused(file: Path) -> None:
    """As every secret file."""
    (found,) = errors(file, route().replace("secret}", "loose}"))
    assert "can be read or changed by others than its owner" in found


def test_the_files_are_not_looked_at_by_who_may_not_read_them(file: Path) -> None:
    """A person who lists the routes is not the daemon."""
    found = read(file, route().replace("secret}", "gone}"), check_files=False)
    hook = found.notify["ops"].webhook
    assert hook is not None
    assert hook.secret_file.name == "gone"


# --- chat, mail, pagers -------------------------------------------------------------------------------------


def by_apprise(file: str) -> str:
    """The small settings with a route to what stands in this file."""
    return route().replace(HOOK, f"apprise: {{url_file: {file}}}")


def test_a_route_can_go_to_people(file: Path) -> None:
    """By a file, which holds the address and with it the secret."""
    found = read(file, by_apprise("slack"))
    place = found.notify["ops"].apprise
    assert place is not None
    assert place.url_file == file.parent / "slack"
    assert found.notify["ops"].webhook is None
    assert routes(found) == (Route(name="ops"),)
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("two", "has 2 lines: write one apprise URL into it, and make a route for each other"),
        ("word", "has no apprise URL such as slack://token/token/token: write one into it, in one line"),
    ],
)
def test_what_an_address_may_not_be(file: Path, name: str, why: str) -> None:
    """Said at the start, and not when something is to be told; without a word of what stands there."""
    assert errors(file, by_apprise(name)) == [
        f"13:25: notify.ops.apprise.url_file names a file that {why}",
    ]


def test_an_address_that_others_can_read_is_refused(file: Path) -> None:
    """It is a secret."""
    (found,) = errors(file, by_apprise("loose"))
    assert "can be read or changed by others than its owner" in found


def test_an_address_is_not_read_by_who_may_not(file: Path) -> None:
    """As above."""
    place = read(file, by_apprise("gone"), check_files=False).notify["ops"].apprise
    assert place is not None
    assert place.url_file.name == "gone"


def test_without_the_extra_it_is_said_what_to_type(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is looked at, which is where the daemon runs."""
    monkeypatch.setattr("deployer.settings._notify.find_spec", lambda _: None)
    assert errors(file, by_apprise("slack")) == [
        "13:25: notify.ops.apprise.url_file needs apprise, which is not installed: pip install"
        " 'ray-serve-deployer[notify]', or use webhook instead"
    ]
    assert read(file, by_apprise("slack"), check_files=False).notify["ops"].apprise is not None


def test_a_route_goes_to_one_place(file: Path) -> None:
    """Not to none, and not to two."""
    both = route("apprise: {url_file: slack}")
    assert errors(file, both) == [
        "13:5: notify.ops has a webhook, and apprise: remove one of them, or make a route of each"
    ]
    none = SMALL + "notify:\n  ops:\n    severity: warning\n"
    assert errors(file, none) == ["13:5: notify.ops does not say where it is sent: add webhook or apprise"]


def test_a_variable_can_name_environments_too(file: Path) -> None:
    """With commas; and what is none of them is said with its name."""
    variable = "DEPLOYER_NOTIFY__OPS__ENVIRONMENTS"
    found = read(file, route(), {"HOME": "/home/ada", variable: "staging"})
    assert found.notify["ops"].environments == ("staging",)
    assert errors(file, route(), {"HOME": "/home/ada", variable: "staging, prod"}) == [
        f"{variable}: notify.ops.environments: no environment is called 'prod' (known: staging)"
    ]
