"""Read models for the tests of the pages: rich, empty or hostile, in the shapes of docs/json.md.

`Told` stands where `deployer.web.models.Models` does and answers from dictionaries; every text that comes
from outside (subjects, authors, Serve's messages, reasons) is what `text` gives, so that a test chooses how
hostile it is.
Times are counted back from `NOW`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)

Text = Callable[[str], str]

CHANGES = [
    {
        "sign": "~",
        "application": "fruit",
        "deployment": "MangoStand",
        "option": "num_replicas",
        "change": "1 -> 3",
        "effect": "scales in place",
        "note": None,
    },
    {
        "sign": "~",
        "application": "fruit",
        "deployment": "MangoStand",
        "option": "user_config.price",
        "change": "5 -> 7",
        "effect": "reconfigures, no restart",
        "note": None,
    },
    {
        "sign": "~",
        "application": "fruit",
        "deployment": None,
        "option": "runtime_env.pip",
        "change": "changed",
        "effect": "rebuilds the app",
        "note": "all 3 deployments restart",
    },
    {
        "sign": "-",
        "application": "math",
        "deployment": None,
        "option": None,
        "change": "",
        "effect": "removed",
        "note": "not in the file",
    },
]

CONFIG = """\
applications:
- deployments:
  - name: MangoStand
    num_replicas: 3
    user_config: {price: 7}
  import_path: fruit:app
  name: fruit
  route_prefix: /fruit
  runtime_env:
    env_vars: {API_KEY: <redacted>}
"""


def same(text: str) -> str:
    """Texts as people write them."""
    return text


def ago(**since: float) -> str:
    """A time before `NOW`."""
    return (NOW - timedelta(**since)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def commit(number: int) -> str:
    """A commit's id."""
    return f"{number * 0x9E3779B1 % 2**28:07x}" + "0123456789abcdef" * 2 + "0"


def digest(number: int) -> str:
    """A digest."""
    return f"sha256:{number:02x}" + "5e1fa7" * 10 + "ab"


_SUBJECTS = (
    "raise Mango price (#127)",
    "use the quantized sentiment model",
    "serve the embeddings from two replicas",
    "pin torch to 2.9.1",
    "scale the ranker for the sale",
    "move fraud to the new runtime image",
)
_AUTHORS = ("Ada Byron <ada@example.com>", "Lin Wei <lin@example.com>", "Grace Otieno <grace@example.com>")


def release(number: int, text: Text = same) -> dict[str, Any]:
    """A release as a status has it."""
    return {
        "revision": commit(number),
        "digest": digest(number),
        "subject": text(_SUBJECTS[number % len(_SUBJECTS)]),
        "author": text(_AUTHORS[number % len(_AUTHORS)]),
        "committer": text("forge <noreply@example.com>"),
        "co_authors": [],
        "merged": None,
        "pull_request": 127 if number % len(_SUBJECTS) == 0 else None,
        "tag": text("v1.4.0") if number % 5 == 0 else None,
    }


def bars(environment: str, count: int = 20) -> list[dict[str, Any]]:
    """The last rollouts, oldest first: every seventh failed, and a rollback after it."""
    found = []
    for number in range(1, count + 1):
        kind = "rollback" if number % 7 == 0 else "deploy"
        result = "failed" if number % 7 == 6 else "superseded" if number % 11 == 10 else "good"
        found.append(
            {
                "id": f"{environment}#{number}",
                "kind": kind,
                "result": result,
                "took_seconds": 24.0 + (number * 37 % 190) * (3 if number % 5 == 0 else 1),
                "started_at": ago(hours=9 * (count - number + 1)),
            }
        )
    return found


