"""`deployer demo`: everything on this machine, so that a person can try it in a minute.

Owns a folder of its own with a bare git repository made of the packaged environments, a clone to push from,
the settings and the state; and a local Ray head. Must not touch anything else. Invariant: whatever it
started is stopped on every way out, and nothing more; the folder is removed unless `--keep` says otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

import click
import yaml

from deployer import logs
from deployer.adapters.admin_token import FILE as ADMIN_TOKEN
from deployer.cli.client import API_FILE
from deployer.cli.daemon import running, stop_on_signals
from deployer.cli.local_ray import LocalRay, LocalRayError
from deployer.cli.main import Failure
from deployer.cli.narrate import Narrator
from deployer.cli.throwaway import git, start_serve
from deployer.settings import Settings, load

ENVIRONMENTS = ("staging", "production")
BRANCH = "main"
_STAGING = "environments/staging/*.yaml"
"""What the suggestions change: the config, and in `environment.yaml` what is expected of it."""


@click.command()
@click.option("--keep", is_flag=True, help="Keep the demo's folder when it ends.")
def command(keep: bool) -> None:  # noqa: FBT001 - click passes a flag as a boolean
    """Try it all on this machine: a local Ray, a local git repository, and the daemon on them.

    Needs git and Ray Serve (the `local` extra, or `pip install 'ray[serve]'`). Ctrl-C stops everything
    that it started and nothing else.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="deployer-demo-"))
        if keep:
            stack.callback(click.echo, f"Kept: {folder}")
        else:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        log = stack.enter_context((folder / "demo.log").open("w"))
        logs.configure(log, json=True, level="info")
        try:
            _run(stack, folder)
        except LocalRayError as error:
            raise Failure(str(error)) from error
        except KeyboardInterrupt:
            # Before the daemon runs and takes signals over: the way to end a demo all the same.
            click.echo()
        finally:
            click.echo("Stopping what the demo started ...")
    click.echo("Stopped.")


def _run(stack: ExitStack, folder: Path) -> None:
    click.echo("Starting a local Ray head (about 10 s) ...")
    ray = LocalRay(num_cpus=2)
    stack.callback(ray.stop)
    ray.start()
    http = f"http://127.0.0.1:{start_serve(ray.address)}"
    click.echo(f"Ray is up: {ray.address} (dashboard), {http} (the applications, once they run)")

    clone = _make_repository(folder)
    settings = _make_settings(folder, ray.address)
    click.echo(f"Git: {folder / 'configs.git'}, branch {BRANCH}, cloned into {clone}")
    click.echo()

    narrator = Narrator(
        environments=ENVIRONMENTS,
        on_settled=lambda: click.echo(_what_to_try(clone, folder / "deployer.yaml", http)),
    )
    controller = stack.enter_context(running(settings, listeners=[narrator]))
    url = json.loads((settings.state_dir / API_FILE).read_text())["url"]
    click.echo(f"Pages: {url} (to act there, sign in with what is in {settings.state_dir / ADMIN_TOKEN})")
    stop_on_signals(controller)
    controller.run_until_stopped()
    click.echo()


def _make_repository(folder: Path) -> Path:
    """Make a bare repository out of the packaged environments, and a clone of it; return the clone."""
    bare, clone = folder / "configs.git", folder / "configs"
    git(folder, "init", "--quiet", "--bare", "--initial-branch", BRANCH, str(bare))
    git(folder, "init", "--quiet", "--initial-branch", BRANCH, str(clone))
    with as_file(_environments()) as environments:
        for name in ENVIRONMENTS:
            shutil.copytree(environments / name, clone / "environments" / name)
    for key, value in (("user.name", "Demo"), ("user.email", "demo@localhost"), ("commit.gpgsign", "false")):
        git(clone, "config", key, value)
    git(clone, "remote", "add", "origin", str(bare))
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "-m", "open the fruit market")
    git(clone, "push", "--quiet", "--set-upstream", "origin", BRANCH)
    return clone


def _environments() -> Path:
    """Where `environments/` is: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(str(files("deployer")))
    inside, beside = package / "environments", package.parent / "environments"
    return inside if inside.is_dir() else beside


def _make_settings(folder: Path, address: str) -> Settings:
    path = folder / "deployer.yaml"
    values = {
        "state_dir": str(folder / "state"),
        # A free port: a daemon may run on this machine already. Looking takes no token here, acting does.
        "server": {"listen": "127.0.0.1:0", "anonymous_read": True},
        "repositories": {"configs": {"url": str(folder / "configs.git")}},
        "environments": {
            name: {
                "repository": "configs",
                "branch": BRANCH,
                "path": f"environments/{name}",
                "cluster": {"address": address},
            }
            for name in ENVIRONMENTS
        },
    }
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return load(path, {})


def _what_to_try(clone: Path, settings: Path, http: str) -> str:
    program = _program()
    commit = "git commit -qam"
    return f"""
The first rollouts are over. Try these in another terminal:

  cd {clone}

  # ask the application of staging; that of production is at /production/fruit
  curl '{http}/fruit?name=mango&amount=2'

  # a good change, in the config and in the check of it: reconfigured in place, no replica restarts
  sed -i 's/price: 3/price: 5/' {_STAGING} && {commit} 'raise Mango price' && git push -q

  # a broken change: rolled back by itself, and held
  sed -i 's/price: 5/price: -1/' {_STAGING} && {commit} 'give mangoes away' && git push -q

  # the fix
  sed -i 's/price: -1/price: 4/' {_STAGING} && {commit} 'a fair price' && git push -q

  # back by hand: what git says is held until it says something else
  {program} rollback staging --reason 'too dear' --wait -c {settings}

  # what runs, why, and what happened
  {program} status -c {settings}
  {program} explain staging -c {settings}
  {program} history -c {settings}

Ctrl-C here stops everything that the demo started.
"""


def _program() -> str:
    """Return what to type for `deployer` in another terminal and another folder."""
    name = Path(sys.argv[0]).resolve()
    on_path = shutil.which("deployer")
    if on_path is not None and Path(on_path).resolve() == name:
        return "deployer"
    is_program = name.name == "deployer" and os.access(name, os.X_OK)
    return str(name) if is_program else f"{sys.executable} -m deployer"
