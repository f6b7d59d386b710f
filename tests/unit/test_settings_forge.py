"""The settings of forges, and of what asks one: what they become, what is worked out, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.cli.repositories import forge_access
from deployer.core.approvals import ApprovalRule
from deployer.core.errors import InvalidConfig
from deployer.settings import Forge, gate_rules
from tests.support.settings_files import NO_ENV, SMALL, errors, read

URL = "https://git.example.com/ml/serve-configs.git"
AT = "repositories.serve-configs.forge"
APP = '{app_id: "1", installation_id: "2", private_key_file: app.pem}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are written, with files beside them that they may name."""
    for name in ("secret", "app.pem", "loose"):
        (tmp_path / name).write_text("0123456789abcdef\n")
        (tmp_path / name).chmod(0o644 if name == "loose" else 0o600)
    (tmp_path / "ca.pem").write_text("something\n")
    return tmp_path / "deployer.yaml"


def forge(text: str, url: str = URL) -> str:
    """The small settings with this forge, which begins in column 12 of line 4."""
    return SMALL.replace(f"    url: {URL}\n", f"    url: {url}\n    forge: {text}\n")


def found(file: Path, text: str, url: str = URL) -> Forge:
    """What these settings have as the forge."""
    loaded = read(file, forge(text, url)).repositories["serve-configs"].forge
    assert loaded is not None
    return loaded


# --- what it becomes ------------------------------------------------------------------------------------


def test_without_it_there_is_none(file: Path) -> None:
    """No forge is asked unless somebody says which."""
    repository = read(file, SMALL).repositories["serve-configs"]
    assert repository.forge is None
    assert forge_access(repository) is None


@pytest.mark.parametrize(
    ("kind", "url", "api_url", "project"),
    [
        ("github", "https://github.com/ml/serve-configs.git", "https://api.github.com", "ml/serve-configs"),
        ("github", "https://GitHub.com:443/ml/serve-configs/", "https://api.github.com", "ml/serve-configs"),
        ("github", "git@github.com:ml/serve-configs.git", "https://api.github.com", "ml/serve-configs"),
        ("github", "ssh://git@ssh.github.com:443/ml/c.git", "https://api.github.com", "ml/c"),
        ("github", "git@ssh.github.com:ml/c.git", "https://api.github.com", "ml/c"),
        ("github", "https://acme.ghe.com/ml/c", "https://api.acme.ghe.com", "ml/c"),
        ("github", "https://git.example.com/ml/c.git", "https://git.example.com/api/v3", "ml/c"),
        ("gitlab", "https://gitlab.com/ml/eu/c.git", "https://gitlab.com/api/v4", "ml/eu/c"),
        ("gitlab", "git@altssh.gitlab.com:ml/c.git", "https://gitlab.com/api/v4", "ml/c"),
        ("gitlab", "ssh://git@Git.example.com:2222/ml/c.git", "https://git.example.com/api/v4", "ml/c"),
        ("gitlab", "http://git.example.com/ml/c.git", "https://git.example.com/api/v4", "ml/c"),
        ("gitlab", "https://git.example.com:8443/ml/c.git", "https://git.example.com:8443/api/v4", "ml/c"),
        ("gitea", "git@git.example.com:/ml/c.git", "https://git.example.com/api/v1", "ml/c"),
        ("gitea", "git://git.example.com/ml/c.git", "https://git.example.com/api/v1", "ml/c"),
        ("gitea", "http://127.0.0.1:3000/ml/c.git", "http://127.0.0.1:3000/api/v1", "ml/c"),
        ("gitea", "http://localhost:3000/ml/c.git", "http://localhost:3000/api/v1", "ml/c"),
        ("gitea", "ssh://git@[fd00::1]:2222/ml/c.git", "https://[fd00::1]/api/v1", "ml/c"),
    ],
)
def test_the_url_tells_where_the_api_is_and_which_project(
    file: Path, kind: str, url: str, api_url: str, project: str
) -> None:
    """For every way in which git names a repository at a forge."""
    one = found(file, f"{{kind: {kind}, token_file: secret}}", url)
    assert (one.api_url, one.project) == (api_url, project)


def test_what_is_written_counts(file: Path) -> None:
    """Also for a repository on this machine, which tells nothing."""
    text = '{kind: gitlab, api_url: "http://LocalHost:80/api/v4/", project: ml/eu/c, token_file: secret}'
    for url in (URL, "/srv/git/configs.git", "file:///srv/git/configs.git"):
        one = found(file, text, url)
        assert (one.api_url, one.project) == ("http://localhost/api/v4", "ml/eu/c")