def history(environment: str, count: int = 10, text: Text = same) -> list[dict[str, Any]]:
    """Rollouts as the history has them, newest first."""
    found = []
    for bar in reversed(bars(environment, count)):
        number = int(bar["id"].rpartition("#")[2])
        one = {key: value for key, value in release(number, text).items() if key != "merged"}
        is_failed = bar["result"] == "failed"
        found.append(
            {
                **bar,
                "environment": environment,
                "release": {**one, "merged": None},
                "trigger": f"{environment}#{number - 1} failed" if bar["kind"] == "rollback" else "push",
                "actor": "deployer" if bar["kind"] == "rollback" else text(_AUTHORS[number % 3]),
                "reason": "",
                "plan": text("~ fruit: MangoStand.num_replicas 1 -> 3"),
                "applied_at": bar["started_at"],
                "finished_at": bar["started_at"],
                "failure": {
                    "class": "code",
                    "message": text(
                        "fruit: MangoStand failed to start: ModuleNotFoundError: No module named 'torch'"
                    ),
                }
                if is_failed
                else None,
                "followed_by": f"{environment}#{number + 1}" if is_failed else None,
                "superseded_by": commit(number + 1) if bar["result"] == "superseded" else None,
            }
        )
    return found


def apps(text: Text = same, *, status: str = "RUNNING", message: str = "") -> list[dict[str, Any]]:
    """Applications in Serve's words."""
    state = {"RUNNING": "HEALTHY", "DEPLOYING": "UPDATING"}.get(status, "UNHEALTHY")
    return [
        {
            "name": "fruit",
            "status": status,
            "message": text(message) if message else "",
            "deployments": [
                {
                    "name": "MangoStand",
                    "status": state,
                    "message": text(message) if message else "",
                    "target_replicas": 3,
                    "running_replicas": 3 if status == "RUNNING" else 1,
                },
                {
                    "name": "FruitMarket",
                    "status": "HEALTHY",
                    "message": "",
                    "target_replicas": 2,
                    "running_replicas": 2,
                },
            ],
        },
        {
            "name": "math",
            "status": "RUNNING",
            "message": "",
            "deployments": [
                {
                    "name": "Multiplier",
                    "status": "UPSCALING",
                    "message": "",
                    "target_replicas": 40,
                    "running_replicas": 38,
                }
            ],
        },
    ]


def view(name: str, text: Text = same, **changed: Any) -> dict[str, Any]:
    """A healthy environment, as `Models.environments` gives it, with what is changed."""
    live = {"release": f"{name}#20", **release(20, text)}
    return {
        "environment": name,
        "sequence": 412,
        "sync": "Synced",
        "health": "Healthy",
        "mode": "auto",
        "message": text(f'{live["revision"][:7]} "{_SUBJECTS[2]}" is live.'),
        "since": ago(hours=2, minutes=12),
        "live": live,
        "wanted": release(20, text),
        "rollout": None,
        "held": [],
        "paused": None,
        "drift": None,
        "starved": None,
        "last_failure": None,
        "git": {"seen_at": ago(seconds=9), "trouble": None},
        "policy": {"line": 25, "seconds": 15.0},
        "apps": apps(text),
        "foreign": [],
        "cluster": {
            "ray_version": "2.60.0",
            "session": "session_2026-11-20_08-11-04_123456_1",
            "serve_started": True,
            "proxies": {"4f1c2a77bfe1409c8d": "HEALTHY", "91d0aa3f22c54e7f01": "HEALTHY"},
        },
        "gates": [],
        "promotion": None,
        "observed_at": ago(seconds=4),
        "bars": bars(name),
        **changed,
    }


def gate(name: str, verdict: str, evidence: str, **more: Any) -> dict[str, Any]:
    """A gate of the settings."""
    return {"name": name, "verdict": verdict, "evidence": evidence, "next_check": None, "plan": None, **more}


