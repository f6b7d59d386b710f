"""The pages of the real application: what each shows, what its forms do, and that texts stay texts.

The read models and the service are stood in for (`tests.support.pages_data`), so that a test chooses what
they say; the application, its rules, the templates and the hub are the real ones.
"""

from __future__ import annotations

import csv
import io
import json
import re
from http import HTTPStatus
from itertools import cycle
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import pytest

from deployer.adapters.store import StoreError
from deployer.web import app as application
from deployer.web import pages
from deployer.web.access import RIGHTS, Caller, Role
from deployer.web.hub import Hub
from deployer.web.problems import Problem
from deployer.web.site import Site
from tests.support import hostile_texts, pages_data
from tests.support.asgi import Answer, ask
from tests.support.page_reader import Read

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

ROLLOUT = "production%2320"
PAGES = (
    "/",
    "/?q=held",
    "/env/dev",
    "/env/staging",
    "/env/production",
    "/env/ranker",
    "/env/fraud",
    "/env/sandbox",
    "/env/production/plan",
    f"/env/production/plan?to={pages_data.digest(19)}",
    "/env/production/rollback",
    "/env/production/retry",
    "/env/production/pause",
    "/env/ranker/resume",
    f"/rollouts/{ROLLOUT}",
    "/rollouts/production%2313",
    "/history",
    "/history?result=failed&environment=production",
    "/audit",
    "/stats",
    "/doctor",
    "/settings",
)
PROMOTION = (
    "/env/europe",
    "/promotions",
    "/approvals",
    "/env/europe/promote?source=staging&release=staging%2319",
    "/env/europe/sync",
)
"""Those of an environment with gates that commits are promoted to."""
FORM = ("content-type", "application/x-www-form-urlencoded")


def made_up_lanes(text: Callable[[str], str] = pages_data.same) -> list[dict[str, Any]]:
    """A way to europe in each state, and one between others."""
    by_hand = [
        "git fetch https://git.example.com/x refs/heads/main",
        text("git push origin 12:refs/heads/env"),
    ]
    in_the_way = pages_data.lane("a", "b", text)["commits"]
    return [
        pages_data.lane("staging", "europe", text),
        pages_data.lane("staging", "europe", text, in_the_way=in_the_way, is_more=True, why=text("No.")),
        pages_data.lane("staging", "europe", text, commands=by_hand),
        pages_data.lane("staging", "europe", text, trouble=text("git is away."), candidate=None, commits=[]),
        pages_data.lane("dev", "staging", text, auto=True, candidate=None, commits=[], why=text("Nothing.")),
        pages_data.lane(
            "dev", "staging", text, auto=True, failing=text("It is protected."), waits=text("It is shut.")
        ),
    ]


