"""The Serve config of an environment: `serve_config.yaml`, checked, resolved and canonical.

Owns what may be sent to Serve, and the canonical text whose hash is the digest. Must not know the cluster,
nor which releases came before. Invariant: two files have the same digest exactly if Serve would be sent the
same applications with the same values, and no config that is known to break Serve itself gets through.

Checked here is what would wedge or half-change the cluster, or mislead this daemon. With a schema it is held
against that too, at every level: keys, types, ranges (`serve_schema`), forms and what may stand together
(`serve_rules`). The facts were measured on Ray 2.40 to 2.60.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from deployer.core import serve_rules, yaml
from deployer.core.document import Document, kind
from deployer.core.errors import Problem, Severity
from deployer.core.redact import Path, quote
from deployer.core.runtime_env import faults
from deployer.core.serve_schema import Fault
from deployer.core.textfile import invalid
from deployer.core.types import ServeConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.serve_schema import Schema

# The top-level keys of Serve's multi-application schema (`ServeDeploySchema`, 2.60) that the older
# single-application one has not: in a file of that form they stay where they are.
_TOP_LEVEL = frozenset(
    {
        "proxy_location",
        "http_options",
        "grpc_options",
        "controller_options",
        "tracing_config",
        "target_capacity",
    }
)
FILE = "serve_config.yaml"
"""Its name in the folder of an environment."""
_ADDRESS = ("host", "port")
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Unicode's categories of control, direction and line-breaking characters."""
_APPLICATION: Path = ("applications", 0)
"""Where Serve gets the one application of a file in the single-application form."""
_REFUSED_LATE = "Ray would refuse it only in the middle of the rollout"
# For an application's. Measured on 2.60, and met in production (kodosumi issue 82): the config is stored
# before it is tried, so that a controller which restarts with it dies for good.
_HALF_APPLIED = (
    "Serve would do half of the change, answer 400, and not survive the next crash of its controller"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A config that may be sent, and the file that it was read from.

    `applications` are those of the file, each with its path in `document`: `("applications", 0)`, or `()`
    in the single-application form. `notes` are remarks for people, in sentences; `warnings` are problems
    that do not keep the config from being sent. `problem` makes one of what somebody else finds wrong with
    the body that is to be sent.
    """

    config: ServeConfig
    document: Document = field(repr=False)
    applications: tuple[tuple[Path, Mapping[str, Any]], ...] = field(repr=False)
    notes: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    problem: Callable[[Fault], Problem] = field(repr=False)


def parse(data: bytes, file: str, schema: Schema | None = None) -> tuple[ServeConfig, tuple[str, ...]]:
    """Read a Serve config as `read` does: the config, and what people should be told of it."""
    found = read(data, file, schema)
    return found.config, (*found.notes, *(str(replace(one, snippet="")) for one in found.warnings))


def read(data: bytes, file: str, schema: Schema | None = None) -> Reading:
    """Read a Serve config, in either of the forms that Serve documents. `file` is its name in messages.

    With a schema, nothing gets through that Serve would drop, convert or leave unread. Raises InvalidConfig
    with every problem found.
    """
    document = yaml.load(data, file)
    check = _Check(document)
    body = check.body()
    if schema is not None and isinstance(document.value, dict):
        check.against(schema, body)
    problems = check.problems
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise invalid(problems)
    paths = [check.place(("applications", index)) for index in range(len(body["applications"]))]
    return Reading(
        config=canonical(body),
        document=document,
        applications=tuple(zip(paths, body["applications"], strict=True)),
        notes=tuple(check.notes),
        warnings=tuple(problems),
        problem=check.problem,
    )


def canonical(body: Mapping[str, Any]) -> ServeConfig:
    """The canonical text and its digest.

    Serve keeps applications by name, so their order is sorted away: moving one in the file must neither
    start a rollout nor give a held config a new digest. Every other list keeps its order (that of the
    deployments takes part in Serve's code version), and 1 stays another value than 1.0 (as `args` they
    rebuild the application). ASCII, so that nothing on the way can encode it differently.
    """
    applications = sorted(body["applications"], key=lambda application: str(application["name"]))
    canonical = {**body, "applications": applications}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return ServeConfig(text=text, digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


class _Check:
    """Walks the document, collects every problem, and returns the body to send."""

    def __init__(self, document: Document) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self._document = document
        self._is_wrapped = False

    def against(self, schema: Schema, body: Mapping[str, Any]) -> None:
        """Add what the schema and Serve's rules say, but for places of which something is said already."""
        said = {(problem.line, problem.column) for problem in self.problems}
        for fault in chain(schema.faults(body), serve_rules.faults(body)):
            problem = self.problem(fault)
            if (problem.line, problem.column) not in said:
                self.problems.append(problem)

    def place(self, path: Path) -> Path:
        """Where in the file stands what is at this path of the body."""
        if not self._is_wrapped:
            return path
        if path[:2] == _APPLICATION:
            return path[2:]
        if path[:1] == ("http_options",) and path not in self._document.marks:
            return path[1:2]
        return path

    def problem(self, fault: Fault) -> Problem:
        """What is wrong with the body, as a problem of the file."""
        problem = self._document.problem(self.place(fault.path), fault.message, at_key=fault.at_key)
        return replace(problem, then=fault.then, code=fault.code, severity=fault.severity)

    def body(self) -> dict[str, Any]:
        """The body in the multi-application form. To be used only if there are no problems."""
        body = self._document.value
        if not isinstance(body, dict):
            what = "the file is empty" if body is None else f"a Serve config is a mapping, not {kind(body)}"
            self._wrong((), f"{what}: write `applications:` and below it the list of applications")
            return {}
        self._target_capacity(body)
        if "import_path" in body and "applications" not in body:
            return self._wrapped(body)
        self._applications(body)
        return body

    def _wrong(self, path: Path, message: str, *, code: str = "invalid", then: str = "") -> None:
        self.problems.append(replace(self._document.problem(path, message), code=code, then=then))

    def _target_capacity(self, body: dict[str, Any]) -> None:
        """Nothing but 0 stands for no replica: of every other share Serve runs one at least (2.60)."""
        with suppress(TypeError, ValueError):
            # Serve reads `"0"` and `false` as 0, too.
            if float(body.get("target_capacity", 100)) == 0:
                self._wrong(
                    ("target_capacity",),
                    "`target_capacity` is 0: give it a share of 1 to 100, or remove the line",
                    code="poison",
                    then="Serve would say RUNNING with no replica of anything, and every request would hang",
                )

    def _wrapped(self, body: dict[str, Any]) -> dict[str, Any]:
        """The older form, one `ServeApplicationSchema` at the top, as the form that Serve takes."""
        self._is_wrapped = True
        moved = {key: body[key] for key in _ADDRESS if key in body}
        top = {key: value for key, value in body.items() if key in _TOP_LEVEL}
        rest = {key: value for key, value in body.items() if key not in top and key not in moved}
        # Serve's own defaults when it still took this form.
        application = {"name": "default", "route_prefix": "/", **rest}
        if moved:
            top["http_options"] = self._http_options(body, moved)
        self._application(application, ())
        where = f", with {' and '.join(moved)} moved to `http_options`" if moved else ""
        self.notes.append(
            "the file is in the single-application form, which Serve no longer takes: it is read as a list "
            f"of one application, {quote(str(application['name']))}{where}"
        )
        return {**top, "applications": [application]}

    def _http_options(self, body: dict[str, Any], moved: Mapping[str, Any]) -> dict[str, Any]:
        options = body.get("http_options", {})
        if not isinstance(options, dict):
            self._wrong(("http_options",), f"`http_options` is a mapping, not {kind(options)}")
            return {}
        for key in moved:
            if key in options:
                self._wrong((key,), f"`{key}` stands here and in `http_options`: remove one of them")
        return {**options, **moved}

    def _applications(self, body: dict[str, Any]) -> None:
        if "applications" not in body:
            self._wrong(
                (),
                "`applications` is missing, and Serve refuses a config without it: add the list",
                code="missing-key",
            )
            return
        applications = body["applications"]
        if not isinstance(applications, list):
            what = f"`applications` is a list of applications, not {kind(applications)}"
            self._wrong(("applications",), f"{what}: list them as `- name: ...`")
            return
        for path, application in self._each(
            applications, ("applications",), "application", "Serve would refuse the whole config"
        ):
            self._application(application, path)

    def _each(
        self, items: list[Any], path: Path, what: str, if_twice: str
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Each item that is a mapping, with its path. Says which are none, and which share a name."""
        first: dict[str, Path] = {}
        for index, item in enumerate(items):
            here = (*path, index)
            if not isinstance(item, dict):
                self._wrong(here, f"each {what} is a mapping with a `name`, not {kind(item)}")
                continue
            yield here, item
            name = item.get("name")
            if not isinstance(name, str) or not name:
                continue
            if name in first:
                line, _ = self._document.marks[first[name]]
                self._wrong(
                    (*here, "name"),
                    f"{what} {quote(name)} is listed twice (first at line {line}): remove one",
                    code="duplicate",
                    then=if_twice,
                )
            else:
                first[name] = (*here, "name")

    def _application(self, application: dict[str, Any], path: Path) -> None:
        name = self._text(application, path, "application", "name")
        if name and ("/" in name or any(unicodedata.category(character) in _INVISIBLE for character in name)):
            # 2.60: "/" fails after 6 s with an error about a log file; a line break is taken as it is.
            why = "has a slash or an invisible character in its name, which Serve cannot handle"
            then = serve_rules.FAILS_LATE if "/" in name else "Serve would take it as it is"
            why = f"application {quote(name)} {why}: take it out"
            self._wrong((*path, "name"), why, code="poison", then=then)
        self._text(application, path, "application", "import_path")
        self._runtime_env(application, path)
        deployments = application.get("deployments", [])
        path = (*path, "deployments")
        if not isinstance(deployments, list):
            self._wrong(path, f"`deployments` is a list of deployments, not {kind(deployments)}")
            return
        for here, deployment in self._each(deployments, path, "deployment", "Serve would take the last"):
            self._deployment(deployment, here)

    def _deployment(self, deployment: dict[str, Any], path: Path) -> None:
        self._text(deployment, path, "deployment", "name")
        if "num_replicas" in deployment and deployment["num_replicas"] is None:
            # 2.40, 2.59 and 2.60: a 200, then no healing, no update and no answer about any application.
            self._wrong(
                (*path, "num_replicas"),
                "`num_replicas` is empty: give it a number, or remove the line",
                code="poison",
                then="Serve would take it, and then stop looking after every application on the cluster",
            )
        options = deployment.get("ray_actor_options")
        if isinstance(options, dict):
            self._runtime_env(options, (*path, "ray_actor_options"))

    def _text(self, item: dict[str, Any], path: Path, what: str, key: str) -> str | None:
        """The item's non-empty text under this key; None, and said, if there is none."""
        value = item.get(key)
        if isinstance(value, str) and value:
            return value
        if key not in item:
            self._wrong(path, f"this {what} has no `{key}`: add it", code="missing-key")
        elif value == "":
            self._wrong((*path, key), f"the `{key}` of this {what} is empty: give it one")
        else:
            why = f"the `{key}` of this {what} is text, not {kind(value)}: quote it"
            self._wrong((*path, key), why, code="wrong-type")
        return None

    def _runtime_env(self, holder: dict[str, Any], path: Path) -> None:
        """What passes Serve's schema and fails in its controller, after that has stored the config."""
        runtime_env = holder.get("runtime_env")
        if isinstance(runtime_env, dict):
            path = (*path, "runtime_env")
            consequence = _REFUSED_LATE if "deployments" in path else _HALF_APPLIED
            for below, fault in faults(runtime_env):
                self._wrong((*path, *below), fault, code="poison", then=consequence)
