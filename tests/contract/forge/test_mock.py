"""The mock of GitHub refuses what GitHub would refuse, and cannot answer what GitHub would not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.contract.forge.excerpt import EXCERPT, OPERATIONS
from tests.contract.forge.fakes import TOKEN, serving
from tests.contract.forge.mock_github import MockGitHub
from tests.contract.forge.openapi import Description, without_nullable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.adapters.forge import Kind

COMMIT = "c0ffee" + "0" * 34
PULLS = "/repos/ml/serve-configs/pulls"
STATUSES = f"/repos/ml/serve-configs/statuses/{COMMIT}"

HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
}


@pytest.fixture
def mock() -> Iterator[MockGitHub]:
    """One that may be asked wrong things: it is not held to having been asked none."""
    with serving("github") as fake:
        assert isinstance(fake, MockGitHub)
        yield fake
        fake.problems.clear()


def ask(mock: MockGitHub, method: str, path: str, **more: Any) -> requests.Response:
    """A request past the adapter."""
    headers = {**HEADERS, **more.pop("headers", {})}
    return requests.request(method, mock.api_url + path, headers=headers, timeout=10.0, **more)


WRONG = [
    pytest.param(
        "POST", PULLS, {"json": {"title": "t", "head": "x"}}, "'base' is a required", id="lacks-a-key"
    ),
    pytest.param(
        "POST",
        PULLS,
        {"json": {"title": 1, "head": "x", "base": "y"}},
        "1 is not of type 'string'",
        id="type",
    ),
    pytest.param(
        "POST",
        PULLS,
        {"json": {"title": "t", "head": "x", "base": "y", "reviewers": []}},
        "body has no 'reviewers'",
        id="unknown-key",
    ),
    pytest.param("POST", PULLS, {"json": ["x"]}, "is not of type 'object'", id="no-object"),
    pytest.param("POST", PULLS, {}, "None is not of type 'object'", id="no-body"),
    pytest.param("PATCH", f"{PULLS}/1", {"json": {"state": "merged"}}, "is not one of", id="enum"),
    pytest.param("POST", STATUSES, {"json": {"state": "failed"}}, "'failed' is not one of", id="enum-2"),
    pytest.param("POST", STATUSES, {"json": {"context": "x"}}, "'state' is a required", id="lacks-state"),
    pytest.param(
        "POST", STATUSES, {"json": {"state": "success", "context": None}}, "None is not of type", id="null"
    ),
    pytest.param(
        "POST", STATUSES, {"json": {"state": "success", "description": "x" * 141}}, "too long", id="too-long"
    ),
    pytest.param(
        "GET", PULLS, {"params": {"state": "merged"}}, "query state: .*is not one of", id="query-enum"
    ),
    pytest.param("GET", PULLS, {"params": {"limit": "50"}}, "query has no parameter 'limit'", id="query"),
    pytest.param("GET", PULLS, {"params": {"page": "two"}}, "query page: .*not of type", id="query-type"),
    pytest.param("GET", f"{PULLS}/first", {}, "path pull_number: .*not of type 'integer'", id="path-type"),
    pytest.param("GET", f"{PULLS}/1", {"json": {"x": 1}}, "a body where none belongs", id="a-body"),
    pytest.param("GET", "/repos/ml/serve-configs/merges", {}, "no such operation", id="unknown-path"),
    pytest.param("DELETE", PULLS, {}, "no such operation", id="unknown-method"),
    pytest.param("GET", PULLS, {"headers": {"Accept": "*/*"}}, r"headers: \['accept'\]", id="accept"),
    pytest.param(
        "GET", PULLS, {"headers": {"X-GitHub-Api-Version": "2019-01-01"}}, "x-github-api-v", id="version"
    ),
]


@pytest.mark.parametrize(("method", "path", "more", "why"), WRONG)
def test_a_wrong_request_is_refused_and_remembered(
    mock: MockGitHub, method: str, path: str, more: dict[str, Any], why: str
) -> None:
    """So a test fails twice: the daemon gets an error, and `serving` ends with one."""
    answer = ask(mock, method, path, **more)

    assert answer.status_code == 400
    (problem,) = mock.problems
    assert problem.startswith(f"{method} {path}: ")
    assert re.search(why, problem), problem


def test_serving_ends_with_what_was_asked_wrong() -> None:
    """Nobody has to remember to look."""

    def a_test() -> None:
        with serving("github") as fake:
            requests.get(f"{fake.api_url}/repos/ml/serve-configs/merges", headers=HEADERS, timeout=10.0)

    with pytest.raises(AssertionError, match="GET /repos/ml/serve-configs/merges: no such operation"):
        a_test()


def test_a_wrong_token_is_told_and_no_fault_of_the_program(mock: MockGitHub) -> None:
    """As GitHub does: 401, whatever was asked."""
    assert ask(mock, "GET", PULLS, headers={"Authorization": "Bearer x"}).status_code == 401
    assert ask(mock, "GET", "/repos/ml/another/pulls").status_code == 404
    assert mock.problems == []


def test_an_answer_that_is_none_of_githubs_is_found(mock: MockGitHub) -> None:
    """The mock cannot lie: a check run that ends in a word that GitHub does not have, a link that is none."""
    mock.add_check(COMMIT, "ci/test", "green")
    mock.add_check(COMMIT, "ci/link", "success", url="no link", is_run=False)

    for path in ("check-runs", "status"):
        assert ask(mock, "GET", f"/repos/ml/serve-configs/commits/{COMMIT}/{path}").status_code == 400

    runs, statuses = mock.problems
    assert "the mock's own answer 200 is none of GitHub's" in runs
    assert "check_runs[0].conclusion: 'green' is not valid" in runs
    assert "target_url: 'no link' is not valid" in statuses


@pytest.mark.parametrize("kind", ["gitlab", "gitea"])
def test_the_others_refuse_too(kind: Kind) -> None:
    """An unknown path, an unknown parameter, a key too many, one too few, one of another type."""
    root = {"gitlab": "/projects/ml%2Fserve-configs", "gitea": "/repos/ml/serve-configs"}[kind]
    name = {"gitlab": "merge_requests", "gitea": "pulls"}[kind]
    tokens = {"PRIVATE-TOKEN": TOKEN, "Authorization": f"token {TOKEN}"}
    wrong: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"{root}/nothing", {}),
        ("GET", f"{root}/{name}", {"params": {"head": "x"}}),
        ("POST", f"{root}/{name}", {"json": {"title": "t"}}),
        ("POST", f"{root}/{name}", {"json": ["t"]}),
        ("POST", f"{root}/statuses/{COMMIT}", {"json": {"state": "green"}}),
        ("POST", f"{root}/statuses/{COMMIT}", {"json": {"state": "success", "x": "y"}}),
        ("POST", f"{root}/statuses/{COMMIT}", {"json": {"state": 1}}),
    ]
    with serving(kind) as fake:
        for method, path, more in wrong:
            answer = requests.request(method, fake.api_url + path, headers=tokens, timeout=10.0, **more)
            assert answer.status_code == 400, path
        assert len(fake.problems) == len(wrong)
        assert requests.get(f"{fake.api_url}{root}/{name}", timeout=10.0).status_code == 401
        fake.problems.clear()


def test_the_excerpt_is_whole_and_says_where_it_is_from() -> None:
    """Every operation, every schema that it refers to, the version and the licence."""
    text = EXCERPT.read_text(encoding="utf-8")
    document = json.loads(text)

    assert len(text) < 400_000
    assert {path: tuple(methods) for path, methods in document["paths"].items()} == OPERATIONS
    assert re.search(r"@octokit/openapi \d+\.\d+\.\d+ ", document["info"]["description"])
    assert document["info"]["license"]["name"] == "MIT"
    assert "Octokit contributors" in EXCERPT.with_suffix(".LICENSE").read_text(encoding="utf-8")
    description = Description(document)
    for name in document["components"]["schemas"]:
        sample = description.sample(description.named(name))
        assert description.mismatches(description.named(name), sample) == [], name


def test_nullable_is_read_as_openapi_means_it() -> None:
    """JSON Schema does not know the word; a property may be called so."""
    known = without_nullable(
        {"type": "object", "properties": {"nullable": {"type": "string", "nullable": True, "enum": ["x"]}}}
    )
    description = Description({"paths": {}, "components": {}})

    assert description.mismatches(known, {"nullable": None}) == []
    assert description.mismatches(known, {"nullable": "x"}) == []
    assert description.mismatches(known, {"nullable": 1}) != []
