"""Where a config for `deployer init` can come from: an example, a running cluster, or code.

Owns the asking. Must not know which files are written. Invariant: a config that came from a cluster holds the
values that run there, and none of them is in a message.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.adapters import ray_schema, schemas
from deployer.cli.main import Failure
from deployer.core import yaml
from deployer.core.adopt import Adoption, adopt
from deployer.core.live import Live
from deployer.core.scrub import plain
from deployer.core.serve_schema import Schema, ray_release

if TYPE_CHECKING:
    from collections.abc import Sequence

_BUILD_SECONDS = 300.0
"""`serve build` imports Ray and the application, which may load a framework: 3 s for the example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What becomes a `serve_config.yaml`. `body` None stands for the example that comes with deployer.

    `schema` is what it is held against, `ray_version` (`2.60`) is to be pinned. `source` says where it is
    from, as in `from fruit:app`.
    """

    schema: Schema
    source: str = ""
    body: dict[str, Any] | None = field(default=None, repr=False)
    ray_version: str | None = None
    adoption: Adoption = field(default_factory=lambda: Adoption(body={}), repr=False)

    @property
    def schema_version(self) -> str:
        """What the schema's file is called after: never after a known Ray if it is that of a newer one."""
        newer = None if self.schema.complete else self.ray_version
        return newer or self.schema.ray_version


def example() -> Config:
    """An application to try things with."""
    return Config(schema=schemas.schema())


def cluster(url: str, token_file: Path | None, ca_file: Path | None) -> Config:
    """What runs there now. Raises Failure if that cannot be known, or not completely."""
    # `requests` costs a tenth of a second: not for those who ask for an example.
    from deployer.adapters.serve import ServeCluster

    try:
        there = ServeCluster(url, token_file=token_file, ca_file=ca_file)
    except ValueError as error:
        message = f"--from-cluster: {error}."
        raise click.UsageError(message) from error
    try:
        seen = there.observe()
    finally:
        there.close()
    if not isinstance(seen, Live):
        raise Failure(seen.why)
    release = ray_release(seen.ray_version)
    try:
        schema = schemas.schema(seen.ray_version)
    except ValueError:
        # As the daemon does: what it says is no version, or is older than any that is known.
        schema, release = schemas.schema(schemas.KNOWN[0]), None
    found = adopt(seen, schema)
    if found.hidden:
        message = (
            f"Ray hides the values of {', '.join(found.hidden)}, and a config without them would break what"
            " runs: nothing is written. Set RAY_DASHBOARD_REDACT_RUNTIME_ENV=0 on the head node, or take out"
            " what makes our requests look like a browser's."
        )
        raise Failure(message)
    if not found.body["applications"]:
        why = " ".join(found.left_out) or "No application runs there."
        message = f"There is nothing to adopt at {url}, and nothing is written. {why}"
        raise Failure(message)
    return Config(
        schema=schema,
        source=f"from what the cluster at {url} ran (Ray {seen.ray_version})",
        body=found.body,
        ray_version=f"{release[0]}.{release[1]}" if release else None,
        adoption=found,
    )


def code(imports: Sequence[str]) -> Config:
    """What `serve build` writes, less Serve's defaults, and with names that say something."""
    version = ray_schema.installed()
    program = Path(sys.executable).with_name("serve")
    if version is None or not program.exists():
        message = (
            "--from-app imports the code with Ray, which is not installed here: install deployer with its"
            " `local` extra, or type `pip install 'ray[serve]'`."
        )
        raise Failure(message)
    with tempfile.TemporaryDirectory(prefix="deployer-init-") as folder:
        written = Path(folder) / "built.yaml"
        _serve_build(program, written, imports)
        built: Any = yaml.load(written.read_bytes(), "serve build").value
    names: dict[str, Any] = {}
    for application in built["applications"]:
        module = application["import_path"].partition(":")[0].rpartition(".")[2]
        name = next(
            each for each in chain([module], (f"{module}-{n}" for n in count(2))) if each not in names
        )
        is_alone = application["route_prefix"] == "/"
        # In this order, and without an empty `runtime_env`.
        kept = {key: value for key, value in application.items() if value != {}}
        names[name] = {**kept, "name": name, "route_prefix": "/" if is_alone else f"/{name}"}
    release = ray_release(version)
    return Config(
        schema=schemas.schema(version),
        source=f"from {', '.join(imports)} (`serve build` of Ray {version})",
        body={"applications": [*names.values()]},
        ray_version=f"{release[0]}.{release[1]}" if release else None,
    )


def _serve_build(program: Path, written: Path, imports: Sequence[str]) -> None:
    shown = f"`serve build {shlex.join(imports)}`"
    try:
        done = subprocess.run(  # noqa: S603 - the program is Ray's own
            [program, "build", "--app-dir", ".", "--output-path", written, *imports],
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{shown} did not end within {_BUILD_SECONDS:g} s: what does the module do when imported?"
        raise Failure(message) from error
    if done.returncode != 0:
        # The last line of a traceback is the reason.
        lines = plain(done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        message = f"{shown} failed here: {lines[-1]}"
        raise Failure(message)
