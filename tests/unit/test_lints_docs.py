"""The page about lints says of each what `RULES` says, and its examples are what they are called."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from deployer.adapters.schemas import schema
from deployer.core import serve_config
from deployer.core.lints import RULES, Rule, Subject, lint

PAGE = Path(__file__).parents[2] / "docs" / "lints.md"
WIDTH = 130
HEAD_ENDS = "it is no comment.\n\n"


def codes(text: str, code: str) -> list[str]:
    """What is said of an example, held against the newest schema too; protected if its lint asks for that."""
    reading = serve_config.read(text.encode(), "serve_config.yaml", schema())
    subject = Subject(
        document=reading.document,
        applications=reading.applications,
        body=reading.config.body(),
        policy=None,
        protected=code == "runtime-env-in-protected",
    )
    return [problem.code for problem in lint(subject)]


def section(rule: Rule) -> str:
    """How the page shows a lint."""
    reason = textwrap.fill(rule.reason, WIDTH, break_long_words=False, break_on_hyphens=False)
    return (
        f"## {rule.code}\n**{rule.title}**\n{reason}\n\n"
        f"```yaml\n# bad\n{rule.example_bad}```\n```yaml\n# good\n{rule.example_good}```\n"
    )


def with_sections(page: str) -> str:
    """The page with its sections written anew."""
    head, end, _ = page.partition(HEAD_ENDS)
    return head + end + "\n".join(section(rule) for rule in RULES.values())


def test_the_page_is_what_the_rules_say() -> None:
    """Each lint once, in their order, word by word; `python -m tests.unit.test_lints_docs` writes it anew."""
    assert PAGE.read_text() == with_sections(PAGE.read_text())


def test_the_page_lists_every_lint() -> None:
    """In a table with a link to its section, and what it is about."""
    rows = re.findall(r"^\| \[(.+?)\]\(#(.+?)\) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(rule.code, rule.code, rule.title) for rule in RULES.values()]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_examples(rule: Rule) -> None:
    """The bad one has this very warning, the good one none, and neither an error."""
    assert codes(rule.example_bad, rule.code) == [rule.code]
    assert codes(rule.example_good, rule.code) == []


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_texts_are_sentences(rule: Rule) -> None:
    """A code that can be an anchor; a title and a reason that end as sentences do."""
    assert re.fullmatch(r"[a-z]+(?:-[a-z]+)+", rule.code)
    assert rule.title.endswith(".")
    assert rule.reason.endswith(".")


def test_the_comment_of_the_page_silences() -> None:
    """The examples of how to silence are taken from the page, and work."""
    (block,) = re.findall(
        r"```yaml\n(http_options.*?)```", PAGE.read_text().partition(HEAD_ENDS)[0], re.DOTALL
    )

    assert codes(block, "") == []
    silent = re.findall(r"# deployer: allow ([a-z-]+)", block)
    assert silent
    for code in silent:
        assert code in codes(re.sub(rf"# deployer: allow {code}.*", "", block), "")


if __name__ == "__main__":
    PAGE.write_text(with_sections(PAGE.read_text()))
