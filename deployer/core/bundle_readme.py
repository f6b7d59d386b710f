"""The first page of a bundle of evidence: the story of the rollout, for whoever opens the ticket.

Owns what stands on it. Must not know what is hidden, nor how a bundle is packed. Invariant: what somebody
else wrote (a commit's subject, Serve's messages, a reason) stands in a block of text that nothing in it can
end, so it is no markup wherever the page is shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deployer.core import rollout_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_ERROR_LINES = 40
"""Of the first error are on the page. All of it is in its file."""

ABOUT = {
    "README.md": "the story",
    "rollout.json": "all of it, as `deployer rollouts show -o json` prints it",
    "timeline.jsonl": "the rollout's events in full, with their places in the log and their hashes",
    "before.jsonl": "what git, people and other environments said of it before: approvals, promotions",
    "changes.json": "what it changed of the release that was good before, and what each change restarts",
    "config.yaml": "the Serve config that was sent, secrets masked",
    "environment.yaml": "the policy that it was judged by, with all defaults",
    "gates.json": "the gates that it passed, and what each of them said then",
    "versions.json": "deployer, Python, Ray, the schemas, the address of the cluster, Serve's session",
    "error.txt": "the first error in full",
    "SHA256SUMS": "of each file, for `sha256sum -c`",
}
"""What each file is."""

LOG = "the end of the log of a replica that failed"
"""What any other file is."""

_RUN = re.compile(r"`+")

_HIDDEN = (
    "`<redacted>` stands for every value of `env_vars`, for what a name calls a secret (`password`, `token`,"
    " `api_key` ...) and for passwords in URLs, wherever such a value was found. A replica's log can hold"
    " what no config says to be a secret: read `log-*.txt` before you give it to others."
)

_INTACT = (
    "Each event holds the hash of the one before it. Those of this rollout were as they were written when"
    " this was packed; `deployer audit verify`, on the daemon's machine, checks the whole log. What is hidden"
    " here is not hidden from the hash: that is of the event as the store has it."
)


def readme(
    told: Mapping[str, Any], versions: Mapping[str, Any], files: Sequence[str], damaged: Sequence[int]
) -> str:
    """The page, as Markdown.

    `told` is the rollout as `core.dossier.to_json` has it, `damaged` the sequences of those of its events
    that are not as they were written.
    """
    parts = [
        f"# {told['id']}: {told['kind']}, {told['result'].replace('_', ' ')}",
        _block(rollout_text.story(told)),
        "## Timeline (UTC)",
        _block(rollout_text.timeline(told)),
    ]
    if told["checks"]:
        parts += ["## Checks", _block(rollout_text.checks(told))]
    if told["detail"]:
        lines = told["detail"].splitlines()
        more = [f"... and {len(lines) - _ERROR_LINES} more lines: error.txt"] * (len(lines) > _ERROR_LINES)
        parts += ["## The first error", _block([*lines[:_ERROR_LINES], *more])]
    parts += ["## Changes, and what they restart", _block(rollout_text.changes(told))]
    parts += ["## Versions", _block(rollout_text.columns(_flat(versions)))]
    parts += ["## Files", "\n".join(f"- `{title}`: {ABOUT.get(title, LOG)}" for title in files)]
    parts += ["## What is hidden", _HIDDEN, "## The audit log", _damaged(damaged) if damaged else _INTACT]
    return "\n\n".join(parts) + "\n"


def _damaged(sequences: Sequence[int]) -> str:
    numbers = ", ".join(map(str, sequences))
    return (
        f"**These events are not as they were written, by their sequence: {numbers}.** Keep a copy of the"
        " store, and do not rely on what is said here of them. `deployer audit verify`, on the daemon's"
        " machine, checks the whole log."
    )


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        words = f"{above} {key.replace('_', ' ')}".strip()
        if isinstance(value, dict):
            yield from _flat(value, words)
        else:
            yield words, "not known" if value is None else str(value)


def _block(lines: Iterable[str]) -> str:
    """The lines as they are; the fence is longer than what they hold of the like."""
    text = "\n".join(lines)
    fence = "`" * max([3, *(len(run) + 1 for run in _RUN.findall(text))])
    return f"{fence}text\n{text}\n{fence}"
