"""Record what the installed Ray really says when things fail, into serve_messages.json.

Run it for a new Ray release, and read the difference:  python -m tests.support.record_messages

It takes two minutes. Texts are raw (colours, tracebacks); only the folders of this machine are renamed.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from deployer.cli.local_ray import LocalRay, free_port
from tests.support.eventually import eventually
from tests.support.ray_head import APPS, ServeHead

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURE = Path(__file__).with_name("serve_messages.json")

GOOD: dict[str, Any] = {"import_path": "good:app"}
FAILURES: dict[str, dict[str, Any]] = {
    "import_error": {"import_path": "import_error:app"},
    "attribute_missing": {"import_path": "good:nobody"},
    "builder_raises": {"import_path": "good:app", "args": {"start_seconds": "soon"}},
    "working_dir_unreachable": {
        "import_path": "good:app",
        "runtime_env": {"working_dir": "http://127.0.0.1:1/code.zip"},
    },
    "constructor_raises": {"import_path": "constructor_raises:app"},
    "reconfigure_raises": {
        "import_path": "good:app",
        "deployments": [{"name": "D", "user_config": {"fail": True}}],
    },
    "unknown_deployment": {"import_path": "good:app", "deployments": [{"name": "Nobody", "num_replicas": 1}]},
    "unknown_deployment_rebuilt": {
        "import_path": "good:app",
        "args": {"version": "2"},
        "deployments": [{"name": "Nobody", "num_replicas": 1}],
    },
}
LATER: dict[str, dict[str, Any]] = {
    "exits_later": {"import_path": "frail:app", "args": {"fault": "crash_later"}},
}
WARNINGS: dict[str, dict[str, Any]] = {
    "retrying": {"import_path": "constructor_raises:app"},
    "slow_start": {"import_path": "good:app", "args": {"start_seconds": "600"}},
    "no_room": {
        "import_path": "good:app",
        "deployments": [{"name": "D", "ray_actor_options": {"num_cpus": 0, "resources": {"nowhere": 1}}}],
    },
}
REFUSALS: dict[str, dict[str, Any]] = {
    "schema": {"runtime_env": {"env_vars": {"TOKEN": "hunter2-hunter2"}}},
    "controller": {"import_path": "good:app", "runtime_env": {"env_vars": {"NUMBER": 123456789}}},
}


def main() -> None:
    """Make every failure happen once, and write down what is said."""
    with LocalRay(pythonpath=[APPS]) as local:
        head = ServeHead(address=local.address, http=f"http://127.0.0.1:{free_port()}")
        head.empty()
        url = f"{head.address}/api/serve/applications/"

        def put(app: dict[str, Any]) -> requests.Response:
            body = {"applications": [{"name": "fruit", "route_prefix": "/fruit", **app}]}
            return requests.put(url, json=body, timeout=120)

        def until(condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
            def observe() -> dict[str, Any] | None:
                answer = requests.get(url, timeout=10)
                app = answer.json()["applications"].get("fruit") if answer.ok else None
                return app if app is not None and condition(app) else None

            app = eventually(observe, within=90)
            assert app is not None
            return app

        def start_well() -> dict[str, Any]:
            put(GOOD).raise_for_status()
            return until(lambda app: app["status"] == "RUNNING" and app["deployments"])

        found: dict[str, Any] = {
            "ray_version": version("ray"),
            "effective": start_well()["deployments"]["D"]["deployment_config"],
            "failures": {},
            "warnings": {},
            "refusals": {},
        }
        for name, app in FAILURES.items():
            start_well()
            put(app).raise_for_status()
            found["failures"][name] = _outline(until(lambda app: app["status"] == "DEPLOY_FAILED"))
        for name, app in LATER.items():
            start_well()
            put(app).raise_for_status()
            found["failures"][name] = _outline(until(lambda app: app["status"] == "UNHEALTHY"))
        for name, app in WARNINGS.items():
            start_well()
            put(app).raise_for_status()
            found["warnings"][name] = _outline(
                until(lambda app: any(d["message"] for d in app["deployments"].values()))
            )
        for name, app in REFUSALS.items():
            start_well()
            found["refusals"][name] = _answer(put(app))
        start_well()
        found["refusals"]["not_json"] = _answer(requests.put(url, data="applications: []", timeout=20))
        put({**GOOD, "deployments": [{"name": "D", "num_replicas": None}]}).raise_for_status()
        broken = eventually(lambda: _unless_ok(requests.get(url, timeout=10)), within=10)
        found["refusals"]["null_replicas_get"] = broken
        start_well()
    FIXTURE.write_text(_neutral(json.dumps(found, indent=1)) + "\n")


def _outline(app: dict[str, Any]) -> dict[str, Any]:
    """The parts of an application that explain its state."""
    return {
        "status": app["status"],
        "message": app["message"],
        "deployments": [
            {
                "name": deployment["name"],
                "status": deployment["status"],
                "status_trigger": deployment["status_trigger"],
                "message": deployment["message"],
                "replicas": [
                    {"state": replica["state"], "has_node_id_key": "node_id" in replica}
                    for replica in deployment["replicas"]
                ],
            }
            for deployment in app["deployments"].values()
        ],
    }


def _answer(answer: requests.Response) -> dict[str, Any]:
    return {"status": answer.status_code, "text": answer.text}


def _unless_ok(answer: requests.Response) -> dict[str, Any] | None:
    return None if answer.ok else _answer(answer)


def _neutral(text: str) -> str:
    """The same without the folders of this machine."""
    places = {
        str(Path(requests.__file__).parents[1]): "/site-packages",
        str(Path(json.__file__).parents[1]): "/python",
        str(APPS): "/apps",
        sys.prefix: "/venv",
    }
    for place, name in places.items():
        text = text.replace(place, name)
    return text


if __name__ == "__main__":
    main()
