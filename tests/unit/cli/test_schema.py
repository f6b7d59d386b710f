"""`deployer schema`: what it prints is a schema, and agrees with what reads the files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema.validators  # type: ignore[import-untyped]  # it publishes no types
import pytest
from click.testing import CliRunner

from deployer.adapters import schemas
from deployer.cli import schema
from deployer.cli.main import cli
from deployer.core import yaml
from deployer.core.errors import InvalidConfig
from deployer.settings import _values as values
from deployer.settings import load
from deployer.settings._group import Group
from tests.support.settings_files import NO_ENV, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


def printed(*args: str) -> str:
    """What `deployer schema ARGS` prints."""
    result = CliRunner().invoke(cli, ["schema", *args])
    assert result.exit_code == 0, result.output
    return result.stdout


def faults(printed: str, text: str) -> list[str]:
    """What an editor with this schema shows in a file with this text."""
    document = json.loads(printed)
    kind = jsonschema.validators.validator_for(document)
    kind.check_schema(document)
    value = yaml.load(text.encode(), "f", keys_as_written=True).value
    return [fault.message for fault in kind(document).iter_errors(value)]


def loads(folder: Path, text: str) -> bool:
    """Whether the daemon takes these settings."""
    file = folder / "deployer.yaml"
    file.write_text(text)
    try:
        load(file, NO_ENV, check_files=False)
    except InvalidConfig:
        return False
    return True


@pytest.mark.parametrize("name", schema.NAMES)
def test_each_says_which_language_it_is_written_in(name: str) -> None:
    """Draft 2020-12, and sound."""
    found = json.loads(printed(name))
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.validators.Draft202012Validator.check_schema(found)


def test_without_an_argument_it_tells_which_there_are() -> None:
    """All names, the known versions of Ray, and what to write into a file."""
    text = printed()
    assert all(f"deployer schema {name} " in text for name in schema.NAMES)
    assert f"{schemas.KNOWN[0]} to {schemas.NEWEST}" in text
    assert "# yaml-language-server: $schema=" in text


def test_a_serve_config_of_an_older_ray() -> None:
    """What only a newer one knows is unknown there."""
    text = "applications: [{name: a, import_path: 'm:a', deployments: [{name: D, max_surge_percent: 50}]}]"
    assert faults(printed("serve"), text) == []
    assert faults(printed("serve", "--ray-version", "2.40"), text) != []


def test_a_ray_that_is_not_known(tmp_path: Path) -> None:
    """An older one is an error, a newer one a remark, and with the other files it makes no sense."""
    run = CliRunner().invoke
    result = run(cli, ["schema", "serve", "--ray-version", "1.2"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--ray-version: Ray 1.2 is older than" in result.stderr
    result = run(cli, ["schema", "serve", "--ray-version", "99.1"])
    assert result.exit_code == 0
    assert (
        result.stderr
        == f"Ray 99.1 is newer than {schemas.NEWEST}, the newest that is known here: unknown keys pass.\n"
    )
    assert run(cli, ["schema", "settings", "--ray-version", "2.60"]).exit_code == 64


FULL = (
    SMALL.replace(
        "configs.git\n",
        "configs.git\n    forge: {kind: github, github_app: {app_id: '1', installation_id: '2',"
        " private_key_file: a}}\n    write: {}\n",
    )
    + """\
    gates:
      checks: [ci/test]
      approvals: {from: [ada], reviews: true}
  production:
    repository: serve-configs
    branch: env/staging
    path: environments/production
    cluster: {address: "http://ray-production:8265"}
    promote_from: {environment: staging, auto: true, by: pull-request, move: [args.size], keep: []}
