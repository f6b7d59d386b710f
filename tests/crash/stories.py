"""What happens in a run, told once: by whom, and what must have become of it when all is quiet.

A story never looks at how often the daemon died. It waits for what must come in any case, and says at its end
which release must be on the cluster and which must be held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.core.events import Kind, Paused, RetryAsked, RollbackAsked, Started
from deployer.core.record import Result
from tests.crash.fronts import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.core.record import Record
    from tests.crash.run import Run


def config(import_path: str = "good:app", **more: Any) -> dict[str, Any]:
    """A Serve config with one application."""
    return {"applications": [{"name": "fruit", "route_prefix": "/fruit", "import_path": import_path, **more}]}


ONE = config(args={"version": "1"})
TWO = config(args={"version": "2"})
SLOW = config(args={"version": "3", "start_seconds": 20})
BAD = {
    "import": config("import_error:app"),
    "constructor": config("constructor_raises:app"),
    "reconfigure": config(args={"version": "1"}, deployments=[{"name": "D", "user_config": {"fail": True}}]),
    "flapping": config("frail:app", args={"fault": "crash_later"}),
}
FULL = config(deployments=[{"name": "D", "ray_actor_options": {"resources": {"nowhere": 1}}}])


# --- the stories ----------------------------------------------------------------------------------------


def good(run: Run) -> None:
    """A first deploy."""
    _deploy(run, ONE)
    _rests(run, ONE)


def better(run: Run) -> None:
    """A good release, and the next one."""
    _deploy(run, ONE)
    _deploy(run, TWO)
    _rests(run, TWO)


def bad_at_first(run: Run) -> None:
    """A first deploy that fails: nothing to go back to."""
    commit = run.push(BAD["import"])
    run.until(lambda: _is_held(run.record(), commit), "held")
    run.until_quiet()
    record = run.record()
    _require(record.good is None and record.rollout is None, run, "nothing is good")
    _require(run.front.apps().keys() <= {"fruit"}, run, "nothing else is there")


def rolled_back(run: Run, fault: str) -> None:
    """A good release, a bad one, and back."""
    _deploy(run, ONE)
    commit = run.push(BAD[fault], run.front.patient if fault == "flapping" else None)
    run.until(lambda: _is_held(run.record(), commit), "held")
    _rests(run, ONE, held=commit)


def failed_checks(run: Run) -> None:
    """The next release runs well, and answers its check with something else than was expected."""
    _deploy(run, ONE)
    commit = run.push(TWO, {"checks": check(418)})
    run.until(lambda: _is_held(run.record(), commit), "held")
    _rests(run, ONE, held=commit)


def superseded(run: Run) -> None:
    """A newer release overtakes one that is slow to start."""
    _deploy(run, ONE)
    run.push(SLOW)
    run.until(lambda: run.record().rollout or _is_good(run.record(), SLOW), "the slow one is on its way")
    _deploy(run, TWO)
    _rests(run, TWO)


def restored(run: Run) -> None:
    """Ray's head is replaced while git wants something that is held."""
    _deploy(run, ONE)
    commit = run.push(BAD["import"])
    run.until(lambda: _is_held(run.record(), commit), "held")
    run.until_quiet()
    run.lose_state()
    _repaired(run, Kind.RESTORE)
    _rests(run, ONE, held=commit)


def healed(run: Run) -> None:
    """Somebody edits by hand, and deploys something of their own beside it."""
    _deploy(run, ONE)
    theirs = {"name": "theirs", "route_prefix": "/theirs", "import_path": "good:app"}
    run.foreign.add("theirs")
    run.foreign_put({"applications": [*TWO["applications"], theirs]})
    _repaired(run, Kind.HEAL)
    _rests(run, ONE)
    _require(run.front.apps().get("theirs") == theirs, run, "theirs is there")


def retried(run: Run) -> None:
    """A person wants the bad one tried once more; it fails again."""
    _deploy(run, ONE)
    commit = run.push(BAD["constructor"])
    run.until(lambda: _is_held(run.record(), commit), "held")
    run.until_quiet()
    before = _count(run, RetryAsked)
    run.ask("retry", lambda _: _count(run, RetryAsked) > before)
    run.until(lambda: len(_deploys(run, commit)) > 1, "tried once more")
    _rests(run, ONE, held=commit)


