"""The settings of gates, promotion and the right to push: what they become, and what is refused."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from deployer.core.approvals import ApprovalRule
from deployer.core.gates import Rules
from deployer.core.windows import Fixed, Recurring
from deployer.settings import Gates, explained, gate_rules
from tests.support.settings_files import NO_ENV, errors, read

ENVIRONMENT = """\
  {name}:
    repository: serve-configs
    branch: env/{name}
    path: environments/{name}
    cluster: {{address: "http://ray-{name}:8265"}}
"""
NAMES = ("dev", "staging", "production")
"""On lines 6, 11 and 16; what a test adds to production begins on line 21."""

SETTINGS = f"""\
repositories:
  serve-configs:
    url: https://git.example.com/ml/serve-configs.git
    write: {{}}
environments:
{"".join(ENVIRONMENT.format(name=name) for name in NAMES)}"""
AT = "environments.production"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are written, with files beside them that they may name."""
    for name in ("secret", "key", "app.pem", "hosts"):
        (tmp_path / name).write_text("0123456789abcdef\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path / "deployer.yaml"


def production(text: str) -> str:
    """The settings with more in production, and what follows."""
    return f"{SETTINGS}    {text}\n"


def gates(text: str) -> str:
    """The settings with these gates of production, which begin in column 13 of line 21."""
    return production(f"gates: {{{text}}}")


def copies(text: str) -> str:
    """As `production`, where dev and production read two folders of one branch."""
    return production(text).replace("branch: env/production", "branch: env/dev")


def environment(name: str, text: str) -> str:
    """The settings with more in this environment."""
    return SETTINGS.replace(f"    branch: env/{name}\n", f"    branch: env/{name}\n    {text}\n")


# --- what they become -----------------------------------------------------------------------------------


def test_without_gates_there_are_none(file: Path) -> None:
    """Nothing is asked for unless somebody asks for it."""
    found = read(file, SETTINGS)
    assert gate_rules(found, "production") == Rules()
    assert found.environments["production"].promote_from is None
    with pytest.raises(KeyError):
        gate_rules(found, "prod")


def test_gates_become_rules(file: Path) -> None:
    """With groups taken apart, and times by their clocks."""
    text = production(
        """sync: manual
    gates:
      requires: {staging: 30m, dev: 0s}
      approvals: {required: 2, from: [ada, "@leads"]}
      windows: [{cron: "0 9 * * mon-thu", duration: 8h, time_zone: Europe/Berlin}]
      freezes:
        - {begins: 2026-12-20T18:00, ends: "2027-01-04", time_zone: Europe/Berlin, reason: Christmas}
        - {cron: "0 0 * * FRI", duration: 3d, time_zone: UTC}
      drift: true
      capacity: true
people: {ada: [ada@example.com], zoe: [zoe@example.com]}
groups: {leads: [ada, lin]}"""
    )
    berlin = ZoneInfo("Europe/Berlin")
    assert gate_rules(read(file, text), "production") == Rules(
        requires={"staging": 1800.0, "dev": 0.0},
        approvals=ApprovalRule(
            required=2,
            people=frozenset({"ada", "lin"}),
            prevent_self_approval=True,
            expire_after=7 * 86_400.0,
            emails={"ada": ("ada@example.com",)},
        ),
        windows=(Recurring(cron="0 9 * * mon-thu", duration=28_800.0, time_zone="Europe/Berlin"),),
        freezes=(
            Fixed(
                begins=datetime(2026, 12, 20, 18, tzinfo=berlin),
                ends=datetime(2027, 1, 4, tzinfo=berlin),
                reason="Christmas",
            ),
            Recurring(cron="0 0 * * FRI", duration=259_200.0, time_zone="UTC"),
        ),
        manual=True,
        drift=True,
        capacity=True,
    )


@pytest.mark.parametrize(
    ("day", "begins", "ends"),
    [
        pytest.param("2026-10-25", "2026-10-25T00:30", "2026-10-25T01:30", id="02:30 is there twice"),
        pytest.param("2026-03-29", "2026-03-29T00:30", "2026-03-29T01:30", id="02:30 is left out"),
    ],
)
def test_a_freeze_lasts_as_long_as_can_be_meant(file: Path, day: str, begins: str, ends: str) -> None:
    """Where its clock does not say which time is meant."""
    for one, other in (("01:00", "02:30"), ("02:30", "05:00")):
        text = gates(f"freezes: [{{begins: {day}T{one}, ends: {day}T{other}, time_zone: Europe/Berlin}}]")
        (freeze,) = gate_rules(read(file, text), "production").freezes
        assert isinstance(freeze, Fixed)
        at = {"01:00": freeze.ends, "05:00": freeze.begins}[one if one == "01:00" else other]
        expected = ends if one == "01:00" else begins
        assert at.astimezone(UTC) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_name_is_enough_to_promote_from(file: Path) -> None:
    """The long form says whether it goes by itself; a variable can say each."""
    short = read(file, production("promote_from: staging")).environments["production"].promote_from
    long = read(file, production("promote_from: {environment: staging}")).environments["production"]
    assert short == long.promote_from
    assert short is not None
    assert (short.environment, short.auto) == ("staging", False)
    env = NO_ENV | {
        "DEPLOYER_ENVIRONMENTS__PRODUCTION__PROMOTE_FROM": "staging",
        "DEPLOYER_ENVIRONMENTS__PRODUCTION__GATES__APPROVALS__FROM": "ada, @leads",
        "DEPLOYER_ENVIRONMENTS__PRODUCTION__GATES__APPROVALS__REQUIRED": "2",
        "DEPLOYER_ENVIRONMENTS__PRODUCTION__GATES__DRIFT": "true",
        "DEPLOYER_GROUPS__LEADS": "lin",
        "DEPLOYER_PEOPLE__LIN": "lin@example.com, lin@example.org",
    }
    found = read(file, SETTINGS, env)
    assert found.environments["production"].promote_from == short
    rules = gate_rules(found, "production")
    assert rules.drift
    assert rules.approvals == ApprovalRule(
        required=2,
        people=frozenset({"ada", "lin"}),
        emails={"lin": ("lin@example.com", "lin@example.org")},
    )


def test_two_folders_of_one_branch_are_a_copy(file: Path) -> None:
    """And may say which fields are copied, and which stay; a variable holds several, with commas."""
    fields = "move: [deployments.max_ongoing_requests], keep: [args.size, runtime_env.env_vars]"
    text = copies(f"promote_from: {{environment: dev, auto: true, {fields}}}")
    found = read(file, text).environments["production"].promote_from
    assert found is not None
    assert found.by == "push"
    assert found.move == ("deployments.max_ongoing_requests",)
    assert found.keep == ("args.size", "runtime_env.env_vars")
    env = NO_ENV | {"DEPLOYER_ENVIRONMENTS__PRODUCTION__PROMOTE_FROM__KEEP": "args.size, args.kind"}
    found = read(file, text, env).environments["production"].promote_from
    assert found is not None
    assert found.keep == ("args.size", "args.kind")


def test_every_gate_is_told_with_its_line(file: Path) -> None:
    """Also those in lists, by the keys that stand in the file."""
    text = gates("approvals: {from: [ada]}, freezes: [{cron: 0 0 * * FRI, duration: 3d, time_zone: UTC}]")
    found = {one.key: one for one in explained(read(file, text), file, NO_ENV)}
    assert found[f"{AT}.gates.approvals.from"].value == ["ada"]
    assert found[f"{AT}.gates.freezes[0].cron"].value == "0 0 * * FRI"
    assert found[f"{AT}.gates.freezes[0].cron"].origin == f"{file}:21"
    assert found[f"{AT}.gates.freezes[0].begins"].origin == "default"
    assert found[f"{AT}.gates.windows"].value == []


# --- what is refused ------------------------------------------------------------------------------------

WAYS = (
    "a promotion moves the branch of one environment to a commit of another one's branch, or copies from"
    " folder to folder of one branch, in one repository"
)
WINDOW = 'cron: "0 9 * * *", duration: 8h, time_zone: UTC'
REFUSED = [
    # Promotion.
    (
        production("promote_from: stagin"),
        f"21:19: {AT}.promote_from: no environment is called 'stagin' (did you mean 'staging'?)",
    ),
    (
        production("promote_from: {environment: prod-eu, auto: true}"),
        f"21:33: {AT}.promote_from.environment: no environment is called 'prod-eu' (known: dev, staging,"
        " production)",
    ),
    (production("promote_from: ''"), f"21:19: {AT}.promote_from.environment must be a name in one line"),
    (production("promote_from: [dev]"), f"21:19: {AT}.promote_from must be a mapping, not a list"),
    (
        production("promote_from: {auto: true}"),
        f"21:19: {AT}.promote_from.environment is missing: add it, as in `environment: staging`",
    ),
    (
        production("promote_from: {environment: dev, atuo: true}"),
        f"21:38: unknown key 'atuo' in {AT}.promote_from (did you mean 'auto'?)",
    ),
    (
        production("promote_from: {environment: dev, auto: 1}"),
        f"21:44: {AT}.promote_from.auto must be true or false",
    ),
    (
        production("promote_from: {environment: dev, auto: true}").replace("    write: {}\n", ""),
        f"20:44: {AT}.promote_from.auto needs repositories.serve-configs.write: how the daemon is let in to"
        " push (see docs/gates.md)",
    ),
    (
        production("promote_from: dev").replace("    branch: env/dev\n", '    tags: {versions: "*"}\n'),
        f"21:19: {AT}.promote_from: dev follows tags, and no branch: {WAYS}",
    ),
    (
        production("promote_from: dev").replace("    branch: env/production\n", f"    commit: {'ab' * 20}\n"),
        f"21:19: {AT}.promote_from: production follows commit, and no branch: {WAYS}",
    ),
    (
        production("promote_from: dev")
        .replace("branch: env/production", "branch: refs/heads/env/dev")
        .replace("path: environments/production", "path: ./environments/dev/"),
        f"21:19: {AT}.promote_from: production and dev read the same folder of the same branch, so there is"
        " nothing to promote: give each a branch, or a folder, of its own",
    ),
    (
        production("promote_from: {environment: dev, by: pull_request}"),
        f"21:42: {AT}.promote_from.by must be 'push' or 'pull-request'",
    ),
    (
        production("promote_from: {environment: dev, by: pull-request}"),
        f"21:42: {AT}.promote_from.by needs repositories.serve-configs.forge: how the forge is asked"
        " (see docs/gates.md)",
    ),
    (
        production("promote_from: {environment: dev, move: [args.size]}"),
        f"21:44: {AT}.promote_from.move is for copies from folder to folder alone, and production and dev"
        " follow branches of their own, so the very commit is promoted: remove this",
    ),
    (
        production("promote_from: {environment: dev, auto: true, keep: []}"),
        f"21:56: {AT}.promote_from.keep is for copies from folder to folder alone",
    ),
    (
        copies("promote_from: {environment: dev, move: args}").replace("move: args", "move: {args: size}"),
        f"21:44: {AT}.promote_from.move must be a list of fields such as args.size, not a mapping",
    ),
    (
        copies("promote_from: {environment: dev, move: [args.size, agrs.size]}"),
        f"21:56: {AT}.promote_from.move[1] 'agrs.size' is no field of Serve's (did you mean 'args'?)",
    ),
    (
        copies("promote_from: {environment: dev, keep: [5]}"),
        f"21:44: {AT}.promote_from.keep must be a list of fields such as args.size, not a number",
    ),
    (
        copies("promote_from: {environment: dev, move: [args.size], keep: [args, args.size]}"),
        f"21:63: {AT}.promote_from.keep names 'args.size', and so does move: remove it from one of them",
    ),
    (
        copies("promote_from: {environment: dev, auto: true}").replace("    write: {}\n", ""),
        f"20:44: {AT}.promote_from.auto needs repositories.serve-configs.write: how the daemon is let in to"
        " push (see docs/gates.md)",
    ),
    (
        production("promote_from: dev")
        .replace(
            "environments:\n  dev:\n    repository: serve", "environments:\n  dev:\n    repository: other"
        )
        .replace("environments:\n", "  other-configs: {url: /srv/git/other.git}\nenvironments:\n"),
        f"22:19: {AT}.promote_from: production is in the repository 'serve-configs', dev in 'other-configs':"
        f" {WAYS}",
    ),
    # Circles.
    (
        production("promote_from: production"),
        f"21:19: {AT}.promote_from: nothing would ever be deployed, because each waits for the next:"
        " production -> production",
    ),
    (
        environment("dev", "promote_from: production").replace(
            "    branch: env/production\n", "    branch: env/production\n    promote_from: dev\n"
        ),
        "9:19: environments.dev.promote_from: nothing would ever be deployed, because each waits for the"
        " next: dev -> production -> dev",
    ),
    (
        gates("requires: {staging: 0s}").replace(
            "    branch: env/staging\n",
            "    branch: env/staging\n    gates: {requires: {dev: 1h, production: 1h}}\n",
        ),
        "14:45: environments.staging.gates.requires.production: nothing would ever be deployed, because each"
        " waits for the next: staging -> production -> staging",
    ),
    (
        gates("requires: {staging: 0s}").replace(
            "    branch: env/staging\n", "    branch: env/staging\n    promote_from: production\n"
        ),
        "14:19: environments.staging.promote_from: nothing would ever be deployed, because each waits for the"
        " next: staging -> production -> staging",
    ),
    # Gates.
    (
        gates("requires: {stagin: 0s}"),
        f"21:32: {AT}.gates.requires: no environment is called 'stagin' (did you mean 'staging'?)",
    ),
    (gates("requires: [staging]"), f"21:23: {AT}.gates.requires must be a mapping of names, not a list"),
    (
        gates("requires: {dev: 30}"),
        f"21:29: {AT}.gates.requires.dev must be a duration such as 30m or 8h, not a number",
    ),
    (gates("requries: {}"), f"21:13: unknown key 'requries' in {AT}.gates (did you mean 'requires'?)"),
    (gates("drift: heal"), f"21:20: {AT}.gates.drift must be true or false"),
    # Approvals.
    (
        gates("approvals: {required: 2}"),
        f'21:24: {AT}.gates.approvals.from is missing: add it, as in `from: [ada, "@release-managers"]`',
    ),
    (
        gates("approvals: {from: []}"),
        f"21:31: {AT}.gates.approvals.from has no entry, so nobody could approve: add one",
    ),
    (
        gates("approvals: {from: [ada], form: 1}"),
        f"21:38: unknown key 'form' in {AT}.gates.approvals (did you mean 'from'?)",
    ),
    (
        gates("approvals: {from: [ada, ada lovelace]}"),
        f"21:31: {AT}.gates.approvals.from 'ada lovelace' is no login name: write it as `deployer token"
        " create` has it",
    ),
    (
        gates('approvals: {from: ["@lead"]}') + "groups: {leads: [ada]}\n",
        f"21:32: {AT}.gates.approvals.from: no group is called 'lead' (did you mean 'leads'?)",
    ),
    (
        gates('approvals: {from: ["@leads"]}'),
        f"21:32: {AT}.gates.approvals.from: no group is called 'leads' (there are none)",
    ),
    (
        gates('approvals: {required: 3, from: [ada, ada, "@leads"]}') + "groups: {leads: [lin, ada]}\n",
        f"21:35: {AT}.gates.approvals.required is 3, and from names 2 people: name more, or ask fewer",
    ),
    (
        gates("approvals: {required: 2, from: [ada]}"),
        f"21:35: {AT}.gates.approvals.required is 2, and from names 1 person: name more, or ask fewer",
    ),
    (
        gates("approvals: {required: 0, from: [ada]}"),
        f"21:35: {AT}.gates.approvals.required must be a whole number from 1",
    ),
    (
        gates("approvals: {from: [ada], expire_after: 0s}"),
        f"21:52: {AT}.gates.approvals.expire_after must be at least 1m",
    ),
    # Windows.
    (gates(f"windows: {{{WINDOW}}}"), f"21:22: {AT}.gates.windows must be a list of windows, not a mapping"),
    (gates("windows: [daily]"), f"21:23: {AT}.gates.windows[0] must be a mapping, not text"),
    (
        gates(f"windows: [{{{WINDOW}}}, {{time_zone: UTC, duration: 1h}}]"),
        f'21:74: {AT}.gates.windows[1].cron is missing: add it, as in `cron: "0 9 * * MON-THU"`',
    ),
    (
        gates(f"windows: [{{{WINDOW.replace('0 9', '0 9 30 2 * #')}}}]"),
        f"21:30: {AT}.gates.windows[0].cron must be a cron expression such as 0 9 * * MON-THU: '0 9 30 2 * #"
        " * * *' has 9 of the five fields: write minute, hour, day, month and weekday",
    ),
    (
        gates(f"windows: [{{{WINDOW.replace('0 9 * * *', '0 9 30 2 *')}}}]"),
        f"21:30: {AT}.gates.windows[0].cron must be a cron expression such as 0 9 * * MON-THU: '0 9 30 2 *'"
        " has a day-of-month that cannot be read, or never comes",
    ),
    (
        gates(f"windows: [{{{WINDOW.replace('UTC', 'europe/berln')}}}]"),
        f"21:68: {AT}.gates.windows[0].time_zone must be the name of a time zone, and 'europe/berln' is none"
        " (did you mean 'Europe/Berlin'?)",
    ),
    (
        gates(f"windows: [{{{WINDOW.replace('UTC', 'nowhere/at/all')}}}]"),
        f"21:68: {AT}.gates.windows[0].time_zone must be the name of a time zone, and 'nowhere/at/all' is"
        " none (such as Europe/Berlin or UTC)",
    ),
    (
        gates(f"windows: [{{{WINDOW.replace('8h', '0s')}}}]"),
        f"21:53: {AT}.gates.windows[0].duration must be at least 1m",
    ),
    (
        gates(f"windows: [{{{WINDOW.replace('8h', '8 hours')}}}]"),
        f"21:53: {AT}.gates.windows[0].duration cannot be read: '8 hours' is not a duration: write whole"
        " numbers with units, as in 30s, 10m, 1h30m or 500ms",
    ),
    (
        gates(f"windows: [{', '.join([f'{{{WINDOW}}}'] * 51)}]"),
        f"21:22: {AT}.gates.windows has 51 entries, and more than 50 are not taken",
    ),
    # Freezes.
    (
        gates("freezes: [{time_zone: UTC}]"),
        f"21:23: {AT}.gates.freezes[0] needs cron and duration, or begins and ends, and not both",
    ),
    (
        gates(f"freezes: [{{{WINDOW}, begins: '2026-12-20'}}]"),
        f"21:23: {AT}.gates.freezes[0] needs cron and duration, or begins and ends, and not both",
    ),
    (
        gates("freezes: [{begins: 2026-12-20T18:00, time_zone: UTC}]"),
        f"21:23: {AT}.gates.freezes[0] needs cron and duration, or begins and ends, and not both",
    ),
    (
        gates("freezes: [{begins: 2026-12-20T18:00, ends: 2026-12-20T18:00, time_zone: UTC}]"),
        f"21:23: {AT}.gates.freezes[0] begins must be before ends",
    ),
    (
        gates("freezes: [{begins: '2026-12-20', ends: '9999-12-31 23:00', time_zone: America/New_York}]"),
        f"21:23: {AT}.gates.freezes[0] is too far away: write a year from 2 to 9998",
    ),
    *(
        (
            gates(f"freezes: [{{begins: {text}, ends: '2026-12-21', time_zone: UTC}}]"),
            f"21:32: {AT}.gates.freezes[0].begins must be a time such as 2026-12-20T18:00, by the clock of"
            " time_zone",
        )
        for text in ("20.12.2026", "2026-12-20T18:00Z", "2026-13-20T18:00", "tomorrow")
    ),
    (
        gates("freezes: [{begins: 2026-12-20, ends: '2026-12-21', time_zone: UTC}]"),
        "21:32: this reads as a date, which JSON cannot hold: quote it",
    ),
    # People.
    (SETTINGS + "people: [ada]\n", "21:9: people must be a mapping of names, not a list"),
    (
        SETTINGS + "people: {ada: [ada]}\n",
        "21:15: people.ada must be e-mail addresses such as ada@example.com: 'ada' is none",
    ),
    (SETTINGS + "people: {ada: []}\n", "21:15: people.ada has no entry, so no commit is known to be theirs"),
    (
        SETTINGS + "people: {ada: {}}\n",
        "21:15: people.ada says neither emails nor forge: add one of them",
    ),
    (
        SETTINGS + "people: {ada: 5}\n",
        "21:15: people.ada must be a list of e-mail addresses, or a mapping of emails and forge, not a"
        " number",
    ),
    (
        SETTINGS + "people: {ada: {email: [a@b]}}\n",
        "21:16: unknown key 'email' in people.ada (did you mean 'emails'?)",
    ),
    (
        SETTINGS + "people: {ada: {emails: []}}\n",
        "21:24: people.ada.emails has no entry, so no commit is known to be theirs: add one",
    ),
    (
        SETTINGS + "people: {ada: {forge: []}}\n",
        "21:23: people.ada.forge has no entry, so no review would be theirs: add one",
    ),
    (
        SETTINGS + 'people: {ada: {forge: ["@ada"]}}\n',
        "21:23: people.ada.forge must be login names at the forge such as ada-gh: '@ada' is none",
    ),
    (
        SETTINGS
        + "people: {ada: {forge: ada-gh}, lin: {forge: [lin-gh, ADA-gh]}}\n".replace("ada-gh}", "[ada-gh]}"),
        "21:56: people.lin.forge: 'ADA-gh' is ada's already: remove it from one of them",
    ),
    (SETTINGS + 'people: {"@ada": [a@b]}\n', "21:10: people: '@ada' is no login name: write it as"),
    (SETTINGS + "groups: {leads: []}\n", "21:17: groups.leads has no entry, so nobody is named: add one"),
    (
        SETTINGS + 'groups: {leads: ["@others"]}\n',
        "21:17: groups.leads '@others' is no login name: write it as `deployer token create` has it",
    ),
    (SETTINGS + "groups: {Leads: [ada]}\n", "21:10: groups: 'Leads' is no name: use a-z, 0-9 and -"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_is_refused_and_how(file: Path, text: str, why: str) -> None:
    """One mistake, one sentence, at its place."""
    (error,) = errors(file, text)
    assert error.startswith(why)


def test_a_line_of_environments_is_no_circle(file: Path) -> None:
    """Nor are two ways to the same one."""
    text = environment("staging", "promote_from: dev").replace(
        "    branch: env/production\n",
        "    branch: env/production\n    promote_from: staging\n"
        "    gates: {requires: {dev: 1h, staging: 1h}}\n",
    )
    assert list(read(file, text).environments) == list(NAMES)


# --- the right to push ----------------------------------------------------------------------------------

SSH = SETTINGS.replace(
    "https://git.example.com/ml/serve-configs.git", "git@git.example.com:ml/serve-configs.git"
)
APP = '{app_id: "1", installation_id: "2", private_key_file: app.pem}'


def written(text: str, settings: str = SETTINGS) -> str:
    """The settings with this right to push, which begins in column 12 of line 4."""
    return settings.replace("    write: {}\n", f"    write: {text}\n")


@pytest.mark.parametrize(
    "text",
    [
        written("{token_file: secret, username: pusher}"),
        written(f"{{github_app: {APP}}}"),
        written("{known_hosts_file: hosts, ssh_key_file: key}", SSH),
        written("{}", SSH),
        written("{}").replace("https://git.example.com/ml/serve-configs.git", "/srv/git/configs.git"),
    ],
)
def test_rights_to_push_that_are_taken(file: Path, text: str) -> None:
    """For each kind of URL; without the key there is none."""
    assert read(file, text).repositories["serve-configs"].write is not None
    without = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("    write"))
    assert read(file, without).repositories["serve-configs"].write is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (written("yes"), "4:12: repositories.serve-configs.write must be a mapping, not true or false"),
        (
            written("{ssh_key_file: key, known_hosts_file: hosts}"),
            "4:27: repositories.serve-configs.write.ssh_key_file is only used with ssh, and url is not",
        ),
        (
            written("{ssh_key_file: key}", SSH),
            "4:27: repositories.serve-configs.write.ssh_key_file needs known_hosts_file beside it",
        ),
        (
            written("{token_file: secret}", SSH),
            "4:25: repositories.serve-configs.write.token_file is only used with https:// or http://",
        ),
        (
            written("{username: pusher}"),
            "4:23: repositories.serve-configs.write.username is only sent together with a token",
        ),
        (
            written(f"{{token_file: secret, github_app: {APP}}}"),
            "4:45: repositories.serve-configs.write.github_app is instead of token_file",
        ),
        (
            written('{github_app: {app_id: "1"}}'),
            "4:25: repositories.serve-configs.write.github_app.installation_id is missing",
        ),
        (
            written("{tokenfile: secret}"),
            "4:13: unknown key 'tokenfile' in repositories.serve-configs.write (did you mean 'token_file'?)",
        ),
        (
            written("{token_file: none.token}"),
            "4:25: repositories.serve-configs.write.token_file must name a file, and",
        ),
    ],
)
def test_rights_to_push_that_are_refused(file: Path, text: str, why: str) -> None:
    """By the rules of reading, held against the URL around them."""
    assert any(error.startswith(why) for error in errors(file, text)), errors(file, text)


def test_a_token_in_the_place_of_its_file_is_not_shown(file: Path) -> None:
    """As for reading."""
    for settings in (SETTINGS, SSH):
        shown = "\n".join(errors(file, written("{token_file: glpat-hunter2}", settings)))
        assert shown
        assert "hunter2" not in shown


# --- the page -------------------------------------------------------------------------------------------


def test_the_examples_of_the_page_load(file: Path) -> None:
    """Each as it stands there: the first whole, the others in an environment of it."""
    page = (Path(__file__).parents[2] / "docs/gates.md").read_text()
    whole, *parts = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL))
    assert gate_rules(read(file, yaml.safe_dump(whole), check_files=False), "production").approvals
    for part in parts:
        document = copy.deepcopy(whole)
        document["environments"]["production"] |= part
        assert read(file, yaml.safe_dump(document), check_files=False).environments


def test_every_gate_has_its_section() -> None:
    """On the page, by its key."""
    page = (Path(__file__).parents[2] / "docs/gates.md").read_text()
    for gate in Gates.keys():  # noqa: SIM118 - it is no mapping
        assert re.search(rf"^## `{gate}`", page, flags=re.MULTILINE), gate
    assert "## `sync: manual`" in page
