"""What of the poison Ray's own validator lets pass. Needs Ray's models, but no cluster."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.adapters import ray_schema
from deployer.core import yaml
from tests.schemas.poison import POISON, Poison
from tests.schemas.test_ray_agrees import ray_models

__all__ = ["ray_models"]

pytestmark = pytest.mark.usefixtures("ray_models")


@pytest.mark.parametrize("poison", POISON, ids=lambda poison: poison.name)
def test_ray_judges_each_as_the_table_says(poison: Poison) -> None:
    """So that it is known which ones only our own rules stop."""
    body: Any = yaml.load(poison.file.read_bytes(), poison.file.name).value
    found = [fault.message for fault in ray_schema.faults(body)]
    assert (found == []) is poison.ray_accepts, found
