"""`deployer init`: write the files of a repository of configs, also from a running cluster or from code.

Owns which files there are, and that none of yours is touched. Must not know what is in them. Invariant:
nothing is written before everything that is to be written is known and nothing of it exists; and no value of
an environment variable is printed.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployer.cli.main import Exit, Failure, common_options
from deployer.cli.schema import NAME_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from deployer.cli.origin import Config
    from deployer.cli.scaffold import Place
    from deployer.core.errors import Problem

_FILES = ("serve_config.yaml", "environment.yaml")
"""Those of one environment."""
_SETTINGS = "deployer.yaml"

_PLACEHOLDER = "https://git.example.com/ml/serve-configs.git"
_REMOTE = re.compile(r"https://[^@\s?#]+|ssh://[^:\s]+(?::[0-9]+)?/\S+|[^:@/\s]+@[^:@/\s]+:[^:\s]\S*")
"""The addresses of a repository that may stand in settings: none with a password."""

_GIT_SECONDS = 10.0
"""It reads a line of its configuration."""


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--environment",
    "names",
    multiple=True,
    metavar="NAME",
    help="An environment to write; may be repeated. Default: staging and production, or with --from-cluster"
    " production.",
)
@click.option("--from-cluster", metavar="URL", help="Write what this cluster runs. URL is its dashboard's.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Holds Ray's token, for --from-cluster.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The certificates (PEM) that https trusts, for --from-cluster.",
)
@click.option(
    "--from-app",
    "imports",
    multiple=True,
    metavar="MODULE:APP",
    help="Write a config for this code, as `serve build` does; may be repeated. Needs Ray.",
)
@click.option(
    "--layout",
    type=click.Choice(["directory", "branch"]),
    default="directory",
    show_default=True,
    help="directory: all environments read one branch. branch: each reads its own, `env/NAME`.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    folder: Path,
    names: tuple[str, ...],
    from_cluster: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    imports: tuple[str, ...],
    layout: str,
    config: str | None,  # noqa: ARG001 - not needed: nothing here asks a daemon
    output: str | None,  # noqa: ARG001 - what comes of it are files
) -> None:
    """Write environments/NAME/serve_config.yaml and environment.yaml, and settings for a daemon, into FOLDER.

    Nothing is overwritten: a file of an environment that exists already is an error. deployer.yaml and the
    editors' schemas stay as they are, if they are there. With --from-cluster the first deploy of what is
    written changes nothing on that cluster.
    """
    names = _names(names, from_cluster, imports)
    if (token_file or ca_file) and not from_cluster:
        message = "--token-file and --ca-file are for --from-cluster."
        raise click.UsageError(message)
    # Before the cluster or the code is asked, which takes its time.
    _refuse_existing([folder / "environments" / name / file for name in names for file in _FILES])
    from deployer.cli import origin
    from deployer.cli.scaffold import Place

    if from_cluster:
        found = origin.cluster(from_cluster, token_file, ca_file)
    else:
        found = origin.code(imports) if imports else origin.example()
    above, branch = _repository(folder)
    places = [
        Place(
            environment=name,
            path=(above / "environments" / name).as_posix(),
            branch=f"env/{name}" if layout == "branch" else branch,
            address=from_cluster or f"http://ray-{name}:8265",
            token_file=str(token_file.resolve()) if token_file else None,
            ca_file=str(ca_file.resolve()) if ca_file else None,
        )
        for name in names
    ]
    texts, shared = dict(_of_environments(folder, names, found)), dict(_shared(folder, places, found))
    kept = [path for path in shared if _is_there(path)]
    texts |= {path: text for path, text in shared.items() if path not in kept}
    problems = _problems(texts, found)
    _write(texts)
    for line in _report(texts, kept, found):
        click.echo(line)
    for problem in problems:
        click.echo(str(problem), err=True)
    pushed = [place.branch for place in places] if layout == "branch" else []
    for line in _next(folder, places, pushed, kept, found, is_good=not problems):
        click.echo(line)
    if problems:
        ctx.exit(Exit.INVALID_CONFIG)


def _names(names: tuple[str, ...], cluster: str | None, imports: tuple[str, ...]) -> tuple[str, ...]:
    if cluster and imports:
        message = "--from-cluster and --from-app cannot stand together: each says what the config is."
        raise click.UsageError(message)
    if cluster and len(names) > 1:
        message = "--from-cluster writes one environment, since a cluster runs one config: name one."
        raise click.UsageError(message)
    for name in names:
        if not re.fullmatch(NAME_PATTERN, name):
            message = f"{name!r} is no name of an environment: use a-z, 0-9 and -, as in `ray-prod-2`."
            raise click.UsageError(message)
    return tuple(dict.fromkeys(names)) or (("production",) if cluster else ("staging", "production"))


def _refuse_existing(paths: Sequence[Path]) -> None:
    there = [str(path) for path in paths if _is_there(path)]
    if there:
        verb = "exists" if len(there) == 1 else "exist"
        message = (
            f"{', '.join(there)} {verb} already, and nothing is overwritten or written: take another"
            " --environment or FOLDER, or move it away."
        )
        raise Failure(message)


def _is_there(path: Path) -> bool:
    """Also a link to nowhere is: to write through it would make a file that nobody expects."""
    return path.exists() or path.is_symlink()


def _repository(folder: Path) -> tuple[Path, str]:
    """Where in its repository the folder is, and the branch that is checked out."""
    whole = folder.resolve()
    top = _git(folder, "rev-parse", "--show-toplevel")
    above = whole.relative_to(top) if top and whole.is_relative_to(top) else Path()
    return above, _git(folder, "symbolic-ref", "--short", "HEAD") or "main"


def _git(folder: Path, *words: str) -> str:
    """What git says there, or in the nearest folder above that exists; "" where it says nothing."""
    whole = folder.resolve()
    there = next(each for each in (whole, *whole.parents) if each.is_dir())
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            ["git", *words],  # noqa: S607 - the one that the person uses
            cwd=there,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _of_environments(folder: Path, names: Sequence[str], found: Config) -> Iterator[tuple[Path, str]]:
    from deployer.cli import scaffold

    schema = scaffold.schema_file("serve_config", found.schema_version)
    for name in names:
        here = folder / "environments" / name
        if found.body is None:
            config = scaffold.example(_modeline("../../", schema), name)
        else:
            header = f"What Ray Serve runs in {name}, written by `deployer init` {found.source}."
            config = scaffold.serve_config(_modeline("../../", schema), [header], found.body)
        rules = scaffold.environment(
            _modeline("../../", scaffold.schema_file("environment")),
            name,
            ray_version=found.ray_version,
            check=None if found.body is None else _check(found.body),
            is_example=found.body is None,
        )
        yield here / "serve_config.yaml", config
        yield here / "environment.yaml", rules


def _shared(folder: Path, places: Sequence[Place], found: Config) -> Iterator[tuple[Path, str]]:
    """What all environments have together: the schemas for editors, and the settings."""
    from deployer.cli import scaffold, schema
    from deployer.core import editor_schema

    of, schemas = scaffold.schema_file, folder / scaffold.SCHEMAS
    serve = schema.as_text(editor_schema.serve(found.schema))
    yield schemas / of("serve_config", found.schema_version), serve
    yield schemas / of("environment"), schema.as_text(editor_schema.environment())
    yield schemas / of("deployer"), schema.as_text(schema.settings())
    remote = _git(folder, "config", "--get", "remote.origin.url")
    url = remote if _REMOTE.fullmatch(remote) else _PLACEHOLDER
    yield folder / _SETTINGS, scaffold.settings(_modeline("./", of("deployer")), url, places)


def _modeline(up: str, schema: str) -> str:
    """What names the schema of a file to editors: a path relative to it, so that every clone has it."""
    from deployer.cli.scaffold import SCHEMAS

    return f"# yaml-language-server: $schema={up}{SCHEMAS}/{schema}"


def _check(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first application that has a route, and that route."""
    for application in body["applications"]:
        prefix = application.get("route_prefix", "/")
        if isinstance(prefix, str):
            return application["name"], prefix
    return None


