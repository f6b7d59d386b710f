"""A policy is obeyed or refused: no key of it is ever skipped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core import durations, policy, serve_config
from deployer.core.errors import InvalidConfig
from deployer.core.fields import EACH
from deployer.core.policy import KEYS
from deployer.core.types import Check, Deadlines, OnDrift, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[3] / "docs/environment.md"


def parse(text: str) -> Policy:
    """The policy that this file says."""
    found, _ = policy.parse(text.encode(), "f")
    return found


def refusals(text: str) -> list[str]:
    """The problems with this policy, one line each: place and message."""
    with pytest.raises(InvalidConfig) as refused:
        parse(text)
    return [str(problem).splitlines()[0] for problem in refused.value.problems]


def test_every_key_is_obeyed() -> None:
    """The file of the documentation."""
    text = """\
    health:
      stability_window: 45s
      max_flaps: 1
      deadlines: {build: 10m, schedule: 90s, start: 1h30m}
      fail_fast_after: 3
    checks:
      - app: fruit
        path: /fruit?name=mango
        method: PUT
        body: {amount: 2, on: [1.5, null, "é"]}
        expect: {status: 201, json: {price: 3, "on": {x: true}}, latency: 500ms}
        timeout: 2s
        retries: 0
    soak: 1m
    rollback: {on: false, deadline: 500ms}
    drift: alert
    heals_per_hour: 0
    owns: [fruit, math]
    allow: {delete: true}
    """
    check = Check(
        app="fruit",
        path="/fruit?name=mango",
        method="PUT",
        body='{"amount":2,"on":[1.5,null,"\\u00e9"]}',
        status=201,
        json='{"price":3,"on":{"x":true}}',
        latency=0.5,
        timeout=2.0,
        retries=0,
    )
    assert parse(text) == Policy(
        deadlines=Deadlines(build=600.0, schedule=90.0, start=5400.0),
        stability_window=45.0,
        max_flaps=1,
        fail_fast_after=3,
        checks=(check,),
        soak=60.0,
        rollback=False,
        rollback_deadline=0.5,
        drift=OnDrift.ALERT,
        heals_per_hour=0,
        owns=("fruit", "math"),
        allow_delete=True,
    )


def test_nothing_can_be_a_length() -> None:
    """Where a wait of no length makes sense, it is a wait of no length and not the default."""
    found = parse("health: {stability_window: 0s, fail_fast_after: 0}\nsoak: 0s")
    assert (found.stability_window, found.fail_fast_after, found.soak) == (0.0, 0, 0.0)


def test_the_least_that_a_check_is() -> None:
    """Where and whom it asks: all else has its default."""
    assert parse("checks: [{app: fruit, path: /, expect: }]").checks == (Check(app="fruit", path="/"),)


@pytest.mark.parametrize(
    ("body", "sent"), [("{}", "{}"), ("", "null"), ("5", "5"), ("no", "false"), ("x", '"x"'), ("[]", "[]")]
)
def test_any_body_makes_a_post(body: str, sent: str) -> None:
    """A body is any value, also an empty one, and is sent as JSON."""
    (check,) = parse(f"checks: [{{app: fruit, path: /, body: {body} }}]").checks
    assert (check.method, check.body) == ("POST", sent)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "{}",
        "health:\nrollback:\n",
        "health: {deadlines: }",
        "rollback: {}",
        "health: {deadlines: {}}",
        "checks:\nallow:\nowns:\n",
        "checks: []",
    ],
)
def test_what_is_not_given_has_its_default(text: str) -> None:
    """All of it is optional, also where the rest was commented out."""
    assert parse(text) == Policy()


def test_one_deadline_alone_leaves_the_others() -> None:
    """A part of a mapping is no reason to lose the defaults of its neighbours."""
    assert parse("health: {deadlines: {start: 1m}}") == Policy(deadlines=Deadlines(start=60.0))


@pytest.mark.parametrize("key", ["on", "'on'", '"on"'])
@pytest.mark.parametrize(("text", "value"), [("true", True), ("off", False), ("yes", True), ("no", False)])
def test_on_is_a_key(key: str, text: str, value: bool) -> None:
    """YAML 1.1 reads a plain `on` as true, also as a key; here it is what is written."""
    assert parse(f"rollback: {{{key}: {text}}}").rollback is value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rollback: {true: false}", "f:1:12: unknown key 'true' (known here: on, deadline)"),
        ("rollback: {yes: false}", "f:1:12: unknown key 'yes' (known here: on, deadline)"),
        ("rollback: {on: 1}", "f:1:16: rollback.on is true or false, not a number"),
        ("rollback: {on: }", "f:1:15: rollback.on is true or false, not nothing (null)"),
        ("rollback: {on: 'true'}", "f:1:16: rollback.on is true or false, not text"),
        ("rollback: true", "f:1:1: rollback is a mapping with the keys on, deadline, not true or false"),
        (
            "health: {deadlines: 5m}",
            "f:1:10: health.deadlines is a mapping with the keys build, schedule, start, not text",
        ),
        (
            "[health]",
            "f:1:1: this file is a mapping with the keys ray_version, health, checks, soak, rollback, drift,"
            " heals_per_hour, owns, allow, not a list",
        ),
        (
            "rollback: {deadline: 600}",
            "f:1:22: rollback.deadline needs a unit: write it as 30s, 10m or 1h30m",
        ),
        ("rollback: {deadline: 1.5}", "f:1:22: rollback.deadline needs a unit"),
        ("rollback: {deadline: 1:30}", "f:1:22: rollback.deadline needs a unit"),
        (
            "rollback: {deadline: '90'}",
            "f:1:22: rollback.deadline: 90 has no unit: write 90s for seconds or 90m",
        ),
        ("rollback: {deadline: soon}", "f:1:22: rollback.deadline: 'soon' is not a duration"),
        (
            "rollback: {deadline: yes}",
            "f:1:22: rollback.deadline is a duration such as 30s, 10m or 1h30m, not true",
        ),
        (
            "rollback: {deadline: [5m]}",
            "f:1:22: rollback.deadline is a duration such as 30s, 10m or 1h30m, not a list",
        ),
        ("rollback: {deadline: 0s}", "f:1:22: rollback.deadline must be longer than nothing"),
        ("rollback: {deadline: 400d}", "f:1:22: rollback.deadline: 400d is longer than 365d"),
        ("rolback: {}", "f:1:1: unknown key 'rolback' (did you mean 'rollback'?)"),
        ("health: {deadlines: {strat: 5m}}", "f:1:22: unknown key 'strat' (did you mean 'start'?)"),
        ("sok: 2m", "f:1:1: unknown key 'sok' (did you mean 'soak'?)"),
        ("5: 2m", "f:1:1: unknown key '5' (known here: ray_version, health, checks, soak, rollback, drift,"),
        (
            "ray_version: 2.60",
            "f:1:14: ray_version is text, and YAML reads this as a number, without the last zero: quote it",
        ),
        ("ray_version: 2", "f:1:14: ray_version is text, not a number: quote it"),
        ("ray_version: new", "f:1:14: ray_version is a version of Ray such as \"2.60\", not 'new'"),
        ("ray_version:", "f:1:13: ray_version is empty: give it a value"),
        ("ray_verson: '2.60'", "f:1:1: unknown key 'ray_verson' (did you mean 'ray_version'?)"),
        ("health: {max_flaps: -1}", "f:1:21: health.max_flaps must be a whole number of 0 or more"),
        (
            "health: {max_flaps: 1.0}",
            "f:1:21: health.max_flaps is a whole number of 0 or more, not a fraction",
        ),
        ("health: {max_flaps: yes}", "f:1:21: health.max_flaps is a whole number of 0 or more, not true or"),
        (
            "health: {fail_fast_after: }",
            "f:1:26: health.fail_fast_after is a whole number of 0 or more, not nothing",
        ),
        ("soak:", "f:1:6: soak is a duration such as 30s, 10m or 1h30m, not nothing (null)"),
        ("drift: hael", "f:1:8: drift is heal, alert or ignore, not 'hael'"),
        ("drift: off", "f:1:8: drift is heal, alert or ignore, not true or false"),
        ("owns: fruit", "f:1:7: owns is a list of names, not text"),
        ("owns: []", "f:1:7: owns is an empty list: name one or more, or remove the line"),
        ("owns: [5]", "f:1:8: owns is a list of names, and this is a number"),
        ("owns: ['']", "f:1:8: owns is a list of names, and this is empty text"),
        ("owns: [a, a]", "f:1:11: 'a' stands in owns twice: remove one"),
        ("allow: {delet: true}", "f:1:9: unknown key 'delet' (did you mean 'delete'?)"),
        ("allow: {delete: 1}", "f:1:17: allow.delete is true or false, not a number"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(text: str, expected: str) -> None:
    """With the place, the reason, and what to do."""
    (found,) = refusals(text)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{app: a}", "f:1:1: checks is a list, not a mapping: begin each item with `- `"),
        ("[5]", "f:1:10: checks[0] is a mapping with the keys app, path, method, body, expect, timeout, "),
        ("[~]", "f:1:10: checks[0] is a mapping with the keys app, path, method, body, expect, timeout, "),
        ("[{path: /a}]", "f:1:10: checks[0].app is missing: add it"),
        ("[{app: a, path: }]", "f:1:24: checks[0].path is empty: give it a value"),
        ("[{app: '', path: /a}]", "f:1:16: checks[0].app is empty: give it a value"),
        ("[{app: 5, path: /a}]", "f:1:16: checks[0].app is text, not a number: quote it"),
        ("[{app: a, path: /a, aap: b}]", "f:1:29: unknown key 'aap' (did you mean 'app'?)"),
        ("[{app: a, path: fruit}]", "f:1:25: checks[0].path must begin with /, as in /fruit?name=mango"),
        ("[{app: a, path: 'http://host/'}]", "f:1:25: checks[0].path must begin with /"),
        (
            "[{app: a, path: /a b}]",
            "f:1:25: checks[0].path holds what no request line may: write it percent-",
        ),
        ("[{app: a, path: '/a#b'}]", "f:1:25: checks[0].path holds what no request line may"),
        ("[{app: a, path: /é}]", "f:1:25: checks[0].path holds what no request line may"),
        ('[{app: a, path: "/a\\n"}]', "f:1:25: checks[0].path holds what no request line may"),
        ("[{app: a, path: //host/a}]", "f:1:25: checks[0].path must be the plain path"),
        ("[{app: a, path: /a/../b}]", "f:1:25: checks[0].path must be the plain path"),
        (
            "[{app: a, path: /a, method: get}]",
            "f:1:37: checks[0].method is GET, POST, PUT, PATCH or DELETE, not 'get'",
        ),
        ("[{app: a, path: /a, timeout: 61s}]", "f:1:38: checks[0].timeout must not be longer than 1m"),
        ("[{app: a, path: /a, timeout: 0s}]", "f:1:38: checks[0].timeout must be longer than nothing"),
        (
            "[{app: a, path: /a, retries: 21}]",
            "f:1:38: checks[0].retries must be a whole number from 0 to 20",
        ),
        (
            "[{app: a, path: /a, expect: 200}]",
            "f:1:29: checks[0].expect is a mapping with the keys status, json, latency, not a number",
        ),
        (
            "[{app: a, path: /a, expect: {stauts: 200}}]",
            "f:1:38: unknown key 'stauts' (did you mean 'status'?)",
        ),
        (
            "[{app: a, path: /a, expect: {status: 100}}]",
            "f:1:46: checks[0].expect.status must be a whole number from 200 to 599",
        ),
        (
            "[{app: a, path: /a, expect: {json: [1]}}]",
            "f:1:44: checks[0].expect.json is a mapping of keys to the expected values, not a list",
        ),
        (
            "[{app: a, path: /a, expect: {latency: 6s}}]",
            "f:1:47: checks[0].expect.latency is longer than an attempt may take (5s): raise `timeout` too",
        ),
        (str([{"app": "a", "path": "/"}] * 51), "f:1:1: checks has 51 entries, and at most 50 are made"),
    ],
)
def test_a_check_that_cannot_be_made_is_refused(text: str, expected: str) -> None:
    """Inside the list too, with the place of the very entry."""
    (found,) = refusals(f"checks: {text}")
    assert found.startswith(expected)


def test_the_most_that_is_allowed() -> None:
    """The bounds themselves pass."""
    check = "{app: a, path: /, timeout: 60s, retries: 20, expect: {status: 599, latency: 60s}}"
    assert len(parse(f"checks: [{', '.join([check] * 50)}]").checks) == 50


def test_no_repr_shows_what_a_check_sends() -> None:
    """It can hold a token, and a repr lands in logs."""
    text = "checks: [{app: a, path: /, body: {of: hunter2}, expect: {json: {of: hunter2}}}]"
    assert "hunter2" not in repr(parse(text))


@pytest.mark.parametrize(
    ("check", "where"),
    [
        pytest.param("path: '/?api_key=hunter2'", "path", id="query"),
        pytest.param("path: '/?of=https://ada:hunter2@example.com'", "path", id="login"),
        pytest.param("path: /, body: {db_password: hunter2}", "body", id="body"),
        pytest.param("path: /, body: [{of: 'https://ada:hunter2@example.com'}]", "body", id="login in body"),
        pytest.param("path: /, expect: {json: {in: {token: hunter2}}}", "expect.json", id="answer"),
    ],
)
def test_no_check_holds_a_secret(check: str, where: str) -> None:
    """The event that starts a rollout has its checks, and nothing can be taken out of the log again."""
    (found,) = refusals(f"checks: [{{app: a, {check}}}]")
    assert f"checks[0].{where} holds what its name calls a secret" in found
    assert "hunter2" not in found


def test_a_short_value_is_no_secret() -> None:
    """As everywhere: it could not be taken out of any text."""
    assert parse("checks: [{app: a, path: '/?token=', body: {token: 3}}]").checks


def test_every_problem_is_said_at_once() -> None:
    """In the order of the file, so that it takes one push to mend it."""
    found = refusals(
        "ray_version: 2\nhealth:\n  deadlines: {build: 5, strat: 5m}\nrollback: {on: 5, deadline: 0s}\n"
        "checks:\n- {app: a, path: a}\n- 5\n- {app: a, path: /a, retries: x, bdy: 5}\n"
    )
    places = ["f:1:14", "f:3:22", "f:3:25", "f:4:16", "f:4:29", "f:6:18", "f:7:3", "f:8:31", "f:8:34"]
    assert [line.split(": ")[0] for line in found] == places


# --- what must fit the Serve config beside it -----------------------------------------------------------

APPLICATIONS = """\
applications:
- {name: root, import_path: "a:b"}
- {name: fruit, import_path: "a:b", route_prefix: /fruit}
- {name: inner, import_path: "a:b", route_prefix: /fruit/inner}
- {name: hidden, import_path: "a:b", route_prefix: null}
"""


def disagreements(text: str, config: str = APPLICATIONS) -> list[str]:
    """How this policy does not fit this config, one line each."""
    applications, _ = serve_config.parse(config.encode(), "s")
    try:
        policy.agree(applications, *policy.parse(text.encode(), "f"))
    except InvalidConfig as error:
        return [str(problem).splitlines()[0] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("app", "path"),
    [
        ("root", "/"),
        ("root", "/anything?x=/fruit"),
        ("root", "/fruits"),
        ("fruit", "/fruit"),
        ("fruit", "/fruit?name=mango"),
        ("fruit", "/fruit/innermost"),
        ("inner", "/fruit/inner/x"),
    ],
)
def test_a_check_below_its_prefix_fits(app: str, path: str) -> None:
    """As Serve's proxy chooses: whole segments, the longest prefix."""
    assert disagreements(f"checks: [{{app: {app}, path: '{path}'}}]") == []