def gated(name: str, text: Text = same) -> dict[str, Any]:
    """Promoted to, and waiting for its gates."""
    wanted = release(23, text)
    missing = f"It has 0 of 1 approvals. lin may approve it: `deployer approve {name}` approves it."
    return view(
        name,
        text,
        sync="OutOfSync",
        mode="waiting",
        message=text(
            f'{wanted["revision"][:7]} "{wanted["subject"]}" waits for the gate approvals. {missing}'
        ),
        wanted=wanted,
        policy={"line": 31, "seconds": 15.0},
        gates=[
            gate("requires", "open", "It is good in staging for long enough."),
            gate(
                "freezes",
                "skipped",
                text("Skipped by ada: a fix. It would be closed: Christmas."),
                next_check=ago(hours=-8),
            ),
            gate("windows", "open", "Within a window.", next_check=ago(hours=-3)),
            gate("manual", "closed", text(f"{name} deploys when it is told to.")),
            gate("approvals", "closed", text(missing), plan=digest(77)),
        ],
        promotion={
            "source": "staging",
            "rollout": "staging#19",
            "revision": wanted["revision"],
            "by": text("ada"),
            "at": ago(minutes=12),
            "reason": text("the sale begins"),
            "skipped": ["freezes"],
            "result": "promoted",
            "why": None,
        },
    )


def waits_for_approval(name: str, text: Text = same, **changed: Any) -> dict[str, Any]:
    """One of `Models.approvals`."""
    one = release(23, text)
    return {
        "environment": name,
        **{key: one[key] for key in ("revision", "subject", "author", "digest")},
        "plan": digest(77),
        "verdict": "closed",
        "evidence": text("It has 0 of 1 approvals. lin may approve it."),
        "required": 1,
        "people": ["ada", "lin"],
        "closed": ["windows", "approvals"],
        **changed,
    }


def lane(source: str, target: str, text: Text = same, **changed: Any) -> dict[str, Any]:
    """One of `Promotions.lanes`, with something to promote."""
    commits = [
        {key: release(number, text)[key] for key in ("revision", "subject", "author")}
        | {"committed_at": ago(hours=number)}
        for number in range(23, 16, -1)
    ]
    return {
        "source": source,
        "target": target,
        "how": "fast-forward",
        "by_pull_request": False,
        "auto": False,
        "candidate": {
            "rollout": f"{source}#19",
            **{key: release(23, text)[key] for key in ("revision", "digest", "subject", "author")},
            "good_at": ago(minutes=50),
        },
        "why": None,
        "wanted": {key: release(20, text)[key] for key in ("revision", "digest", "subject", "author")},
        "live": {key: release(20, text)[key] for key in ("revision", "digest", "subject", "author")},
        "commits": commits,
        "in_the_way": [],
        "changes": [],
        "kept": [],
        "is_more": False,
        "commands": [],
        "gates": [gate("windows", "closed", text("It opens on Monday."), next_check=ago(hours=-3))],
        "trouble": None,
        "last": None,
        "failing": None,
        "waits": None,
        **changed,
    }


def held(name: str, text: Text = same) -> dict[str, Any]:
    """Rolled back, and what git wants is held."""
    wanted = release(21, text)
    reason = text("fruit: MangoStand failed to start: ModuleNotFoundError: No module named 'torch'")
    return view(
        name,
        text,
        sync="OutOfSync",
        mode="held",
        message=f"{wanted['revision'][:7]} failed at 10:42 UTC ({reason}) and is held."
        f" {commit(20)[:7]} is live. Push a fix, or `deployer retry {name} --reason ...`.",
        wanted=wanted,
        held=[
            {
                "digest": wanted["digest"],
                "revision": wanted["revision"],
                "reason": reason,
                "since": ago(hours=3, minutes=48),
            }
        ],
        policy={"line": 26, "seconds": 15.0},
        last_failure={
            "rollout": f"{name}#21",
            "class": "code",
            "message": reason,
            "detail": text("Traceback (most recent call last):\n  File ..."),
            "timeline": [],
        },
    )


