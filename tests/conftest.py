"""Settings that hold for every test: a clean environment, repeatable hypothesis runs, no silent skips."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support import canary_watch

if TYPE_CHECKING:
    from collections.abc import Generator

# One real Ray head for the whole session, made when a test first asks for it.
pytest_plugins = ["tests.support.ray_head"]

# CI sets it: a test that cannot run there is a failure of CI, not a skip.
REQUIRE_ALL = "DEPLOYER_REQUIRE_ALL"

# A test on a loaded machine may be slow without being wrong; pytest's time-out ends one that hangs.
# `print_blob`: what hypothesis found can be run again from the log alone. In CI every run has the same
# examples, so that it speaks of the commit; elsewhere, and in `make machine`, each searches anew.
settings.register_profile("deployer", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.register_profile("long", settings.get_profile("deployer"), max_examples=5000, derandomize=False)
settings.load_profile("deployer")


def pytest_configure() -> None:
    """Forget what the person who runs the tests has set for the program, for git and for Ray.

    A git hook sets GIT_DIR, for one, and every git started in a test would work on that repository.
    """
    prefixes = ("DEPLOYER_", "RAY_")
    names = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "NOTIFY_SOCKET", "NO_COLOR", "XDG_CONFIG_HOME")
    for name in list(os.environ):
        if name != REQUIRE_ALL and (name in names or name.startswith(prefixes)):
            del os.environ[name]
    # Ray would report usage over the internet.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test where everything is required, and one that leaves a canary where it can be read."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    if report.when == "call" and report.passed:
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        leaks = canary_watch.left_in(folder, report.capstdout, report.capstderr)
        if leaks:
            report.outcome = "failed"
            report.longrepr = f"A canary (tests/support/canaries.py) came out: it is in {', '.join(leaks)}."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a skipped module where everything is required."""
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get(REQUIRE_ALL):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_ALL} is set, so nothing may be skipped. {reason}"
