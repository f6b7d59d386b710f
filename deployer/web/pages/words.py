"""The words, icons and tones in which pages speak of states, times and names.

Owns what each word of the read models looks like. Must not know a template or a route. Invariant: every state
has an icon and a word beside its tone, so that nothing is told by colour alone; a word that is not known here
(Serve may have new ones) is shown as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_JUST_NOW_SECONDS = 2
_DATE_DAYS = 60
"""What is older is told by its date: `97 days ago` has to be counted back by whoever reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a state is shown. `icon` is a symbol of `_sprite.svg`; `tone` a class of the stylesheet.

    The tones: `ok`, `busy`, `warn`, `bad` and `idle`.
    """

    word: str
    icon: str
    tone: str


_HEALTH = {
    "Healthy": ("ok", "ok"),
    "Progressing": ("busy", "busy"),
    "Degraded": ("bad", "bad"),
    "Missing": ("missing", "warn"),
}
_SYNC = {"Synced": ("same", "idle"), "OutOfSync": ("differs", "warn")}
_MODE = {
    "auto": ("auto", "idle"),
    "paused": ("paused", "warn"),
    "held": ("held", "warn"),
    "waiting": ("waiting", "warn"),
    "orphaned": ("orphaned", "warn"),
}
_RESULT = {
    "good": ("good", "ok", "ok"),
    "failed": ("failed", "bad", "bad"),
    "in_progress": ("in progress", "busy", "busy"),
    "superseded": ("superseded", "skipped", "idle"),
    "cancelled": ("cancelled", "skipped", "idle"),
}
_SERVE = {
    "RUNNING": ("ok", "ok"),
    "HEALTHY": ("ok", "ok"),
    "DEPLOYING": ("busy", "busy"),
    "UPDATING": ("busy", "busy"),
    "UPSCALING": ("busy", "busy"),
    "DOWNSCALING": ("busy", "busy"),
    "STARTING": ("busy", "busy"),
    "DELETING": ("busy", "busy"),
    "DEPLOY_FAILED": ("bad", "bad"),
    "UNHEALTHY": ("bad", "bad"),
    "NOT_STARTED": ("missing", "warn"),
    "DRAINING": ("busy", "busy"),
    "DRAINED": ("skipped", "idle"),
}
_FINDING = {
    "ok": ("ok", "ok", "ok"),
    "warn": ("warning", "warn", "warn"),
    "fail": ("failed", "bad", "bad"),
    "skip": ("not checked", "skipped", "idle"),
}
_VERDICT = {
    "fits": ("ok", "ok"),
    "ready": ("ok", "ok"),
    "open": ("ok", "ok"),
    "degraded": ("warn", "warn"),
    "closed": ("held", "warn"),
    "skipped": ("skipped", "warn"),
    "does not fit": ("bad", "bad"),
    "impossible": ("bad", "bad"),
}
_PROMOTION = {
    "asked": ("being pushed", "busy", "busy"),
    "promoted": ("promoted", "ok", "ok"),
    "proposed": ("proposed", "busy", "busy"),
    "failed": ("not promoted", "bad", "bad"),
}
_EFFECT_TONES = {
    "ignored": "idle",
    "in effect at once": "ok",
    "scales in place": "ok",
    "reconfigures, no restart": "ok",
    "added": "busy",
    "rolling restart": "warn",
    "rebuilds the app": "bad",
    "removed": "bad",
    "needs Serve restart": "warn",
}


def health(word: str) -> State:
    """Of an environment."""
    icon, tone = _HEALTH.get(word, ("unknown", "idle"))
    return State(word=word, icon=icon, tone=tone)


def sync(word: str) -> State:
    """Whether an environment runs what git wants."""
    icon, tone = _SYNC.get(word, ("unknown", "idle"))
    return State(word=word, icon=icon, tone=tone)


def mode(word: str) -> State:
    """What the daemon does with the next change by itself."""
    icon, tone = _MODE.get(word, ("unknown", "idle"))
    return State(word=word, icon=icon, tone=tone)


def result(word: str) -> State:
    """How a rollout ended."""
    shown, icon, tone = _RESULT.get(word, (word, "unknown", "idle"))
    return State(word=shown, icon=icon, tone=tone)


def serve(word: str) -> State:
    """A status in Serve's own words: of an application, a deployment or a proxy."""
    icon, tone = _SERVE.get(word, ("unknown", "idle"))
    return State(word=word, icon=icon, tone=tone)


