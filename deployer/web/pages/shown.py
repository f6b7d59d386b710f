"""What the pages say of an environment beside what the read models say: what needs a person, in which order.

Owns that judgement, and the counts of the first page. Must not know a template. Invariant: pure; it takes a
view (docs/json.md, `status`) also of an older daemon, which lacks what is newer, and of an environment that
was never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deployer.web.pages import drawing, words
from deployer.web.pages.drawing import Bar
from deployer.web.pages.words import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


PHASES = ("applying", "build", "schedule", "start", "stabilize", "check", "soak")
"""Of a rollout, in the order in which it goes through them; docs/json.md, `rollout.phase`."""

_CATEGORIES = {
    "degraded": ("degraded", "bad", "bad", 0),
    "held": ("held", "held", "warn", 1),
    "waiting": ("waiting", "waiting", "warn", 1),
    "orphaned": ("orphaned", "orphaned", "warn", 1),
    "missing": ("missing", "missing", "warn", 1),
    "unseen": ("not seen", "unknown", "warn", 1),
    "drifted": ("drifted", "differs", "warn", 1),
    "paused": ("paused", "paused", "warn", 2),
    "busy": ("rolling out", "busy", "busy", 3),
    "new": ("not looked at yet", "unknown", "idle", 3),
    "healthy": ("healthy", "ok", "ok", 4),
}
"""Word, icon, tone, rank: what needs a person most comes first."""

_NEEDS_A_PERSON = 2
"""Of this rank and before: nothing happens until somebody acts, or somebody has to know that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An environment as the first page shows it.

    `says` is the sentence for when anything waits, is held, degraded or under way, and else "". `text` is
    what the filter looks at.
    """

    name: str
    category: str
    rank: int
    tone: str
    health: State
    sync: State
    mode: State
    mode_detail: str
    live: Mapping[str, Any] | None
    wanted: Mapping[str, Any] | None
    since: str | None
    rollout: Mapping[str, Any] | None
    says: str
    git: str
    bars: tuple[Bar, ...]
    bars_told: str
    text: str

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to act, or has to know that nothing is done."""
        return self.rank <= _NEEDS_A_PERSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One count of the summary."""

    number: int
    state: State
    first: str
    """The name of an environment that is counted, to be linked to."""


def category(view: Mapping[str, Any]) -> str:
    """The one word for an environment, what is worst first."""
    health, mode = view["health"], view["mode"]
    if health == "Degraded":
        return "degraded"
    if mode in {"held", "waiting", "orphaned"}:
        return str(mode)
    if view.get("observed_at", "") is None:
        return "new"
    if health == "Unknown":
        return "unseen"
    if mode == "paused":
        return "paused"
    if health == "Progressing" or view.get("rollout"):
        return "busy"
    if health == "Missing":
        return "missing"
    return "drifted" if view.get("drift") else "healthy"


def row(view: Mapping[str, Any]) -> Row:
    """An environment of `Models.environments`."""
    kind = category(view)
    word, _, tone, rank = _CATEGORIES[kind]
    trouble = trouble_with_git(view)
    live, wanted = view.get("live"), view.get("wanted")
    is_same = bool(live and wanted and live["digest"] == wanted["digest"])
    rollouts = view.get("bars") or []
    sync = words.sync(view["sync"])
    if kind == "busy":
        # That it differs is what is being mended.
        sync = replace(sync, tone="idle")
    states = (words.health(view["health"]), sync, words.mode(view["mode"]))
    text = " ".join((view["environment"], word, *(state.word for state in states)))
    return Row(
        name=view["environment"],
        category=kind,
        rank=min(rank, _NEEDS_A_PERSON) if trouble else rank,
        tone="warn" if trouble and tone in {"ok", "idle"} else tone,
        health=states[0],
        sync=states[1],
        mode=states[2],
        mode_detail=words.mode_detail(view),
        live=live,
        wanted=None if is_same else wanted,
        since=view.get("since"),
        rollout=view.get("rollout"),
        says=view["message"] if kind != "healthy" or view["sync"] == "OutOfSync" else "",
        git=trouble,
        bars=drawing.bars(rollouts),
        bars_told=drawing.told(rollouts),
        text=text.lower(),
    )


def trouble_with_git(view: Mapping[str, Any]) -> str:
    """Why git could not be asked, or ""."""
    git = view.get("git") or {}
    return str(git.get("trouble") or "")


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Those that need a person first; those under way and those that are well stay in the settings' order."""
    return sorted(rows, key=lambda one: one.rank if one.needs_a_person else _NEEDS_A_PERSON + 1)


def matching(rows: Iterable[Row], query: str) -> list[Row]:
    """Those in whose name and states every word of the query is found."""
    wanted = query.lower().split()
    return [one for one in rows if all(word in one.text for word in wanted)]


def summary(rows: Iterable[Row]) -> tuple[Part, ...]:
    """How many environments there are of each kind, the worst first."""
    counts: dict[str, int] = {}
    firsts: dict[str, str] = {}
    for one in rows:
        counts[one.category] = counts.get(one.category, 0) + 1
        firsts.setdefault(one.category, one.name)
    parts = []
    for kind, (word, icon, tone, _) in _CATEGORIES.items():
        if kind in counts:
            state = words.State(word=word, icon=icon, tone=tone)
            parts.append(Part(number=counts[kind], state=state, first=firsts[kind]))
    return tuple(parts)


def steps(view: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The phases of the rollout in flight, each `over`, `running` or `to come`; empty if there is none."""
    rollout = view.get("rollout")
    if not rollout:
        return ()
    at = PHASES.index(rollout["phase"]) if rollout.get("phase") in PHASES else 0
    marks = ("over", "running", "to come")
    return tuple((name, marks[1 + (index > at) - (index < at)]) for index, name in enumerate(PHASES))


def evidence(found: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """What a decision was made on, but for what has a part of the page for itself: gates, the promotion.

    Of what was seen on the way it is the newest alone: the rollout has them all.
    """
    last = max((index for index, one in enumerate(found) if one["about"] == "seen"), default=-1)
    left_out = {"gate", "promotion", "seen"}
    return [one for index, one in enumerate(found) if one["about"] not in left_out or index == last]


def distinct(releases: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each release once, as what became good last: who goes back to one gets the same, whichever it was."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in releases:
        found.setdefault(one["digest"], one)
    return list(found.values())


def grouped(findings: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The doctor's findings by group, in the doctor's order: what others rest on comes first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in findings:
        found.setdefault(one.get("group") or "", []).append(one)
    return found


def may_retry(view: Mapping[str, Any]) -> bool:
    """Whether `retry` has anything to let through."""
    failed = view.get("last_failure") is not None
    return (
        view["mode"] in {"held", "waiting"}
        or view["health"] == "Degraded"
        or failed
        or bool(view.get("starved"))
    )
