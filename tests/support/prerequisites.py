"""What a test needs of the machine, asked for by name.

A missing prerequisite is a visible skip with the way to get it. Where DEPLOYER_REQUIRE_ALL is set, as in CI,
`tests/conftest.py` turns every skip into a failure, so that nothing goes untested unnoticed.
"""

from __future__ import annotations

import pytest


def require(name: str, present: bool, install_hint: str) -> None:
    """Skip the test, or the module that is being imported, unless `present`.

    `install_hint` is what to type, for instance `apt-get install git`.
    """
    if not present:
        pytest.skip(f"{name} is missing. To run this: {install_hint}", allow_module_level=True)