class Faces:
    """The application with what stands behind it, and one who calls."""

    def __init__(
        self,
        *,
        text: Callable[[str], str] = pages_data.same,
        is_empty: bool = False,
        views: list[dict[str, Any]] | None = None,
    ) -> None:
        """Stand-ins that say `text` wherever a text comes from outside; `is_empty`: nothing ever happened."""
        if views is None:
            views = [
                pages_data.view("dev", text),
                pages_data.busy("staging", text),
                pages_data.held("production", text),
                pages_data.paused("ranker", text),
                pages_data.degraded("fraud", text),
                pages_data.unseen("sandbox"),
            ]
        self.models = pages_data.Told(views, text, is_empty=is_empty)
        self.service = pages_data.Ordered(text)
        self.promotions = pages_data.Promotable([] if is_empty else made_up_lanes(text), text)
        self.hub = Hub()
        self.role: Role | None = Role.ADMIN
        self.environments: frozenset[str] | None = None
        self.render = pages.Renderer(now=lambda: pages_data.NOW, strict=True)
        nothing: Any = None
        site = Site(
            environments=tuple(self.models.views),
            service=cast("Any", self.service),
            models=cast("Any", self.models),
            hub=self.hub,
            tokens=nothing,
            answers=nothing,
            ready=lambda: None,
            promotions=cast("Any", self.promotions),
            write=lambda _event: None,
            outbox=cast("Any", pages_data.Letters(text)),
        )
        self._app = application.make(site, [pages.router(site, self.render)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stand where the guard does."""
        scope["state"]["caller"] = self.caller
        await self._app(scope, receive, send)

    @property
    def caller(self) -> Caller:
        """One with a session, of this role and for these environments."""
        rights = RIGHTS[self.role] if self.role else frozenset()
        return Caller(
            name="ada", how="session", token="3f2a9c1b", rights=rights, environments=self.environments
        )

    def get(self, path: str) -> Answer:
        """As a browser asks."""
        return ask(self, "GET", path, [("accept", "text/html")])

    def read(self, path: str) -> Read:
        """A page, which must be a good one."""
        answer = self.get(path)
        assert answer.status == 200, answer.text[-2000:]
        read = Read.of(answer.text)
        assert read.complaints() == [], path
        return read

    def post(self, path: str, **fields: str) -> Answer:
        """As a form is sent."""
        return ask(self, "POST", path, [FORM], urlencode(fields).encode())


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Those of the rich data; for tests that only read."""
    return Faces()


def words(read: Read) -> str:
    """What is read on a page, on one line."""
    return " ".join("".join(read.text).split())


# --- every page ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_well_formed_with_rich_data(faces: Faces, path: str) -> None:
    """One h1, a language, landmarks, labels, unique ids, nothing inline, all tags closed."""
    read = faces.read(path)

    assert read.all("nav"), "no navigation"


@pytest.mark.parametrize("path", [path for path in PAGES if "/rollouts/" not in path])
def test_every_page_is_well_formed_where_nothing_ever_happened(path: str) -> None:
    """And where something is missing it says what to do next."""
    empty = Faces(is_empty=True)

    text = words(empty.read(path))

    if path in {"/history", "/audit", "/doctor", "/settings"}:
        assert re.search(r"(No \w+|Nothing) .{2,40}\. ?[A-Zd]\w+ .{20,}\.", text), text


def test_the_first_page_without_environments_says_where_to_name_one() -> None:
    """A daemon that was just installed."""
    text = words(Faces(views=[]).read("/"))

    assert "No environment yet" in text
    assert "deployer.yaml" in text


def hostile() -> Callable[[str], str]:
    """Another text each time."""
    texts = cycle(hostile_texts.TEXTS)
    return lambda _: next(texts)


@pytest.mark.parametrize("path", PAGES)
def test_no_text_is_more_than_text(path: str) -> None:
    """Markup, attributes, templates, controls: shown, or left out, and never carried out."""
    faces = Faces(text=hostile())
    for _ in range(5):
        answer = faces.get(path)
        read = Read.of(answer.text)
        assert answer.status == 200
        assert read.complaints() == [], path
        assert not _controls(answer.text)
        assert not re.search(r"zq749\d*=zq7", answer.text)
        assert len(answer.body) < 600_000


def test_500_hostile_subjects_on_the_first_page() -> None:
    """Each in its own row, and the page is still readable."""
    views = [
        pages_data.view(
            f"env-{number}",
            pages_data.same,
            live={**pages_data.release(20), "subject": text, "release": f"env-{number}#20"},
        )
        for number, text in enumerate(hostile_texts.TEXTS)
    ]

    read = Faces(views=views).read("/")

    assert len([one for one in read.all("li") if one.get("id", "").startswith("env-")]) == 500
    assert words(read).count(hostile_texts.MARK) >= 450


def test_hostile_texts_in_problems_and_messages_are_texts() -> None:
    """Also what the service says, and what is shown once."""
    faces = Faces()
    for text in hostile_texts.TEXTS[::7]:
        faces.service.text = lambda _, text=text: text  # type: ignore[misc] # mypy cannot infer the default's type
        answer = faces.post("/env/dev/sync")
        assert faces.read(answer.headers["location"]).complaints() == []
        faces.service.refuse = Problem(HTTPStatus.CONFLICT, text)
        refused = faces.post("/env/dev/sync")
        assert refused.status == 409
        assert Read.of(refused.text).complaints() == []
        faces.service.refuse = None


def _controls(text: str) -> list[str]:
    return re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)


# --- promotion and approvals --------------------------------------------------------------------------------


def promoted(**more: Any) -> Faces:
    """Faces with an environment that commits are promoted to, and that has gates."""
    text = more.get("text", pages_data.same)
    views = [pages_data.view("dev", text), pages_data.view("staging", text), pages_data.gated("europe", text)]
    faces = Faces(views=views, **more)
    faces.service.is_manual = True
    return faces


@pytest.mark.parametrize("path", PROMOTION)
@pytest.mark.parametrize("is_hostile", [False, True])
def test_the_pages_of_promotion_are_well_formed(path: str, *, is_hostile: bool) -> None:
    """Whatever is said on them."""
    faces = promoted(text=hostile()) if is_hostile else promoted()
    for _ in range(5 if is_hostile else 1):
        answer = faces.get(path)
        assert answer.status == 200, answer.text[-2000:]
        assert Read.of(answer.text).complaints() == []
        assert not _controls(answer.text)


def test_where_nothing_is_promoted_or_approved_it_says_how_to_begin() -> None:
    """The next step, in the settings."""
    empty = Faces(is_empty=True)

    told = words(empty.read("/promotions"))
    assert "No environment is promoted to." in told
    assert "promote_from: ANOTHER at an environment in deployer.yaml" in told
    told = words(empty.read("/approvals"))
    assert "Nothing waits to be approved." in told
    assert "gates: {approvals: ...} in deployer.yaml" in told


def test_a_way_is_shown_from_left_to_right() -> None:
    """What could be promoted, what it would bring, where it would go; what is in the way, and why not."""
    faces = promoted()
    read = faces.read("/promotions")
    text = words(read)

    for part in (
        "staging#19",
        "7 commits would be brought, by fast-forward",
        "7+ in the way only europe has them",
        "closed windows It opens on Monday.",
        "Git could not be asked: git is away.",
        "by itself",
        "It could not be promoted by itself, and is tried again: It is protected.",
        "Not promoted by itself yet: It is shut.",
        "Nothing between them: what becomes good here is promoted by itself.",
        "git push origin 12:refs/heads/env",
    ):
        assert part in text, part
    links = [one["href"] for one in read.all("a") if "/promote?" in one.get("href", "")]
    very = pages_data.commit(23)
    assert links == [
        f"/env/{target}/promote?source={source}&release={very}"
        for source, target in (("staging", "europe"), ("dev", "staging"))
    ]

    faces.role, faces.environments = Role.DEPLOYER, frozenset({"dev", "staging"})
    text = words(faces.read("/promotions"))
    assert "europe" not in text
    assert "dev → to staging by itself" in text
    faces.role, faces.environments = Role.VIEWER, None
    assert "/promote?" not in faces.get("/promotions").text


def test_a_promotion_is_of_the_very_release_that_was_shown() -> None:
    """The question shows the commits, and its form has the commit."""
    faces = promoted()
    read = faces.read("/env/europe/promote?source=staging&release=staging%2319")

    assert [order["dry_run"] for _, order in faces.promotions.orders] == [True]
    hidden = {one["name"]: one["value"] for one in read.all("input") if one.get("type") == "hidden"}
    assert hidden == {"source": "staging", "release": pages_data.commit(23)}
    assert "7 commits would be brought" in words(read)

    answer = faces.post("/env/europe/promote", **hidden, reason=" the sale ")

    assert answer.status == 303
    target, order = faces.promotions.orders[-1]
    assert (target, order["source"], order["release"]) == ("europe", "staging", hidden["release"])
    assert (order["reason"], order["actor"], order["dry_run"]) == ("the sale", "ada (token 3f2a9c1b)", False)
    assert "promote to europe is under way." in words(faces.read(answer.headers["location"]))


def test_who_may_not_push_is_told_what_to_type() -> None:
    """In place of the button."""
    faces = promoted()
    faces.promotions._lanes = faces.promotions._lanes[2:]

    read = faces.read("/env/europe/promote?source=staging")

    assert [one.get("action") for one in read.all("form")] == ["/sign-out"]
    assert "git fetch https://git.example.com/x refs/heads/main git push" in words(read)


def test_approvals_are_for_the_plan_that_is_shown() -> None:
    """Approve and reject are forms of their own, so that a key pressed in one field does not do the other."""
    faces = promoted()
    faces.role = Role.APPROVER
    read = faces.read("/approvals")

    assert [one["action"] for one in read.all("form")] == [
        "/sign-out", "/env/europe/approve", "/env/europe/reject",
    ]  # fmt: skip
    assert {one["value"] for one in read.all("input") if one.get("name") == "plan"} == {pages_data.digest(77)}
    assert [one[2]["dry_run"] for one in faces.service.orders] == [True]
    assert "Also closed: windows." in words(read)
    assert "/env/europe/plan" in [one.get("href") for one in read.all("a")]

    for verdict in ("approve", "reject"):
        answer = faces.post(f"/env/europe/{verdict}", plan=pages_data.digest(77), reason="seen")
        assert answer.status == 303
        name, environment, order = faces.service.orders[-1]
        assert (name, environment, order["plan"]) == (verdict, "europe", pages_data.digest(77))
        assert (order["login"], order["rejects"], order["reason"]) == ("ada", verdict == "reject", "seen")
        assert f"{verdict} of europe is under way." in words(faces.read(answer.headers["location"]))


def test_whose_approval_does_not_count_is_told_so() -> None:
    """In place of the forms; and who may only look sees neither."""
    faces = promoted()
    faces.role = Role.APPROVER
    faces.service.refuse = Problem(HTTPStatus.CONFLICT, "Ada is among those who made this commit.")

    read = faces.read("/approvals")

    assert [one["action"] for one in read.all("form")] == ["/sign-out"]
    assert "You cannot approve it: Ada is among those who made this commit." in words(read)
    faces.role = Role.DEPLOYER
    assert "You cannot" not in words(faces.read("/approvals"))
    faces.environments = frozenset({"dev"})
    assert "Nothing waits to be approved" in words(faces.read("/approvals"))


def test_where_sync_is_manual_nothing_is_deployed_but_what_was_shown() -> None:
    """The button asks first, with the plan; what it is answered with names what was shown."""
    faces = promoted()
    page = faces.read("/env/europe")
    assert "/env/europe/sync" in [one.get("href") for one in page.all("a")]
    assert "skipped freezes Skipped by ada: a fix." in words(page)
    assert "promoted" in words(page)

    asked = faces.read("/env/europe/sync")
    assert [one["value"] for one in asked.all("input") if one.get("name") == "digest"] == [
        pages_data.digest(19)
    ]
    assert "Changes" in words(asked)
    orders = len(faces.service.orders)

    for digest in ("", pages_data.digest(18)):
        answer = faces.post("/env/europe/sync", digest=digest)
        assert (answer.status, answer.headers["location"]) == (303, "/env/europe/sync")
    assert [one[2]["dry_run"] for one in faces.service.orders[orders:]] == [True, True]
    answer = faces.post("/env/europe/sync", digest=pages_data.digest(19))
    assert answer.headers["location"].startswith("/env/europe?said=")
    assert faces.service.orders[-1][2]["dry_run"] is False
    assert faces.service.orders[-1][2]["digest"] == pages_data.digest(19)


# --- what they show ----------------------------------------------------------------------------------------


def test_the_first_page_tells_the_state_of_all_in_one_line(faces: Faces) -> None:
    """How many of each, the worst first."""
    text = words(faces.read("/"))

    told = "6 environments: 1 degraded, 1 held, 1 paused, 1 rolling out, 1 not looked at yet, 1 healthy."
    assert told in text


def test_those_that_need_a_person_come_first_and_are_marked(faces: Faces) -> None:
    """Then the others, in the order of the settings."""
    rows = [one for one in faces.read("/").all("li") if one.get("id", "").startswith("env-")]

    assert [one["id"].removeprefix("env-") for one in rows] == [
        "fraud", "production", "ranker", "dev", "staging", "sandbox",
    ]  # fmt: skip
    assert ["attention" in one["class"].split() for one in rows] == [True, True, True, False, False, False]


def test_the_filter_is_a_plain_form_and_keeps_the_summary(faces: Faces) -> None:
    """It filters what is shown, and not what is told of all."""
    read = faces.read("/?q=HELD")

    assert [one["id"] for one in read.all("li") if one.get("id", "").startswith("env-")] == ["env-production"]
    assert "6 environments" in words(read)
    assert "No environment is called or stands like that" in words(faces.read("/?q=nowhere"))


def test_a_page_shows_only_what_the_caller_may_see() -> None:
    """In lists; and what he may not see is not there."""
    faces = Faces()
    faces.role, faces.environments = Role.VIEWER, frozenset({"dev"})

    assert "production" not in words(faces.read("/"))
    assert faces.get("/env/production").status in {403, 404}
    assert faces.get(f"/rollouts/{ROLLOUT}").status == 404
    assert faces.get("/rollouts/nowhere%231").status == 404
    faces.get("/history")
    assert ("rollouts", frozenset({"dev"})) == (
        faces.models.asked[-1][0],
        faces.models.asked[-1][1]["environments"],
    )


def test_buttons_are_shown_to_who_may_use_them() -> None:
    """A viewer sees no form that changes anything, and no page that he may not open."""
    faces = Faces()
    faces.role = Role.VIEWER
    for path in ("/", "/env/production", f"/rollouts/{ROLLOUT}"):
        read = faces.read(path)
        actions = [one.get("action") for one in read.all("form") if one.get("method") == "post"]
        assert actions == ["/sign-out"], path
        links = [one.get("href", "") for one in read.all("a")]
        assert not [one for one in links if re.search("rollback|retry|pause|resume", one)]
        assert "/settings" not in links

    faces.role = Role.DEPLOYER
    read = faces.read("/env/production")
    assert "/env/production/sync" in [one.get("action") for one in read.all("form")]
    assert "/env/production/rollback" in [one.get("href") for one in read.all("a")]


def test_why_it_is_not_deploying_is_one_click_away(faces: Faces) -> None:
    """The line of the policy, the evidence, and the whole policy."""
    links = [one.get("href") for one in faces.read("/").all("a")]
    assert "/env/production#why" in links

    read = faces.read("/env/production")
    assert "why" in [one.get("id") for one in read.all("section")]
    text = words(read)
    assert "Why is it not deploying?" in text
    assert "What git wants is held : wait. Line 26 of the policy" in text.replace("held:", "held :")


def test_the_page_of_an_environment_shows_serves_own_words(faces: Faces) -> None:
    """The tree, its counts, proxies, drift, what else is there."""
    text = words(faces.read("/env/fraud"))
    assert "DEPLOY_FAILED The deployment failed to start 3 times in a row." in text
    assert "38/40 running" in text
    assert "HEALTHY proxy" in text

    text = words(faces.read("/env/ranker"))
    assert "Drift: edited" in text
    assert "notebook-of-lin" in text
    assert "Git could not be asked" in text


def test_a_rollout_is_told_from_seen_to_its_end(faces: Faces) -> None:
    """Timeline, phases with their durations, changes with what restarts, config, log, the way back to it."""
    read = faces.read("/rollouts/production%2319")
    text = words(read)
    for part in ("seen", "gated", "applied", "good", "rebuilds the app", "env_vars: {API_KEY: <redacted>}"):
        assert part in text
    assert any(one.get("aria-label") == "build: 17 s" for one in read.all("svg"))
    href = f"/env/production/rollback?to={pages_data.digest(19).replace(':', '%3A')}"
    assert href in [one.get("href") for one in read.all("a")]

    failed = words(faces.read("/rollouts/production%2313"))
    assert "ModuleNotFoundError" in failed
    assert "Answered by production#14" in failed


# --- what they do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sync", "rollback", "retry", "pause", "resume"])
def test_a_form_does_what_the_api_does_and_leads_back(command: str) -> None:
    """By the caller's name, with the reason; and the message is shown once."""
    faces = Faces()

    answer = faces.post(f"/env/dev/{command}", reason=" because ")

    assert answer.status == 303
    name, environment, order = faces.service.orders[-1]
    assert (name, environment) == (command, "dev")
    assert order["actor"] == "ada (token 3f2a9c1b)"
    assert order["reason"] == "because"
    assert order["dry_run"] is False
    where = answer.headers["location"]
    assert where.startswith("/env/dev?said=")
    message = f"{command} of dev is under way."
    assert message in words(faces.read(where))
    assert message not in words(faces.read(where))


def test_a_rollback_is_of_the_very_release_that_was_shown() -> None:
    """The page has its digest in the form, and the plan of the way back to it."""
    faces = Faces()
    chosen = pages_data.digest(17)

    read = faces.read(f"/env/production/rollback?to={chosen}")

    assert [one["value"] for one in read.all("input") if one.get("name") == "to"] == [chosen]
    assert faces.models.asked[-1] == (
        "plan", {"environment": "production", "to": chosen, "visible": None},
    )  # fmt: skip
    assert [one[2]["dry_run"] for one in faces.service.orders] == [True]
    faces.post("/env/production/rollback", to=chosen, reason="")
    assert faces.service.orders[-1][2]["to"] == chosen


def test_a_plan_that_cannot_be_made_keeps_nobody_from_a_rescue() -> None:
    """The reason is said, and the button is there."""
    faces = Faces()

    def fail(environment: str, **_asked: object) -> dict[str, Any]:
        raise Problem(HTTPStatus.BAD_GATEWAY, f"The cluster of {environment} did not answer.")

    faces.models.plan = fail  # type: ignore[method-assign] # the stand-in is ours

    read = faces.read("/env/production/rollback")

    assert "did not answer" in words(read)
    assert "danger" in [one.get("class") for one in read.all("button")]


def test_where_nothing_is_to_be_done_there_is_no_button() -> None:
    """Only what the service says."""
    faces = Faces()
    faces.service.is_done = True

    read = faces.read("/env/dev/rollback")

    assert [one.get("action") for one in read.all("form")] == ["/sign-out"]


@pytest.mark.parametrize(("given", "seconds"), [("", None), ("4h", 14_400.0), (" 90m ", 5_400.0)])
def test_a_pause_takes_a_duration(given: str, seconds: float | None) -> None:
    """As people write them."""
    faces = Faces()

    faces.post("/env/dev/pause", **{"for": given})

    assert faces.service.orders[-1][2]["seconds"] == seconds


@pytest.mark.parametrize("given", ["soon", "0s", "-1h", "99999d", "1" * 5000])
def test_a_pause_of_no_length_is_refused_with_a_page(given: str) -> None:
    """And nothing is done."""
    faces = Faces()

    answer = faces.post("/env/dev/pause", **{"for": given})

    assert answer.status == 422
    assert Read.of(answer.text).complaints() == []
    assert faces.service.orders == []


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("text/plain", b"reason=x", 415),
        (FORM[1], b"reason=\xff\xfe", 422),
        (FORM[1], b"reason=%ff", 422),
        (FORM[1], b"&".join([b"a=1"] * 50), 422),
        (FORM[1], b"reason=" + b"x" * 3000, 422),
    ],
)
def test_what_no_form_of_ours_sends_is_refused(kind: str, body: bytes, status: int) -> None:
    """With a page that says so."""
    faces = Faces()

    answer = ask(faces, "POST", "/env/dev/sync", [("content-type", kind)], body)

    assert answer.status == status
    assert Read.of(answer.text).complaints() == []
    assert faces.service.orders == []