@pytest.mark.parametrize(
    ("app", "path", "expected"),
    [
        (
            "fruits",
            "/fruit",
            "f:1:16: checks[0].app: serve_config.yaml has no application 'fruits' (did you mean 'fruit'?)",
        ),
        ("x", "/fruit", "f:1:16: checks[0].app: serve_config.yaml has no application 'x'"),
        (
            "fruit",
            "/friut",
            "f:1:29: checks[0].path leads to application 'root': the route_prefix of 'fruit' is '/fruit'",
        ),
        (
            "root",
            "/fruit/inner",
            "f:1:28: checks[0].path leads to application 'inner': the route_prefix of 'root' is '/'",
        ),
        (
            "hidden",
            "/hidden",
            "f:1:30: checks[0].path leads to application 'root': the route_prefix of 'hidden' is nothing",
        ),
    ],
)
def test_a_check_of_another_application_does_not_fit(app: str, path: str, expected: str) -> None:
    """It would pass or fail for what somebody else answers."""
    (found,) = disagreements(f"checks: [{{app: {app}, path: {path}}}]")
    assert found.startswith(expected)


def test_a_path_that_nobody_answers() -> None:
    """Without an application at the root there is such a thing."""
    config = "applications: [{name: fruit, import_path: 'a:b', route_prefix: /fruit}]"
    assert disagreements("checks: [{app: fruit, path: /}]", config) == [
        "f:1:29: checks[0].path leads to no application: the route_prefix of 'fruit' is '/fruit'"
    ]


