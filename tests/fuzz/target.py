"""One input through the readers, and what must hold of whatever comes out.

Owns the promises. Must not know how inputs are made. Invariant: what is judged here is judged without the
reader's own code: places are counted anew, and PyYAML itself says where a secret stands and what a file says.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml as pyyaml

from deployer.adapters.schemas import schema
from deployer.core import policy, serve_config
from deployer.core.document import Document
from deployer.core.errors import InvalidConfig, Problem
from deployer.core.lints import Subject, lint
from deployer.core.types import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.types import ServeConfig

CANARY = "cAnAryzQ7"
"""The value of every environment variable, and the password in every URL, of what is generated."""

LONGEST_TEXT = 2000
"""Characters of one problem: a sentence or two, and a line of the file. Nobody reads more."""

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_LOGIN = re.compile(rf"://[^\s/'\"<>]*{CANARY}[^\s/'\"<>]*@")
_SECRET_KEY = re.compile(r"(?i)(?:.*[_-])?(?:env_vars|password|token)", re.DOTALL)
_SECRET_WORD = re.compile(r"(?i)\b(?:env_vars|password|token)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A Serve config, a policy, or both of one commit. `compared`: PyYAML reads it too, for comparison."""

    config: bytes | None = None
    policy: bytes | None = None
    compared: bool = False


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of one input: the codes of its problems, the promises that were broken, seconds of CPU."""

    valid: bool = True
    codes: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(one: Input) -> Outcome:
    """Read the input as `validate` does, and look at what came out."""
    outcome = Outcome()
    began = time.thread_time()
    try:
        config = _read(serve_config.FILE, one.config, outcome)
        rules = _read(policy.FILE, one.policy, outcome)
        problems: list[tuple[bytes, Problem]] = [*config.problems, *rules.problems]
        if config.reading is not None:
            found = lint(_subject(config.reading, rules.policy))
            problems += [(one.config or b"", problem) for problem in (*found, *config.reading.warnings)]
            if rules.policy is not None and rules.document is not None:
                problems += _agree(config.reading.config, rules, one.policy or b"")
    except Exception as error:  # noqa: BLE001 - the promise is that there is none
        outcome.broken.append(f"{type(error).__name__}: {error}"[:300])
        outcome.seconds = time.thread_time() - began
        return outcome
    outcome.seconds = time.thread_time() - began
    outcome.codes = {problem.code for _, problem in problems}
    for data, problem in problems:
        outcome.broken += _wrong_with(problem, data)
    if one.compared:
        outcome.broken += _differences(one, config, rules)
    return outcome


@dataclass(slots=True, kw_only=True)
class _Read:
    problems: list[tuple[bytes, Problem]] = field(default_factory=list)
    reading: serve_config.Reading | None = None
    policy: Policy | None = None
    document: Document | None = None


def _read(file: str, data: bytes | None, outcome: Outcome) -> _Read:
    read = _Read()
    if data is None:
        return read
    try:
        if file == serve_config.FILE:
            read.reading = serve_config.read(data, file, schema())
            read.document = read.reading.document
        else:
            read.policy, read.document = policy.parse(data, file)
    except InvalidConfig as error:
        outcome.valid = False
        read.problems = [(data, problem) for problem in error.problems]
    return read


def _subject(reading: serve_config.Reading, rules: Policy | None) -> Subject:
    return Subject(
        document=reading.document,
        applications=reading.applications,
        body=reading.config.body(),
        policy=rules,
        protected=True,
    )


def _agree(config: ServeConfig, rules: _Read, data: bytes) -> list[tuple[bytes, Problem]]:
    assert rules.policy is not None
    assert rules.document is not None
    try:
        policy.agree(config, rules.policy, rules.document)
    except InvalidConfig as error:
        return [(data, problem) for problem in error.problems]
    return []


def _wrong_with(problem: Problem, data: bytes) -> Iterator[str]:
    lines = _lines(data)
    if not (problem.line == problem.column == 0) and not (
        1 <= problem.line <= len(lines) and 1 <= problem.column <= len(lines[problem.line - 1]) + 1
    ):
        yield f"{problem.place} is outside of the file"
    shown = str(problem)
    if len(shown) > LONGEST_TEXT:
        yield f"{len(shown)} characters about {problem.place}: {shown[:60]!r}..."
    if not all(character.isprintable() or character == "\n" for character in shown):
        yield f"a control character about {problem.place}: {ascii(shown)[:300]}"
    if not problem.message or "\n" in problem.sentence:
        yield f"no sentence about {problem.place}: {problem.sentence!r}"
    if CANARY in shown and _is_secret(data):
        yield f"shows a secret: {shown[:300]!r}"


@lru_cache(maxsize=4)
def _lines(data: bytes) -> list[str]:
    # What stands before a byte that is no UTF-8 is counted right all the same.
    return _BREAK.split(data.decode("utf-8-sig", errors="replace"))


@lru_cache(maxsize=4)
def _is_secret(data: bytes) -> bool:
    """Whether the canary stands nowhere in this file but where secrets stand.

    Mutations also carry it elsewhere: into a comment, a name, a key. There nobody can know that it is one.
    """
    text = data.decode("utf-8-sig", errors="replace")
    everywhere = text.count(CANARY)
    if everywhere == sum(login.count(CANARY) for login in _LOGIN.findall(text)):
        return True
    try:
        root = pyyaml.compose(text, pyyaml.SafeLoader)
    except Exception:  # noqa: BLE001 - PyYAML promises no type
        # Then nobody knows what belongs to what, and one key is enough for all to be hidden.
        return _SECRET_WORD.search(text) is not None
    inside, values = 0, set()
    todo = [(root, False)]
    while todo:
        node, secret = todo.pop()
        if node is None or (id(node), secret) in values:
            continue
        values.add((id(node), secret))
        if isinstance(node, pyyaml.MappingNode):
            todo += [
                (
                    value,
                    secret or (isinstance(key.value, str) and _SECRET_KEY.fullmatch(key.value) is not None),
                )
                for key, value in node.value
            ]
        elif isinstance(node, pyyaml.SequenceNode):
            todo += [(item, secret) for item in node.value]
        elif secret:
            inside += node.value.count(CANARY)
    return everywhere <= inside


def _differences(one: Input, *reads: _Read) -> Iterator[str]:
    """Where PyYAML reads something else than we do, of what we read."""
    for data, read in zip((one.config, one.policy), reads, strict=True):
        # A policy's keys are text as written, where PyYAML may make a boolean of them.
        if data is not None and read.document is not None and read.policy is None:
            theirs: Any = pyyaml.safe_load(data.decode("utf-8-sig"))
            whole = json.dumps(theirs).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            if json.dumps(read.document.value) != json.dumps(json.loads(whole)):
                yield "PyYAML reads something else"
