"""Git: one bare mirror per repository, kept and read through GitPython."""

import os

# Importing GitPython runs git, and raises a page of text where it is not installed. Without this, the first
# look at a repository says it in a sentence instead.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from deployer.adapters.git._anchors import AnchorRef, Tip
from deployer.adapters.git._copying import Copier, Moved, Snapshot
from deployer.adapters.git._errors import GitUnavailable
from deployer.adapters.git._github_app import AppTokens
from deployer.adapters.git._lane import Lane
from deployer.adapters.git._local import local_git_dir
from deployer.adapters.git._objects import Blob
from deployer.adapters.git._push_answer import CommitMissing, PushRefused, PushUnclear
from deployer.adapters.git._pushing import AlreadyThere, NotFastForward, Writer, push_commands
from deployer.adapters.git._remote import Access, GithubApp, check_ref
from deployer.adapters.git._settling import OUR_OWN, Pushed
from deployer.adapters.git._signatures import Signers, Unsigned, Verifier
from deployer.adapters.git.glance import Glance
from deployer.adapters.git.mirror import RANGE_LIMIT, Mirror

__all__ = [
    "OUR_OWN",
    "RANGE_LIMIT",
    "Access",
    "AlreadyThere",
    "AnchorRef",
    "AppTokens",
    "Blob",
    "CommitMissing",
    "Copier",
    "GitUnavailable",
    "GithubApp",
    "Glance",
    "Lane",
    "Mirror",
    "Moved",
    "NotFastForward",
    "PushRefused",
    "PushUnclear",
    "Pushed",
    "Signers",
    "Snapshot",
    "Tip",
    "Unsigned",
    "Verifier",
    "Writer",
    "check_ref",
    "local_git_dir",
    "push_commands",
]
