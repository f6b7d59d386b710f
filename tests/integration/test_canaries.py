"""No secret comes out, whatever happens: a canary in each place, and a search in all that can be read."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import pytest
import requests
import yaml

from deployer.adapters.store import SqlStore
from deployer.cli.main import cli
from deployer.core.events import Paused, Seen
from deployer.web.access import rules
from tests.support import canary_site
from tests.support.build import CANARY, at, release
from tests.support.canaries import SPELLINGS, canary, found, glimpsed, in_base64, plain_canary
from tests.support.canary_site import CanarySite, config, policy
from tests.support.canary_watch import left_in
from tests.support.eventually import eventually
from tests.support.faces import uncalled
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


# --- the search itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [*SPELLINGS])
@pytest.mark.parametrize("secret", [canary("x"), plain_canary("y")], ids=["hostile", "plain"])
def test_one_that_is_hidden_so_is_found(how: str, secret: str) -> None:
    """Whatever stands before and behind it."""
    hidden = SPELLINGS[how](secret)
    assert found(hidden)
    if how != "zip":
        assert found(b"A sentence of some length: " + hidden + b", and more of it.\n" * 20)


def test_nothing_is_found_where_there_is_none() -> None:
    """In text, in what is packed, and in something random."""
    text = "The price of mangoes is 3.\n" * 1000
    for how in SPELLINGS.values():
        assert found(how(text)) == []


# --- the story ----------------------------------------------------------------------------------------------

_IN_LINE = "applications: [{name: f, import_path: 'a:b', "
_BELOW = "applications:\n- name: f\n  import_path: a:b\n  runtime_env:\n"

BAD_FILES = {
    "a quote that is not closed": _BELOW + '    env_vars: {T: "%s}\n',
    "a mapping": _IN_LINE + "runtime_env: {env_vars: {T: {x: '%s'}}}}]\n",
    "twice": _BELOW + "    env_vars: {T: '%s', T: '%s'}\n",
    "a list": _IN_LINE + "runtime_env: {env_vars: ['%s']}}]\n",
    "an anchor": "x: &x '%s'\n" + _IN_LINE + "runtime_env: {env_vars: {T: *y}}}]\n",
    "an archive": _IN_LINE + "runtime_env: {working_dir: 'https://ada:%s@e.com/x'}}]\n",
    "unknown": _IN_LINE + "api_token: '%s', runtime_env: {pipp: '%s'}}]\n",
    "a tab": _BELOW + "    env_vars:\n\t TOKEN: '%s'\n",
}
"""Configs that are refused, with an error that shows where."""

BAD_CHECKS = (
    {"app": "fruit", "path": "/fruit?api_key=%s"},
    {"app": "fruit", "path": "/fruit?of=https://ada:%s@example.com"},
    {"app": "fruit", "path": "/fruit", "body": {"password": "%s"}},
    {"app": "fruit", "path": "/fruit", "expect": {"json": {"in": [{"session_token": "%s"}]}}},
)
"""Checks that are refused: what they send would be in the log."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """All that can be read after the story, by what it is; and the tokens that were given in it."""

    texts: dict[str, bytes]
    tokens: tuple[str, ...]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Play it."""
    site = CanarySite(tmp_path_factory.mktemp("canaries"))
    texts: dict[str, bytes] = {}
    with site.standing():
        _play(site, texts)
        tokens = (site.api()["token"], *_given(site))
        texts.update(_looked_at(site))
        texts.update(_typed(site))
        site.stop()
    texts |= {
        f"command {number}": "\0".join(one).encode() for number, one in enumerate(sorted(site.commands))
    }
    texts["what the daemon printed"] = site.printed.read_bytes()
    texts |= _kept(site)
    assert len(site.commands) > 5
    return Read(texts=texts, tokens=tokens)


def _given(site: CanarySite) -> Iterator[str]:
    """Tokens: each is printed once, to whoever asked for it."""
    yield site.json("token", "create", "lin", "--role", "viewer")["secret"]
    for _ in range(2):
        order = {"name": "bob", "role": "viewer", "by": "ada"}
        answer = site.ask("POST", "/api/v1/tokens", json=order, headers={"Idempotency-Key": "once"})
        assert answer.status_code == 200, answer.text
        yield answer.json()["secret"]


