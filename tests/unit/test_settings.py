"""The daemon's settings: what is read, where from, what is refused with which words, what the docs say."""

from __future__ import annotations

import re
from collections import abc
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deployer.core import durations
from deployer.core.errors import InvalidConfig
from deployer.settings import Log, Repository, Settings, candidates, default_state_dir, load
from deployer.settings._group import Group
from tests.support.settings_files import NO_ENV, SMALL, changed, errors, read
from tests.support.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs/settings.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are; a test writes them."""
    return tmp_path / "deployer.yaml"


# --- what is read ---------------------------------------------------------------------------------------


def test_every_setting_is_read(file: Path, tmp_path: Path) -> None:
    """A file that gives everything becomes exactly that, in its normal form."""
    token = tmp_path / "secret" / "token"
    token.parent.mkdir()
    # Any text will do for the others; TLS needs a certificate and its key.
    Authority(tmp_path / "ca").copy(tmp_path / "ca.pem", token)
    text = """\
state_dir: state
repositories:
  serve-configs:
    url: https://git.example.com/ml/serve-configs.git
    poll_interval: 1m30s
    token_file: secret/token
    username: ci
    ca_file: ./ca.pem
    webhook: {scheme: github, secret_file: secret/token, previous_secret_file: secret/token}
    write: {token_file: secret/token, username: pusher, ca_file: ca.pem}
    forge: {kind: gitlab, api_url: "HTTPS://Git.example.com:443/api/v4/", project: ml/eu/serve-configs,
            token_file: secret/token, ca_file: ca.pem, statuses: false, deployments: true,
            plans: true}
environments:
  staging:
    repository: serve-configs
    branch: env/staging
    path: .
    cluster: {address: "http://ray-staging:8265"}
  production:
    repository: serve-configs
    branch: refs/heads/env/production
    path: ./environments/production/
    cluster: {address: "HTTPS://Ray-Prod:443/ray/", token_file: secret/token, ca_file: ca.pem,
              serve_address: "HTTP://Ray-Prod:80/serve/"}
    sync: manual
    promote_from: {environment: staging, auto: true, by: pull-request}
    gates:
      requires: {staging: 30m}
      checks: [ci/test, "build (ubuntu, 3.11)"]
      approvals: {required: 2, from: [ada, "@leads"], prevent_self_approval: false, expire_after: 1d,
                  reviews: true}
      windows: [{cron: "0  9 * * MON-THU", duration: 8h, time_zone: Europe/Berlin}]
      freezes: [{cron: "0 0 * * FRI", duration: 3d, time_zone: UTC, reason: weekend},
                {begins: 2026-12-20T18:00, ends: "2027-01-04", time_zone: Asia/Kathmandu}]
      drift: true
      capacity: true
    signatures: {verify: range, allowed_signers_file: ca.pem, gpg_keyring_file: ca.pem}
    rewrites: accept
people:
  ada: [ada@example.com, ada@example.org]
  lin: {emails: [lin@example.com], forge: [lin-gl, Lin_2]}
groups: {leads: [lin, bo@example.com]}
server:
  listen: "LocalHost:0"
  tls: {cert_file: ca.pem, key_file: secret/token}
  allowed_hosts: [Deployer.example.com, "[::2]"]
  trusted_proxy: {addresses: [10.0.0.7, 10.1.0.0/16, "FD00::/8"], user_header: X-User, role: deployer}
  anonymous_read: true
  public_url: HTTPS://Deployer.Example.com:443/