def test_who_may_not_deploy_does_not() -> None:
    """Neither the question nor the deed."""
    faces = Faces()
    faces.role = Role.VIEWER

    assert faces.get("/env/dev/rollback").status == 403
    assert faces.post("/env/dev/sync").status == 403
    assert faces.service.orders == []


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/env/nowhere", 404),
        ("/env/nowhere/plan", 404),
        ("/env/%3Cscript%3E", 404),
        (f"/env/{'x' * 300}", 422),
        ("/rollouts/production%23999999", 404),
        ("/rollouts/x", 404),
        ("/history?kind=none", 422),
        ("/history?since=yesterday", 422),
        ("/stats?days=0", 422),
    ],
)
def test_an_error_is_a_page_with_the_next_step(faces: Faces, path: str, status: int) -> None:
    """It says what happened, does not quote the address, and leads back."""
    answer = faces.get(path)

    read = Read.of(answer.text)
    assert answer.status == status
    assert read.complaints() == []
    assert "/" in [one.get("href") for one in read.all("a") if one.get("class") == "button"]
    assert "script>" not in answer.text.replace("</script>", "")


def test_a_store_that_does_not_answer_is_a_page_too() -> None:
    """503, with what it means."""
    faces = Faces()

    def fail(*_asked: object, **_more: object) -> list[dict[str, Any]]:
        message = "the disk is full"
        raise StoreError(message)

    faces.models.environments = fail  # type: ignore[method-assign] # the stand-in is ours

    answer = faces.get("/")

    assert answer.status == 503
    assert "the disk is full" in answer.text
    assert "What runs on the clusters goes on running" in answer.text