def test_variables_set_it(file: Path) -> None:
    """As every other group."""
    prefix = "DEPLOYER_REPOSITORIES__SERVE_CONFIGS__FORGE__"
    env = NO_ENV | {f"{prefix}KIND": "gitea", f"{prefix}TOKEN_FILE": "secret"}
    one = read(file, SMALL, env).repositories["serve-configs"].forge
    assert one is not None
    assert (one.kind, one.api_url) == ("gitea", "https://git.example.com/api/v1")


def test_what_is_told_there(file: Path) -> None:
    """Statuses unless somebody does not want them; deployments only if somebody does."""
    for text, told in (
        ("{kind: github, token_file: secret}", (True, False)),
        ("{kind: gitlab, token_file: secret, statuses: false, deployments: true}", (False, True)),
        ("{kind: gitea, token_file: secret, deployments: false}", (True, False)),
    ):
        one = read(file, forge(text)).repositories["serve-configs"].forge
        assert one is not None
        assert (one.statuses, one.deployments) == told


def test_how_the_daemon_is_let_in(file: Path) -> None:
    """By a token, or by an App that is asked at the API of the forge."""
    text = forge("{kind: gitlab, token_file: secret, ca_file: ca.pem}")
    way = forge_access(read(file, text).repositories["serve-configs"])
    assert way is not None
    assert (way.kind, way.api_url, way.project) == (
        "gitlab",
        "https://git.example.com/api/v4",
        "ml/serve-configs",
    )
    assert (way.credential, way.ca_file) == (file.parent / "secret", file.parent / "ca.pem")

    text = forge(f"{{kind: github, github_app: {APP}}}")
    way = forge_access(read(file, text).repositories["serve-configs"])
    assert way is not None
    assert not isinstance(way.credential, Path)
    assert way.credential.app_id == "1"
    assert way.credential.private_key_file == file.parent / "app.pem"
    assert way.credential.api_url == way.api_url == "https://git.example.com/api/v3"


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (forge("github"), f"4:12: {AT} must be a mapping, not text"),
        (forge("{token_file: secret}"), f"4:12: {AT}.kind is missing: add it, as in `kind: github`"),
        (
            forge("{kind: bitbucket, token_file: secret}"),
            f"4:19: {AT}.kind must be 'github', 'gitlab' or 'gitea'",
        ),
        (
            forge("{kind: github, tokenfile: secret}"),
            f"4:27: unknown key 'tokenfile' in {AT} (did you mean 'token_file'?)",
        ),
        (
            forge("{kind: github}"),
            f"4:12: {AT} does not say how the daemon is let in: add token_file (or github_app)",
        ),
        (forge("{kind: gitea}"), f"4:12: {AT} does not say how the daemon is let in: add token_file"),
        (
            forge("{kind: gitea, token_file: secret, deployments: true}"),
            f"4:59: {AT}.deployments is only used with kind: github or gitlab: Gitea has no deployments."
            " Remove this",
        ),
        (
            forge("{kind: github, token_file: secret, deployments: 1}"),
            f"4:60: {AT}.deployments must be true or false",
        ),
        (
            forge(f"{{kind: github, token_file: secret, github_app: {APP}}}"),
            f"4:59: {AT}.github_app is instead of token_file: remove one of them",
        ),
        (
            forge(f"{{kind: gitlab, github_app: {APP}}}"),
            f"4:39: {AT}.github_app is only used with kind: github, and kind is gitlab: use token_file",
        ),
        (
            forge(f"{{kind: github, github_app: {APP.replace('{', '{api_url: https://x, ')}}}"),
            f"4:40: unknown key 'api_url' in {AT}.github_app (known: app_id, installation_id,"
            " private_key_file)",
        ),
        (
            forge("{kind: github, token_file: loose}"),
            f"4:39: {AT}.token_file can be read or changed by others than its owner",
        ),
        (forge("{kind: github, token_file: none.token}"), f"4:39: {AT}.token_file must name a file, and"),
        # Where it is.
        (
            forge("{kind: github, token_file: secret}", "/srv/git/configs.git"),
            f"4:12: {AT}.api_url is missing, and url does not tell it: add it, as in"
            " `api_url: https://api.github.com`",
        ),
        (
            forge("{kind: gitlab, token_file: secret}", "file:///srv/git/configs.git"),
            f"4:12: {AT}.api_url is missing, and url does not tell it: add it, as in"
            " `api_url: https://gitlab.example.com/api/v4`",
        ),
        (
            forge("{kind: gitea, token_file: secret}", "http://git.example.com:3000/ml/c.git"),
            f"4:12: {AT}.api_url is missing, and url does not tell it: add it, as in"
            " `api_url: https://gitea.example.com/api/v1`",
        ),
        (
            forge("{kind: gitea, api_url: http://git.example.com/api/v1, token_file: secret}"),
            f"4:35: {AT}.api_url must begin with https://: over http everybody on the way could read the"
            " token",
        ),
        (
            forge("{kind: gitea, api_url: git.example.com, token_file: secret}"),
            f"4:35: {AT}.api_url must be the http:// or https:// address of the forge's API, such as",
        ),
        (
            forge("{kind: gitea, api_url: , token_file: secret}"),
            f"4:34: {AT}.api_url must be text, and nothing stands here: give a value, or remove the line",
        ),
        (
            forge('{kind: gitea, api_url: "https://ada:hunter2@x/api/v1", token_file: secret}'),
            f"4:35: {AT}.api_url holds a user name or a password: put the token into a file",
        ),
        (
            forge("{kind: gitea, api_url: http://127.0.0.1:1/api/v1, token_file: secret, ca_file: ca.pem}"),
            f"4:91: {AT}.ca_file is only used with https://, and api_url is not: remove this",
        ),
        # Which project.
        (
            forge("{kind: gitlab, api_url: https://x/api/v4, token_file: secret}", "/srv/git/configs.git"),
            f"4:12: {AT}.project is missing, and url does not tell it as group/name: add it, as in"
            " `project: ml/serve-configs`",
        ),
        (
            forge("{kind: gitea, token_file: secret}", "https://git.example.com/forge/ml/c.git"),
            f"4:12: {AT}.project is missing, and url does not tell it as owner/name: add it, as in",
        ),
        (
            forge("{kind: gitlab, token_file: secret}", "git@git.example.com:~ada/c.git"),
            f"4:12: {AT}.project is missing, and url does not tell it as group/name: add it, as in",
        ),
        *(
            (
                forge(f"{{kind: {kind}, project: {name}, token_file: secret}}"),
                f"4:{30 + len(kind)}: {AT}.project must be the project at the forge, {wanted}, such as"
                " ml/serve-configs",
            )
            for kind, name, wanted in (
                ("github", "ml", "owner/name"),
                ("gitea", "ml/eu/c", "owner/name"),
                ("gitlab", "c", "group/name"),
                ("github", "ml/..", "owner/name"),
                ("gitlab", "ml//c", "group/name"),
                ("gitlab", "/ml/c", "group/name"),
                ("gitlab", "'ml/c?x'", "group/name"),
                ("github", "'ml/c '", "owner/name"),
            )
        ),
        (
            forge("{kind: github, project: ml/c.git, token_file: secret}"),
            f"4:36: {AT}.project must be the project's name without .git, as its page has it",
        ),
        (
            forge("{kind: github, project: 5, token_file: secret}"),
            f"4:36: {AT}.project must be text, not a number: put it in quotes",
        ),
    ],
)
def test_what_is_refused_and_how(file: Path, text: str, why: str) -> None:
    """At its place, with what to do."""
    assert any(error.startswith(why) for error in errors(file, text)), errors(file, text)