def _play(site: CanarySite, texts: dict[str, bytes]) -> None:
    """Deploys that end in every way, while Ray says everything back."""
    site.push("staging", config(1))
    site.start()
    ray = site.rays["staging"]

    def outcome(*args: str, code: int) -> None:
        result = site.type("sync", "staging", "--wait", *args)
        texts[f"sync {len(texts)}"] = result.output.encode()
        assert result.exit_code == code, result.output

    outcome(code=0)
    site.push("staging", config(2))
    outcome(code=0)
    site.push("staging", config(3, "constructor_raises:app"), message="a subject")
    outcome(code=4)
    site.push("staging", config(4, "import_error:app"))
    outcome(code=4)
    ray.is_well = False
    site.push("staging", config(5))
    outcome(code=4)
    ray.is_well = True
    ray.denies = True
    site.push("staging", config(6))
    texts["denied"] = site.type("sync", "staging", "--wait", "--timeout", "3s").output.encode()
    ray.denies = False
    for number, (name, text) in enumerate(BAD_FILES.items()):
        secret = plain_canary(f"file{number}")
        site.push("staging", text.replace("%s", secret), message=name)
        texts[f"refused {name}"] = site.type("sync", "staging", "--wait").output.encode()
        (site.root / "bad.yaml").write_text(text.replace("%s", secret))
        for form in ("text", "json", "github", "gitlab", "sarif", "junit"):
            result = site.type("validate", str(site.root / "bad.yaml"), "--format", form)
            texts[f"validate {name} {form}"] = result.output.encode()
    for number, check in enumerate(BAD_CHECKS):
        text = policy(checks=[check]).replace("%s", plain_canary("check"))
        site.push("staging", config(7), text)
        result = site.type("sync", "staging", "--wait")
        texts[f"refused check {number}"] = result.output.encode()
        assert "holds what its name calls a secret" in result.output
    site.push("staging", config(7))
    outcome(code=0)
    _trouble(site, texts)
    _others(site, texts)


def _trouble(site: CanarySite, texts: dict[str, bytes]) -> None:
    """Ray, git and a person by hand: none of them is as usual."""
    ray = site.rays["staging"]
    for status in (401, 403, 500, 503, 302):
        ray.status = status
        texts[f"live {status}"] = site.type("live", "staging").output.encode()
        texts[f"sync {status}"] = site.type("sync", "staging").output.encode()
        eventually(lambda: ray.asked, within=20)
        texts[f"status {status}"] = site.type("status", "staging", "-o", "json").output.encode()
        ray.asked.clear()
    ray.status = 200
    site.git.token = "another"
    texts["git refuses"] = site.type("sync", "staging", "--wait", "--timeout", "3s").output.encode()
    site.git.token = canary_site.GIT
    # Somebody changes what runs, by hand: it is told as drift, and healed.
    changed = config(7)
    changed["applications"][0]["runtime_env"]["env_vars"]["TOKEN"] = canary("drift")
    changed["applications"][0]["args"]["db_password"] = canary("drifted")
    with ray.lock:
        ray.fake.foreign_put(changed)
    eventually(lambda: "drifted" in site.type("audit", "list", "-e", "staging").output or None, within=30)
    eventually(lambda: site.json("status", "staging")[0]["sync"] == "Synced", within=40)


