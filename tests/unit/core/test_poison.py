"""What Serve takes and should not: each is refused, for the one reason that it was written for."""

from __future__ import annotations

import re

import pytest

from deployer.adapters.schemas import schema
from deployer.core import serve_config
from deployer.core.errors import InvalidConfig, Severity
from tests.schemas.poison import FOLDER, POISON, Poison

_FIRST_LINE = re.compile(r"# 2\.\d+(\.\d+)?(, 2\.\d+(\.\d+)?)*(, by its source)?: .+\.")


@pytest.mark.parametrize("poison", POISON, ids=lambda poison: poison.name)
def test_each_is_refused_for_its_one_reason(poison: Poison) -> None:
    """An error, once, with its code; and nothing else is wrong with the file."""
    with pytest.raises(InvalidConfig) as refused:
        serve_config.read(poison.file.read_bytes(), poison.file.name, schema())

    (problem,) = refused.value.problems
    assert problem.severity is Severity.ERROR
    assert problem.message.startswith(poison.message), problem.message
    assert problem.code == poison.code
    assert problem.line > 1, "below the comment"
    assert problem.then, "what Serve would do"


def test_every_file_is_in_the_table() -> None:
    """And the other way round."""
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(poison.name for poison in POISON)


@pytest.mark.parametrize("poison", POISON, ids=lambda poison: poison.name)
def test_each_says_what_serve_does_with_it(poison: Poison) -> None:
    """In its first line: the versions of Ray, and what happens there."""
    first, *_ = poison.file.read_text(encoding="utf-8").splitlines()
    assert _FIRST_LINE.fullmatch(first), first
