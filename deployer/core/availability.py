"""How many replicas serve while a change is brought about, and while that fails.

Owns the arithmetic of Serve's updates and the sentence that says it. Must not know the cluster's capacity,
nor how long anything takes. Invariant: what is forecast is the lowest number that Serve lets it come to
(`tests/contract/test_availability.py` counts them on a real Ray); where only the code knows a number, the
sentence says so.

Read in `_private/deployment_state.py` of Serve 2.60.0:

- `_rollout_size`: at a time are replaced `max(int(rolling_update_percentage * target), 1)`, for gangs
  rounded up to whole ones. Before 2.58.1 the share is always 0.2.
- `_check_and_stop_outdated_version_replicas`: old ones are stopped first, and no more of them while so many
  of the target do not run. A reconfigured replica counts in the same way: it gets no request until it is
  done.
- `_surge_replicas_to_start`, `_surge_replicas_to_stop`: with `max_surge_percent`, rounded up, new ones are
  started first, and an old one is stopped only where more than the target run. Not for a reconfiguration.
- `_terminally_failed`: a failed update stops where it is. From 2.44.1 to 2.59.0 the proxies then also
  answer 503 to everything, although old replicas run (`is_available` in
  `broadcast_running_replicas_if_changed`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, assert_never

from deployer.core import restart_rules as rules
from deployer.core.redact import one_line
from deployer.core.restart_rules import Restart

_ROLLING: Final = 0.2
_AUTO_MOST: Final = 100
"""`num_replicas: auto` is from 1 to so many (`AutoscalingConfig.default`)."""

_ANSWERS_503: Final = ((2, 44), (2, 60))
"""From the first to before the second of these, a deployment that has failed gets no request at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What decides how a deployment is updated."""

    replicas: int
    """The target after the change; of an autoscaled one the lowest that it can be then."""
    before: int
    """The target before it."""
    surge: int = 0
    """So many new ones may be started before an old one is stopped."""
    batch: int = 1
    """So many are replaced, or reconfigured, at a time."""
    at_least: bool = False
    """The code or the autoscaler can have made it more than `replicas`, never less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The lowest numbers of replicas that serve, and both in words."""

    lowest: int
    """During the update."""
    lowest_failed: int
    """During one in which no new replica starts, or none can be reconfigured, and until somebody acts."""
    sentence: str
    failed_sentence: str
    """Empty where nothing can fail to start."""


def shape(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    ray_version: str,
    *,
    running: int | None = None,
    capacity: float | None = None,
) -> Shape:
    """The shape of a deployment, from its entries in both configs (None: it has none).

    `running` is its target on the cluster now (`target_num_replicas`), where that is known: it says what
    the code wants and what the autoscaler has done. `capacity` is the `target_capacity` of the new config,
    in percent.
    """
    ray = rules.version(ray_version)
    old, new = old or {}, new or {}
    was, was_more = _count(old, running)
    target, more = _count(new, running)
    target = _at_capacity(target, capacity)
    before = was if running is None else running
    share = _number(new, "rolling_update_percentage", _ROLLING, ray)
    batch = max(int(share * target), 1)
    surge = -(-int(_number(new, "max_surge_percent", 0, ray)) * target // 100)
    gang = new.get("gang_scheduling_config")
    if isinstance(gang, Mapping) and rules.of_deployment("gang_scheduling_config", ray) is not None:
        size = max(int(_read(gang.get("gang_size"), 1)), 1)
        batch = -(-batch // size) * size
        surge = -(-surge // size) * size
    at_least = (more or was_more) and running is None
    return Shape(replicas=target, before=before, surge=surge, batch=batch, at_least=at_least)


def forecast(name: str, restart: Restart, of: Shape, ray_version: str) -> Forecast:
    """What is left of a deployment of this shape when this happens to it."""
    one_by_one = max(min(of.before, of.replicas - of.batch), 0)
    fewest = min(of.before, of.replicas)
    match restart:
        case Restart.IGNORED | Restart.CONTROLLER:
            return Forecast(lowest=of.before, lowest_failed=of.before, sentence="", failed_sentence="")
        case Restart.SERVE_RESTART:
            said = f"{_name(name)} is not touched; a restart of Serve would stop all of it."
            return Forecast(lowest=of.before, lowest_failed=of.before, sentence=said, failed_sentence="")
        case Restart.SCALE:
            said = f"{_name(name)} goes from {of.before} to {_replicas(of)}: {_serve(fewest)} all the time."
            return Forecast(lowest=fewest, lowest_failed=fewest, sentence=said, failed_sentence="")
        case Restart.ADD:
            said = f"{_name(name)} is new: no replica serves until the first has started."
            return Forecast(lowest=0, lowest_failed=0, sentence=said, failed_sentence="")
        case Restart.DELETE:
            said = f"{_name(name)} is removed: no replica serves any more."
            return Forecast(lowest=0, lowest_failed=0, sentence=said, failed_sentence="")
        case Restart.RECONFIGURE:
            lowest, said = one_by_one, _reconfiguring(name, of, one_by_one)
        case Restart.ROLLING | Restart.REBUILD:
            lowest = fewest if of.surge else one_by_one
            said = _restarting(name, of, lowest)
        case _:
            assert_never(restart)
    failed, failed_said = _failing(lowest, restart, ray_version)
    return Forecast(lowest=lowest, lowest_failed=failed, sentence=said, failed_sentence=failed_said)


def _restarting(name: str, of: Shape, lowest: int) -> str:
    if of.surge:
        first = "one new one starts" if of.surge == 1 else f"up to {of.surge} new ones start"
        rest = f"{first} before an old one stops, if there is room, so {_serve(lowest)} all the time."
    elif lowest == 0 and of.replicas > 1:
        rest = "all of them are replaced at once: no replica serves while they restart."
    elif lowest == 0:
        return f"{_name(name)} has {_replicas(of)} and no surge: no replica serves while it restarts."
    else:
        rest = f"{_batch(of)} restarted at a time, so at least {_serve(lowest)} all the time."
    return f"{_name(name)} has {_replicas(of)}: {rest}"


def _reconfiguring(name: str, of: Shape, lowest: int) -> str:
    if lowest == 0:
        rest = "no replica takes requests while `reconfigure` runs; they wait."
        return f"{_name(name)} has {_replicas(of)}: {rest}"
    rest = f"{_batch(of)} reconfigured at a time, so at least {_serve(lowest)} all the time."
    return f"{_name(name)} has {_replicas(of)}: {rest}"


def _failing(lowest: int, restart: Restart, ray_version: str) -> tuple[int, str]:
    event = "`reconfigure` fails" if restart is Restart.RECONFIGURE else "no new replica starts"
    since, until = _ANSWERS_503
    if since <= rules.version(ray_version) < until:
        return 0, f"If {event}, Serve gives up after some tries and then answers 503 to every request."
    if lowest == 0:
        return 0, f"If {event}, no replica serves until it is rolled back."
    return lowest, f"If {event}, Serve stops there, and at least {_serve(lowest)} on."


def _name(name: str) -> str:
    return one_line(name)


def _replicas(of: Shape) -> str:
    count = "1 replica" if of.replicas == 1 else f"{of.replicas} replicas"
    return f"at least {count}" if of.at_least else count


def _batch(of: Shape) -> str:
    return "1 is" if of.batch == 1 else f"{of.batch} are"


def _serve(count: int) -> str:
    return "1 serves" if count == 1 else f"{count} serve"


def _count(deployment: Mapping[str, Any], running: int | None) -> tuple[int, bool]:
    """The target that a config leads to, and whether it can be more than that."""
    number, scaling = deployment.get("num_replicas"), deployment.get("autoscaling_config")
    if number == "auto" or isinstance(scaling, Mapping):
        scaling = scaling if isinstance(scaling, Mapping) else {}
        least = int(_read(scaling.get("min_replicas"), 1))
        most = int(_read(scaling.get("max_replicas"), _AUTO_MOST if number == "auto" else 1))
        # Every change of the deployment sets the count to `initial_replicas` (`register`, 2.60.0).
        count = int(_read(scaling.get("initial_replicas"), least if running is None else running))
        return min(max(count, least), most), scaling.get("initial_replicas") is None and most > least
    if number is not None:
        return int(_read(number, 1)), False
    return (1, True) if running is None else (running, False)


def _at_capacity(replicas: int, capacity: float | None) -> int:
    """As `get_capacity_adjusted_num_replicas` in `_private/utils.py`."""
    if capacity is None or capacity == 100 or replicas == 0:  # noqa: PLR2004 - percent
        return replicas
    if capacity == 0:
        return 0
    whole = (Decimal(replicas) * Decimal(capacity) / 100).to_integral_value(rounding=ROUND_HALF_UP)
    return max(1, int(whole))


def _number(deployment: Mapping[str, Any], option: str, default: float, ray: rules.Version) -> float:
    """A number in an entry, if this Ray knows the option."""
    return default if rules.of_deployment(option, ray) is None else _read(deployment.get(option), default)


def _read(value: object, default: float) -> float:
    """A count or a share. What Serve takes and fails on later, such as a text, is the default here."""
    return max(value, 0) if isinstance(value, int | float) and math.isfinite(value) else default
