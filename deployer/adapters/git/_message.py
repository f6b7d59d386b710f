"""What a commit's message tells besides its subject: the pull request, and who else wrote it.

Owns the forms that forges give merges and squashes. Must not believe them: they are text that anybody who
can push may write. Invariant: no input makes it raise, or takes longer than its length.
"""

from __future__ import annotations

import re

_PULL_REQUESTS = (
    # GitHub's merge, and Gitea's, which has the title in between.
    re.compile(r"^Merge pull request (?:'.*' \()?#(?P<number>\d{1,9})\b"),
    # Bitbucket Cloud's merge, Bitbucket Data Center's, Azure's.
    re.compile(r"^Merged in \S+ \(pull request #(?P<number>\d{1,9})\)"),
    re.compile(r"^Pull request #(?P<number>\d{1,9}):"),
    re.compile(r"^Merged PR (?P<number>\d{1,9}):"),
    # A squash on GitHub and Gitea: the subject ends with it.
    re.compile(r"\(#(?P<number>\d{1,9})\)$"),
)
_GITLAB = re.compile(r"^See merge request \S*!(?P<number>\d{1,9})$", re.MULTILINE)
"""GitLab writes it below its merges and squashes."""

_CO_AUTHOR = re.compile(rb"^co-authored-by:[ \t]*(?P<identity>[^\n]*)$", re.MULTILINE | re.IGNORECASE)
_CO_AUTHORS = 20
"""As many are kept; a squash of a long branch names everybody."""


def pull_request(subject: str, message: str) -> int | None:
    """The number of the pull request (GitLab: merge request) that a merge or a squash names."""
    found = next((hit for form in _PULL_REQUESTS if (hit := form.search(subject))), None)
    found = found or _GITLAB.search(message)
    return int(found["number"]) if found else None


def co_authors(message: bytes) -> list[bytes]:
    """The identities (`Name <address>`) of the last paragraph's `Co-authored-by` lines, each once."""
    last = message.rstrip().rpartition(b"\n\n")[2]
    return list(dict.fromkeys(hit["identity"] for hit in _CO_AUTHOR.finditer(last)))[:_CO_AUTHORS]