log: {format: json, level: debug}
workers: 8
"""
    found = read(file, text)
    dumped = found.model_dump(by_alias=True)
    assert list(dumped["environments"]) == ["staging", "production"]
    del dumped["environments"]["staging"]
    assert dumped == {
        "state_dir": tmp_path / "state",
        "repositories": {
            "serve-configs": {
                "url": "https://git.example.com/ml/serve-configs.git",
                "poll_interval": 90.0,
                "token_file": token,
                "username": "ci",
                "ca_file": tmp_path / "ca.pem",
                "known_hosts_file": None,
                "ssh_key_file": None,
                "github_app": None,
                "webhook": {"scheme": "github", "secret_file": token, "previous_secret_file": token},
                "write": {
                    "token_file": token,
                    "username": "pusher",
                    "ca_file": tmp_path / "ca.pem",
                    "known_hosts_file": None,
                    "ssh_key_file": None,
                    "github_app": None,
                },
                "forge": {
                    "kind": "gitlab",
                    "api_url": "https://git.example.com/api/v4",
                    "project": "ml/eu/serve-configs",
                    "token_file": token,
                    "github_app": None,
                    "ca_file": tmp_path / "ca.pem",
                    "statuses": False,
                    "deployments": True,
                    "plans": True,
                },
            }
        },
        "environments": {
            "production": {
                "repository": "serve-configs",
                "branch": "env/production",
                "tags": None,
                "commit": None,
                "path": "environments/production",
                "cluster": {
                    "address": "https://ray-prod/ray",
                    "token_file": token,
                    "ca_file": tmp_path / "ca.pem",
                    "serve_address": "http://ray-prod/serve",
                },
                "promote_from": {
                    "environment": "staging",
                    "auto": True,
                    "by": "pull-request",
                    "move": (),
                    "keep": (),
                },
                "sync": "manual",
                "gates": {
                    "requires": {"staging": 1800.0},
                    "checks": ("ci/test", "build (ubuntu, 3.11)"),
                    "approvals": {
                        "required": 2,
                        "from": ("ada", "@leads"),
                        "prevent_self_approval": False,
                        "expire_after": 86400.0,
                        "reviews": True,
                    },
                    "windows": (
                        {"cron": "0 9 * * MON-THU", "duration": 28800.0, "time_zone": "Europe/Berlin"},
                    ),
                    "freezes": (
                        {
                            "cron": "0 0 * * FRI",
                            "duration": 259200.0,
                            "begins": None,
                            "ends": None,
                            "time_zone": "UTC",
                            "reason": "weekend",
                        },
                        {
                            "cron": None,
                            "duration": None,
                            "begins": datetime(2026, 12, 20, 18, 0),  # noqa: DTZ001 - by the clock of its zone
                            "ends": datetime(2027, 1, 4, 0, 0),  # noqa: DTZ001 - as above
                            "time_zone": "Asia/Kathmandu",
                            "reason": "",
                        },
                    ),
                    "drift": True,
                    "capacity": True,
                },
                "signatures": {
                    "verify": "range",
                    "allowed_signers_file": tmp_path / "ca.pem",
                    "gpg_keyring_file": tmp_path / "ca.pem",
                },
                "rewrites": "accept",
            }
        },
        "people": {
            "ada": {"emails": ("ada@example.com", "ada@example.org"), "forge": ()},
            "lin": {"emails": ("lin@example.com",), "forge": ("lin-gl", "Lin_2")},
        },
        "groups": {"leads": ("lin", "bo@example.com")},
        "server": {
            "listen": "127.0.0.1:0",
            "tls": {"cert_file": tmp_path / "ca.pem", "key_file": token},
            "allowed_hosts": ("deployer.example.com", "[::2]"),
            "trusted_proxy": {
                "addresses": ("10.0.0.7/32", "10.1.0.0/16", "fd00::/8"),
                "user_header": "X-User",
                "role": "deployer",
            },
            "anonymous_read": True,
            "public_url": "https://deployer.example.com",
        },
        "audit": None,
        "notify": {},
        "log": {"format": "json", "level": "debug"},
        "workers": 8,
    }


def test_the_least_that_is_needed(file: Path) -> None:
    """What is not given has its default."""
    found = read(file, SMALL)
    repository = found.repositories["serve-configs"]
    assert (repository.poll_interval, repository.username) == (15.0, "git")
    assert (repository.token_file, repository.ca_file) == (None, None)
    assert found.environments["staging"].sync == "auto"
    assert found.environments["staging"].cluster.serve_address is None
    assert (found.server.host, found.server.port) == ("127.0.0.1", 8700)
    assert found.log == Log(format="auto", level="info")
    assert found.workers == 32
    assert found.state_dir == Path("/home/ada/.local/state/deployer")


@pytest.mark.parametrize(("name", "meaning"), [("auto", None), ("json", True), ("console", False)])
def test_log_format_is_what_the_log_set_up_takes(file: Path, name: str, meaning: bool | None) -> None:
    """`auto` leaves the choice to whether somebody watches."""
    assert read(file, f"{SMALL}log: {{format: {name}}}\n").log.json_or_none is meaning


def test_settings_are_frozen(file: Path) -> None:
    """What was validated once cannot change under the threads that use it."""
    found = read(file, SMALL)
    with pytest.raises(ValidationError):
        found.workers = 1  # type: ignore[misc]  # mypy knows it too


def test_a_model_is_not_made_by_hand() -> None:
    """Without a file there is nothing that a relative path is relative to, and the error says so."""
    with pytest.raises(TypeError, match=re.escape("made by deployer.settings.load")):
        Repository(url="./configs.git")


def test_yaml_words_are_names_but_not_values(file: Path) -> None:
    """An environment may be called `no`; a branch that YAML reads as true is refused with the remedy."""
    assert list(read(file, changed("  staging:", "  no:")).environments) == ["no"]
    assert errors(file, changed("branch: env/staging", "branch: on")) == [
        "7:13: environments.staging.branch must be text, not true or false: put it in quotes"
    ]


# --- where the file is ----------------------------------------------------------------------------------

FOUND = [
    pytest.param(
        Path("/a/x.yaml"), {"DEPLOYER_CONFIG": "/b", "HOME": "/h"}, ["/a/x.yaml"], id="--config wins"
    ),
    pytest.param(
        None, {"DEPLOYER_CONFIG": "/b/y.yaml", "HOME": "/h"}, ["/b/y.yaml"], id="then DEPLOYER_CONFIG"
    ),
    pytest.param(
        None,
        {"DEPLOYER_CONFIG": "", "XDG_CONFIG_HOME": "/x", "HOME": "/h"},
        ["/x/deployer/deployer.yaml", "/etc/deployer/deployer.yaml"],
        id="then XDG, then /etc",
    ),
    pytest.param(
        None,
        {"XDG_CONFIG_HOME": "relative", "HOME": "/h"},
        ["/h/.config/deployer/deployer.yaml", "/etc/deployer/deployer.yaml"],
        id="a relative XDG path counts as none",
    ),
    pytest.param(None, {}, ["/etc/deployer/deployer.yaml"], id="a service without a home"),
]


@pytest.mark.parametrize(("path", "env", "expected"), FOUND)
def test_where_the_file_is_looked_for(path: Path | None, env: dict[str, str], expected: list[str]) -> None:
    """`--config`, `$DEPLOYER_CONFIG`, the person's own, the system's."""
    assert list(map(str, candidates(path, env))) == expected


def test_a_relative_config_is_relative_to_where_one_stands() -> None:
    """And its folder is what paths in it are relative to."""
    assert candidates(Path("x.yaml"), {}) == (Path.cwd() / "x.yaml",)


STATE = [
    pytest.param("/etc/deployer/deployer.yaml", {"STATE_DIRECTORY": "/s"}, "/s", id="systemd says"),
    pytest.param(
        "/a/deployer.yaml", {"STATE_DIRECTORY": "/s:/t", "HOME": "/h"}, "/s", id="the first of several"
    ),
    pytest.param(
        "/etc/deployer/deployer.yaml", {"HOME": "/h"}, "/var/lib/deployer", id="a person on the system's file"
    ),
    pytest.param("/a/deployer.yaml", {"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/deployer", id="XDG"),
    pytest.param("/a/deployer.yaml", {"HOME": "/h"}, "/h/.local/state/deployer", id="the home"),
    pytest.param("/a/deployer.yaml", {}, "/var/lib/deployer", id="no home"),
]


@pytest.mark.parametrize(("file_name", "env", "expected"), STATE)
def test_where_state_goes_by_default(file_name: str, env: dict[str, str], expected: str) -> None:
    """Everybody who takes the settings from the system's file finds the service's state."""
    assert default_state_dir(Path(file_name), env) == Path(expected)


def test_state_dir_of_the_file_wins_over_systemds(file: Path) -> None:
    """What somebody wrote down counts more than a default."""
    env = {"STATE_DIRECTORY": "/s"}
    assert read(file, SMALL, env).state_dir == Path("/s")
    assert read(file, f"state_dir: /mine\n{SMALL}", env).state_dir == Path("/mine")


def test_the_first_file_that_exists_is_read(tmp_path: Path) -> None:
    """Without `--config`, the person's own file."""
    file = tmp_path / "deployer/deployer.yaml"
    file.parent.mkdir()
    file.write_text(SMALL)
    assert load(None, {"XDG_CONFIG_HOME": str(tmp_path)}).workers == 32


