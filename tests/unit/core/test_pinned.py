"""Which code addresses may name other code tomorrow."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.pinned import changeable, shown
from tests.support.build import release

COMMIT = "4f1c2d3e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d"


@pytest.mark.parametrize(
    "uri",
    [
        "https://git.example.com/fruit/main.zip",
        "https://git.example.com/fruit/archive/refs/heads/release.zip",
        "https://github.com/org/fruit/archive/HEAD.zip",
        "s3://bucket/fruit/latest-1.2.zip",
        "s3://bucket/fruit.zip",
        "https://1.2.3.4/fruit.zip",
        "https://git.example.com/facade/fruit.zip",
    ],
    ids=["main", "a branch", "head", "latest beats a version", "nothing", "a host is none", "letters only"],
)
def test_changeable(uri: str) -> None:
    """No commit, digest or version names the code, or a word says that it moves."""
    assert changeable(release("x", {"name": "fruit", "runtime_env": {"working_dir": uri}})) == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        f"https://github.com/org/fruit/archive/{COMMIT}.zip",
        f"https://git.example.com/fruit/{COMMIT[:7]}.zip",
        "https://git.example.com/fruit/v1.4.2.zip",
        "s3://bucket/fruit-2026.11.zip",
        "gcs://_ray_pkg_deadbeef.zip",
        "gcs://anything",
        "/a/folder",
        "fruit",
    ],
    ids=[
        "commit",
        "short commit",
        "version",
        "date",
        "stored by Ray",
        "by Ray too",
        "a folder",
        "no address",
    ],
)
def test_pinned(uri: str) -> None:
    """It names the same code tomorrow, or is no address."""
    assert changeable(release("x", {"name": "fruit", "runtime_env": {"working_dir": uri}})) == ()


def test_every_place_is_looked_at_and_each_address_named_once() -> None:
    """Of the application and of each deployment, folders and modules."""
    main, other, third = (f"https://git.example.com/{name}/main.zip" for name in ("a", "b", "c"))
    app = {
        "name": "fruit",
        "runtime_env": {"working_dir": main, "py_modules": [other, 7, main]},
        "deployments": [
            {"name": "D", "ray_actor_options": {"runtime_env": {"py_modules": [third]}}},
            {"name": "E", "ray_actor_options": None},
            {"name": "F", "ray_actor_options": {"num_cpus": 1}},
        ],
    }

    assert changeable(release("x", app)) == (main, other, third)


@pytest.mark.parametrize(
    "app",
    [
        {"name": "a", "runtime_env": None},
        {"name": "a", "runtime_env": {"working_dir": None, "py_modules": "https://x/main.zip"}},
        {"name": "a", "deployments": None},
        {"name": "a"},
    ],
)
def test_what_is_no_address_is_passed_over(app: dict[str, Any]) -> None:
    """Serve refuses it, or there is none."""
    assert changeable(release("x", app)) == ()


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("https://ada:hunter2@git.example.com/a/main.zip?token=abc", "https://git.example.com/a/main.zip"),
        ("https://git.example.com", "https://git.example.com"),
        ("s3://bucket/a\nb.zip", "s3://bucket/a\\nb.zip"),
        ("https://git.example.com/" + "x" * 200, "https://git.example.com/" + "x" * 95 + "…"),
    ],
    ids=["secrets", "no path", "one line", "long"],
)
def test_an_address_for_people(uri: str, text: str) -> None:
    """Without a user, a password or a query; one line, not too long."""
    assert shown(uri) == text
