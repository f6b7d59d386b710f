"""The Serve config of an environment: `serve_config.yaml`, checked, resolved and canonical.

Owns what may be sent to Serve, and the canonical text whose hash is the digest. Must not know the cluster,
nor which releases came before. Invariant: two files have the same digest exactly if Serve would be sent the
same applications with the same values, and no config that is known to break Serve itself gets through.

Checked here is only what would wedge or half-change the cluster, or mislead this daemon; what Serve refuses
cleanly (a 400 that changes nothing) is left to Serve. The facts were measured on Ray 2.40 to 2.60.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from deployer.core import yaml
from deployer.core.document import Document, kind
from deployer.core.redact import Path, quote
from deployer.core.runtime_env import faults
from deployer.core.textfile import invalid
from deployer.core.types import ServeConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.core.errors import Problem

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
_ADDRESS = ("host", "port")
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Unicode's categories of control, direction and line-breaking characters."""
_REFUSED_LATE = "Ray would refuse it only in the middle of the rollout"
# For an application's. Measured on 2.60, and met in production (kodosumi issue 82): the config is stored
# before it is tried, so that a controller which restarts with it dies for good.
_HALF_APPLIED = (
    "Serve would do half of the change, answer 400, and not survive the next crash of its controller"
)


def parse(data: bytes, file: str) -> tuple[ServeConfig, tuple[str, ...]]:
    """Read a Serve config, in either of the forms that Serve documents. `file` is its name in messages.

    The second value is what people should be told about it, in sentences. Raises InvalidConfig with every
    problem found.
    """
    document = yaml.load(data, file)
    check = _Check(document)
    body = check.body()
    if check.problems:
        raise invalid(check.problems)
    return _canonical(body), tuple(check.notes)


def _canonical(body: Mapping[str, Any]) -> ServeConfig:
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

    def _wrong(self, path: Path, message: str) -> None:
        self.problems.append(self._document.problem(path, message))

    def _target_capacity(self, body: dict[str, Any]) -> None:
        """Nothing but 0 stands for no replica: of every other share Serve runs one at least (2.60)."""
        with suppress(TypeError, ValueError):
            # Serve reads `"0"` and `false` as 0, too.
            if float(body.get("target_capacity", 100)) == 0:
                self._wrong(
                    ("target_capacity",),
                    "`target_capacity` is 0: Serve would say RUNNING with no replica of anything, and every "
                    "request would hang. Give it a share of 1 to 100, or remove the line",
                )

    def _wrapped(self, body: dict[str, Any]) -> dict[str, Any]:
        """The older form, one `ServeApplicationSchema` at the top, as the form that Serve takes."""
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
            self._wrong((), "`applications` is missing, and Serve refuses a config without it: add the list")
            return
        applications = body["applications"]
        if not isinstance(applications, list):
            what = f"`applications` is a list of applications, not {kind(applications)}"
            self._wrong(("applications",), f"{what}: list them as `- name: ...`")
            return
        for path, application in self._each(
            applications, ("applications",), "application", "Serve refuses that"
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
                    f"{what} {quote(name)} is listed twice (first at line {line}): {if_twice}. Remove one",
                )
            else:
                first[name] = (*here, "name")

    def _application(self, application: dict[str, Any], path: Path) -> None:
        name = self._text(application, path, "application", "name")
        if name and ("/" in name or any(unicodedata.category(character) in _INVISIBLE for character in name)):
            # 2.60: "/" fails after 6 s with an error about a log file; a line break is taken as it is.
            why = "has a slash or an invisible character in its name, which Serve cannot handle"
            self._wrong((*path, "name"), f"application {quote(name)} {why}: take it out")
        self._text(application, path, "application", "import_path")
        self._runtime_env(application, path)
        deployments = application.get("deployments", [])
        path = (*path, "deployments")
        if not isinstance(deployments, list):
            self._wrong(path, f"`deployments` is a list of deployments, not {kind(deployments)}")
            return
        for here, deployment in self._each(deployments, path, "deployment", "Serve would take the last one"):
            self._deployment(deployment, here)

    def _deployment(self, deployment: dict[str, Any], path: Path) -> None:
        self._text(deployment, path, "deployment", "name")
        if "num_replicas" in deployment and deployment["num_replicas"] is None:
            # 2.40, 2.59 and 2.60: a 200, then no healing, no update and no answer about any application.
            self._wrong(
                (*path, "num_replicas"),
                "`num_replicas` is empty: Serve would take it, and then stop looking after every application "
                "on the cluster. Give it a number, or remove the line",
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
            self._wrong(path, f"this {what} has no `{key}`: add it")
        elif value == "":
            self._wrong((*path, key), f"the `{key}` of this {what} is empty: give it one")
        else:
            self._wrong((*path, key), f"the `{key}` of this {what} is text, not {kind(value)}: quote it")
        return None

    def _runtime_env(self, holder: dict[str, Any], path: Path) -> None:
        """What passes Serve's schema and fails in its controller, after that has stored the config."""
        runtime_env = holder.get("runtime_env")
        if isinstance(runtime_env, dict):
            path = (*path, "runtime_env")
            consequence = _REFUSED_LATE if "deployments" in path else _HALF_APPLIED
            for below, fault in faults(runtime_env):
                self._wrong((*path, *below), f"{fault}. {consequence}")