def test_which_application_was_meant_is_looked_for_among_few() -> None:
    """Among thousands it takes seconds, and no config has as many."""
    few, many = (
        "applications: [" + "".join(f"{{name: app{at}, import_path: 'm:a'}}," for at in range(count)) + "]"
        for count in (200, 201)
    )
    assert "(did you mean 'app1" in disagreements("checks: [{app: app1x, path: /}]", few)[0]
    assert "did you mean" not in disagreements("checks: [{app: app1x, path: /}]", many)[0]


def test_every_application_must_be_owned_where_any_is_named() -> None:
    """Each that is not is said; one that is owned and not there is fine."""
    assert disagreements("soak: 1s\nowns: [fruit, inner, gone]") == [
        "f:2:7: owns does not list application 'hidden' of serve_config.yaml: add it here",
        "f:2:7: owns does not list application 'root' of serve_config.yaml: add it here",
    ]
    assert disagreements("owns: [root, fruit, inner, hidden, gone]") == []
    assert disagreements("") == []


_KEYS = st.sampled_from([*sorted({key for keys in KEYS.values() for key in keys.obeyed}), "5", "~", "x"])


@settings(max_examples=200)
@given(
    tree=st.recursive(
        st.sampled_from(["5m", "5", "0s", "~", "true", "1.5", "''", "x", "/x", "heal", "2001-01-01"]),
        lambda inner: (
            st.dictionaries(_KEYS, inner, max_size=4).map(
                lambda items: "{" + ", ".join(f"{key}: {item}" for key, item in items.items()) + "}"
            )
            | st.lists(inner, max_size=2).map(lambda items: "[" + ", ".join(items) + "]")
        ),
        max_leaves=8,
    )
)
def test_any_tree_is_obeyed_or_refused(tree: str) -> None:
    """Whatever stands where: no error but InvalidConfig, and every deadline that passes is above nothing."""
    try:
        found = parse(tree)
    except InvalidConfig:
        return
    deadlines = found.deadlines
    assert min(deadlines.build, deadlines.schedule, deadlines.start, found.rollback_deadline) > 0
    assert all(check.app and check.path.startswith("/") and check.timeout > 0 for check in found.checks)


