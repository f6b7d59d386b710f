"""`python -m tests.e2e.older_ray VERSION`: does the way back work on an older Ray?

Before 2.60 Serve keeps an option that a config once set when the next one omits it, so that a rollback to the
old config alone is none. This installs that Ray beside ours (from the package index, which no other test
needs), brings it a release that adds a `user_config` which raises, and demands that the rollback serves the
old answer again, by another code version; and the same for an option that does no harm.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import requests

from deployer.adapters.serve import ServeCluster
from deployer.cli.local_ray import LocalRay, free_port
from deployer.core.body import NONCE
from deployer.core.live import Live
from tests.conftest import pytest_configure
from tests.e2e.site import Site
from tests.support.ray_head import APPS, ROOT, ServeHead


def main() -> int:
    """Run it on the version named. The exit code is 1 if a rollback was none."""
    (wanted,) = sys.argv[1:]
    pytest_configure()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "ray"
        venv.create(home, with_pip=True)
        python = str(home / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"ray[serve]=={wanted}"], check=True)
        with LocalRay(num_cpus=4, pythonpath=[ROOT, APPS], python=python) as local:
            head = ServeHead(address=local.address, http=f"http://127.0.0.1:{free_port()}")
            head.empty()
            site = Site(root=Path(folder), address=head.address)
            try:
                _story(site, head, wanted)
            finally:
                site.stop()
    return 0


def _story(site: Site, head: ServeHead, wanted: str) -> None:
    good = site.push(_config(), "nothing set")
    site.start()
    site.until_live(good)
    seen = ServeCluster(head.address).observe()
    assert isinstance(seen, Live), seen
    assert seen.ray_version == wanted, seen.ray_version
    assert _answer(head) == "hello"

    site.push(_config({"fail": True}), "add an option that raises")
    entries = site.until_history("rollback good", "deploy failed", "deploy good", within=180)
    assert _answer(head) == "hello", "the option of the failed release is still in force"
    _say(wanted, f"rolled back from {entries[1]['failure']['message']} in {entries[0]['took_seconds']} s")

    changed = site.push(_config({"answer": "other"}), "add one that does no harm")
    site.until_live(changed, within=120)
    assert _answer(head) == "other"
    again = site.push(_config(), "and take it away")
    site.until_live(again, within=120)
    assert _answer(head) == "hello", "the option that git took away is still in force"
    nonces = [fact.nonce for fact in site.facts() if fact.type == "started"]
    _say(wanted, f"{NONCE} of the rollouts: {nonces}; restores unset options: {seen.restores_unset_options}")


def _config(user_config: dict[str, Any] | None = None) -> dict[str, Any]:
    deployment: dict[str, Any] = {"name": "D", "num_replicas": 2, "ray_actor_options": {"num_cpus": 0}}
    if user_config is not None:
        deployment["user_config"] = user_config
    app = {
        "name": "greeter",
        "route_prefix": "/greeter",
        "import_path": "good:app",
        "deployments": [deployment],
    }
    return {"applications": [app]}


def _answer(head: ServeHead) -> str:
    answer = requests.get(f"{head.http}/greeter", timeout=20)
    answer.raise_for_status()
    return answer.text


def _say(wanted: str, text: str) -> None:
    print(f"Ray {wanted}: {text}", flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    sys.exit(main())
