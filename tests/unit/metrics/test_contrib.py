"""The rules, the dashboard and the page: what they name exists, and Prometheus and Grafana can use them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from deployer.cli.main import cli
from tests.support.prerequisites import require
from tests.support.promql import TARGETS, unknown, uses
from tests.unit.metrics.page import BEGIN, END, PAGE, families, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.web.metrics import Family

CONTRIB = Path(__file__).parents[3] / "contrib"
RULES = CONTRIB / "prometheus" / "rules.yml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDED = [rule for group in GROUPS for rule in group["rules"] if "record" in rule]
LABELS = {rule["record"]: uses(rule["expr"]).grouped - {"le"} for rule in RECORDED}
DASHBOARD = json.loads((CONTRIB / "grafana" / "deployer.json").read_text())
PANELS = DASHBOARD["panels"]
VARIABLES = {one["name"] for one in DASHBOARD["templating"]["list"]}


def expressions() -> dict[str, str]:
    """Every expression of the rules and the dashboard, by what it is for."""
    found = {rule.get("alert") or rule["record"]: rule["expr"] for rule in (*ALERTS, *RECORDED)}
    for panel in PANELS:
        found |= {f"{panel['title']} {one['refId']}": one["expr"] for one in panel.get("targets", ())}
    for one in DASHBOARD["annotations"]["list"]:
        found[one["name"]] = one["expr"]
    for one in DASHBOARD["templating"]["list"]:
        if one["type"] == "query":
            found[one["name"]] = one["definition"]
    return found


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Family, ...]:
    """All metrics of a daemon."""
    return families(tmp_path_factory.mktemp("metrics"))


# --- what they name --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", expressions())
def test_every_metric_and_label_exists(name: str, known: tuple[Family, ...]) -> None:
    """In a daemon of this version. tests/integration/test_metrics.py asks a running one, with the values."""
    expression = expressions()[name]

    assert uses(expression).metrics
    assert list(unknown(expression, known, LABELS)) == []


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("deployer_environment_held == 2 or deployer_held", ["there is no metric deployer_held"]),
        ("deployer_rollout_duration_seconds", ["there is no metric deployer_rollout_duration_seconds"]),
        ('deployer_queue_depth{state="x"}', ["deployer_queue_depth has no label state"]),
        ("sum by (colour) (deployer_queue_depth)", ["none of deployer_queue_depth has a label colour"]),
        ("instance:nothing:p99", ["there is no metric instance:nothing:p99"]),
        ('up{job="deployer"} == 0 and sum by (instance) (deployer_queue_depth)', []),
        ("rate(deployer_rollout_duration_seconds_bucket[1d]) by (le)", []),
    ],
)
def test_what_does_not_exist_is_found(expression: str, told: list[str], known: tuple[Family, ...]) -> None:
    """The comparison can fail, for each kind of name."""
    assert list(unknown(expression, known, LABELS)) == told


def test_legends_and_texts_name_labels_that_are_there(known: tuple[Family, ...]) -> None:
    """A legend with a label that was summed away is empty; an alert's text would say `<no value>`."""
    for panel in PANELS:
        for target in panel.get("targets", ()):
            asked = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert asked <= uses(target["expr"]).grouped, panel["title"]
    for rule in ALERTS:
        asked = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        metrics = uses(rule["expr"]).metrics
        own = {label for family in known if family.name in metrics for label in family.labels}
        of_rules = set().union(*(LABELS.get(metric, set()) for metric in metrics))
        assert asked <= (uses(rule["expr"]).grouped or own | of_rules | TARGETS), rule["alert"]


# --- the rules -------------------------------------------------------------------------------------------