# --- the page -------------------------------------------------------------------------------------------


def documented() -> dict[str, str]:
    """The default by key, as the table of the page has it."""
    rows = re.findall(r"^\| `([a-z_.\[\]]+)` \| .+? \| ([^|]*) \|", DOCS.read_text(), flags=re.MULTILINE)
    return {key: default.strip() for key, default in rows}


def existing(path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every key of the file, as the page writes it."""
    for key in KEYS[path].obeyed:
        here = (*path, key)
        yield ".".join(here).replace(f".{EACH}", EACH)
        for group in (here, (*here, EACH)):
            if group in KEYS:
                yield from existing(group)


def test_every_key_is_in_the_docs() -> None:
    """In the order of the code, and nothing is in the docs that does not exist."""
    assert list(documented()) == list(existing())


def test_every_default_in_the_docs_is_the_default() -> None:
    """Where the page gives a value."""
    default, check = Policy(), Check(app="a", path="/")
    switches = {True: "true", False: "false"}
    page = documented()
    assert {key: page[key] for key in page if page[key].startswith("`")} == {
        "health.max_flaps": f"`{default.max_flaps}`",
        "health.deadlines.build": f"`{durations.render(default.deadlines.build)}`",
        "health.deadlines.schedule": f"`{durations.render(default.deadlines.schedule)}`",
        "health.deadlines.start": f"`{durations.render(default.deadlines.start)}`",
        "checks[].method": f"`{check.method}`",
        "checks[].expect.status": f"`{check.status}`",
        "checks[].timeout": f"`{durations.render(check.timeout)}`",
        "checks[].retries": f"`{check.retries}`",
        "soak": f"`{durations.render(default.soak)}`",
        "rollback.on": f"`{switches[default.rollback]}`",
        "rollback.deadline": f"`{durations.render(default.rollback_deadline)}`",
        "drift": f"`{default.drift.value}`",
        "heals_per_hour": f"`{default.heals_per_hour}`",
        "allow.delete": f"`{switches[default.allow_delete]}`",
    }


def test_the_bounds_in_the_docs_are_the_bounds() -> None:
    """They are written in words there."""
    page = DOCS.read_text()
    assert f"| `checks` | list, at most {policy.MAX_CHECKS} |" in page
    assert f"up to `{durations.render(policy.MAX_TIMEOUT_SECONDS)}`" in page
    assert f"| `checks[].retries` | 0 to {policy.MAX_RETRIES} |" in page
    assert ", ".join(f"`{method}`" for method in policy.METHODS) in page


def test_the_example_of_the_docs_is_obeyed() -> None:
    """As it stands there; it has every key of the file but those of a request that needs none."""
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    found = parse(example)
    assert found.owns == ("fruit", "math")
    assert [check.method for check in found.checks] == ["GET", "POST"]
    assert all(f"{key.rpartition('.')[2]}:" in example for key in existing() if key != "checks[].method")
