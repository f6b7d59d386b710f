"""What the README shows is what the program prints."""

from __future__ import annotations

import pytest

from tests.integration import readme_examples


@pytest.mark.parametrize("name", readme_examples.EXAMPLES)
def test_the_example_is_what_the_program_prints(name: str) -> None:
    """`python -m tests.integration.readme_examples` writes it anew."""
    assert readme_examples.committed(name) == readme_examples.block(name)