def promtool(*args: str) -> str:
    """What it says; it must end well."""
    require(
        "promtool", shutil.which("promtool") is not None, "apt-get install --no-install-recommends prometheus"
    )
    done = subprocess.run(["promtool", *args], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    """Its own tool reads them."""
    assert f"{len(ALERTS) + len(RECORDED)} rules found" in promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("tests", ["rules.test.yml", "days.test.yml"])
def test_the_rules_do_what_they_say(tests: str) -> None:
    """Prometheus' own tests of rules."""
    assert "SUCCESS" in promtool("test", "rules", str(RULES.parent / tests))


def test_every_rule_is_tested() -> None:
    """Each alert fires in one of those tests, and is quiet in another; each recorded series is looked at."""
    cases = [
        case
        for file in ("rules.test.yml", "days.test.yml")
        for test in yaml.safe_load((RULES.parent / file).read_text())["tests"]
        for case in (*test.get("alert_rule_test", ()), *test.get("promql_expr_test", ()))
    ]
    fires = {case["alertname"] for case in cases if case.get("exp_alerts")}
    quiet = {case["alertname"] for case in cases if "alertname" in case and not case.get("exp_alerts")}
    names = {rule["alert"] for rule in ALERTS}
    used = " ".join(case["expr"] for case in cases if "expr" in case) + RULES.read_text().split("alerts")[-1]

    assert fires == quiet == names
    assert [rule["record"] for rule in RECORDED if rule["record"] not in used] == []


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_type(rule: dict[str, Any]) -> None:
    """A severity, two texts, and a command that exists."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "next_command"}
    program, _, rest = rule["annotations"]["next_command"].partition(" ")
    assert program in {"deployer", "systemctl", "journalctl"}
    commands = [rest] if program == "deployer" else []
    commands += re.findall(r"`deployer ([^`]*)`", rule["annotations"]["description"])
    for command in commands:
        assert command.split()[0] in cli.list_commands(None), command  # type: ignore[arg-type]  # it is not used


# --- the dashboard ---------------------------------------------------------------------------------------


def test_panels_have_ids_of_their_own() -> None:
    """Grafana mixes up those that share one."""
    ids = [panel["id"] for panel in PANELS]

    assert len(ids) == len(set(ids))
    assert all(isinstance(one, int) and one > 0 for one in ids)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_panels_do_not_overlap() -> None:
    """Nor leave the grid of 24 columns."""
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_the_rows() -> None:
    """What is asked for, each with panels below it."""
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]

    assert rows == ["Overview", "Rollouts and DORA", "Freshness", "Daemon"]
    assert all(before["type"] != after["type"] or before["type"] != "row" for before, after in pairs())


def pairs() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each panel with the one after it."""
    return pairwise(PANELS)


def test_the_data_source_is_chosen_by_whoever_imports_it() -> None:
    """Everywhere the variable, and no id of somebody's Grafana."""
    found = [*_values(DASHBOARD, "datasource")]

    assert len(found) > len(PANELS)
    assert all(one == {"type": "prometheus", "uid": "${datasource}"} for one in found)
    with_queries = [panel for panel in PANELS if panel["type"] not in {"row", "text"}]
    for panel in with_queries:
        assert panel["datasource"]
        assert all(target["datasource"] for target in panel["targets"])
    assert sorted(VARIABLES) == ["datasource", "environment"]
    [source] = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource"]
    assert source["query"] == "prometheus"


def test_metrics_of_environments_are_those_that_were_chosen() -> None:
    """Each expression filters by the variable where it can, and uses no variable that is not there."""
    builtin = {"__rate_interval", "__range", "__range_s", "__interval"}
    for panel in PANELS:
        for target in panel.get("targets", ()):
            assert set(re.findall(r"\$\{?(\w+)", re.sub(r'"\$1"', "", target["expr"]))) <= VARIABLES | builtin
            for name, braces in re.findall(
                r"(deployer_(?:environment|rollout|cluster)\w*)(\{[^}]*\})?", target["expr"]
            ):
                assert 'environment=~"$environment"' in braces, (panel["title"], name)


def test_queries_of_a_panel_have_letters_of_their_own() -> None:
    """Transformations name them."""
    for panel in PANELS:
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert letters == list("ABCDEFGH"[: len(letters)])


def test_rollouts_are_annotations() -> None:
    """At the moment at which they ended, which is the value of the series, in milliseconds."""
    [one] = DASHBOARD["annotations"]["list"]

    assert one["useValueForTime"] == "on"
    assert one["expr"].endswith("* 1000")


def _values(node: object, key: str) -> Iterator[object]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key and isinstance(value, dict):
                yield value
            else:
                yield from _values(value, key)
    elif isinstance(node, list):
        for one in node:
            yield from _values(one, key)


# --- the page --------------------------------------------------------------------------------------------


def test_the_page_lists_every_metric(known: tuple[Family, ...]) -> None:
    """As the registry has it: `python -m tests.unit.metrics.page` writes it anew."""
    assert PAGE.read_text().partition(BEGIN)[2].partition(END)[0] == table(known)


def test_the_page_lists_every_alert() -> None:
    """And no other."""
    assert re.findall(r"^\| `(Deployer\w+)` \|", PAGE.read_text(), re.MULTILINE) == [
        one["alert"] for one in ALERTS
    ]


def test_names_follow_the_rules(known: tuple[Family, ...]) -> None:
    """Ours begin with `deployer_`, have a base unit or count things, and are there once."""
    names = [family.name for family in known]
    assert len(names) == len(set(names))
    for family in known:
        assert family.name.startswith(("deployer_", "process_"))
        assert (family.type == "counter") is family.name.endswith("_total")
        assert not {"commit", "revision", "digest", "subject", "author", "message"}.intersection(
            family.labels
        )
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|percent)(_|$)", family.name)
        assert family.help.endswith(".")
