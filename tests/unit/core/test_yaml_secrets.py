"""Which lines of a file may hold a secret."""

from __future__ import annotations

import pytest

from deployer.core.yaml_secrets import secret_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1\nb: [2]\n", set()),
        ("a: 1\nenv_vars:\n  DSN: x\n  KEY: y\nb: 2\n", {2, 3}),
        ("a: 1\nenv_vars: {DSN: x,\n  KEY: y}\nb: 2\n", {1, 2}),
        ("apps:\n  - args:\n      hf_token: x\n      size: 2\n", {2}),
        ("apps:\n  - password: |\n      one\n      two\n    size: 2\n", {1, 2, 3}),
        ("a: &x 1\nb: *x\n", set()),
        ("a: &x s3cret\ntoken: *x\nc: 1\n", {0, 1, 2, 3}),
        ("token:\na: 1\n", {0}),
        ("[{secret: x}]", {0}),
    ],
)
def test_the_lines_of_secrets(text: str, lines: set[int]) -> None:
    """Each with all of its lines; and every line where one may be shared."""
    assert secret_lines(text.encode()) == lines
