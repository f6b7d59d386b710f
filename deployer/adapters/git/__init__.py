"""Git: one bare mirror per repository, kept and read through GitPython."""

import os

# Importing GitPython runs git, and raises a page of text where it is not installed. Without this, the first
# look at a repository says it in a sentence instead.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from deployer.adapters.git._errors import GitUnavailable
from deployer.adapters.git._local import local_git_dir
from deployer.adapters.git._objects import Blob
from deployer.adapters.git._remote import check_ref
from deployer.adapters.git.glance import Glance
from deployer.adapters.git.mirror import Mirror

__all__ = ["Blob", "GitUnavailable", "Glance", "Mirror", "check_ref", "local_git_dir"]
