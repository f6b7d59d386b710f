"""What a rollout needs at its peak, against what is free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.capacity import Need, Verdict, capacity
from deployer.core.diff import diff
from tests.support.build import app, deployment, live
from tests.unit.core.test_diff import body, stand

if TYPE_CHECKING:
    from deployer.core.live import Live

SMALL: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0.5}}


def free(target: int | None = None, **amounts: float) -> Live:
    """A cluster with so much free, that runs the stand with options from its code."""
    effective = {"ray_actor_options": {"num_cpus": 0.25, "resources": {"disk": 1}}}
    there = app("fruit", deployments=(deployment("Mango", target=target, effective=effective),))
    return live(there, free=amounts)


def needs(
    old: dict[str, Any], new: dict[str, Any], seen: Live | None
) -> tuple[str, list[str], tuple[str, ...]]:
    """The verdict, each need, and the notes."""
    found = capacity(diff(old, new, "2.60.0"), old, new, seen, "2.60.0")
    return found.verdict, [str(need) for need in found.needs], found.notes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            stand(num_replicas=1, **SMALL), stand(num_replicas=4, **SMALL), ["CPU 1.5 of 2 free"], id="more"
        ),
        pytest.param(stand(num_replicas=4, **SMALL), stand(num_replicas=1, **SMALL), [], id="fewer"),
        pytest.param(
            stand(num_replicas=4, **SMALL),
            stand(num_replicas=4, ray_actor_options={"num_cpus": 0.75}),
            ["CPU 1 of 2 free"],
            id="each a little larger, one after the other",
        ),
        pytest.param(
            stand(num_replicas=4, max_surge_percent=30, **SMALL),
            stand(num_replicas=4, max_surge_percent=30, ray_actor_options={"num_cpus": 0.75}),
            # Two new ones first, the other two grow.
            ["CPU 2 of 2 free"],
            id="with surge",
        ),
        pytest.param(
            {**stand(num_replicas=2, **SMALL), "args": {"x": 1}},
            {**stand(num_replicas=3, **SMALL), "args": {"x": 2}},
            ["CPU 0.5 of 2 free"],
            id="a rebuild that adds one",
        ),
        pytest.param(
            stand(num_replicas=1, placement_group_bundles=[{"CPU": 1}, {"CPU": 0.5, "GPU": 1}]),
            stand(num_replicas=2, placement_group_bundles=[{"CPU": 1}, {"CPU": 0.5, "GPU": 1}]),
            ["CPU 1.5 of 2 free", "GPU 1 of 0 free"],
            id="a placement group counts as a whole",
        ),
        pytest.param(stand(user_config={"a": 1}), stand(user_config={"a": 2}), [], id="nothing restarts"),
        pytest.param(
            stand(num_replicas=4),
            stand(num_replicas=6),
            ["CPU 0.5 of 2 free", "disk 2 of 0 free"],
            id="from what runs",
        ),
        pytest.param(
            {},
            stand(num_replicas=2),
            ["CPU 0.25 of 2 free", "disk 1 of 0 free"],
            id="listed for the first time",
        ),
        pytest.param(
            stand(num_replicas=1, ray_actor_options={"memory": 2**30}),
            stand(num_replicas=3, ray_actor_options={"memory": 2**30}),
            # They take the place of what the code says, and leave out the disk.
            ["CPU 2 of 2 free", "memory 2 GiB of 0 GiB free"],
            id="memory in GiB",
        ),
        pytest.param(stand(num_replicas=2), {}, [], id="not listed any more"),
    ],
)
def test_what_is_needed_beyond_what_runs(
    old: dict[str, Any], new: dict[str, Any], expected: list[str]
) -> None:
    """By resource; what the config does not say, Serve does."""
    assert needs(body(old), body(new), free(CPU=2.0))[1] == expected


def test_a_new_application_needs_all_of_its_replicas() -> None:
    """Where it does not say of how much, a replica takes a CPU by default, and its code may say otherwise."""
    new = body({"name": "a", "deployments": [{"name": "A", "num_replicas": 2}, {"name": "B", **SMALL}]})
    note = "A takes Serve's default of 1 CPU, unless its code says otherwise"
    assert needs(body(), new, free(CPU=3.0)) == (Verdict.UNKNOWN, ["CPU 2.5 of 3 free"], (note,))
    assert needs(body(), new, free(CPU=2.0))[0] is Verdict.SHORT


def test_what_lists_no_deployments_is_unknown() -> None:
    """Only its code knows."""
    note = "a lists no deployments: what its code asks for is not known"
    assert needs(body(), body({"name": "a"}), free()) == (Verdict.UNKNOWN, [], (note,))


def test_what_the_autoscaler_has_added_is_not_needed_again() -> None:
    """Serve tells how many there are."""
    old = body(stand(autoscaling_config={"min_replicas": 1, "max_replicas": 9}, **SMALL))
    new = body(stand(num_replicas=5, **SMALL))
    assert needs(old, new, free(target=4, CPU=2.0))[1] == ["CPU 0.5 of 2 free"]


@pytest.mark.parametrize("seen", [None, live()])
def test_what_is_not_told_is_unknown(seen: Live | None) -> None:
    """Neither fits nor does not."""
    old, new = body(stand(num_replicas=1, **SMALL)), body(stand(num_replicas=2, **SMALL))
    assert needs(old, new, seen) == (Verdict.UNKNOWN, ["CPU 0.5 of unknown free"], ())


def test_what_is_needed_fits_or_not() -> None:
    """To Ray's own precision."""
    assert Need(resource="CPU", needed=0.1 + 0.2, free=0.3).verdict is Verdict.FITS
    assert Need(resource="CPU", needed=0.31, free=0.3).verdict is Verdict.SHORT
    old = body(stand(num_replicas=1, **SMALL))
    assert needs(old, body(stand(num_replicas=2, **SMALL)), free(CPU=1.0))[0] is Verdict.FITS