def test_below_a_file_there_is_no_file(tmp_path: Path) -> None:
    """It is missing, not unreadable: a daemon whose home is /dev/null goes on to the system's settings."""
    home = tmp_path / "null"
    home.touch()
    with pytest.raises(InvalidConfig, match="there is no such file"):
        load(home / ".config/deployer/deployer.yaml", NO_ENV)


def test_a_named_file_that_is_missing(tmp_path: Path) -> None:
    """Nothing else is tried, and the error says who named it."""
    missing = tmp_path / "nope.yaml"
    with pytest.raises(InvalidConfig, match="there is no such file, and --config names it") as caught:
        load(missing, NO_ENV)
    assert caught.value.problems[0].file == str(missing)
    with pytest.raises(InvalidConfig, match=re.escape("and $DEPLOYER_CONFIG names it")):
        load(None, {"DEPLOYER_CONFIG": str(missing)})


def test_no_file_anywhere(tmp_path: Path) -> None:
    """The error lists where it looked and what to type."""
    if Path("/etc/deployer/deployer.yaml").exists():
        pytest.skip("this machine has settings of its own")
    with pytest.raises(InvalidConfig) as caught:
        load(None, {"XDG_CONFIG_HOME": str(tmp_path)})
    own = tmp_path / "deployer/deployer.yaml"
    assert str(caught.value) == (
        f"{own}: there is no settings file. Looked for {own} and /etc/deployer/deployer.yaml. Name one with"
        " `deployer run --config FILE`; `deployer demo` shows everything at work and needs none"
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Is not taken for one that is missing."""
    with pytest.raises(InvalidConfig, match="cannot be read: Is a directory"):
        load(tmp_path, NO_ENV)


# --- what is refused ------------------------------------------------------------------------------------

REFUSED = [
    pytest.param(
        "",
        [
            "1:1: repositories is missing: add it, as in `repositories: {serve-configs: {url: ...}}`",
            "1:1: environments is missing: add it, as in"
            " `environments: {staging: {repository: serve-configs, ...}}`",
        ],
        id="an empty file",
    ),
    pytest.param("- a\n", ["1:1: the settings file must be a mapping, not a list"], id="a list"),
    pytest.param(
        "repositories: []\nenvironments: {}\n",
        [
            "1:15: repositories must be a mapping of names, not a list",
            "2:15: environments has no entry, so there would be nothing to do: add one",
        ],
        id="groups",
    ),
    pytest.param(
        f"{SMALL}wrokers: 3\n", ["11:1: unknown key 'wrokers' (did you mean 'workers'?)"], id="typing error"
    ),
    pytest.param(
        f"{SMALL}metrics: 3\n",
        [
            "11:1: unknown key 'metrics' (known: state_dir, repositories, environments, people, groups,"
            " server, audit, notify, log, workers)"
        ],
        id="unknown key",
    ),
    pytest.param(
        f"{SMALL}server: {{listn: 127.0.0.1:8700}}\n",
        ["11:10: unknown key 'listn' in server (did you mean 'listen'?)"],
        id="typing error in server",
    ),
    pytest.param(
        f"{SMALL}server: 8700\n", ["11:9: server must be a mapping, not a number"], id="a port alone"
    ),
    pytest.param(
        f"{SMALL}    sync: observe\n",
        [
            "11:11: environments.staging.sync cannot be observe in this version yet: use manual, which waits"
            " for `deployer sync`",
        ],
        id="for a later version",
    ),
    pytest.param(
        f"{SMALL}    sync: atuo\n",
        ["11:11: environments.staging.sync must be 'auto' or 'manual'"],
        id="unknown sync",
    ),
    pytest.param(
        f"{SMALL}log: {{format: jsn, level: INFO}}\n",
        [
            "11:15: log.format must be 'auto', 'json' or 'console'",
            "11:27: log.level must be 'debug', 'info', 'warning' or 'error'",
        ],
        id="choices",
    ),
    pytest.param(f"{SMALL}log:\n", ["11:5: log must be a mapping, not nothing (null)"], id="an empty group"),
    pytest.param(
        f"{SMALL}state_dir:\n",
        ["11:11: state_dir must be text, and nothing stands here: give a value, or remove the line"],
        id="an empty value",
    ),
    pytest.param(
        changed("    branch: env/staging\n", ""),
        [
            "6:5: environments.staging.branch is missing: add it (or tags, or commit), as in"
            " `branch: env/staging`"
        ],
        id="no branch",
    ),
    pytest.param(
        changed("    cluster:\n      address: http://ray-staging:8265\n", ""),
        [
            "6:5: environments.staging.cluster is missing: add it, as in"
            ' `cluster: {address: "http://ray-head:8265"}`'
        ],
        id="no cluster",
    ),
    pytest.param(
        changed("repository: serve-configs", "repository: serve-confgs"),
        [
            "6:17: environments.staging.repository: no repository is called 'serve-confgs'"
            " (did you mean 'serve-configs'?)"
        ],
        id="a repository by a wrong name",
    ),
    pytest.param(
        changed("  staging:", "  Stag_ing:"),
        ["5:3: environments: 'Stag_ing' is no name: use a-z, 0-9 and -, beginning with a letter or a digit"],
        id="no name",
    ),
    pytest.param(
        changed("  staging:", "  -a:"),
        ["5:3: environments: '-a' is no name: use a-z, 0-9 and -, beginning with a letter or a digit"],
        id="a name like an option",
    ),
    pytest.param(
        f"{SMALL}    promote_form: dev\n",
        ["11:5: unknown key 'promote_form' in environments.staging (did you mean 'promote_from'?)"],
        id="typing error in promote_from",
    ),
    pytest.param(
        SMALL[SMALL.index("environments:") :],
        ["1:1: repositories is missing: add it, as in `repositories: {serve-configs: {url: ...}}`"],
        id="no repositories at all",
    ),
    pytest.param(
        changed("path: environments/staging", "path: 017"),
        ["8:11: environments.staging.path must be text, not a number: put it in quotes"],
        id="a number for text",
    ),
    pytest.param(
        changed("path: environments/staging", "path: [a]"),
        ["8:11: environments.staging.path must be text, not a list"],
        id="a list for text",
    ),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_what_is_refused_and_how(file: Path, text: str, expected: list[str]) -> None:
    """Each message says what, where and what to do."""
    assert errors(file, text) == expected


def test_the_error_shows_the_line(file: Path) -> None:
    """`file:line:column: message`, and the line with a caret below."""
    with pytest.raises(InvalidConfig) as caught:
        read(file, changed("branch: env/staging", "brnch: env/staging"))
    assert str(caught.value.problems[-1]) == (
        f"{file}:7:5: unknown key 'brnch' in environments.staging (did you mean 'branch'?)\n"
        "        brnch: env/staging\n"
        "        ^"
    )


def test_all_errors_come_at_once(file: Path) -> None:
    """Wrong values hide neither one another nor what is wrong between environments."""
    text = """\
repositories:
  configs: {url: foo, poll_interval: 30}
environments:
  a: {repository: confgs, branch: a..b, path: /x, cluster: {address: "http://ray:8265", tokenfile: t}}
  b: {repository: configs, branch: 1.10, path: p, cluster: {address: "http://RAY:8265/"}, sync: off}
  c: {}
workers: many
"""
    found = errors(file, text, NO_ENV | {"DEPLOYER_LOG__LEVEL": "loud"})
    assert [error.partition(": ")[0] for error in found] == [
        "DEPLOYER_LOG__LEVEL",
        "2:18",  # url
        "2:38",  # poll_interval
        "4:19",  # the repository's name
        "4:35",  # branch
        "4:47",  # path
        "4:89",  # tokenfile
        "5:36",  # branch
        "5:97",  # sync
        *["6:6"] * 4,  # everything is missing
        "7:10",  # workers
    ]


SECOND = """\
  production:
    repository: {repository}
    branch: {branch}
    path: {path}
    cluster: {{address: "{address}"}}
"""


def test_environments_can_share_a_cluster(file: Path) -> None:
    """Another spelling of the address is the same cluster, which is what they are grouped by."""
    second = SECOND.format(
        repository="serve-configs",
        branch="env/production",
        path="environments/production",
        address="HTTP://Ray-Staging:8265/",
    )
    keys = {environment.cluster.key for environment in read(file, SMALL + second).environments.values()}
    assert keys == {"http://ray-staging:8265"}


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("http://localhost:8265", "http://127.0.0.1:8265", True),
        ("http://localhost:8265", "HTTP://LocalHost:8265/", True),
        ("http://localhost:8265", "http://[::1]:8265", True),
        ("http://127.0.0.1:8265/ray", "http://[0::1]:8265/ray/", True),
        ("http://127.0.0.1:8265", "http://0.0.0.0:8265", True),
        ("http://127.0.0.1", "http://localhost:80/", True),
        ("http://127.0.0.1:8265", "http://localhost:8266", False),
        ("http://127.0.0.1:8265/a", "http://localhost:8265/b", False),
        ("http://127.0.0.1:8265", "http://127.0.0.2:8265", False),
        ("http://10.0.0.1:8265", "http://10.0.0.2:8265", False),
    ],
)
def test_this_machine_has_many_names(file: Path, one: str, other: str, are_same: bool) -> None:
    """Environments that spell it in different ways share a cluster, and are told so if they clash."""
    small = SMALL.replace("http://ray-staging:8265", one)
    spelled = {"repository": "serve-configs", "path": "environments/staging", "address": other}
    environments = read(file, small + SECOND.format(branch="env/production", **spelled)).environments
    keys = {environment.cluster.key for environment in environments.values()}
    assert (len(keys) == 1) is are_same

    clash = small + SECOND.format(branch="env/staging", **spelled)
    assert bool(are_same and errors(file, clash)) is are_same


def test_two_environments_cannot_own_the_same_applications(file: Path) -> None:
    """Same repository, branch and folder for the same cluster, however each is spelled."""
    same = {
        "repository": "again",
        "branch": "refs/heads/env/staging",
        "path": "./environments/staging/",
        "address": "HTTP://Ray-Staging:8265/",
    }
    small = changed(
        "environments:\n", "  again: {url: https://git.example.com/ml/serve-configs.git}\nenvironments:\n"
    )
    assert errors(file, small + SECOND.format(**same)) == [
        "15:11: environments.production reads the same folder of the same branch as staging, for the same"
        " cluster, so both would own the same applications: give each a folder, a branch or a cluster of its"
        " own"
    ]
    for key, other in {
        "branch": "env/production",
        "path": "environments/production",
        "address": "http://ray-prod:8265",
    }.items():
        read(file, small + SECOND.format(**same | {key: other}))
    elsewhere = small.replace(
        "again: {url: https://git.example.com/ml", "again: {url: https://git.example.com/x"
    )
    read(file, elsewhere + SECOND.format(**same))


# --- whatever is in the file ----------------------------------------------------------------------------

words = st.sampled_from(
    ["a", "b", "url", "main", "..", "git@h:x", "http://h:1", "30s", "~/x", "auto", "json", ".", "é\t", ""]
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
good = yaml.safe_load(SMALL) | {
    "log": {"level": "info"},
    "server": {"listen": "[::1]:1"},
    "workers": 2,
    "people": {"ada": ["ada@example.com"], "lin": {"emails": ["l@example.com"], "forge": ["lin-gh"]}},
    "groups": {"leads": ["ada"]},
}
good["repositories"]["serve-configs"]["write"] = {"username": "git"}
good["repositories"]["serve-configs"]["forge"] = {
    "kind": "github",
    "api_url": "https://api.github.com",
    "project": "ml/serve-configs",
    "github_app": {"app_id": "1", "installation_id": "2", "private_key_file": "./app.pem"},
}
good["environments"]["staging"] |= {
    "promote_from": {"environment": "staging", "auto": True, "by": "pull-request", "move": ["args.size"]},
    "gates": {
        "requires": {"staging": "1m"},
        "checks": ["ci/test"],
        "approvals": {"required": 1, "from": ["@leads"], "reviews": True},
        "windows": [{"cron": "0 9 * * *", "duration": "8h", "time_zone": "UTC"}],
        "freezes": [{"begins": "2026-12-20", "ends": "2026-12-21", "time_zone": "UTC"}],
    },
}


def places(tree: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path in a tree of mappings, the root's too."""
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from places(value, (*path, key))


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(sorted(places(good))[1:]), words | st.just(""), junk),
        min_size=1,
        max_size=3,
    )
)
def test_anything_ends_in_settings_or_in_one_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[tuple[str, ...], str, Any]]
) -> None:
    """Junk at any place of good settings, or beside it, is no other exception; each problem has a place."""
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump(good))
    for path, key, value in changes:
        node = document
        for step in path[:-1]:
            child = node.get(step)
            node = child if isinstance(child, dict) else node
        node[key or path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "junk.yaml"
    try:
        found = read(file, yaml.safe_dump(document))
    except InvalidConfig as error:
        ending: object = all(problem.line > 0 and problem.message for problem in error.problems)
    else:
        ending = found.environments
    assert ending


# --- the page -------------------------------------------------------------------------------------------


def documented() -> dict[str, str]:
    """The default by setting, as the table of the page has it."""
    rows = re.findall(r"^\| `([][a-z_.<>]+)` \| [^|]+ \| ([^|]*) \|", DOCS.read_text(), flags=re.MULTILINE)
    return {setting: default.strip() for setting, default in rows}


def existing(group: type[Group], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting with its default as people write it."""
    for key, field in group.keys().items():
        if field.is_required():
            default = "required"
        elif field.default_factory is not None:
            default = "from `url`"
        elif isinstance(field.default, bool):
            default = f"`{str(field.default).lower()}`"
        elif isinstance(field.default, float):
            default = f"`{durations.render(field.default)}`"
        else:
            default = f"`{field.default}`"
        yield prefix + key, default
        # The values of a mapping have names; what else is inside is a group that may be left out.
        of_many = {abc.Mapping: f"{key}.<name>.", tuple: f"{key}[]."}
        within = next((of_many[one] for one in of_many if one is get_origin(field.annotation)), f"{key}.")
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, Group):
                yield from existing(inner, f"{prefix}{within}")


def test_every_setting_is_in_the_docs_with_its_default() -> None:
    """And nothing is in the docs that does not exist."""
    page = documented()
    settings_ = dict(existing(Settings))
    assert list(page) == list(settings_)
    for name, default in settings_.items():
        if default in {"`None`", "`()`", "`{}`", "``"}:
            assert page[name] in {"none", "the system's"}, name
        elif name == "state_dir":
            assert page[name] == "see below"
        elif name not in {
            "log",
            "server",
            "environments.<name>.signatures",
            "environments.<name>.gates",
        }:
            assert page[name].startswith(default), name


def test_the_example_of_the_docs_loads(file: Path) -> None:
    """As it stands there, and its variables set what they say."""
    page = DOCS.read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    variables = dict(re.findall(r"^\| `(DEPLOYER_[A-Z_]+)=([^`]+)`", page, flags=re.MULTILINE))
    assert len(variables) == 4
    assert list(read(file, example, check_files=False).environments) == ["staging", "production"]
    found = read(file, example, variables, check_files=False)
    assert found.workers == 8
    assert found.environments["staging"].branch == "env/try"
    assert found.repositories["serve-configs"].poll_interval == 5.0