def _others(site: CanarySite, texts: dict[str, bytes]) -> None:
    """What others send: tokens that are none, webhooks; and another environment, whose gates wait."""
    wrong = plain_canary("wrong")
    for number, headers in enumerate(
        (
            {"Authorization": f"Bearer {wrong}"},
            {"Authorization": f"Basic {wrong}"},
            {"Authorization": wrong},
            {"Cookie": f"deployer_session={wrong}; deployer={wrong}"},
            {"X-Forwarded-User": wrong},
            {"Idempotency-Key": wrong},
            {"If-None-Match": f'"{wrong}"'},
            {"Traceparent": wrong, "User-Agent": wrong, "Referer": f"http://x/?token={wrong}"},
        )
    ):
        for method, path in (
            ("GET", "/api/v1/environments"),
            ("POST", "/api/v1/environments/staging/pause"),
            ("GET", f"/?token={wrong}"),
            ("GET", "/sign-in"),
        ):
            answer = site.ask(
                method, path, token="none", headers=headers, json={} if method == "POST" else None
            )
            texts[f"stranger {number} {method} {path[:20]}"] = _said(answer)
    for number, token in enumerate((wrong, canary_site.HOOK)):
        headers = {"X-Gitlab-Token": token, "X-Gitlab-Event": "Push Hook"}
        answer = site.ask("POST", "/hooks/configs", headers=headers, data=b"{}")
        texts[f"hook {number}"] = _said(answer)
    answer = site.ask("POST", "/sign-in", data={"token": wrong}, headers={"Origin": site.api()["url"]})
    texts["sign in"] = _said(answer)
    for body in ({"reason": 3}, {"secret": wrong}, [wrong], {"to": wrong}):
        answer = site.ask("POST", "/api/v1/environments/staging/rollback", json=body)
        texts[f"bad body {json.dumps(body)[:9]}"] = _without(
            _said(answer), wrong if body == {"to": wrong} else ""
        )
    site.push("production", config(8))
    texts["waits"] = site.type("sync", "production", "--wait", "--timeout", "3s").output.encode()


def _without(said: bytes, quoted: str) -> bytes:
    """The answer without what the person asked for, which it may quote."""
    return said.replace(quoted.encode(), b"") if quoted else said


def _said(answer: Any) -> bytes:
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    return headers.encode() + b"\n\n" + bytes(answer.content)


# --- what can be read ---------------------------------------------------------------------------------------


def _looked_at(site: CanarySite) -> Iterator[tuple[str, bytes]]:
    """Every route that answers a GET: the API's, the pages, exports, streams, metrics."""
    rollouts = [one["id"] for one in site.json("history", "-n", "100")]
    events = [one["id"] for one in site.json("audit", "list", "-n", "500")]
    values = {
        "environment": canary_site.NAMES,
        "rollout": tuple(one.replace("#", "%23") for one in rollouts),
        "event": tuple(map(str, events)),
        "form": ("csv", "json", "jsonl"),
        "name": ("site.css",),
        "token_id": ("x",),
    }
    for path in _paths(values):
        is_stream = path.endswith(("/events", "/live")) and "environments/" not in path
        if is_stream:
            yield path, _streamed(site, path + ("?after=0" if path.endswith("/events") else ""))
            continue
        answer = site.ask(
            "GET", path, headers={"Accept": "application/json" if "/api/" in path else "text/html"}
        )
        assert answer.status_code < 500, (path, answer.text)
        yield f"GET {path}", _said(answer)
    for to in ("live", "release", *rollouts[:3]):
        answer = site.ask("GET", "/api/v1/environments/staging/plan", params={"to": to})
        yield f"plan to {to}", _said(answer)
    for kind in ("rollouts", "audit"):
        yield f"all of {kind}", _said(site.ask("GET", f"/api/v1/{kind}?limit=200"))


def _paths(values: dict[str, tuple[str, ...]]) -> Iterator[str]:
    seen = {path for method, path, _ in rules(uncalled()) if method == "GET"}
    assert len(seen) > 40
    for path in sorted(seen):
        names = [name for name in values if f"{{{name}" in path]
        for number in range(max([1, *(len(values[name]) for name in names)])):
            filled = path
            for name in names:
                value = values[name][min(number, len(values[name]) - 1)]
                filled = filled.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)
            yield filled


def _streamed(site: CanarySite, path: str) -> bytes:
    """What a stream says within its first moments."""
    content, until = b"", time.monotonic() + _STREAMED_SECONDS
    headers = {"Accept": "text/event-stream"}
    with (
        suppress(requests.RequestException),
        site.ask("GET", path, stream=True, headers=headers, wait=_STREAMED_SECONDS) as answer,
    ):
        # No more comes for a while, or all the time.
        for chunk in answer.iter_content(None):
            content += chunk
            if time.monotonic() > until:
                break
    return content


_STREAMED_SECONDS = 0.3


WRITES = frozenset(
    {
        *("run", "init", "try", "demo", "sync", "promote", "approve", "reject", "rollback", "retry"),
        *("pause", "resume", "token create", "token revoke", "outbox drop", "outbox retry"),
        *("backup", "restore", "audit checkpoint", "audit seal", "notify test"),
    }
)
"""Commands that do something. What they say before they would (`--dry-run`) is read too."""