def test_what_is_wrong_with_the_url_is_said_once(file: Path) -> None:
    """Nothing is worked out of a URL, or for a kind, that is refused."""
    (error,) = errors(file, forge("{kind: github, token_file: secret}", "svn://x/y"))
    assert error.startswith("3:10: repositories.serve-configs.url must begin with")
    (error,) = errors(file, forge("{kind: svn, token_file: secret}", "/srv/git/configs.git"))
    assert error.startswith(f"4:19: {AT}.kind must be")


def shown(file: Path, text: str) -> str:
    """What is said to a command that does not look at the files, if anything."""
    try:
        return repr(read(file, text, check_files=False))
    except InvalidConfig as error:
        return str(error)


@pytest.mark.parametrize(
    "text",
    [
        forge("{kind: github, token_file: glpat-hunter2, ca_flie: ca.pem}"),
        forge("{kind: svn, token_file: glpat-hunter2}"),
        forge('{kind: github, api_url: "https://ada:hunter2@x", token_file: secret}'),
        forge('{kind: github, api_url: "https://x?token=hunter2", token_file: secret}'),
        forge('{kind: svn, api_url: "https://x?token=hunter2", token_file: secret}'),
    ],
)
def test_a_secret_that_is_in_the_file_is_not_shown(file: Path, text: str) -> None:
    """Neither in what is wrong with it, nor with what stands beside it in its line."""
    with pytest.raises(InvalidConfig) as caught:
        read(file, text)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in shown(file, text)


def test_a_token_in_the_place_of_its_file_is_not_shown(file: Path) -> None:
    """As for git."""
    found = "\n".join(errors(file, forge("{kind: github, token_file: glpat-hunter2}")))
    assert found
    assert "hunter2" not in found


# --- what asks the forge --------------------------------------------------------------------------------

FORGE = "{kind: github, token_file: secret}"
NEEDS = "needs repositories.serve-configs.forge: how the forge is asked (see docs/gates.md)"