def rolled_back_by_hand(run: Run) -> None:
    """A person rolls a good release back."""
    _deploy(run, ONE)
    commit = _deploy(run, TWO)
    run.ask("rollback", lambda _: _count(run, RollbackAsked) > 0)
    _rests(run, ONE, held=commit)


def without_room(run: Run) -> None:
    """The next release finds no room: back, and it is not held."""
    _deploy(run, ONE)
    commit = run.push(FULL)
    run.until(lambda: run.record().starved is not None, "no room")
    _rests(run, ONE)
    _require(not _is_held(run.record(), commit), run, "it is not held")


def paused(run: Run) -> None:
    """A pause keeps the next release away until it is over."""
    _deploy(run, ONE)
    run.ask("pause", lambda _: _count(run, Paused) > 0)
    commit = run.push(TWO)
    run.until(lambda: _is_seen(run.record(), commit), "seen")
    run.until_quiet()
    _require(not _deploys(run, commit), run, "nothing is deployed in a pause")
    run.ask("resume", lambda record: record.paused is None)
    run.until(lambda: _is_good(run.record(), TWO), "good")
    _rests(run, TWO)


def _rolled_back(fault: str) -> Callable[[Run], None]:
    return lambda run: rolled_back(run, fault)


STORIES: dict[str, Callable[[Run], None]] = {
    "good deploy": good,
    "two good deploys": better,
    "bad first deploy": bad_at_first,
    **{f"rollback: {fault}": _rolled_back(fault) for fault in BAD},
    "rollback: failed check": failed_checks,
    "superseded": superseded,
    "restore while held": restored,
    "heal beside a foreign application": healed,
    "retry": retried,
    "rollback by hand": rolled_back_by_hand,
    "no room": without_room,
    "pause": paused,
}


REAL = sorted(STORIES.keys() - {"restore while held"})
"""Those that a real head can be in: it is for all tests of a session, so that it is not replaced."""


# --- the words they are told in -------------------------------------------------------------------------


def _deploy(run: Run, what: dict[str, Any], policy: dict[str, Any] | None = None) -> str:
    commit = run.push(what, policy)
    run.until(lambda: _is_good(run.record(), what), f"{what} is good")
    return commit


def _repaired(run: Run, kind: Kind) -> None:
    def repaired() -> bool:
        done = any(isinstance(event, Started) and event.kind is kind for event in run.facts())
        if not done:
            run.sync()
        return done

    run.until(repaired, f"a {kind}", every=0.2)


def _rests(run: Run, on: dict[str, Any], held: str | None = None) -> None:
    run.until_quiet()
    record = run.record()
    _require(_is_good(record, on), run, "the right release is the current one")
    _require(record.rollout is None, run, "nothing is in flight")
    _require(record.last is not None and record.last.result is Result.GOOD, run, "the last rollout is good")
    theirs = {one["name"]: one for one in on["applications"]}
    apps = run.front.apps()
    _require(all(apps.get(name) == one for name, one in theirs.items()), run, f"the cluster has it: {apps}")
    extra = apps.keys() - theirs.keys() - run.foreign
    _require(not extra, run, f"nothing else is there: {extra}")
    _require(held is None or _is_held(record, held), run, "the failed one is held")


def _is_good(record: Record, what: dict[str, Any]) -> bool:
    return record.good is not None and record.good.config.body() == what and record.rollout is None


def _is_held(record: Record, commit: str) -> bool:
    return any(hold.release.revision.commit == commit and not hold.may_retry for hold in record.held)


def _is_seen(record: Record, commit: str) -> bool:
    return record.seen is not None and record.seen.revision.commit == commit


def _deploys(run: Run, commit: str) -> list[Started]:
    return [
        event
        for event in run.facts()
        if isinstance(event, Started)
        and event.kind is Kind.DEPLOY
        and event.release.revision.commit == commit
    ]


def _count(run: Run, kind: type) -> int:
    return sum(isinstance(event, kind) for event in run.facts())


def _require(condition: object, run: Run, what: str) -> None:
    if not condition:
        message = f"{what}: it is not so; {run.describe()}"
        raise AssertionError(message)