people: {ada: {emails: [ada@example.com], forge: [ada-gh]}, lin: [lin@example.com], bo: {forge: [bo-gh]}}
"""
)


def test_the_documented_settings_pass(tmp_path: Path) -> None:
    """The example of docs/settings.md, the least that loads, and what has more than one form."""
    page = (ROOT / "docs/settings.md").read_text()
    examples = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert examples
    for text in (*examples, SMALL, FULL):
        assert loads(tmp_path, text)
        assert faults(printed("settings"), text) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    branch: env/staging", "    brnch: env/staging"),
        ("    branch: env/staging\n", ""),
        ("  staging:\n", "  Staging:\n"),
        ("      address: http://ray-staging:8265", "      address: 5"),
        ("    url: https://git.example.com/ml/serve-configs.git", "    url: null"),
        ("environments:\n", "workers: 0\nenvironments:\n"),
        ("environments:\n", "workers: 1001\nenvironments:\n"),
        ("environments:\n", "log: {level: loud}\nenvironments:\n"),
        ("environments:\n", "server:\nenvironments:\n"),
        ("configs.git\n", "configs.git\n    poll_interval: 30\n"),
        ("configs.git\n", "configs.git\n    poll_interval: 0s\n"),
        ("configs.git\n", "configs.git\n    token_file:\n"),
        ("    path: environments/staging\n", "    path: environments/staging\n    sync: observe\n"),
        (
            "    path: environments/staging\n",
            "    path: environments/staging\n    gates: {approvals: {required: 0, from: [ada]}}\n",
        ),
        (
            "    path: environments/staging\n",
            "    path: environments/staging\n    gates: {freezes: [{cron: '0 0 * * *', duration: 0s}]}\n",
        ),
        ("configs.git\n", "configs.git\n    forge: {kind: github}\n"),
        ("configs.git\n", "configs.git\n    forge: {kind: svn, token_file: t}\n"),
        ("configs.git\n", "configs.git\n    forge: {kind: gitlab, token_file: t, api_url: }\n"),
        ("environments:\n", "people: {ada: {}}\nenvironments:\n"),
        ("environments:\n", "people: {ada: ada-gh}\nenvironments:\n"),
        ("environments:\n", "people: {ada: {email: [a@b]}}\nenvironments:\n"),
        (
            "    path: environments/staging\n",
            "    path: environments/staging\n    gates: {checks: []}\n",
        ),
        (
            "    path: environments/staging\n",
            "    path: environments/staging\n    promote_from: {environment: staging, by: merge}\n",
        ),
    ],
)
def test_wrong_settings_do_not(tmp_path: Path, old: str, new: str) -> None:
    """One mistake each, which the daemon refuses too."""
    assert SMALL.count(old) == 1
    text = SMALL.replace(old, new)
    assert not loads(tmp_path, text)
    assert faults(printed("settings"), text) != []


@pytest.mark.parametrize("name", ["a", "9", "ray-prod-2", "", "-a", "A", "a_b", "a.b", "ä"])
def test_a_name_is_what_the_reader_takes(name: str) -> None:
    """The pattern of names, here and in the settings."""
    try:
        values.name(name)
    except ValueError:
        assert not re.fullmatch(schema.NAME_PATTERN, name)
    else:
        assert re.fullmatch(schema.NAME_PATTERN, name)


def groups(of: type[Group]) -> Iterator[type[Group]]:
    """Every kind of group of settings."""
    for group in of.__subclasses__():
        yield group
        yield from groups(group)


def test_every_setting_is_there_and_explained() -> None:
    """Each key of the models has its sentence, and nothing about null or code."""

    def descriptions(node: Any) -> list[str]:
        found = []
        for key, each in node.get("properties", {}).items():
            assert "description" in each, key
            found.append(each["description"])
        return found

    document = json.loads(printed("settings"))
    texts = [text for node in (document, *document["$defs"].values()) for text in descriptions(node)]
    assert len(texts) == sum(len(group.model_fields) for group in groups(Group))
    assert all(text.endswith(".") and "`load`" not in text for text in texts)
    assert "null" not in json.dumps(document)