def staging(text: str, *, more: str = "", asked: bool = True) -> str:
    """The small settings, with more in the environment (on line 11, or 12 with a forge), and at the end."""
    whole = forge(FORGE) if asked else SMALL
    return f"{whole}    {text}\n{more}"


def test_what_asks_the_forge_needs_one(file: Path) -> None:
    """Checks and reviews are refused without it, each at its key."""
    at = "environments.staging.gates"
    more = "people: {ada: {forge: [ada-gh]}}\n"
    assert errors(file, staging("gates: {checks: [ci/test]}", asked=False)) == [f"11:21: {at}.checks {NEEDS}"]
    reviews = "gates: {approvals: {from: [ada], reviews: true}}"
    assert errors(file, staging(reviews, more=more, asked=False)) == [
        f"11:47: {at}.approvals.reviews {NEEDS}"
    ]
    assert read(file, staging(reviews.replace("true", "false"), asked=False)).environments
    assert read(file, staging(reviews, more=more)).environments


def test_checks_become_rules(file: Path) -> None:
    """In their order. A variable holds several, with commas."""
    text = staging('gates: {checks: [ci/test, "build (ubuntu, 3.11)"]}')
    assert gate_rules(read(file, text), "staging").checks == ("ci/test", "build (ubuntu, 3.11)")
    env = NO_ENV | {"DEPLOYER_ENVIRONMENTS__STAGING__GATES__CHECKS": "ci/test, lint"}
    assert gate_rules(read(file, forge(FORGE), env), "staging").checks == ("ci/test", "lint")


@pytest.mark.parametrize(
    ("checks", "why"),
    [
        ("[]", "12:21: {}.checks has no entry, so nothing would have to be green: add one"),
        ("{ci: a}", "12:21: {}.checks must be a list of names of checks such as ci/test, not a mapping"),
        ("[1]", "12:21: {}.checks must be a list of names of checks such as ci/test, not a number"),
        ("[a, b, a]", "12:21: {}.checks names 'a' twice: remove one"),
        (
            f"[{', '.join(f'a{index}' for index in range(51))}]",
            "12:21: {}.checks has 51 entries, and more than 50 are not taken",
        ),
        *(
            (
                f"[{name}]",
                "12:21: {}.checks must be names of checks as the forge shows them, of 1 to 100 characters: ",
            )
            for name in ("''", "'a '", '"a\\tb"', "a" * 101)
        ),
    ],
)
def test_checks_that_are_refused(file: Path, checks: str, why: str) -> None:
    """Names that no check can have, and lists that mean nothing."""
    (error,) = errors(file, staging(f"gates: {{checks: {checks}}}"))
    assert error.startswith(why.replace("{}", "environments.staging.gates"))


def test_as_many_and_as_long_checks_as_are_taken(file: Path) -> None:
    """Fifty, of a hundred characters."""
    names = [f"{index:0100}" for index in range(50)]
    text = staging(f"gates: {{checks: {names}}}")
    assert gate_rules(read(file, text), "staging").checks == tuple(names)


def test_reviews_become_rules(file: Path) -> None:
    """With the names at the forge of those who may approve."""
    more = (
        "people: {ada: {emails: [ada@example.com], forge: [ada-gh, ada2]}, lin: [lin@example.com],"
        " bo: {forge: [bo-gh]}, zoe: {forge: [zoe-gh]}}\ngroups: {leads: [bo, lin]}\n"
    )
    text = staging('gates: {approvals: {from: [ada, "@leads"], reviews: true}}', more=more)
    assert gate_rules(read(file, text), "staging").approvals == ApprovalRule(
        required=1,
        people=frozenset({"ada", "bo", "lin"}),
        emails={"ada": ("ada@example.com",), "lin": ("lin@example.com",)},
        forge={"ada": ("ada-gh", "ada2"), "bo": ("bo-gh",)},
        reviews=True,
    )


def test_reviews_need_somebody_who_is_known_at_the_forge(file: Path) -> None:
    """One of those who may approve is enough, also by way of a group; others are of no use."""
    text = 'gates: {approvals: {from: [lin, "@leads"], reviews: true}}'
    for known in ("", "people: {lin: [lin@example.com], zoe: {forge: [zoe-gh]}}\n"):
        (error,) = errors(file, staging(text, more=f"groups: {{leads: [bo]}}\n{known}"))
        assert error == (
            "12:57: environments.staging.gates.approvals.reviews: nobody whom from names has a login at the"
            " forge, so no review could count: add one, as in `people: {bo: {forge: [LOGIN]}}`"
        )
    more = "groups: {leads: [bo]}\npeople: {bo: {forge: [bo-gh]}}\n"
    assert read(file, staging(text, more=more)).environments