def busy(name: str, text: Text = same) -> dict[str, Any]:
    """A rollout in flight."""
    wanted = release(22, text)
    waits = "The deployment is waiting for 2 of 3 replicas to start."
    return view(
        name,
        text,
        sync="OutOfSync",
        health="Progressing",
        message=f'deploying {wanted["revision"][:7]} "{wanted["subject"]}": fruit DEPLOYING, 1/3 UPDATING',
        since=ago(seconds=34),
        wanted=wanted,
        apps=apps(text, status="DEPLOYING", message=waits),
        policy={"line": 17, "seconds": 1.0},
        rollout={
            "id": f"{name}#23",
            "kind": "deploy",
            "phase": "start",
            "started_at": ago(seconds=34),
            "timeline": [
                {
                    "at": ago(seconds=30),
                    "phase": "start",
                    "states": [
                        {
                            "app": "fruit",
                            "deployment": "MangoStand",
                            "status": "UPDATING",
                            "running": 1,
                            "target": 3,
                            "failed_starts": 0,
                            "message": text(waits),
                        }
                    ],
                }
            ],
            "checks": [
                {
                    "app": "fruit",
                    "path": "/fruit",
                    "passed": None,
                    "attempts": 0,
                    "message": "",
                }
            ],
        },
    )


def degraded(name: str, text: Text = same) -> dict[str, Any]:
    """A rollback that failed too."""
    message = text("The deployment failed to start 3 times in a row. Retrying with backoff.")
    return view(
        name,
        text,
        sync="OutOfSync",
        health="Degraded",
        mode="waiting",
        live=None,
        wanted=release(31, text),
        apps=apps(text, status="DEPLOY_FAILED", message=message),
        message=f"{commit(31)[:7]} failed at 13:58 UTC, and rolling back failed too ({message}):"
        f" the environment is DEGRADED until somebody types `deployer rollback {name}`.",
        since=ago(minutes=32),
        policy={"line": 28, "seconds": 15.0},
    )


def paused(name: str, text: Text = same) -> dict[str, Any]:
    """A person stopped the automation; the cluster has drifted meanwhile, and git does not answer."""
    return view(
        name,
        text,
        mode="paused",
        message="Paused by ada (local) at 09:00 UTC (load test), until 2026-11-23 18:00 UTC: nothing is"
        f" deployed or healed. `deployer resume {name}` ends it.",
        paused={
            "by": text("ada (local)"),
            "reason": text("load test"),
            "since": ago(hours=5, minutes=30),
            "until": "2026-11-23T18:00:00.000Z",
        },
        drift={
            "class": "edited",
            "message": text("fruit runs another config than the one that was sent."),
            "since": ago(hours=1),
        },
        foreign=[text("notebook-of-lin")],
        git={"seen_at": ago(minutes=41), "trouble": text("git.example.com did not answer within 30 s")},
        policy={"line": 24, "seconds": 15.0},
    )


def unseen(name: str) -> dict[str, Any]:
    """One that was never looked at."""
    return view(
        name,
        sync="Unknown",
        health="Unknown",
        message="The daemon has not looked at this environment yet.",
        since=None,
        live=None,
        wanted=None,
        git={"seen_at": None, "trouble": None},
        policy=None,
        apps=[],
        cluster=None,
        observed_at=None,
        bars=[],
    )


def plan_of(name: str, text: Text = same) -> dict[str, Any]:
    """A plan."""
    return {
        "environment": name,
        "digest": digest(77),
        "config_digest": digest(21),
        "ray_version": "2.60.0",
        "wanted": text(f'{commit(21)[:7]} "{_SUBJECTS[3]}"'),
        "against": text(f"{commit(20)[:7]} on http://ray-prod:8265"),
        "add": 0,
        "change": 1,
        "remove": 1,
        "changes": [{**one, "change": text(str(one["change"]))} for one in CHANGES],
        "availability": [
            {
                "application": "fruit",
                "deployment": "MangoStand",
                "lowest": 0,
                "lowest_failed": 0,
                "message": text("It has 1 replica and no surge: no replica serves while it restarts."),
                "message_failed": text("If the new one fails, none serves until it is rolled back."),
            }
        ],
        "capacity": {
            "verdict": "fits",
            "needs": [{"resource": "CPU", "needed": 2.0, "free": 6.0, "verdict": "fits"}],
            "notes": [text("The head node takes no replicas.")],
        },
        "duration": {"shortest_seconds": 38.0, "longest_seconds": 95.0, "deploys": 12},
        "way_back": {
            "state": "ready",
            "to": text(f'{commit(20)[:7]} "{_SUBJECTS[2]}"'),
            "reasons": [text("It still validates, its code archive answers, capacity fits.")],
        },
        "gates": [{"what": "held", "why": text("It failed here at 10:42 UTC.")}],
        "drift": None,
        "remarks": [text("Ray 2.60 ignores http_options while it runs.")],
    }


