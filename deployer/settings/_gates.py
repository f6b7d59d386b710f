"""The settings of gates: what a deploy waits for.

Owns these keys, and their translation to the rules of `deployer.core.gates`. Must not know files or lines,
nor when a gate is open. Invariant: what loads translates, so that nothing about gates is found wrong later.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from deployer.core import editor_schema
from deployer.core.approvals import ApprovalRule
from deployer.core.gates import Rules
from deployer.core.redact import quote
from deployer.core.windows import Recurring
from deployer.settings import _addresses as addresses
from deployer.settings import _times as times
from deployer.settings._group import Flag, Group, Name, Word, one_or_more, several, text
from deployer.settings._people import is_group, login, members

if TYPE_CHECKING:
    from typing import Self

    from deployer.core.windows import Span
    from deployer.settings._models import Settings

MAX_SPANS = 50
"""Windows, or freezes, of one environment. Each is looked at several times for every look at the gates."""

MAX_CHECKS = 50
"""Names of one environment. The forge tells the checks of a commit by the hundred."""

_CHECK_LENGTH = 100
"""Characters. GitHub itself takes 255 for a status, which nobody reads in a sentence."""

_DAY = 86_400.0
_MINUTE = 60.0
"""The least that cron knows."""


def _approvers(value: object) -> tuple[str, ...]:
    listed = addresses.listed(value, "login names and @groups")
    return tuple(one if is_group(one) else login(one) for one in listed)


def _checks(value: object) -> tuple[str, ...]:
    listed = addresses.listed(value, "names of checks such as ci/test")
    if len(listed) > MAX_CHECKS:
        message = f"has {len(listed)} entries, and more than {MAX_CHECKS} are not taken"
        raise ValueError(message)
    for one in listed:
        if not one.isprintable() or one != one.strip() or not 0 < len(one) <= _CHECK_LENGTH:
            message = (
                f"must be names of checks as the forge shows them, of 1 to {_CHECK_LENGTH} characters:"
                f" {quote(one)} is none"
            )
            raise ValueError(message)
        if listed.count(one) > 1:
            message = f"names {quote(one)} twice: remove one"
            raise ValueError(message)
    return tuple(listed)


def _count(value: object) -> int:
    """Text comes from an environment variable."""
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < len("1000"):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        message = "must be a whole number from 1"
        raise ValueError(message)
    return value


_A_DURATION = "a duration such as 30m or 8h"
_Lasting = Annotated[
    float, text(times.at_least(_MINUTE), wanted=_A_DURATION), WithJsonSchema(editor_schema.duration())
]
_AnyTime = Annotated[
    float, text(times.at_least(0.0), wanted=_A_DURATION), WithJsonSchema(editor_schema.duration(zero=True))
]
_Zone = Annotated[str, text(times.time_zone)]
_Cron = Annotated[str, text(times.cron)]
_Moment = Annotated[
    datetime | None, text(times.moment, wanted="a time in quotes, such as '2026-12-20T18:00'")
]
_Checks = Annotated[
    tuple[str, ...],
    one_or_more("nothing would have to be green"),
    BeforeValidator(_checks),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": _CHECK_LENGTH},
            "minItems": 1,
            "maxItems": MAX_CHECKS,
            "uniqueItems": True,
        }
    ),
]


class Approvals(Group):
    """Who has to approve a deploy."""

    required: Annotated[int, BeforeValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1})] = 1
    """How many of them."""
    from_: Annotated[tuple[str, ...], one_or_more("nobody could approve"), BeforeValidator(_approvers)] = (
        Field(alias="from", examples=['[ada, "@release-managers"]'])
    )
    """Login names, and groups as `"@name"`."""
    prevent_self_approval: Flag = True
    """Whether it does not count who made, committed or promoted the commit."""
    expire_after: _Lasting = Field(default=7 * _DAY, json_schema_extra={"default": "7d"})
    """How long an approval counts."""
    reviews: Flag = False
    """Whether reviews of the pull request that brought the commit are approvals."""


class Window(Group):
    """A time in which deploys may begin."""

    cron: _Cron = Field(examples=['"0 9 * * MON-THU"'])
    """When it opens: minute, hour, day, month, weekday."""
    duration: _Lasting = Field(examples=["8h"])
    """How long it is open, as time really passes."""
    time_zone: _Zone = Field(examples=["Europe/Berlin"])
    """Whose clock `cron` goes by."""

    @property
    def span(self) -> Span:
        """As the core has it."""
        return self.recurring

    @property
    def recurring(self) -> Recurring:
        """The same."""
        return Recurring(cron=self.cron, duration=self.duration, time_zone=self.time_zone)


class Freeze(Group):
    """A time in which no deploy begins, whatever the windows say: again and again, or once."""

    cron: Annotated[str | None, text(times.cron)] = None
    """When it begins again and again: minute, hour, day, month, weekday. With `duration`."""
    duration: Annotated[
        float | None,
        text(times.at_least(_MINUTE), wanted=_A_DURATION),
        WithJsonSchema(editor_schema.duration()),
    ] = None
    """How long it lasts each time, as time really passes."""
    begins: _Moment = None
    """When it begins, once, by the clock of `time_zone`. With `ends`."""
    ends: _Moment = None
    """When it is over."""
    time_zone: _Zone = Field(examples=["Europe/Berlin"])
    """Whose clock the others go by."""
    reason: Word = ""
    """Why, for those who wait."""

    @property
    def span(self) -> Span:
        """As the core has it. Raises ValueError if it is not said when."""
        match self:
            case Freeze(cron=str(cron), duration=float(seconds), begins=None, ends=None):
                return Recurring(cron=cron, duration=seconds, time_zone=self.time_zone, reason=self.reason)
            case Freeze(cron=None, duration=None, begins=datetime() as begins, ends=datetime() as ends):
                return times.fixed(begins, ends, self.time_zone, self.reason)
            case _:
                message = "needs cron and duration, or begins and ends, and not both"
                raise ValueError(message)

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        _ = self.span
        return self


class Gates(Group):
    """What a deploy waits for. Rollbacks, restores and heals never wait."""

    requires: Mapping[Name, _AnyTime] = Field(default={})
    """Where else the commit must be good, and for how long."""
    checks: _Checks = ()
    """The commit statuses and check runs that must be green at the forge, by name."""
    approvals: Approvals | None = None
    """Who has to approve it."""
    windows: Annotated[tuple[Window, ...], several("windows", MAX_SPANS)] = ()
    """When deploys may begin. None: at any time."""
    freezes: Annotated[tuple[Freeze, ...], several("freezes", MAX_SPANS)] = ()
    """When no deploy begins, whatever the windows say."""
    drift: Flag = False
    """Whether a deploy waits while somebody's change by hand is on the cluster."""
    capacity: Flag = False
    """Whether a deploy waits until it fits into what is free."""


def gate_rules(settings: Settings, environment: str) -> Rules:
    """What the gates of this environment ask for. KeyError if there is no such environment."""
    one = settings.environments[environment]
    gates = one.gates
    return Rules(
        requires=dict(gates.requires),
        checks=gates.checks,
        approvals=None if gates.approvals is None else _approval_rule(settings, gates.approvals),
        windows=tuple(window.span for window in gates.windows),
        freezes=tuple(freeze.span for freeze in gates.freezes),
        manual=one.sync == "manual",
        drift=gates.drift,
        capacity=gates.capacity,
    )


def _approval_rule(settings: Settings, approvals: Approvals) -> ApprovalRule:
    people = frozenset(who for one in approvals.from_ for who in members(one, settings.groups))
    known = {who: settings.people[who] for who in sorted(people) if who in settings.people}
    return ApprovalRule(
        required=approvals.required,
        people=people,
        prevent_self_approval=approvals.prevent_self_approval,
        expire_after=approvals.expire_after,
        emails={who: person.emails for who, person in known.items() if person.emails},
        forge={who: person.forge for who, person in known.items() if person.forge},
        reviews=approvals.reviews,
    )
