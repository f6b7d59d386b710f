"""The lines of a config that may hold a secret, for who shows parts of the file itself.

Owns which lines those are. Must not know what is shown, nor by whom. Invariant: better one line too many:
where something may stand in one place and be meant in another (`&`, `*`, `<<`), every line may hold one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core import yaml_tree
from deployer.core.redact import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.yaml_tree import Node


def secret_lines(data: bytes) -> frozenset[int]:
    """The numbers, from 0, of the lines on which a secret value stands; only a line feed ends a line.

    `data` is what `yaml.load` has taken, and says something.
    """
    text = data.decode()
    tree = yaml_tree.read(text)
    spans = [*_spans(tree.root.value, ())]
    if spans and tree.is_shared:
        return frozenset(range(text.count("\n") + 1))
    return frozenset(
        number
        for start, end in spans
        for number in range(text.count("\n", 0, start), text.count("\n", 0, end) + 1)
    )


def _spans(node: Node, path: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    if path and is_secret(path[-1:]):
        yield node.start, node.end
        return
    for child in node.children:
        yield from _spans(child.value, (child.key.text,) if child.key is not None else ())