class Told:
    """Read models that say what they were given."""

    def __init__(self, views: list[dict[str, Any]], text: Text = same, *, is_empty: bool = False) -> None:
        """Answer from these views (as of `view`); `is_empty`: there is no history of anything."""
        self.views = {one["environment"]: one for one in views}
        self.text = text
        self.is_empty = is_empty
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def environments(
        self, names: Collection[str] | None, visible: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Of the first page."""
        self.asked.append(("environments", {"names": names, "visible": visible}))
        return [one for name, one in self.views.items() if names is None or name in names]

    def scope(self, name: str, visible: Collection[str]) -> frozenset[str] | None:
        """No status names another environment."""
        return None

    def approvals(self, visible: Collection[str] | None) -> list[dict[str, Any]]:
        """What waits for approvals: in each that is gated."""
        self.asked.append(("approvals", {"visible": visible}))
        return [
            waits_for_approval(name, self.text)
            for name, one in self.views.items()
            if one["gates"] and (visible is None or name in visible)
        ]

    def environment(self, name: str, visible: Collection[str] | None = None) -> dict[str, Any]:
        """Of an environment's page."""
        found = self.views[name]
        rollouts = [] if self.is_empty else history(name, 21, self.text)[:10]
        return {
            **found,
            "rollouts": rollouts,
            "gates": [] if self.is_empty else self.gates(name),
            "releases": self.releases(name, limit=5)["items"],
        }

    def gates(self, name: str, visible: Collection[str] | None = None) -> list[dict[str, Any]]:
        """What stands before the next rollout."""
        closed = self.views[name]["mode"] in {"held", "paused", "waiting"}
        return [
            {
                "name": "held",
                "verdict": "closed" if closed else "open",
                "evidence": self.text("It failed here at 10:42 UTC." if closed else "Nothing is held."),
                "next_check": None,
                "plan": None,
            },
            gate("room", "open", "2 CPU needed, 6 free.", next_check=ago(seconds=-12)),
            *self.views[name]["gates"],
        ]

    def at(
        self, environment: str, time: datetime | None = None, visible: Collection[str] | None = None
    ) -> dict[str, Any]:
        """What was live."""
        return {"environment": environment, "at": ago(), "says": [], "live": None}

    def releases(self, environment: str, *, limit: int = 50, before: str | None = None) -> dict[str, Any]:
        """What became good."""
        items = [
            {
                "rollout": one["id"],
                **{key: one["release"][key] for key in ("revision", "subject", "author", "digest")},
                "at": one["finished_at"],
                "is_live": one["release"]["digest"] == digest(20),
            }
            for one in history(environment, 20, self.text)
            if one["result"] == "good"
        ]
        return {"items": [] if self.is_empty else items[:limit], "next": None}

    def rollouts(self, **asked: Any) -> dict[str, Any]:
        """The history, two pages of it."""
        self.asked.append(("rollouts", asked))
        names = [
            name for name in self.views if asked["environments"] is None or name in asked["environments"]
        ]
        found = [] if self.is_empty else [one for name in names for one in history(name, 21, self.text)]
        found = [one for one in found if asked.get("result") in {None, one["result"]}]
        return _page(found, asked)

    def rollout(self, rollout: str, _visible: Collection[str] | None = frozenset()) -> dict[str, Any] | None:
        """One rollout: failed, if the history says so."""
        name = rollout.rpartition("#")[0]
        for one in history(name, 23, self.text):
            if one["id"] == rollout:
                return self._detailed(one)
        return None

    def _detailed(self, one: dict[str, Any]) -> dict[str, Any]:
        is_failed = one["result"] == "failed"
        says = [
            ("seen", "", "git wants it"),
            ("gated", "", "nothing stands in its way"),
            ("applied", "applying", "the cluster took the config"),
            ("observed", "start", "fruit DEPLOYING: MangoStand 1/3 UPDATING"),
            ("failed", "start", "ModuleNotFoundError: No module named 'torch'")
            if is_failed
            else ("good", "soak", "it is live"),
        ]
        spans = [("applying", 60, 58), ("build", 58, 41), ("start", 41, 12), ("soak", 12, None)]
        return {
            **one,
            "timeline": [
                {
                    "at": ago(seconds=60 - index * 11),
                    "event": event,
                    "phase": phase or None,
                    "says": self.text(text),
                    "seconds": index * 11.0 - 11.0,
                    "actor": self.text("ada (token 3f2a9c1b)") if event == "gated" else "deployer",
                    "reason": self.text("") if event != "gated" else self.text("load test is over"),
                }
                for index, (event, phase, text) in enumerate(says)
            ],
            "phases": [
                {
                    "name": name,
                    "started_at": ago(seconds=begin),
                    "finished_at": None if end is None else ago(seconds=end),
                    "seconds": None if end is None else begin - end,
                }
                for name, begin, end in spans
            ],
            "detail": self.text('Traceback (most recent call last):\n  File "fruit.py", line 3')
            if is_failed
            else "",
            "log": self.text("INFO starting\nERROR ModuleNotFoundError") if is_failed else "",
            "checks": [
                {
                    "app": "fruit",
                    "path": "/fruit?name=mango",
                    "passed": not is_failed,
                    "attempts": 2,
                    "message": self.text("GET answered 200 in 101 ms"),
                }
            ],
            "config": self.text(CONFIG),
            "config_digest": one["release"]["digest"],
            "changes": [{**line, "change": self.text(str(line["change"]))} for line in CHANGES],
            "against": self.text(f"{commit(19)[:7]}, which was live"),
            "against_rollout": f"{one['environment']}#1",
            "gates": [
                {"name": name, "verdict": verdict, "evidence": self.text(evidence)}
                for name, verdict, evidence in (
                    ("requires", "open", "It is good in staging for long enough."),
                    ("freezes", "skipped", "Skipped by ada: a fix. It would be closed: Christmas."),
                )
            ],
            "story": [{"about": "what", "says": self.text(f"{one['id']} was a deploy.")}],
            "can_roll_back_to": one["result"] == "good",
        }

    def bundle(self, rollout: str, visible: Collection[str] | None) -> bytes | None:
        """The evidence of a rollout."""
        self.asked.append(("bundle", {"rollout": rollout, "visible": visible}))
        return b"PK" if self.rollout(rollout) else None

    def event(self, *, environments: Collection[str] | None, event: str) -> dict[str, Any] | None:
        """One event in full: there is one."""
        self.asked.append(("event", {"environments": environments, "event": event}))
        return {"id": 1, "environment": "staging"} if event == "1" else None

    def plan(
        self, environment: str, *, to: str | None = None, visible: Collection[str] | None = None
    ) -> dict[str, Any]:
        """A plan."""
        self.asked.append(("plan", {"environment": environment, "to": to, "visible": visible}))
        return plan_of(environment, self.text)

    def audit(self, **asked: Any) -> dict[str, Any]:
        """The audit log, two pages of it."""
        self.asked.append(("audit", asked))
        names = [
            name for name in self.views if asked["environments"] is None or name in asked["environments"]
        ]
        kinds = ("Seen", "Started", "Applied", "Healthy", "Good", "Paused")
        found = [
            {
                "id": 1000 - number,
                "environment": name,
                "sequence": 412 - number,
                "type": kinds[number % len(kinds)],
                "at": ago(minutes=7 * number),
                "actor": self.text("ada (token 3f2a9c1b)" if number % 6 == 5 else "deployer"),
                "reason": self.text("load test") if number % 6 == 5 else "",
                "rollout": f"{name}#{20 - number // 6}",
                "hash": digest(number),
                "says": self.text(f'{commit(number)[:7]} "{_SUBJECTS[number % 6]}"'),
            }
            for name in names
            for number in range(30)
        ]
        return _page([] if self.is_empty else found, asked)

    def stats(
        self, *, environments: Collection[str] | None, environment: str | None, days: int
    ) -> list[dict[str, Any]]:
        """The four numbers."""
        names = [name for name in self.views if environments is None or name in environments]
        none = self.is_empty
        return [
            {
                "environment": name,
                "days": days,
                "deployment_frequency": {"per_day": 0 if none else 1.4, "deploys": 0 if none else 42},
                "lead_time": {
                    "median_seconds": None if none else 612.0,
                    "p90_seconds": None if none else 5_400.0,
                    "deploys": 0 if none else 40,
                },
                "change_failure_rate": {
                    "ratio": None if none else 0.07,
                    "deploys": 0 if none else 45,
                    "failed": 0 if none else 3,
                    "rolled_back_by_hand": 0,
                },
                "time_to_restore": {
                    "median_seconds": None if none else 74.0,
                    "p90_seconds": None if none else 240.0,
                    "restored": 0 if none else 3,
                    "not_restored": 0,
                },
            }
            for name in names
        ]

    def doctor(self) -> dict[str, Any]:
        """Findings."""
        findings = [
            ("settings", "deployer.yaml", "ok", "3 environments, 1 repository.", None, None),
            ("git", "serve-configs", "ok", "main is at c0ffee1.", None, 0.31),
            ("git", "host key", "warn", "It is not pinned.", "Add the host to known_hosts.", None),
            ("clusters", "production", "ok", "Ray 2.60.0 answers; Serve runs.", None, 0.12),
            (
                "clusters",
                "staging",
                "fail",
                "It did not answer.",
                "Look whether Ray runs: `ray status`.",
                10.0,
            ),
            ("clock", "this machine", "skip", "No server answered that has the time.", None, None),
        ]
        if self.is_empty:
            findings = []
        keys = ("group", "subject", "state", "says", "next_step", "seconds")
        return {
            "findings": [
                {**dict(zip(keys, one, strict=True)), "says": self.text(one[3])} for one in findings
            ],
            "passed": sum(one[2] == "ok" for one in findings),
            "warnings": sum(one[2] == "warn" for one in findings),
            "failed": sum(one[2] == "fail" for one in findings),
            "skipped": sum(one[2] == "skip" for one in findings),
        }

    def settings(self) -> list[dict[str, Any]]:
        """Settings in effect."""
        if self.is_empty:
            return []
        return [
            {"key": "state_dir", "value": "/var/lib/deployer", "origin": "default"},
            {"key": "server.listen", "value": "127.0.0.1:8700", "origin": "deployer.yaml:3"},
            {
                "key": "repositories.serve-configs.url",
                "value": self.text("ssh://git.example.com/ml"),
                "origin": "deployer.yaml:6",
            },
            {
                "key": "environments.production.cluster.token_file",
                "value": "<redacted>",
                "origin": "$DEPLOYER_X",
            },
        ]


def _page(found: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
    """A page of a list; cursors are places in it."""
    begin, limit = int(asked.get("before") or 0), asked["limit"]
    end = begin + limit
    return {"items": found[begin:end], "next": str(end) if end < len(found) else None}


class Ordered:
    """A service that does nothing, and remembers what was ordered. `refuse` is raised instead, if given."""

    def __init__(self, text: Text = same) -> None:
        """Answer with such texts."""
        self.orders: list[tuple[str, str, dict[str, Any]]] = []
        self.text = text
        self.refuse: Exception | None = None
        self.is_done = False
        self.is_manual = False

    def _order(self, command: str, environment: str, order: dict[str, Any]) -> dict[str, Any]:
        if self.refuse is not None:
            raise self.refuse
        self.orders.append((command, environment, order))
        return {
            "environment": environment,
            "message": self.text(f"{command} of {environment} is under way."),
            "dry_run": order["dry_run"],
            "events": [] if self.is_done else [f"{command}Asked"],
            "target": {"revision": commit(19), "digest": order.get("to") or digest(19)},
            "under_way": False,
            "after": 23,
        }

    def sync(self, environment: str, **order: Any) -> dict[str, Any]:
        """Look now; nothing is deployed by it, unless `is_manual`."""
        answer = self._order("sync", environment, order)
        return answer if self.is_manual else {**answer, "events": [], "target": None}

    def approve(self, environment: str, **order: Any) -> dict[str, Any]:
        """Approve, or reject."""
        return self._order("reject" if order.get("rejects") else "approve", environment, order)

    def rollback(self, environment: str, **order: Any) -> dict[str, Any]:
        """Go back."""
        return self._order("rollback", environment, order)

    def retry(self, environment: str, **order: Any) -> dict[str, Any]:
        """Once more."""
        return self._order("retry", environment, order)

    def pause(self, environment: str, **order: Any) -> dict[str, Any]:
        """Stop the automation."""
        return self._order("pause", environment, order)

    def resume(self, environment: str, **order: Any) -> dict[str, Any]:
        """Let it go on."""
        return self._order("resume", environment, order)


class Letters:
    """An outbox with a target that is well, one that is away, and a dead letter."""

    def __init__(self, text: Text = same) -> None:
        """Say it in these texts."""
        self._text = text

    def listed(self) -> dict[str, Any]:
        """As `deployer.web.outbox.Desk` lists it."""
        away = "cannot set a status of 0dd1e5a1c0de in ml/serve-configs: it answered 502"
        target = {"waiting": 0, "oldest_at": None, "dead": 0, "attempts": 0, "next_at": None, "why": None}
        letter = {
            "id": 417,
            "target": "forge/configs",
            "environment": "staging",
            "kind": "commit_status",
            "message": self._text("deployer/staging of 0dd1e5a is success: Live after 31 s."),
            "created_at": "2026-11-22T10:40:00Z",
            "died_at": "2026-11-22T10:41:00Z",
            "attempts": 6,
            "why": self._text("it does not take this (it says: No commit found for SHA)"),
        }
        return {
            "targets": [
                {**target, "name": "log", "delivered_at": "2026-11-22T10:42:00Z"},
                {
                    **target,
                    "name": "forge/configs",
                    "waiting": 3,
                    "oldest_at": "2026-11-22T10:30:00Z",
                    "dead": 1,
                    "attempts": 4,
                    "next_at": "2026-11-22T10:43:00Z",
                    "why": self._text(away),
                    "delivered_at": None,
                },
            ],
            "dead": [letter],
        }


class Promotable:
    """Promotions that say what they were given, and remember what was ordered."""

    def __init__(self, lanes: list[dict[str, Any]], text: Text = same) -> None:
        """Tell of these lanes."""
        self._lanes = lanes
        self.text = text
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self.refuse: Exception | None = None

    def lanes(self, visible: Collection[str] | None) -> list[dict[str, Any]]:
        """Those of which both ends may be seen."""
        return [
            one for one in self._lanes if visible is None or {one["source"], one["target"]} <= set(visible)
        ]

    def promote(self, target: str, **order: Any) -> dict[str, Any]:
        """Do nothing."""
        if self.refuse is not None:
            raise self.refuse
        self.orders.append((target, order))
        return {
            "environment": target,
            "message": self.text(f"promote to {target} is under way."),
            "dry_run": order["dry_run"],
            "events": ["promotion_asked"],
            "target": {"revision": commit(23), "digest": digest(23)},
            "under_way": False,
            "after": 23,
            "source": "staging",
            "rollout": "staging#19",
        }

    def asked(self, target: str, **order: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What would be done."""
        answer = self.promote(target, **order, dry_run=True)
        return answer, next((one for one in self._lanes if one["target"] == target), self._lanes[0])
