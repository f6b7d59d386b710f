"""Cuts what the daemon asks of GitHub out of GitHub's published OpenAPI description.

    npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
    python -m tests.contract.forge.excerpt package/generated/api.github.com.json

writes `github-openapi.json` beside this file. Every schema that is kept is kept whole, but for what no
validation looks at: examples, long descriptions and extensions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

EXCERPT = Path(__file__).with_name("github-openapi.json")

_REPO = "/repos/{owner}/{repo}"

OPERATIONS = {
    "/user": ("get",),
    f"{_REPO}/pulls": ("get", "post"),
    f"{_REPO}/pulls/{{pull_number}}": ("get", "patch"),
    f"{_REPO}/pulls/{{pull_number}}/reviews": ("get",),
    f"{_REPO}/issues": ("get", "post"),
    f"{_REPO}/issues/{{issue_number}}": ("get", "patch"),
    f"{_REPO}/issues/{{issue_number}}/comments": ("get", "post"),
    f"{_REPO}/issues/comments/{{comment_id}}": ("patch",),
    f"{_REPO}/commits/{{commit_sha}}/pulls": ("get",),
    f"{_REPO}/commits/{{ref}}/status": ("get",),
    f"{_REPO}/commits/{{ref}}/check-runs": ("get",),
    f"{_REPO}/statuses/{{sha}}": ("post",),
    f"{_REPO}/deployments": ("get", "post"),
    f"{_REPO}/deployments/{{deployment_id}}/statuses": ("post",),
}

_NOISE = {
    "description",
    "example",
    "examples",
    "externalDocs",
    "summary",
    "tags",
    "links",
    "title",
    "headers",
}
"""Keys of an object of the description; under `properties` they are names like any other."""


def excerpt(whole: dict[str, Any]) -> dict[str, Any]:
    """The operations above, and all that they refer to."""
    paths = {
        path: {method: _clean(whole["paths"][path][method]) for method in methods}
        for path, methods in OPERATIONS.items()
    }
    kept: dict[str, dict[str, Any]] = {}
    todo = _references(paths)
    while todo:
        kind, name = todo.pop()
        if name not in kept.setdefault(kind, {}):
            kept[kind][name] = _clean(whole["components"][kind][name])
            todo += _references(kept[kind][name])
    info = whole["info"]
    return {
        "openapi": whole["openapi"],
        "info": {
            "title": info["title"],
            "version": info["version"],
            "license": info["license"],
            "description": (
                f"An excerpt of api.github.com.json in the npm package @octokit/openapi {info['version']} "
                "(https://github.com/octokit/openapi), which is GitHub's own; its licence is beside this. "
                "Made by tests/contract/forge/excerpt.py: do not edit."
            ),
        },
        "paths": paths,
        "components": {kind: dict(sorted(named.items())) for kind, named in sorted(kept.items())},
    }


def _clean(value: Any, *, are_names: bool = False) -> Any:
    """A copy without noise. `are_names`: the keys here are names that somebody chose."""
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _clean(inner, are_names=not are_names and key in {"properties", "responses", "content"})
        for key, inner in value.items()
        if are_names or (key not in _NOISE and not key.startswith("x-"))
    }


def _references(value: Any) -> list[tuple[str, str]]:
    """The kind and the name of each component that is referred to in it."""
    if isinstance(value, list):
        return [reference for one in value for reference in _references(one)]
    if not isinstance(value, dict):
        return []
    found = [reference for one in value.values() for reference in _references(one)]
    target = value.get("$ref")
    if isinstance(target, str):
        _, _, kind, name = target.split("/")
        found.append((kind, name))
    return found


def main() -> None:
    """Write the excerpt of the description whose path is the argument."""
    whole = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    text = json.dumps(excerpt(whole), indent=1, ensure_ascii=False)
    EXCERPT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
