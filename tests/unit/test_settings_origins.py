"""Where the settings in effect came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.settings import Setting, explained
from tests.support.settings_files import NO_ENV, SMALL, read

if TYPE_CHECKING:
    from pathlib import Path


def found(file: Path, text: str, env: dict[str, str]) -> dict[str, Setting]:
    """By key, those of this text."""
    settings = read(file, text, {**NO_ENV, **env}, check_files=False)
    return {one.key: one for one in explained(settings, file, {**NO_ENV, **env})}


def test_a_value_came_from_the_file_a_variable_or_nowhere(tmp_path: Path) -> None:
    """The file with its line; a variable counts more; the rest is a default."""
    file = tmp_path / "deployer.yaml"
    keys = found(
        file,
        f"{SMALL}workers: 3\nlog: {{level: error}}\n",
        {"DEPLOYER_LOG__LEVEL": "debug", "DEPLOYER_STATE_DIR": "/var/lib/x", "DEPLOYER_SERVER__LISTEN": ""},
    )

    def of(key: str) -> tuple[object, str]:
        return keys[key].value, keys[key].origin

    assert of("environments.staging.branch") == ("env/staging", f"{file}:7")
    assert of("workers") == (3, f"{file}:11")
    assert of("log.level") == ("debug", "environment variable DEPLOYER_LOG__LEVEL")
    assert of("state_dir") == ("/var/lib/x", "environment variable DEPLOYER_STATE_DIR")
    assert of("server.listen") == ("127.0.0.1:8700", "default")
    assert of("repositories.serve-configs.webhook") == (None, "default")
    assert of("repositories.serve-configs.poll_interval") == (15.0, "default")


def test_a_short_form_is_told_with_its_line(tmp_path: Path) -> None:
    """As what it stands for; what it does not say is a default."""
    file = tmp_path / "deployer.yaml"
    second = SMALL[SMALL.index("  staging:") :].replace("staging", "production")
    text = (
        f"{SMALL}{second}    promote_from: staging\n"
        "people:\n  ada: [ada@example.com]\n  lin: {forge: [lin-gh]}\n"
    )
    keys = found(file, text, {"DEPLOYER_PEOPLE__BO": "bo@example.com"})

    def of(key: str) -> tuple[object, str]:
        return keys[key].value, keys[key].origin

    assert of("environments.production.promote_from.environment") == ("staging", f"{file}:17")
    assert of("environments.production.promote_from.by") == ("push", "default")
    assert of("people.ada.emails") == (["ada@example.com"], f"{file}:19")
    assert of("people.ada.forge") == ([], "default")
    assert of("people.lin.emails") == ([], "default")
    assert of("people.lin.forge") == (["lin-gh"], f"{file}:20")
    assert of("people.bo.emails") == (["bo@example.com"], "environment variable DEPLOYER_PEOPLE__BO")


def test_a_group_that_is_set_is_told_by_its_values(tmp_path: Path) -> None:
    """Of a secret only the name of its file."""
    text = SMALL.replace(
        "configs.git\n",
        "configs.git\n    webhook: {scheme: github, secret_file: /etc/deployer/hook.secret}\n",
    )
    keys = found(tmp_path / "deployer.yaml", text, {})

    assert keys["repositories.serve-configs.webhook.secret_file"].value == "/etc/deployer/hook.secret"
    assert "repositories.serve-configs.webhook" not in keys


def test_every_value_is_plain(tmp_path: Path) -> None:
    """For JSON, and for people."""
    keys = found(tmp_path / "deployer.yaml", SMALL, {})
    kinds = (str, int, float, bool, list, type(None))
    assert all(isinstance(one.value, kinds) for one in keys.values())
