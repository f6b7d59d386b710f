"""Problems and how they print."""

from __future__ import annotations

import pytest

from deployer.core.errors import InvalidConfig, Problem


def test_a_problem_with_and_without_a_place() -> None:
    """`file:line:column: message`, the snippet below; a whole file has no numbers."""
    placed = Problem(file="a.yaml", line=4, column=5, message="unknown key", snippet="    x: 1\n    ^")
    whole = Problem(file="a.yaml", line=0, column=0, message="is empty")

    assert str(placed) == "a.yaml:4:5: unknown key\n    x: 1\n    ^"
    assert str(whole) == "a.yaml: is empty"
    assert str(InvalidConfig((placed, whole))) == f"{placed}\n{whole}"


def test_an_error_names_at_least_one_problem() -> None:
    """An error without a reason is a bug."""
    with pytest.raises(ValueError, match="at least one problem"):
        InvalidConfig(())
