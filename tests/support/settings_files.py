"""Settings files for tests: the least that loads, one change in it, and the errors that come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.core.errors import InvalidConfig
from deployer.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NO_ENV = {"HOME": "/home/ada"}

SMALL = """\
repositories:
  serve-configs:
    url: https://git.example.com/ml/serve-configs.git
environments:
  staging:
    repository: serve-configs
    branch: env/staging
    path: environments/staging
    cluster:
      address: http://ray-staging:8265
"""
"""The least that loads. Tests change one thing in it."""


def changed(old: str, new: str) -> str:
    """The small settings with one thing changed."""
    assert SMALL.count(old) == 1
    return SMALL.replace(old, new)


def with_token(name: object) -> str:
    """The small settings with this token file, named on line 4 from column 17."""
    return changed("configs.git\n", f"configs.git\n    token_file: {name}\n")


def read(file: Path, text: str, env: Mapping[str, str] = NO_ENV, *, check_files: bool = True) -> Settings:
    """Load settings from this text, written to this file."""
    file.write_text(text)
    return load(file, env, check_files=check_files)


def errors(file: Path, text: str, env: Mapping[str, str] = NO_ENV) -> list[str]:
    """Each problem as `line:column: message`, or `variable: message`; snippets left out."""
    with pytest.raises(InvalidConfig) as caught:
        read(file, text, env)
    shown = []
    for problem in caught.value.problems:
        place = f"{problem.line}:{problem.column}" if problem.line else problem.file.rpartition(" ")[2]
        shown.append(f"{place}: {problem.message}")
    return shown
