"""What a rule or a panel asks of Prometheus: the metrics, the labels and the values that it names.

Reads the PromQL of our own files, not all of PromQL: metrics are names with one of our prefixes, or recorded
ones with colons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from deployer.web.metrics import Family

_METRIC = re.compile(r"(?<![\w:$\"])((?:deployer|process)_\w+|\w+:[\w:]+|up)\b(?!\s*\()(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SUFFIXES = ("_bucket", "_sum", "_count")

TARGETS = {"job", "instance"}
"""Labels that Prometheus itself gives to all that it scrapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What one expression names. `matched` are the labels in braces with their values, by metric."""

    metrics: frozenset[str]
    grouped: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    matched: tuple[tuple[str, str, str], ...] = field(default=())


def uses(expression: str) -> Uses:
    """Read one expression."""
    found = [(match[1], match[2] or "") for match in _METRIC.finditer(expression)]
    grouped = {
        name.strip()
        for match in _GROUPING.finditer(expression)
        for name in match[1].split(",")
        if name.strip()
    }
    return Uses(
        metrics=frozenset(name for name, _ in found),
        grouped=frozenset(grouped),
        made=frozenset(re.findall(r'label_replace\(.*?, "(\w+)", "\$', expression)),
        matched=tuple(
            (name, label, value) for name, braces in found for label, value in _MATCHER.findall(braces)
        ),
    )


def unknown(
    expression: str,
    families: Collection[Family],
    recorded: Mapping[str, frozenset[str]],
    values: Mapping[tuple[str, str], Collection[str]] | None = None,
) -> Iterator[str]:
    """What is named in vain. `recorded`: the labels of recorded metrics.

    `values`: those that each label of each metric has in a scrape; without it, values are not looked at.
    """
    labels = {family.name: set(family.labels) for family in families} | {"up": set()}
    for family in families:
        if family.type == "histogram":
            labels |= {family.name + suffix: {*family.labels} for suffix in _SUFFIXES}
            labels[f"{family.name}_bucket"].add("le")
            del labels[family.name]
    labels |= {name: set(has) for name, has in recorded.items()}
    asked = uses(expression)
    for name in sorted(asked.metrics - labels.keys()):
        yield f"there is no metric {name}"
    has = set().union(*(labels.get(name, set()) for name in asked.metrics), TARGETS, asked.made)
    for name in sorted(asked.grouped - has):
        yield f"none of {', '.join(sorted(asked.metrics))} has a label {name}"
    for metric, label, value in asked.matched:
        if label not in labels.get(metric, set()) | TARGETS:
            yield f"{metric} has no label {label}"
        elif values is not None and label not in TARGETS and "$" not in value:
            there = values.get((metric, label), ())
            yield from (f"{metric} never has {label}={one}" for one in value.split("|") if one not in there)