def _typed(site: CanarySite) -> Iterator[tuple[str, bytes]]:
    """Every command that reads, in every form; and what the others say before they do anything."""
    rollouts = [one["id"] for one in site.json("history", "-n", "100")]
    events = [str(one["id"]) for one in site.json("audit", "list", "-n", "500")]
    folder = site.root / "folder"
    folder.mkdir()
    (folder / "serve_config.yaml").write_text(yaml.safe_dump(config(9)))
    (folder / "environment.yaml").write_text(policy())
    of: dict[str, list[tuple[str, ...]]] = {
        "validate": [
            ("validate", str(folder)),
            *(("validate", str(folder), "--format", form) for form in _FORMS),
        ],
        "plan": [
            ("plan", "staging", "production"),
            ("plan", "staging", "--format", "markdown"),
            ("plan", "staging", "--from", str(folder)),
            ("plan", "staging", "--from", str(folder), "--format", "markdown"),
            ("plan", "staging", "--from", str(folder), "--against", "release", "--format", "json"),
            *(("plan", "staging", "--against", one) for one in rollouts[-2:]),
        ],
        "diff": [
            ("diff", "staging@live", str(folder)),
            ("diff", rollouts[-1], str(folder)),
            ("diff", "staging@main", "production@main"),
        ],
        "render": [("render", "staging"), ("render", str(folder)), ("render", rollouts[-1])],
        "schema": [("schema", "serve")],
        "status": [("status",), ("status", "staging")],
        "explain": [("explain", "staging"), ("explain", "production")],
        "history": [("history",), ("history", "staging", "--at", "2030-01-01T00:00")],
        "rollouts bundle": [("rollouts", "bundle", one, "--file", "-") for one in rollouts],
        "rollouts show": [("rollouts", "show", one) for one in rollouts],
        "stats": [("stats",)],
        "live": [("live", "staging")],
        "logs": [("logs", "staging", "-n", "100")],
        "audit export": [("audit", "export", "--format", form) for form in _EXPORTS],
        "audit list": [("audit", "list", "-n", "500")],
        "audit show": [("audit", "show", one) for one in events],
        "audit verify": [("audit", "verify")],
        "outbox list": [("outbox", "list")],
        "notify list": [("notify", "list")],
        "token list": [("token", "list")],
        "doctor": [("doctor",)],
        "healthcheck": [("healthcheck",)],
        "config schema": [("config", "schema")],
        "config show": [("config", "show")],
        "config validate": [("config", "validate")],
        "completion": [("completion", "bash")],
    }
    there = {*_commands(cli, ())}
    assert there - WRITES - of.keys() == set(), "commands that no test reads"
    for commands in of.values():
        for number, args in enumerate(commands):
            # Of long rows of the same kind one form each, in turns.
            for form in _OUTPUTS if len(commands) < _MANY else (_OUTPUTS[number % len(_OUTPUTS)],):
                result = site.type(*args, *(() if form == "table" else ("-o", form)))
                yield f"{' '.join(args)} -o {form}", result.output.encode() + result.stdout_bytes
    for name in ("sync", "rollback", "retry", "pause", "resume", "approve", "reject"):
        result = site.type(name, "staging" if name != "approve" else "production", "--dry-run", "-o", "json")
        yield f"{name} --dry-run", result.output.encode()
    yield "promote --dry-run", site.type("promote", "staging", "production", "--dry-run").output.encode()
    yield from _bad_settings(site)


_OUTPUTS = ("table", "json", "yaml")
_MANY = 10
_EXPORTS = ("jsonl", "csv", "cloudevents", "cdevents", "raw")
_FORMS = ("json", "github", "gitlab", "sarif", "junit")


