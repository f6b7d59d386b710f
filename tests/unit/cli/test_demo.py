"""The demo's repository and suggestions, without a cluster: what one is told to type does what is said."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.cli.demo import ENVIRONMENTS, _make_repository, _make_settings, _what_to_try
from deployer.core import policy, serve_config

if TYPE_CHECKING:
    from deployer.core.types import Policy, ServeConfig

SETTINGS = Path("/demo/deployer.yaml")


def read(clone: Path, name: str) -> tuple[ServeConfig, Policy]:
    """What an environment's folder says; its two files fit one another."""
    folder = clone / "environments" / name
    config, notes = serve_config.parse((folder / "serve_config.yaml").read_bytes(), "s")
    rules, document = policy.parse((folder / "environment.yaml").read_bytes(), "e")
    policy.agree(config, rules, document)
    assert notes == ()
    return config, rules


def mango(config: ServeConfig, app: str) -> object:
    """The price of a mango by the config."""
    stands = {one["name"]: one for one in config.applications()[app]["deployments"]}
    return stands["MangoStand"]["user_config"]["price"]


def test_the_environments_share_a_cluster_and_nothing_else(tmp_path: Path) -> None:
    """Names and prefixes of their own, one check of a price each, and windows that one can sit through."""
    clone = _make_repository(tmp_path)
    staging, production = (read(clone, name) for name in ENVIRONMENTS)

    assert staging[0].applications().keys().isdisjoint(production[0].applications())
    prefixes = [
        app["route_prefix"] for config, _ in (staging, production) for app in config.applications().values()
    ]
    assert sorted(prefixes) == ["/fruit", "/production/fruit"]
    for _, rules in staging, production:
        assert [check.json for check in rules.checks] == ['{"price":3}']
        assert (rules.stability_window, rules.soak) == (3.0, 5.0)


def test_the_settings_of_the_demo(tmp_path: Path) -> None:
    """Both environments on one cluster, from one branch; a port that no other daemon has."""
    (tmp_path / "configs.git").mkdir()
    settings = _make_settings(tmp_path, "http://127.0.0.1:8265")
    assert {one.branch for one in settings.environments.values()} == {"main"}
    assert {one.cluster.key for one in settings.environments.values()} == {"http://localhost:8265"}
    assert settings.server.port == 0


def test_each_suggestion_changes_the_config_and_what_is_expected_of_it(tmp_path: Path) -> None:
    """Typed in their order they bring price 5, -1 and 4 to staging, pushed; production stays as it is."""
    clone = _make_repository(tmp_path)
    before = read(clone, "production")
    commands = re.findall(
        r"^  (sed .*)$", _what_to_try(clone, SETTINGS, "http://127.0.0.1:8000"), re.MULTILINE
    )
    prices = []

    for command in commands:
        subprocess.run(["bash", "-c", command], cwd=clone, check=True, capture_output=True, timeout=30)
        config, rules = read(clone, "staging")
        prices.append(mango(config, "fruit"))
        assert [check.json for check in rules.checks] == [f'{{"price":{prices[-1]}}}']

    assert prices == [5, -1, 4]
    assert read(clone, "production") == before
    log = subprocess.run(
        ["git", "--git-dir", tmp_path / "configs.git", "log", "--format=%s", "main"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert log.stdout.splitlines() == [
        "a fair price",
        "give mangoes away",
        "raise Mango price",
        "open the fruit market",
    ]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_deployment_fits_on_two_cores(tmp_path: Path, name: str) -> None:
    """All replicas together take less than half of what the demo's Ray has."""
    config, _ = read(_make_repository(tmp_path), name)
    cpus = sum(
        deployment["num_replicas"] * deployment["ray_actor_options"]["num_cpus"]
        for app in config.applications().values()
        for deployment in app["deployments"]
    )
    assert cpus <= 0.5
