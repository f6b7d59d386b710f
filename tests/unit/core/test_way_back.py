"""Is there a way back: each reason that there is none, or only a bad one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.capacity import Capacity, Need
from deployer.core.errors import Severity
from deployer.core.record import Record
from deployer.core.serve_schema import Fault
from deployer.core.types import Policy
from deployer.core.way_back import Way, WayBack, way_back
from tests.support.build import record_of, release, running
from tests.unit.core.test_commands import good

if TYPE_CHECKING:
    from deployer.core.live import Live

APP = {"name": "fruit", "import_path": "good:app", "route_prefix": "/fruit"}
PINNED = "https://git.example.com/code/0123456789abcdef0123456789abcdef01234567.zip"
A = release("a", {**APP, "runtime_env": {"working_dir": PINNED}})
B = release("b", {**APP, "args": {"version": 2}})
FITS = Capacity(needs=(Need(resource="CPU", needed=1, free=2),))
SHORT = Capacity(needs=(Need(resource="CPU", needed=3, free=2),))
RECORD = record_of(*good(1, A))


def found(record: Record = RECORD, wanted: Any = B, policy: Policy | None = None, **more: Any) -> WayBack:
    """The way back from B to A, on a cluster that can undo everything, unless told otherwise."""
    values: dict[str, Any] = {
        "live": replace(running(A), restores_unset_options=True),
        "faults": (),
        "dead": {},
        "silent": {},
        "fits": FITS,
        **more,
    }
    return way_back(record, wanted, policy or Policy(), **values)


def test_it_is_ready() -> None:
    """Where nothing is in the way."""
    assert found().state is Way.READY
    assert found().to == f'{A.revision.short} "commit a"'


def test_without_a_good_release_there_is_none() -> None:
    """A first deploy that fails stays where it is."""
    assert found(Record(environment="staging")) == WayBack(
        state=Way.IMPOSSIBLE, reasons=("nothing became good here yet",)
    )


def test_the_policy_can_forbid_it() -> None:
    """That of the commit that would fail."""
    assert found(policy=Policy(rollback=False)).state is Way.IMPOSSIBLE


def test_code_that_is_gone_cannot_come_back() -> None:
    """Whatever else is fine. The address is shown without what may be secret."""
    way = found(dead={PINNED: "404 Not Found"})
    assert way.state is Way.IMPOSSIBLE
    assert way.reasons == (f"its code at {PINNED} is gone: 404 Not Found",)


def cluster(**more: Any) -> Live:
    """A cluster that keeps options which a later config does not set (before Ray 2.60)."""
    return replace(running(A), restores_unset_options=False, ray_version="2.40.0", **more)


MOVING = release("m", {**APP, "runtime_env": {"working_dir": "https://git.example.com/archive/main.zip"}})
OPTION = release(
    "o", {**APP, "runtime_env": {"working_dir": PINNED}, "deployments": [{"name": "D", "num_replicas": 2}]}
)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            {"faults": (Fault(path=("applications", 0, "x"), message="unknown key 'x'", at_key=True),)},
            "its config would be refused today (applications.0.x: unknown key 'x')",
        ),
        ({"record": record_of(*good(1, MOVING))}, "may bring other code than it did"),
        ({"live": None, "fits": None}, "the cluster was not asked"),
        ({"silent": {PINNED: "Timeout"}}, f"its code at {PINNED} was not found: Timeout"),
        ({"live": cluster(), "wanted": OPTION}, "Ray 2.40.0 keeps options that it does not set"),
        ({"fits": SHORT}, "what it needs is not free"),
    ],
)
def test_what_makes_it_worse(more: dict[str, Any], reason: str) -> None:
    """It is degraded, and it is said why."""
    way = found(**more)
    assert way.state is Way.DEGRADED
    (said,) = way.reasons
    assert reason in said


def test_a_warning_of_the_schema_makes_nothing_worse() -> None:
    """It would be sent."""
    warning = Fault(path=("x",), message="unknown key 'x'", severity=Severity.WARNING)
    assert found(faults=(warning,)).state is Way.READY


def test_an_option_that_the_old_cluster_can_take_back_is_no_trouble() -> None:
    """The new config sets nothing more than the good one."""
    assert found(live=cluster()).state is Way.READY