def test_the_sign_in_page(faces: Faces) -> None:
    """One field, where to go on, and why the last try was not taken; readable without a session."""
    whole: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        from fastapi import Request  # noqa: PLC0415 - only here

        answer = pages.sign_in(
            faces.render,
            Request(scope),
            next_page='/env/dev?a="><b>',
            error="It is not known.",
            was_cross_site=True,
        )
        whole.append(answer)
        await answer(scope, receive, send)

    answer = ask(app, "GET", "/sign-in")

    read = Read.of(answer.text)
    assert read.complaints() == []
    assert [one["value"] for one in read.all("input") if one.get("type") == "hidden"] == ['/env/dev?a="><b>']
    assert "It is not known." in words(read)
    assert [one["autocomplete"] for one in read.all("input") if one["name"] == "token"]


# --- lists and exports -------------------------------------------------------------------------------------


def test_filters_are_in_the_address_and_kept_from_page_to_page(faces: Faces) -> None:
    """Next page, exports, and the form itself."""
    read = faces.read("/audit?environment=dev&actor=ada&since=2026-11-01")
    asked = faces.models.asked[-1][1]
    links = [one.get("href", "") for one in read.all("a")]

    assert asked["environment"] == "dev"
    assert asked["since"].isoformat() == "2026-11-01T00:00:00+00:00"
    assert "/audit.csv?environment=dev&actor=ada&since=2026-11-01" in links
    assert "/audit?before=50&environment=dev&actor=ada&since=2026-11-01" in links
    assert [one.get("value") for one in read.all("input") if one.get("name") == "actor"] == ["ada"]


