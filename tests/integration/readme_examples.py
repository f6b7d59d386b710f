"""The examples of the README: what `validate`, `plan` and `doctor` print, made by running them.

`python -m tests.integration.readme_examples` writes them into the README; the test beside it compares.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from deployer.cli.doctor import Line, summary, text
from deployer.cli.doctoring.finding import Check, Finding, State
from deployer.cli.main import cli
from tests.integration.test_plan import FOLDER, Site, release, standing
from tests.unit.core.test_commands import good

README = Path(__file__).parents[2] / "README.md"
_MARK = "<!-- made by tests/integration/readme_examples.py: {} -->"

_SMALL = """\
http_options: {request_timeout_s: 30}
applications:
  - name: fruit
    route_prefix: /fruit
    import_path: market:app
    deployments:
      - name: MangoStand
        num_replicas: 2
        health_check_period_s: 5
"""

_GOOD = """\
applications:
  - name: fruit
    route_prefix: /fruit
    import_path: market:app
    runtime_env:
      pip: [torch==2.4.0]
    deployments:
      - name: MangoStand
        num_replicas: 1
        user_config: {price: 5}
        ray_actor_options: {num_cpus: 0.5}
      - name: FruitMarket
        num_replicas: 2
        ray_actor_options: {num_cpus: 0.5}
  - name: math
    route_prefix: /math
    import_path: calculator:app
"""


def validate() -> str:
    """A typo that Serve would take without a word."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("staging", "prod"):
            target = root / "environments" / name
            target.mkdir(parents=True)
            text = _SMALL if name == "staging" else _SMALL.replace("route_prefix", "route_prefx")
            (target / "serve_config.yaml").write_text(text)
        found = CliRunner().invoke(
            cli, ["validate", "--no-ray", "--format", "text", str(root / "environments")]
        )
        said = found.stdout.replace(f"{root}/", "").rstrip("\n")
        return f"$ deployer validate\n{said}\n$ echo $?\n{found.exit_code}"


def plan() -> str:
    """Some of everything: a scale, a reconfigure, a rebuild, and what goes."""
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder)) as site:
        site.put(_GOOD)
        site.remember(*good(1, release("a", _GOOD)))
        new = yaml.safe_load(_GOOD)
        fruit = new["applications"].pop(0)
        fruit["runtime_env"]["pip"] = ["torch==2.4.1"]
        fruit["deployments"][0] |= {"num_replicas": 3, "user_config": {"price": 7}}
        new["applications"] = [fruit]
        site.repo.commit({f"{FOLDER}/serve_config.yaml": yaml.safe_dump(new)}, message="raise Mango price")
        return f"$ deployer plan staging\n{_settled(site)}"


def doctor() -> str:
    """A cluster that answers anybody, a secret that others can read, a branch that is not there."""
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder)) as site:
        site.push(_GOOD)
        site.remember(*good(1, release("a", _GOOD)))
        secret = site.root / "webhook.secret"
        secret.write_text("0123456789abcdef")
        secret.chmod(0o644)
        settings = yaml.safe_load(site.settings.read_text())
        settings["repositories"]["configs"]["webhook"] = {"scheme": "github", "secret_file": str(secret)}
        prod = {**settings["environments"]["staging"], "branch": "env/prod"}
        settings["environments"]["prod"] = prod
        site.settings.write_text(yaml.safe_dump(settings, sort_keys=False))
        done = site.type("doctor", "-o", "json")
        lines = [_line(site, one) for one in json.loads(done.stdout)["findings"]]
        width = max(len(line.check.subject) for line in lines)
        shown = [text(line, width, is_coloured=False) for line in lines]
        return "\n".join(["$ deployer doctor", *shown, summary(lines), "$ echo $?", str(done.exit_code)])


def _line(site: Site, found: dict[str, Any]) -> Line:
    """A line again, without what is different on each machine and at each time."""
    says, next_step, subject = (_common(site, found[key] or "") for key in ("says", "next_step", "subject"))
    seconds = None if found["seconds"] is None else 0.02
    return Line(
        check=Check(group=found["group"], subject=subject, limit=1, ask=list),
        finding=Finding(state=State(found["state"]), says=says, next_step=next_step, seconds=seconds),
    )


def _common(site: Site, said: str) -> str:
    host = site.ray.address.removeprefix("http://")
    said = said.replace(f"{site.root}/state", "/var/lib/deployer").replace(str(site.root), "/etc/deployer")
    said = re.sub(r"[\d,.]+ [GM]iB are free", "74.2 GiB are free", said)
    said = re.sub(r"^2\.\d+\.\d+\S*$", "2.39.5", said)
    return said.replace(host, "ray-staging:8265")


def _settled(site: Site) -> str:
    text = site.type("plan", "staging").stdout.rstrip("\n")
    return text.replace(site.ray.address, "http://ray-staging:8265")


EXAMPLES = {"validate": validate, "plan": plan, "doctor": doctor}


def block(name: str) -> str:
    """The README's block of an example, as it must be."""
    return f"{_MARK.format(name)}\n```text\n{EXAMPLES[name]()}\n```"


def committed(name: str) -> str:
    """As it is."""
    found = re.search(re.escape(_MARK.format(name)) + r"\n```text\n.*?\n```", README.read_text(), re.DOTALL)
    return found[0] if found else ""


if __name__ == "__main__":
    page = README.read_text()
    for example in EXAMPLES:
        page = page.replace(committed(example) or _MARK.format(example), block(example))
    README.write_text(page)
