"""The texts of the files that `deployer init` writes.

Owns what is in them and their comments. Must not know where they are written. Invariant: each of them is read
without an error by what reads it, also with its commented-out keys (`#key: value`, no space behind the `#`;
what is for people has one) brought back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMAS = ".deployer"
"""The folder for the editors' schemas, at the top: the commands that look for environments skip it."""

_AT_START = ("proxy_location", "http_options", "grpc_options")
_LINT = "ignored-by-running-serve"
_NO_LINT = {"request_timeout_s"}
"""The one option of `http_options` that this lint says nothing about."""

_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9]\S*")
"""Text that some reader of YAML may take for a number: always quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the settings say of one environment. `path` is its folder in the repository."""

    environment: str
    path: str
    branch: str
    address: str
    token_file: str | None = None
    ca_file: str | None = None


def schema_file(name: str, ray_version: str = "") -> str:
    """The name of a schema's file. Environments can run several Rays: each has its own of `serve_config`."""
    return f"{name}{f'-ray-{ray_version}' if ray_version else ''}.schema.json"


def serve_config(modeline: str, header: Sequence[str], body: Mapping[str, Any]) -> str:
    """A Serve config with this content."""
    parts = [f"{modeline}\n{_comment(header)}"]
    for key, value in body.items():
        if key != "applications":
            parts.append(_section(key, value))
    # One by one, with an empty line between them.
    for number, application in enumerate(body["applications"]):
        text = dump({"applications": [application]})
        parts.append(text if number == 0 else text.partition("\n")[2])
    return "\n".join(parts)


def example(modeline: str, environment: str) -> str:
    """A Serve config to begin with: an application that comes with deployer, so that it can be tried."""
    return _EXAMPLE.format(modeline=modeline, environment=environment)


def environment(
    modeline: str,
    name: str,
    *,
    ray_version: str | None = None,
    check: tuple[str, str] | None = None,
    is_example: bool = False,
) -> str:
    """An `environment.yaml`. `check` is an application and a path to ask it at, if there is one.

    The check is commented out unless it is that of the example: what an application answers is its own.
    """
    app, path = check or ("fruit", "/fruit")
    return _ENVIRONMENT.format(
        modeline=modeline,
        name=name,
        ray_version=f'ray_version: "{ray_version}"' if ray_version else '#ray_version: "2.60"',
        mark="" if is_example else "#",
        app=_scalar(app),
        path=_scalar(path),
        owns=dump([app], flow=True).strip(),
    )


def settings(modeline: str, url: str, places: Sequence[Place]) -> str:
    """The settings of a daemon for these environments."""
    return _SETTINGS.format(modeline=modeline, url=_scalar(url), environments=environments(places))


def environments(places: Sequence[Place]) -> str:
    """What stands below `environments:`, for each of them."""
    return "\n".join(_environment_of(place) for place in places)


def _environment_of(place: Place) -> str:
    token = _scalar(place.token_file or f"/etc/deployer/ray-{place.environment}.token")
    lines = [
        f"  {place.environment}:",
        "    repository: configs",
        f"    branch: {_scalar(place.branch)}",
        f"    path: {_scalar(place.path)}",
        "    cluster:",
        "      # The dashboard of the Ray cluster, where Serve's REST API is too.",
        f"      address: {_scalar(place.address)}",
        f"      {'' if place.token_file else '#'}token_file: {token}",
    ]
    if place.ca_file:
        lines.append(f"      ca_file: {_scalar(place.ca_file)}")
    return "\n".join(lines) + "\n"


def _section(key: str, value: object) -> str:
    """An option of the top of a Serve config. What an adopted Serve was started with is no mistake."""
    text = dump({key: value})
    is_ignored = key in _AT_START and not (isinstance(value, dict) and value.keys() <= _NO_LINT)
    if not is_ignored:
        return text
    first, rest = text.split("\n", 1)
    return f"{first}  # deployer: allow {_LINT} read when Serve starts\n{rest}"


def _comment(lines: Sequence[str]) -> str:
    return "".join(f"# {line}\n" for line in lines)


