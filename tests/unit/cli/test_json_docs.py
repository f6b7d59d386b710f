"""The page about the JSON names every field that is printed, in its own place, and no other."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.doctor import Line
from deployer.cli.doctor import to_json as doctor_json
from deployer.cli.doctoring.finding import GROUPS, warn
from deployer.cli.doctoring.finding import Check as DoctorCheck
from deployer.cli.doctoring.finding import State as DoctorState
from deployer.cli.main import cli
from deployer.core.events import (
    Approved,
    Checked,
    DriftClass,
    Drifted,
    Failure,
    FailureClass,
    Healthy,
    Kind,
    Moment,
    Paused,
    PromotionAsked,
    State,
    Superseded,
    SyncAsked,
)
from deployer.core.explain import DECIDED, explain
from deployer.core.gates import Gating, Rules, Verdict
from deployer.core.history import advance, to_json
from deployer.core.judge import Phase
from deployer.core.past import Standing, was_live
from deployer.core.past_told import to_json as past_json
from deployer.core.provenance import provenance
from deployer.core.record import Pushing, Result
from deployer.core.status import Health, Mode, Sync, status, view
from deployer.core.telling import unseen
from deployer.core.types import Check, Policy
from tests.support.build import (
    app,
    applied,
    at,
    deployment,
    desired,
    ended_well,
    failed,
    held,
    live,
    observed,
    record_of,
    release,
    running,
    seen,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from deployer.core.events import Event
    from deployer.core.history import Entry

PAGE = Path(__file__).parents[3] / "docs" / "json.md"
A, B, C = release("a"), release("b"), release("c")

VALUES = {
    *(
        str(one.value)
        for kind in (
            Sync,
            Health,
            Mode,
            Kind,
            Result,
            FailureClass,
            DriftClass,
            DoctorState,
            Verdict,
            Pushing,
            Standing,
        )
        for one in kind
    ),
    *(phase.value for phase in Phase),
    *GROUPS,
    *("applying", "stabilize", "check", "soak", "push", "deployer", "null", DECIDED),
}
"""What stands in backticks on the page and is no field."""

OPEN = {"cluster.proxies"}
"""Mappings whose keys are names of the outside world."""

STATE = State(app="fruit", deployment="D", status="UPDATING", says="Retrying 2 more time(s).")

CODE = Failure(
    failure_class=FailureClass.CODE,
    message="boom",
    timeline=(Moment(at=at(22), states=(STATE,), settled=False),),
)

GOOD = (seen(A), started(A), applied(), *ended_well())
FAILED = (
    seen(B, 20),
    started(B, 2, second=20),
    applied(2, 21),
    observed(2, 22, states=(STATE,)),
    replace(failed(2), failure=CODE),
    held(2),
)
BACK = (
    started(A, 3, kind=Kind.ROLLBACK, second=31, follows="staging#2"),
    applied(3, 32),
    *ended_well(3, 33),
)
CHECKED = (
    seen(C, 40),
    started(C, 4, second=40, policy=Policy(checks=(Check(app="fruit", path="/"),))),
    applied(4, 41),
    observed(4, 42, settled=True, states=(STATE,)),
    Healthy(at=at(43), rollout="staging#4"),
    Checked(at=at(44), rollout="staging#4", check=0, passed=False, message="503", ms=1.0),
)
STARVED = replace(failed(2), failure=Failure(failure_class=FailureClass.CAPACITY, message="no room"))

PROMOTED = PromotionAsked(at=at(39), actor="ada", source="dev", rollout="dev#3", commit=C.revision.commit)
MANUAL = Gating(rules=Rules(manual=True))

HISTORIES: tuple[tuple[Event, ...], ...] = (
    (*GOOD, *FAILED, *BACK, PROMOTED, *CHECKED),
    (*GOOD, *FAILED),
    (*GOOD, Paused(at=at(50), actor="ada"), Drifted(at=at(51), drift=DriftClass.SICK, what="It is sick.")),
    (*GOOD, *FAILED[:-2], STARVED),
    (seen(A), started(A), Superseded(at=at(5), rollout="staging#1", by="f" * 40)),
)
"""Together they have every part of the JSON; what one of them lacks the page would have in vain."""


def views() -> list[dict[str, Any]]:
    """What is published of each, beside somebody else's application."""
    cluster = live(
        app("theirs"),
        *running(A, deployments=(deployment(),)).apps.values(),
        proxies={"node-1": "HEALTHY"},
    )
    shown = [
        view(status(desired(C), cluster, record_of(*events), at(60), gating=MANUAL)) for events in HISTORIES
    ]
    return [{**one, "observed_at": "2026-11-22T10:43:00Z"} for one in shown]


def paths(value: object, at: str = "") -> Iterator[str]:
    """Each field by its path: `rollout.timeline.states.app`. Lists do not count."""
    if isinstance(value, list):
        for one in value:
            yield from paths(one, at)
    elif isinstance(value, dict) and at not in OPEN:
        for key, inner in value.items():
            path = f"{at}.{key}" if at else str(key)
            yield path
            yield from paths(inner, path)


def rows(section: str) -> dict[str, str]:
    """The table of a section of the page: what it says of each field that it lists, by path."""
    text = PAGE.read_text().partition(f"\n## `deployer {section} ")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (`.*?`) \| (.*) \|$", text, re.MULTILINE)
    return {name: says for names, says in found for name in re.findall(r"`([\w.]+)`", names)}