def _problems(texts: Mapping[Path, str], found: Config) -> tuple[Problem, ...]:
    """What deployer itself would refuse of what is to be written: Serve took it all the same."""
    from deployer.core import serve_config
    from deployer.core.errors import InvalidConfig

    problems: list[Problem] = []
    for path, text in texts.items():
        if found.body is None or path.name != "serve_config.yaml":
            continue
        try:
            reading = serve_config.read(text.encode(), str(path), found.schema)
        except InvalidConfig as error:
            problems += error.problems
            continue
        if reading.config.digest != serve_config.canonical(found.body).digest:
            message = f"{path} would not be read back as what it is made of: that is a bug in deployer."
            raise Failure(message)
    return tuple(problems)


def _write(texts: Mapping[Path, str]) -> None:
    path = Path()
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Nor is one overwritten that came since we looked.
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}."
        raise Failure(message) from error


def _report(texts: Mapping[Path, str], kept: Sequence[Path], found: Config) -> Iterator[str]:
    yield "Written:"
    yield from (f"  {path}" for path in texts)
    if kept:
        yield "Left as it is:"
        yield from (f"  {path}" for path in kept)
    adoption = found.adoption
    if adoption.left_out:
        yield "Not taken along:"
        yield from (f"  {each}" for each in adoption.left_out)
    if adoption.notes:
        yield "To know:"
        yield from (f"  {each}" for each in adoption.notes)
    if adoption.secrets:
        yield "These values stand in the file in clear, and whoever reads the repository reads them. Are they"
        yield "secrets, let the application read them from a file or a secret store, and change them:"
        yield from (f"  {each}" for each in adoption.secrets)


def _next(
    folder: Path,
    places: Sequence[Place],
    branches: Sequence[str],
    kept: Sequence[Path],
    found: Config,
    *,
    is_good: bool,
) -> Iterator[str]:
    """What to do with it. `branches`: those that are still to be made."""
    from deployer.cli import scaffold

    settings = folder / _SETTINGS
    if settings in kept:
        yield "To deploy it, add below `environments:` of the daemon's settings:"
        yield scaffold.environments(places).rstrip()
    validate = f"  deployer validate {shlex.quote(str(folder / 'environments'))}"
    if not is_good:
        yield "What Serve took, deployer does not deploy: put it right in the file, and check it with"
        yield validate
        return
    yield "Next:"
    yield validate
    if found.adoption.body:
        yield "  commit and push; the first deploy of it changes nothing on the cluster"
    else:
        yield f"  deployer try {shlex.quote(str(folder / 'environments' / places[0].environment))}"
        yield "  commit and push"
    if branches:
        yield f"  git push origin {' '.join(f'HEAD:refs/heads/{branch}' for branch in branches)}"
    if settings not in kept:
        yield f"  set the addresses in {settings}"
        yield f"  deployer run -c {shlex.quote(str(settings))}"