def _bad_settings(site: CanarySite) -> Iterator[tuple[str, bytes]]:
    """A secret where none may stand is an error that does not repeat it."""
    text, secret = site.settings.read_text(), plain_canary("settings")
    bad = {
        "url": text.replace("http://127.0.0.1", f"http://ada:{secret}@127.0.0.1", 1),
        "cluster": text.replace("address: http://", f"address: http://ada:{secret}@"),
        "token": text.replace("token_file:", f"token: {secret}\n    token_file:", 1),
        "yaml": text.replace("server:", f'server: "{secret}', 1),
    }
    for name, content in bad.items():
        file = site.root / f"{name}.yaml"
        file.write_text(content)
        for args in (("config", "validate"), ("config", "show"), ("status",), ("run",)):
            result = click.testing.CliRunner().invoke(cli, [*args, "-c", str(file)])
            assert result.exit_code != 0
            yield f"settings, {name}: {args[0]}", result.output.encode()
    for variable in ("DEPLOYER_REPOSITORIES__CONFIGS__URL", "DEPLOYER_REPOSITORIES__CONFIGS__TOKEN"):
        result = site.type("config", "validate", env={variable: f"https://ada:{secret}@example.com/x.git"})
        assert result.exit_code == 3
        yield variable, result.output.encode()


def _commands(command: click.Command, names: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield " ".join(names)
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        below = command.get_command(ctx, name)
        assert below is not None
        yield from _commands(below, (*names, name))


def _kept(site: CanarySite) -> Iterator[tuple[str, bytes]]:
    """Every file of the state folder but for the mirrors, which are git's, with what git holds."""
    for path in sorted(site.state_dir.rglob("*")):
        if path.is_file() and "mirrors" not in path.parts:
            assert path.stat().st_mode & 0o077 == 0, path
            if path.name != "deployer.db":
                yield path.name, path.read_bytes()
    backup = site.root / "backup.db"
    result = site.type("backup", str(backup))
    assert result.exit_code == 0, result.output
    yield "backup", result.output.encode()
    for path in (site.state_dir / "deployer.db", backup):
        # The contents of releases are the way back when git cannot be reached, and so they are whole.
        assert found(path.read_bytes())
        copy = site.root / "copy.db"
        shutil.copyfile(path, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            # What was there is overwritten with zeros, so that all other bytes of the file can be searched.
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("UPDATE releases SET config = ''")
        yield f"{path.name} but for the contents of releases", copy.read_bytes()


# --- what was found -----------------------------------------------------------------------------------------


def test_nothing_that_can_be_read_has_a_canary(read: Read) -> None:
    """Neither in plain nor spelled in any other way."""
    assert len(read.texts) > 200
    assert any(b"cannot send by ntfy" in text for text in read.texts.values()), "a failure was to be told"
    hits = {what: found(text)[:3] for what, text in read.texts.items() if found(text)}
    assert not hits, "\n".join(f"{what}: {where}" for what, where in hits.items())


def test_no_token_is_anywhere_but_where_it_was_given(read: Read) -> None:
    """Of a token there is the hash; the daemon's own is in the file that only its owner reads."""
    forms = [
        form.encode() for token in read.tokens for form in (token, *in_base64(token), token.encode().hex())
    ]
    assert len(forms) == 5 * 4
    places = [what for what, text in read.texts.items() if any(form in text for form in forms)]
    assert places == ["admin.token"]


# --- the look after every test ------------------------------------------------------------------------------


def test_what_is_left_after_a_test_is_seen(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a store, in its log beside it, in what was printed; but not where configs are meant to be whole."""
    folder = tmp_path_factory.mktemp("left")
    repo = BareRepo(folder / "configs.git")
    repo.commit({"a": canary("file")})
    with closing(SqlStore.open(folder / "a" / "deployer.db")) as store:
        store.commit(store.load("staging"), [Seen(at=at(0), release=release("one"))])
        assert CANARY in store.config(release("one").digest).text
        assert left_in(folder, "nothing", "") == []
        store.commit(store.load("staging"), [Paused(at=at(1), actor="ada", reason=plain_canary("reason"))])
        assert set(left_in(folder)) == {"a/deployer.db", "a/deployer.db-wal"} - _without_log(folder)
    assert left_in(folder) == ["a/deployer.db"]
    assert left_in(None, canary("printed")) == ["what it printed"]
    (folder / "daemon.log").write_text(plain_canary("log"))
    assert left_in(folder) == ["daemon.log", "a/deployer.db"]


def _without_log(folder: Path) -> set[str]:
    """Before a checkpoint of SQLite the newest rows are in the second file alone."""
    return set() if glimpsed((folder / "a" / "deployer.db").read_bytes()) else {"a/deployer.db"}
