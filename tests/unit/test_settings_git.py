"""The settings of repositories and of what is followed: what is taken, and each refusal with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.settings_files import SMALL, changed, errors, read

if TYPE_CHECKING:
    from pathlib import Path

SSH = SMALL.replace(
    "https://git.example.com/ml/serve-configs.git", "git@git.example.com:ml/serve-configs.git"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are written, with files beside them that they may name."""
    for name in ("secret", "key", "app.pem", "odd$name"):
        (tmp_path / name).write_text("0123456789abcdef\n")
        (tmp_path / name).chmod(0o600)
    for name in ("hosts", "signers"):
        (tmp_path / name).write_text("something\n")
    return tmp_path / "deployer.yaml"


def repository(text: str, small: str = SMALL) -> str:
    """The small settings with more in their repository."""
    return small.replace("serve-configs.git\n", f"serve-configs.git\n    {text}\n")


def environment(text: str) -> str:
    """The small settings with this instead of the branch."""
    return changed("    branch: env/staging\n", f"    {text}\n" if text else "")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(repository("known_hosts_file: hosts\n    ssh_key_file: key", SSH), id="ssh"),
        pytest.param(repository("known_hosts_file: hosts", SSH), id="the user's own key"),
        pytest.param(
            repository('github_app: {app_id: "1", installation_id: "2", private_key_file: app.pem}'), id="app"
        ),
        pytest.param(repository("webhook: {scheme: gitlab-token, secret_file: secret}"), id="webhook"),
        pytest.param(environment('tags: {versions: ">=1.2 <2"}'), id="tags"),
        pytest.param(environment('tags: {versions: "^1", pattern: "fruit-v*"}'), id="pattern"),
        pytest.param(environment(f"commit: {'ab' * 20}"), id="commit"),
        pytest.param(
            environment("branch: main\n    signatures: {allowed_signers_file: signers}"), id="signatures"
        ),
        pytest.param(environment("branch: main\n    signatures: {verify: none}"), id="no signatures"),
        pytest.param(environment("branch: main\n    rewrites: accept"), id="rewrites"),
    ],
)
def test_what_is_taken(file: Path, text: str) -> None:
    """Each of the new settings, as the pages show it."""
    assert list(read(file, text).environments) == ["staging"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (repository("ssh_key_file: key", SSH), "ssh_key_file needs known_hosts_file beside it"),
        (repository("known_hosts_file: hosts"), "known_hosts_file is only used with ssh, and url is not"),
        (
            repository("known_hosts_file: hosts\n    ssh_key_file: key"),
            "known_hosts_file is only used with ssh",
        ),
        (
            repository("known_hosts_file: hosts\n    ssh_key_file: odd$name", SSH),
            'ssh_key_file must be a path without ", \\ and $',
        ),
        (
            repository(
                "token_file: secret\n"
                '    github_app: {app_id: "1", installation_id: "2", private_key_file: app.pem}'
            ),
            "github_app is instead of token_file",
        ),
        (
            repository('github_app: {app_id: "1", installation_id: "2", private_key_file: app.pem}', SSH),
            "github_app is only used with https:// or http://",
        ),
        (repository("github_app: {app_id: 1}"), "app_id must be text, not a number: put it in quotes"),
        (
            repository('github_app: {app_id: "a/b", installation_id: "2", private_key_file: app.pem}'),
            "app_id must be the id as the forge shows it",
        ),
        (repository("webhook: {scheme: svn, secret_file: secret}"), "webhook.scheme must be 'github'"),
        (repository("webhook: {scheme: github}"), "webhook.secret_file is missing"),
        (repository("webhook: {scheme: github, secret_file: hosts}"), "can be read or changed by others"),
        (environment(""), "staging.branch is missing: add it (or tags, or commit)"),
        (
            environment('branch: main\n    tags: {versions: "1"}'),
            "staging.tags: branch already says what is deployed",
        ),
        (environment(f"branch: main\n    commit: {'ab' * 20}"), "staging.commit: branch already says"),
        (environment("commit: abc1234"), "commit must be a commit's full id"),
        (environment("tags: {versions: latest}"), "tags.versions must be a range of versions"),
        (environment("tags: {pattern: v*}"), "tags.versions is missing"),
        (
            environment('tags: {versions: "*", pattern: v}'),
            "tags.pattern must be the name of tags with one *",
        ),
        (environment('tags: {versions: "*", pattern: "-*"}'), "tags.pattern must be the name of tags"),
        (environment("branch: -x"), "branch must be a branch, and git allows no such name"),
        (environment("branch: main\n    signatures: {}"), "signatures does not say who may sign"),
        (
            environment("branch: main\n    signatures: {verify: range}"),
            "signatures does not say who may sign",
        ),
        (
            environment("branch: main\n    signatures: {verify: all}"),
            "signatures.verify must be 'head', 'range'",
        ),
        (environment("branch: main\n    rewrites: ask"), "rewrites must be 'hold' or 'accept'"),
    ],
)
def test_what_is_refused(file: Path, text: str, why: str) -> None:
    """Each is told at its line, and nothing else is."""
    assert any(why in error for error in errors(file, text)), errors(file, text)


def test_two_environments_that_follow_the_same_tags_clash(file: Path) -> None:
    """For the same folder of the same cluster, as two that follow one branch do."""
    tags = '    tags: {versions: "^1"}\n'
    small = changed("    branch: env/staging\n", tags)
    other = small.partition("environments:\n")[2].replace("staging:", "other:", 1)
    assert "reads the same folder" in errors(file, small + other)[0]
    assert read(file, small + other.replace("^1", "^2")).environments.keys() == {"staging", "other"}
