"""What `deployer init` writes is read by what reads it, with and without its commented-out keys."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.adapters import schemas
from deployer.cli import scaffold
from deployer.core import lints, policy, serve_config, yaml
from deployer.settings import Settings, load
from tests.support.settings_files import NO_ENV

if TYPE_CHECKING:
    from pathlib import Path

MODELINE = "# yaml-language-server: $schema=../../.deployer/x.schema.json"
PLACES = [
    scaffold.Place(
        environment=name, path=f"environments/{name}", branch=f"env/{name}", address=f"http://ray-{name}:8265"
    )
    for name in ("staging", "production")
]


def brought_back(text: str) -> str:
    """The text with what is commented out back in force."""
    back = re.sub(r"^( *)#(?=\S)", r"\1", text, flags=re.MULTILINE)
    assert back != text
    return back


def settings(folder: Path, text: str) -> Settings:
    """The settings in this text."""
    file = folder / "deployer.yaml"
    file.write_text(text)
    return load(file, NO_ENV, check_files=False)


def warnings(reading: serve_config.Reading) -> list[str]:
    """The lints of a config, as for a protected environment."""
    subject = lints.Subject(
        document=reading.document,
        applications=reading.applications,
        body=reading.config.body(),
        policy=None,
        protected=True,
    )
    return [problem.code for problem in lints.lint(subject)]


def test_the_example_has_no_error_and_no_warning() -> None:
    """One begins with a clean sheet, and its check fits."""
    reading = serve_config.read(scaffold.example(MODELINE, "staging").encode(), "f", schemas.schema())
    assert warnings(reading) == []
    assert not reading.warnings
    text = scaffold.environment(MODELINE, "staging", is_example=True)
    rules, document = policy.parse(text.encode(), "f")
    policy.agree(reading.config, rules, document)
    assert [(check.app, check.path, check.json) for check in rules.checks] == [
        ("fruit", "/fruit", '{"price":3}')
    ]


def test_every_key_that_the_example_shows_is_real() -> None:
    """Brought back, they are in the config, and it is still without an error."""
    text = brought_back(scaffold.example(MODELINE, "staging"))
    (app,) = serve_config.read(text.encode(), "f", schemas.schema()).applications
    assert app[1]["args"]
    assert app[1]["runtime_env"]["env_vars"] == {"N": "2"}
    assert app[1]["deployments"][0]["max_surge_percent"] == 100


@pytest.mark.parametrize("is_example", [True, False])
@pytest.mark.parametrize("check", [None, ("fruit", "/fruit"), ("7", "/"), ("a, b]: #x", "/x")])
def test_an_environment_shows_every_key(*, is_example: bool, check: tuple[str, str] | None) -> None:
    """Whatever the application is called. Those that are commented out are not in force."""
    text = scaffold.environment(MODELINE, "qa", ray_version="2.40", check=check, is_example=is_example)
    rules, _ = policy.parse(text.encode(), "f")
    assert rules.ray_version == "2.40"
    assert len(rules.checks) == is_example
    whole, document = policy.parse(brought_back(text).encode(), "f")
    app = check[0] if check else "fruit"
    assert [one.app for one in whole.checks] == [app]
    assert whole.owns == (app,)
    shown = {tuple("[]" if part == 0 else part for part in path) for path in document.key_marks}
    assert {(*path, key) for path, group in policy.KEYS.items() for key in group.obeyed} <= shown


def test_an_environment_without_a_version_follows_the_cluster() -> None:
    """Nothing is pinned that nobody knows."""
    rules, _ = policy.parse(scaffold.environment(MODELINE, "qa").encode(), "f")
    assert rules.ray_version is None
    assert rules.checks == ()


def test_the_settings_load(tmp_path: Path) -> None:
    """Both environments, and what is commented out is real."""
    text = scaffold.settings(MODELINE, "git@git.example.com:ml/configs.git", PLACES)
    found = settings(tmp_path, text)
    assert {name: one.branch for name, one in found.environments.items()} == {
        "staging": "env/staging",
        "production": "env/production",
    }
    url = scaffold.settings(MODELINE, "https://git.example.com/ml/configs.git", PLACES)
    whole = settings(tmp_path, brought_back(url))
    assert str(whole.environments["staging"].cluster.token_file) == "/etc/deployer/ray-staging.token"
    assert whole.workers == 32


def test_the_settings_of_an_adopted_cluster(tmp_path: Path) -> None:
    """With what it took to see it."""
    place = scaffold.Place(
        environment="prod",
        path="./environments/prod",
        branch="main",
        address="https://ray:8265",
        token_file="/t: #x",
        ca_file="/c",
    )
    (found,) = settings(tmp_path, scaffold.settings(MODELINE, "/srv/git", [place])).environments.values()
    assert found.cluster.address == "https://ray:8265"
    assert (str(found.cluster.token_file), str(found.cluster.ca_file)) == ("/t: #x", "/c")


def test_options_of_the_start_are_no_warning() -> None:
    """They are what the adopted Serve was started with; a time-out has no such warning to silence."""
    app = {"name": "fruit", "import_path": "good:app"}
    body: dict[str, Any] = {
        "proxy_location": "HeadOnly",
        "http_options": {"port": 8100, "request_timeout_s": 30},
        "grpc_options": {"port": 9100},
        "applications": [app],
    }
    text = scaffold.serve_config(MODELINE, ["Adopted."], body)
    assert text.startswith(f"{MODELINE}\n# Adopted.\n\nproxy_location: HeadOnly  # deployer: allow ")
    assert warnings(serve_config.read(text.encode(), "f", schemas.schema())) == []
    body = {"http_options": {"request_timeout_s": 30}, "applications": [app]}
    text = scaffold.serve_config(MODELINE, [], body)
    assert warnings(serve_config.read(text.encode(), "f", schemas.schema())) == []


NUMBERS = st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.sampled_from(
    [
        *(
            "",
            "yes",
            "no",
            "on",
            "0o17",
            "017",
            "1_000",
            "1:30",
            "1e3",
            ".5",
            "2.60",
            "2026-11-22",
            "~",
            "null",
        ),
        *("=", "<<", "- a", "a: b", "# x", "@x", "`x", "%x", "a\nb", "a\n\n b\n", "\n a", " a ", "a\tb", "é"),
        *("\x85", "a\u2028b", "{a}", "[a]", "&a", "*a", "!a", "|", ">", "'", '"', "a'b\"c", "x" * 300, "🥭"),
    ]
)
TEXT = WORDS | st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff")
)
TREES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(values=st.lists(TREES, min_size=1, max_size=3))
def test_whatever_a_cluster_runs_is_read_back_the_same(values: list[Any]) -> None:
    """The same digest: 1 stays 1, 1.0 stays 1.0, and no text becomes anything else."""
    body = {
        "applications": [
            {"name": f"app-{number}", "import_path": "good:app", "args": {"value": value}}
            for number, value in enumerate(values)
        ]
    }
    text = scaffold.serve_config(MODELINE, ["x"], body)
    read = yaml.load(text.encode(), "f").value
    assert serve_config.canonical(read) == serve_config.canonical(body)


def test_a_number_in_quotes_stays_in_quotes() -> None:
    """Also what only another reader of YAML takes for a number."""
    app = {"name": "a", "import_path": "m:a", "args": {"a": "1e3", "b": "0o17", "c": "2.60", "d": 1e22}}
    text = scaffold.serve_config(MODELINE, [], {"applications": [app]})
    assert [line.strip() for line in text.splitlines()[-4:]] == [
        "a: '1e3'",
        "b: '0o17'",
        "c: '2.60'",
        "d: 1.0e+22",
    ]
    assert math.isclose(yaml.load(text.encode(), "f").value["applications"][0]["args"]["d"], 1e22)