@pytest.mark.parametrize(("name", "many"), [("history", 252), ("audit", 360)])
def test_an_export_has_all_of_it(name: str, many: int) -> None:
    """Beyond what is read at a time, in both formats, as a file."""
    faces = Faces(views=[pages_data.view(f"env-{number}") for number in range(12)])
    lines = faces.get(f"/{name}.jsonl")
    table = faces.get(f"/{name}.csv")

    found = [json.loads(line) for line in lines.text.splitlines()]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert len(found) == len(rows) == many
    assert [str(one["id"]) for one in found] == [one["id"] for one in rows]
    assert table.headers["content-disposition"] == f'attachment; filename="{name}.csv"'


def test_no_cell_of_an_export_is_a_formula() -> None:
    """A spreadsheet carries out what begins with one of these."""
    faces = Faces(text=hostile())

    for path in ("/history.csv", "/audit.csv"):
        for row in csv.reader(io.StringIO(faces.get(path).text)):
            assert not [one for one in row if one.startswith(("=", "+", "-", "@", "\t", "\r"))]


# --- static ------------------------------------------------------------------------------------------------


def test_static_files_are_kept_for_ever_under_the_address_of_their_version(faces: Faces) -> None:
    """And every file that a page names is there; nothing else of the disk is."""
    read = faces.read("/")
    named = [one.get("href") or one.get("src") for tag in ("link", "script") for one in read.all(tag)]
    assert len(named) == 5
    for path in named:
        assert path is not None
        answer = faces.get(path)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]

    assert faces.get("/static/app.css").headers["cache-control"] == "no-cache"
    for other in ("VENDOR.toml", "..%2ftemplates%2fbase.html", "%2e%2e", "app.css%00"):
        assert faces.get(f"/static/{other}").status == 404