class _Dumper(yaml.SafeDumper):
    """Writes lists indented below their key, no aliases, and no text that could be read as a number."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the base's
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base's signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # PyYAML writes these three as they are inside single quotes, and reads them back as a space (6.0.3).
    breaks = not {"\x85", "\u2028", "\u2029"}.isdisjoint(value)
    quoted = '"' if breaks else "'" if _LIKE_A_NUMBER.fullmatch(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=quoted)


_Dumper.add_representer(str, _text)

_NO_LIMIT = 1_000_000_000
"""Of a line: a value that is folded is hard to read, and harder to search for."""


def dump(value: object, *, flow: bool = False) -> str:
    """The value as YAML, which our reader reads back as the same value."""
    return yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=flow,
        sort_keys=False,
        allow_unicode=True,
        width=_NO_LIMIT,
    )


def _scalar(text: str) -> str:
    return dump(text).removesuffix("...\n").strip()


_EXAMPLE = """\
{modeline}
# What Ray Serve runs in {environment}: exactly what `serve deploy` takes. Check it with `deployer validate`,
# and try it on this machine with `deployer try`. Keys behind a # are not in force.

http_options:
  # The longest that a client waits for an answer. Read when Serve starts.
  request_timeout_s: 60

applications:
  # An example that comes with deployer: put your own applications here.
  - name: fruit
    route_prefix: /fruit
    # The application, or the function that builds it: module:name.
    import_path: deployer.examples.fruit:app
    # What such a function is called with.
    #args: {{mango: mango, orange: orange}}
    # The code, by an address that never means other code: with a commit, a version or a digest in it. Else a
    # rollback of this file does not bring the old code back. Values of env_vars are text: quote numbers.
    #runtime_env: {{working_dir: "https://git.example.com/fruit/archive/4f1c2d3.zip", env_vars: {{N: "2"}}}}
    deployments:
      - name: MangoStand
        num_replicas: 2
        # How soon a sick replica is found: after three failed checks.
        health_check_period_s: 10
        # Start new replicas before old ones stop, where there is room for both (Ray 2.60 and newer).
        #max_surge_percent: 100
        # Handed to `reconfigure` of the deployment. A change of it restarts nothing.
        user_config:
          price: 3
        ray_actor_options:
          num_cpus: 0.1
      - name: OrangeStand
        num_replicas: 2
        health_check_period_s: 10
        user_config:
          price: 2
        ray_actor_options:
          num_cpus: 0.1
      - name: FruitMarket
        num_replicas: 2
        health_check_period_s: 10
        ray_actor_options:
          num_cpus: 0.1
"""

_ENVIRONMENT = """\
{modeline}
# How a rollout to {name} is judged. Every key is optional, and those behind a # are not in force. All of them
# are explained in docs/environment.md of deployer.

# The Ray that serve_config.yaml is checked against, by `deployer validate` too.
{ray_version}

# A release is healthy once everything was RUNNING and HEALTHY for this long, without a break.
health:
  stability_window: 30s
  # How many spells of UNHEALTHY are forgiven.
  #max_flaps: 0
  # How many failed starts of the new version end the rollout.
  #fail_fast_after: 1
  # How long each phase may take: import the code, find room for the replicas, start them.
  #deadlines: {{build: 10m, schedule: 5m, start: 20m}}

# Then each of these is asked through Serve's proxy, and must be answered as expected.
checks:
  {mark}- app: {app}
    {mark}path: {path}
    {mark}expect:
      {mark}status: 200
      {mark}json: {{price: 3}}
      #latency: 500ms
    #method: POST
    #body: {{amount: 2}}
    #timeout: 5s
    #retries: 4

# It must stay healthy so long after its checks. Then it is good: the way back from the next release.
soak: 2m

# What fails is rolled back to the newest good release, and not tried again by itself.
#rollback: {{on: true, deadline: 10m}}

# What follows when somebody changes the cluster by hand: heal, alert or ignore.
#drift: heal
#heals_per_hour: 3

# The application names of this environment, if not simply those in serve_config.yaml.
#owns: {owns}

# A commit that removes most applications must say so.
#allow: {{delete: false}}
"""

_SETTINGS = """\
{modeline}
# Settings of the daemon: what is deployed where. They belong to whoever runs it, and are never read from a
# commit: copy this file to that machine, as /etc/deployer/deployer.yaml. All keys are explained in
# docs/settings.md of deployer; those behind a # are not in force.

# Where the daemon keeps its store and its mirrors of the repositories.
#state_dir: /var/lib/deployer
#server: {{listen: "127.0.0.1:8700"}}
#log: {{format: auto, level: info}}
#workers: 32
# Checkpoints of the audit log, signed with a key of ssh-keygen's; see docs/audit.md for where they are kept.
#audit: {{name: deployer.example.com/audit, key_file: /etc/deployer/audit_key, syslog: true}}

repositories:
  configs:
    url: {url}
    #poll_interval: 15s
    # For https; ssh uses the keys of its user. Only its owner may read the file.
    #token_file: /etc/deployer/git.token

environments:
{environments}"""