def differences(section: str, printed: Iterable[str]) -> Iterator[str]:
    """What the page says in vain, and what it does not say."""
    table, known = rows(section), set(printed)
    top = {path for path in known if "." not in path}
    for name in sorted(top - table.keys()):
        yield f"{name} has no row"
    for row, says in table.items():
        if row not in known:
            yield f"{row} has a row, and is not printed"
        below = {path for path in known if path.startswith(f"{row}.")}
        own_rows = [f"{other}." for other in table if other.startswith(f"{row}.")]
        elsewhere = {path for path in below if path.startswith(tuple(own_rows))}
        fields = {path.rpartition(".")[2] for path in below - elsewhere}
        words = set(re.findall(r"`(\w+)`", re.sub(r"as in `[\w.]+`", "", says)))
        same = re.search(r"as in `([\w.]+)`", says)
        if same is not None and same[1] in table:
            words |= set(re.findall(r"`(\w+)`", table[same[1]]))
        for field in sorted(fields - words):
            yield f"{row} does not name {field}"
        for word in sorted(words - VALUES - fields - table.keys()):
            yield f"{row} names {word}, which it has not"


def test_every_field_of_status_is_documented_and_no_other() -> None:
    """Also what a command adds to what the daemon published."""
    shown = views()

    assert list(differences("status", {path for one in shown for path in paths(one)})) == []
    assert {frozenset(one) for one in shown} == {frozenset(unseen("staging"))}


def test_every_field_of_explain_is_documented_and_no_other() -> None:
    """Also what it says of a line that decided nothing."""
    assert list(differences("explain", {path for one in views() for path in paths(explain(one))})) == []


def test_every_field_of_history_is_documented_and_no_other() -> None:
    """Entries of every kind of end have the same fields."""
    shown: list[dict[str, Any]] = []
    for events in HISTORIES:
        entries: Mapping[str, Entry] = {}
        for event in events:
            entries = advance(entries, event)
        shown += [to_json(entry) for entry in entries.values()]

    assert list(differences("history", {path for one in shown for path in paths(one)})) == []
    assert {frozenset(entry) for entry in shown} == {frozenset(shown[0])}
    assert {entry["result"] for entry in shown} >= {"good", "failed", "in_progress", "superseded"}


def test_every_field_of_what_was_live_is_documented_and_no_other() -> None:
    """Also of who had a part in it."""
    entries: Mapping[str, Entry] = {}
    for event in (*GOOD, *FAILED):
        entries = advance(entries, event)
    commit, digest = A.revision.commit, A.digest
    who = provenance(
        entries["staging#1"],
        [
            Approved(at=at(0), actor="ada", plan="sha256:1", digest=digest, commit=commit),
            SyncAsked(at=at(0), actor="ada", digest=digest, commit=commit, skipped=("windows",)),
            replace(PROMOTED, commit=commit),
        ],
    )
    before = past_json(was_live("staging", list(entries.values()), at(20.5)), who)
    failed_at = past_json(was_live("staging", list(entries.values()), at(35)), None)

    printed = {path for one in (before, failed_at) for path in paths(one)}
    # A rollout that failed before it was taken tells why, with the same fields.
    printed |= {"attempt.failure.class", "attempt.failure.message"}
    assert list(differences("history ENV --at", printed)) == []
    assert before.keys() == failed_at.keys()


def test_every_field_of_doctor_is_documented_and_no_other() -> None:
    """Whatever is found, it has the same fields."""
    check = DoctorCheck(group="git", subject="git", limit=1, ask=list)
    shown = doctor_json([Line(check=check, finding=warn("it is old", "Install another."))])

    assert list(differences("doctor", paths(shown))) == []


def test_every_field_of_the_smaller_commands_is_documented_and_no_other(tmp_path: Path) -> None:
    """Each has the fields that it prints of a real store and real settings."""
    settings = tmp_path / "deployer.yaml"
    settings.write_text(
        f"state_dir: {tmp_path}/state\nrepositories: {{a: {{url: {tmp_path}, poll_interval: 1}}}}\n"
        'environments:\n  staging: {repository: a, branch: main, path: ., cluster: {address: "http://a:1"}}\n'
    )

    def printed(*args: str) -> object:
        return json.loads(CliRunner().invoke(cli, [*args, "-o", "json", "-c", str(settings)]).stdout)

    wrong = printed("config", "validate")
    settings.write_text(settings.read_text().replace("poll_interval: 1", "poll_interval: 9s"))
    with closing(SqlStore.open(tmp_path / "state" / STORE_FILE)) as store:
        store.commit(store.load("staging"), GOOD)
        store.publish("staging", views()[0], at(60))
    assert list(differences("config validate", paths(wrong))) == []
    for names in (("audit", "list"), ("audit", "verify"), ("healthcheck",), ("config", "show")):
        assert list(differences(" ".join(names), paths(printed(*names)))) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda known: known | {"colour"}, "colour has no row"),
        (lambda known: known | {"held.colour"}, "held does not name colour"),
        (lambda known: known - {"drift"}, "drift has a row, and is not printed"),
        (lambda known: known - {"paused.until"}, "paused names until, which it has not"),
        (lambda known: known - {"rollout.checks.path"}, "rollout.checks names path, which it has not"),
    ],
)
def test_a_field_that_comes_or_goes_is_noticed(change: Any, told: str) -> None:
    """The comparison can fail, in both directions and at every depth."""
    known = {path for one in views() for path in paths(one)}

    assert list(differences("status", change(known))) == [told]
