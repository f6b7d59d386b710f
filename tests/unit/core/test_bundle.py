"""A bundle of evidence: which files it has, that it is always the same, and that no secret is in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest

from deployer.core import bundle
from deployer.core.bundle import Surroundings, files, packed
from deployer.core.bundle_readme import ABOUT, readme
from deployer.core.events import Approved, DaemonStarted, Failed, Failure, FailureClass, LogKept
from deployer.core.policy import parse
from deployer.core.scrub import REDACTED
from deployer.core.types import Check, Policy, ServeConfig
from tests.support.build import at, config
from tests.unit.core.test_dossier import A_IS_GOOD, SOURCE, B, dossier, failed_one

if TYPE_CHECKING:
    from deployer.core.dossier import Dossier
    from deployer.core.event_shown import Written

AROUND = Surroundings(
    deployer="0.1.0",
    python="3.11.7",
    store_schema="0002",
    serve_schema="2.60.0",
    cluster="https://ada:canary-address@ray-head:8265/ray?token=canary-query#top",
    ray_version="2.60.0",
)

ENV, NAMED, URL, SENT, BEFORE = (
    'canary"env/\u00e9 5up3r',
    "canary-named-5up3r",
    "canary-url-5up3r",
    "canary-sent-5up3r",
    "canary-before-5up3r",
)
MULTILINE = (
    "-----BEGIN KEY-----\nMIICanaryCanaryCanary0123456789\nMIICanaryCanaryCanary9876543210\n-----END KEY-----"
)
CANARIES = (ENV, NAMED, URL, SENT, BEFORE, *MULTILINE.splitlines()[1:3])


def secret_config(env: str = ENV) -> ServeConfig:
    """A config that holds secrets wherever one can stand."""
    return config(
        {
            "name": "fruit",
            "import_path": "good:app",
            "args": {
                "db_password": NAMED,
                "dsn": f"postgres://ada:{URL}@db/x",
                "banner": f"it is {ENV}, or not",
            },
            "runtime_env": {"env_vars": {"KEY": env, "PEM": MULTILINE, "ENVIRONMENT": "staging"}},
            "deployments": [{"name": "Mango", "user_config": {"greeting": f"hello {ENV}"}}],
        }
    )


def spelled(secret: str) -> list[str]:
    """A secret as it can stand somewhere."""
    raw = secret.encode()
    encoded = [base64.b64encode(b"x" * before + raw).decode() for before in range(3)]
    urls = [quote(secret), quote(secret, safe=""), quote_plus(secret)]
    return [
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret))[1:-1],
        raw.hex(),
        *encoded,
        *urls,
    ]


def traces(secret: str) -> list[str]:
    """What must not be left of it: of base64 the middle, for its ends are of the neighbours as well."""
    cores = [base64.b64encode(b"x" * before + secret.encode()).decode()[4:-4] for before in range(3)]
    return [*(form for form in spelled(secret) if not form.endswith("=")), *cores, secret[7:], secret[:-5]]


def noise() -> str:
    """A log in which every secret stands in every way."""
    lines = [f"{form} and {form}" for secret in CANARIES for form in spelled(secret)]
    basic = base64.b64encode(f"ada:{NAMED}".encode()).decode()
    # It begins and ends in the middle of a secret, as the end of a log does.
    return "\n".join([f"{NAMED[7:]} was cut", *lines, f"Authorization: Basic {basic}", MULTILINE, URL[:-4]])


def secret_dossier() -> Dossier:
    """A rollout that failed, and whose texts are full of secrets."""
    check = Check(app="fruit", path=f"/x?api_key={SENT}", body=json.dumps({"token": SENT}), json='{"a":1}')
    found = failed_one()
    failure = Failure(failure_class=FailureClass.CODE, message=f"boom: {ENV}", detail=noise(), log=SOURCE)
    events: list[Written] = []
    for one in found.events:
        event: Any = one.event
        if event.type == "started":
            event = replace(
                event, policy=Policy(checks=(check,)), reason=f"because {ENV}", plan=f"x {ENV} -> y"
            )
        elif isinstance(event, Failed):
            event = replace(event, failure=failure)
        elif isinstance(event, LogKept):
            event = replace(event, text=noise())
        events.append(replace(one, event=event))
    entry = replace(found.entry, failure=failure, reason=f"because {ENV}", log=noise(), plan=f"x {ENV} -> y")
    wish = Approved(
        at=at(5), actor="lin (token 1)", reason=f"for {ENV}", plan="p", digest="d", commit="c" * 40
    )
    said = replace(found.events[0], id=3, sequence=3, event=wish)
    return replace(
        found,
        entry=entry,
        events=tuple(events),
        config=secret_config(),
        config_before=secret_config(BEFORE),
        wishes=(said,),
    )


def members(found: Dossier, around: Surroundings = AROUND) -> dict[str, str]:
    """The files as text, without the name of their folder."""
    return {
        title.partition("/")[2]: data.decode() for title, data in files(found, around, json.dumps).items()
    }


def test_what_is_in_it() -> None:
    """The story first, then each part; all in one folder, with the sums."""
    made = files(failed_one(), AROUND, json.dumps)
    titles = [*made]
    assert titles == [
        f"staging-2/{title}"
        for title in (
            *("README.md", "rollout.json", "timeline.jsonl", "before.jsonl", "changes.json", "config.yaml"),
            *("environment.yaml", "gates.json", "versions.json", "error.txt"),
            *("log-1-fruit-Mango-x1.txt", "SHA256SUMS"),
        )
    ]
    sums = made["staging-2/SHA256SUMS"].decode().splitlines()
    assert sums == [
        f"{hashlib.sha256(data).hexdigest()}  {title.partition('/')[2]}"
        for title, data in made.items()
        if not title.endswith("SHA256SUMS")
    ]
    assert {title.partition("/")[2] for title in titles} - ABOUT.keys() == {"log-1-fruit-Mango-x1.txt"}


def test_each_part_says_what_it_is_for() -> None:
    """Events with their hashes, the error, the log, the policy, gates, what was said before."""
    made = members(failed_one())
    lines = [json.loads(line) for line in made["timeline.jsonl"].splitlines()]
    assert [(one["sequence"], one["type"], one["hash"]) for one in lines[:2]] == [
        (8, "started", f"{8:064x}"),
        (9, "applied", f"{9:064x}"),
    ]
    assert [one["previous_hash"] for one in lines[1:]] == [one["hash"] for one in lines[:-1]]
    assert made["error.txt"] == "fruit / D: ValueError: bad price\n"
    assert made["log-1-fruit-Mango-x1.txt"] == "the end\n"
    assert parse(made["environment.yaml"].encode(), "environment.yaml")[0] == Policy()
    assert json.loads(made["gates.json"])[0]["name"] == "requires"
    assert [json.loads(line)["type"] for line in made["before.jsonl"].splitlines()] == ["seen"]
    assert json.loads(made["changes.json"])["against_rollout"] == "staging#1"
    assert json.loads(made["rollout.json"])["result"] == "failed"


def test_one_that_went_well_has_no_error_and_no_log() -> None:
    """And what was never done is in no file."""
    made = members(dossier(*A_IS_GOOD, of="staging#1"))
    assert not {"error.txt", "before.jsonl"} & made.keys()
    assert not [title for title in made if title.startswith("log-")]
    assert "# staging#1: deploy, good" in made["README.md"]
    bare = members(replace(failed_one(), events=(), seen=None))
    assert "environment.yaml" not in bare
    assert json.loads(bare["versions.json"])["ray"]["when_it_began"] is None


def test_it_is_always_the_same() -> None:
    """To the byte: no time, no order, no compression of this machine is in it."""
    one, other = (packed(files(secret_dossier(), AROUND, json.dumps)) for _ in range(2))
    assert one == other
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100600}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize("canary", CANARIES)
def test_no_secret_is_in_any_file(canary: str) -> None:
    """Not as it is, not as JSON, a URL, base64 or hex have it, nor half of it where a text was cut."""
    for title, data in files(secret_dossier(), AROUND, json.dumps).items():
        for form in traces(canary):
            assert form.encode() not in data, title
            assert json.dumps(form)[1:-1].encode() not in data, title


def test_what_is_no_secret_is_left() -> None:
    """A name that a variable has as well; the words around a secret."""
    made = members(secret_dossier())
    assert json.loads(made["rollout.json"])["environment"] == "staging"
    assert f"boom: {REDACTED}" in made["README.md"]
    assert made["error.txt"].startswith(f"{REDACTED} was cut\n{REDACTED} and {REDACTED}\n")
    assert f"api_key={REDACTED}" in made["environment.yaml"]
    assert f"postgres://{REDACTED}@db/x" in made["config.yaml"]
    assert f"hello {REDACTED}" in made["config.yaml"]


def test_versions_and_where_the_cluster_is() -> None:
    """Those of the daemon as it was then, if that was noted; never what would let anybody in."""
    versions = json.loads(members(failed_one())["versions.json"])
    assert versions["daemon"] is None
    assert versions["packed_by"] == {"version": "0.1.0", "python": "3.11.7", "store_schema": "0002"}
    assert versions["ray"] == {
        "when_it_began": "2.59.0",
        "last_seen": "2.60.0",
        "serve_schema": "2.60.0",
    }
    assert versions["cluster"] == {
        "address": "https://ray-head:8265/ray",
        "session_when_it_began": "session_1",
        "session": "session_1",
    }
    daemon = DaemonStarted(
        at=at(0),
        version="0.0.9",
        python="3.12.1",
        schema="0001",
        settings="sha256:s",
        clusters={"staging": "http://[::1]:9", "other": "http://hidden"},
    )
    then = members(failed_one(), replace(AROUND, daemon=daemon))["versions.json"]
    assert json.loads(then)["daemon"] == {
        "version": "0.0.9",
        "python": "3.12.1",
        "store_schema": "0001",
        "started_at": "2026-11-22T10:42:00.000Z",
    }
    assert json.loads(then)["cluster"]["address"] == "http://[::1]:9"
    assert "hidden" not in then


@pytest.mark.parametrize(
    ("url", "shown"),
    [(None, None), ("http://[", None), ("http://ray", "http://ray"), ("nothing", "://nothing")],
)
def test_an_address_that_is_none_is_not_shown(url: str | None, shown: str | None) -> None:
    """Whatever the settings had."""
    versions = json.loads(members(failed_one(), replace(AROUND, cluster=url))["versions.json"])
    assert versions["cluster"]["address"] == shown


def test_a_log_that_was_changed_is_told_first_of_all() -> None:
    """With the places of the events."""
    found = failed_one()
    first, second, *others = found.events
    changed = (replace(first, is_intact=False), replace(second, is_linked=False), *others)
    page = members(replace(found, events=changed))["README.md"]
    assert "**These events are not as they were written, by their sequence: 8, 9.**" in page
    assert "as they were written when this was packed" in members(found)["README.md"]


def test_the_page_is_no_markup_of_others() -> None:
    """What a commit or a cluster says stands in a block that it cannot end."""
    found = failed_one()
    failure = Failure(
        failure_class=FailureClass.CODE,
        message="```\n# x",
        detail="```` <b>\n" + "\n".join(f"line {n}" for n in range(60)),
    )
    page = members(replace(found, entry=replace(found.entry, failure=failure)))["README.md"]
    (fence,) = {line.removesuffix("text") for line in page.splitlines() if line.startswith("`````")}
    assert fence == "`````"
    inside = page.partition("## The first error\n\n`````text\n")[2].partition("\n`````\n")[0].splitlines()
    assert inside[0] == "```` <b>"
    assert inside[-1] == "... and 21 more lines: error.txt"
    assert "## Checks" not in page


def test_a_page_tells_of_checks() -> None:
    """Where there were any."""
    one: dict[str, Any] = {
        "id": "staging#1",
        "kind": "deploy",
        "result": "in_progress",
        "story": [],
        "timeline": [],
        "checks": [{"app": "a", "path": "/", "passed": None, "attempts": 0, "message": ""}],
        "detail": "",
        "against": None,
        "changes": [],
    }
    page = readme(one, {"a": {"b": None}}, ["rollout.json", "log-1-x.txt"], ())
    assert page.startswith("# staging#1: deploy, in progress\n")
    assert "## Checks\n\n```text\nnot made  a /\n```" in page
    assert "a b  not known" in page
    assert "- `log-1-x.txt`: the end of the log of a replica that failed" in page


def test_the_name_of_the_file() -> None:
    """Of the rollout, without what a shell takes for a comment."""
    assert bundle.name("production#37") == "production-37"
    assert B.revision.short in members(failed_one())["README.md"]