def finding(word: str) -> State:
    """What `doctor` found."""
    shown, icon, tone = _FINDING.get(word, (word, "unknown", "idle"))
    return State(word=shown, icon=icon, tone=tone)


def verdict(word: str) -> State:
    """Of a plan or a gate: fits, ready, closed."""
    icon, tone = _VERDICT.get(word, ("unknown", "idle"))
    return State(word=word, icon=icon, tone=tone)


def promotion(word: str) -> State:
    """How a promotion stands."""
    shown, icon, tone = _PROMOTION.get(word, (word, "unknown", "idle"))
    return State(word=shown, icon=icon, tone=tone)


def check(passed: bool | None) -> State:  # noqa: FBT001 - three states, as the data has them
    """Of a check after a rollout; None: not made yet."""
    match passed:
        case True:
            return State(word="passed", icon="ok", tone="ok")
        case False:
            return State(word="not passed", icon="bad", tone="bad")
        case None:
            return State(word="not made yet", icon="waiting", tone="idle")


def effect_tone(effect: str) -> str:
    """Of the effect of a change, as a plan names it."""
    return _EFFECT_TONES.get(effect, "idle")


def parsed(at: object) -> datetime | None:
    """A time of the read models (RFC 3339); None for what is none."""
    if not isinstance(at, str):
        return None
    try:
        time = datetime.fromisoformat(at)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def ago(at: datetime, now: datetime) -> str:
    """How long ago, or when it will be: `12 s ago`, `4 min ago`, `in 5 min`; a date if it is long ago.

    `static/live.js` says the same in the browser: change both.
    """
    seconds = int((now - at).total_seconds())
    if abs(seconds) < _JUST_NOW_SECONDS:
        return "just now"
    if abs(seconds) >= _DATE_DAYS * _DAY:
        return f"{at:%Y-%m-%d}"
    return f"{_rough(seconds)} ago" if seconds > 0 else f"in {_rough(-seconds)}"


def _rough(seconds: int) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds} s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE} min"
    return f"{seconds // _HOUR} h" if seconds < 2 * _DAY else f"{seconds // _DAY} days"


def span(seconds: float | None) -> str:
    """How long something took: `0.8 s`, `31 s`, `5 min 12 s`, `2 h 5 min`; `-` if it is not known."""
    if seconds is None:
        return "-"
    if seconds < 10:  # noqa: PLR2004 - one digit more below 10 s
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAY:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def offset(seconds: float | None) -> str:
    """How long after the start: `+ 31 s`; "" for what was before, or is not known."""
    return "" if seconds is None or seconds < 0 else f"+ {span(seconds)}"


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"


def short(revision: object) -> str:
    """The first seven digits of a commit."""
    return str(revision or "")[:7]


def digest(text: object) -> str:
    """The beginning of a digest, without `sha256:`."""
    return str(text or "").removeprefix("sha256:")[:12]


def person(text: object) -> str:
    """The name of `Ada <ada@example.com>`."""
    whole = str(text or "")
    return whole.partition(" <")[0] or whole


def cut(text: object, characters: int) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(str(text or "")[: 4 * characters].split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 environment`, `3 environments`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def mode_detail(view: Mapping[str, Any]) -> str:
    """What the mode is about, in a few words: `rolled back from c0ffee1`, `by ada (local)`."""
    wanted, paused = view.get("wanted"), view.get("paused")
    match view.get("mode"):
        case "held" if wanted:
            return f"{'rolled back from' if view.get('live') else 'failed:'} {short(wanted['revision'])}"
        case "paused" if paused:
            return f"by {paused['by']}"
        case _:
            return ""
