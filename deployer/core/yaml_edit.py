"""A YAML file changed as a person would change it: what differs, and not a character more.

Owns what differs between two values, and the proof that the new text says the new one. Must not know what the
values mean. Invariant: what is returned was read again, and says exactly what was wanted; comments, order,
quotes and blank lines of everything that does not differ are as they were, byte for byte.

The text is spliced at the places that PyYAML gives, the parser with which `serve deploy` reads. (ruamel.yaml
keeps comments too, but lays out the whole file anew, and reads YAML 1.2, to which `yes` is text.) What has an
anchor is changed where that stands; whoever else uses it has to want the same, or the file is declined.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from deployer.core import yaml
from deployer.core.errors import InvalidConfig
from deployer.core.yaml_splice import CannotCopy, Splice
from deployer.core.yaml_write import exactly, same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.document import Document
    from deployer.core.redact import Path
    from deployer.core.yaml_tree import Child

__all__ = ["CannotCopy", "edit"]

_BOM = b"\xef\xbb\xbf"


def edit(data: bytes, file: str, wanted: object) -> bytes:
    """The file changed so that it says `wanted` (plain JSON-able values); the same bytes if it says that.

    A new key comes behind the one that is before it in `wanted`; the order of those that are there stays.
    `file` is its name in messages. Raises CannotCopy if that cannot be written into this file, InvalidConfig
    if the file is none that `yaml.load` takes.
    """
    document = yaml.load(data, file)
    value = document.value
    if same(value, wanted):
        return data
    if not isinstance(value, dict | list) or not isinstance(wanted, type(value)):
        why = (
            f"{file}: all of the file would have to be written anew, and lose its comments. Edit it by hand."
        )
        raise CannotCopy(why)
    return _verified(data, document, wanted, override=False)


def _verified(data: bytes, document: Document, wanted: object, *, override: bool) -> bytes:
    """The changed file, which was read again."""
    file = document.file.name
    walk = _Walk(document, override=override)
    walk.there(walk.splice.tree.root, document.value, wanted)
    text = walk.splice.result()
    result = (_BOM if data.startswith(_BOM) else b"") + text.encode("utf-8", "replace")
    try:
        found = yaml.load(result, file).value
    except InvalidConfig as error:
        problem = error.problems[0]
        why = f"cannot be changed so that the file could still be read ({problem.message})"
        walk.splice.decline(walk.splice.line_before(problem.line), why)
    if not same(found, wanted):
        if walk.trusted:
            return _verified(data, document, wanted, override=True)
        path = _first_difference(found, wanted, ())
        while path not in document.marks:
            path = path[:-1]
        walk.splice.decline(document.marks[path][0], "cannot be changed alone")
    return result


class _Walk:
    """Finds what differs, and has it changed.

    What a mapping gets by `<<` and is to be something else may change with its source: then `trusted` says
    so. With `override` the mapping gets a key of its own, which wins over that.
    """

    def __init__(self, document: Document, *, override: bool) -> None:
        self.splice = Splice(document.file.text, document.file.name)
        self.trusted = False
        self._override = override

    def there(self, child: Child, value: object, wanted: object) -> None:
        """Change what differs at and below this place of the file, which says `value`."""
        if same(value, wanted):
            return
        if child.value.alias is not None:
            child = self.splice.tree.anchors[child.value.alias]
        if isinstance(value, dict) and isinstance(wanted, dict):
            self._mapping(child, value, wanted)
        elif isinstance(value, list) and isinstance(wanted, list):
            self._list(child, value, wanted)
        else:
            self.splice.replace(child, wanted)

    def _mapping(self, child: Child, value: dict[str, Any], wanted: dict[str, Any]) -> None:
        children = child.value.children
        own = {name: index for index, one in enumerate(children) if (name := self._name(one)) in value}
        merged = value.keys() - own.keys()
        if merged - wanted.keys():
            self.splice.decline(self.splice.line_of(child.start), "merges a key that it is not to have")
        removed = sorted(own[name] for name in own.keys() - wanted.keys())
        if len(removed) == len(children):
            self.splice.replace(child, wanted)
            return
        behind = max(set(range(len(children))) - set(removed))
        added: dict[int, dict[str, Any]] = defaultdict(dict)
        for name, inner in wanted.items():
            if name in own:
                behind = own[name]
                self.there(children[behind], value[name], inner)
            elif name not in merged or (self._override and not same(value[name], inner)):
                added[behind][name] = inner
            else:
                self.trusted |= not same(value[name], inner)
        for index, entries in added.items():
            self.splice.add_entries(child, index, entries)
        self.splice.remove(child, removed)

    def _name(self, child: Child) -> str:
        """The key of an entry: as the file was read, it is text."""
        node = child.key or child.value
        return (self.splice.tree.anchors[node.alias].value if node.alias is not None else node).text

    def _list(self, child: Child, value: list[Any], wanted: list[Any]) -> None:
        pairs = [*_aligned(value, wanted)]
        kept = [old for old, new in pairs if old is not None]
        if not kept:
            self.splice.replace(child, wanted)
            return
        behind: int | None = None
        added: dict[int | None, list[Any]] = defaultdict(list)
        for old, new in pairs:
            if old is None:
                added[behind].append(wanted[new])
            else:
                behind = old
                self.there(child.value.children[old], value[old], wanted[new])
        for index, items in added.items():
            self.splice.add_items(child, index, kept[0], items)
        self.splice.remove(child, sorted(set(range(len(value))) - set(kept)))


def _aligned(old: list[Any], new: list[Any]) -> Iterator[tuple[int | None, int]]:
    """Which item became which, for each of the new list; None: it is new.

    What has a name is the item of that name. Of the others, equal ones are the same, and then those between
    the same two. What changed its place is removed and added.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(old):
        places[_identity(one)].append(index)
    last = (-1, -1)
    for index, other in enumerate(new):
        found = places[_identity(other)]
        at = bisect_right(found, last[0])
        if at < len(found):
            yield from _between(old, new, last, (found[at], index))
            yield found[at], index
            last = found[at], index
    yield from _between(old, new, last, (len(old), len(new)))


def _between(
    old: list[Any], new: list[Any], above: tuple[int, int], below: tuple[int, int]
) -> Iterator[tuple[int | None, int]]:
    olds = [index for index in range(above[0] + 1, below[0]) if not _is_named(old[index])]
    for index in range(above[1] + 1, below[1]):
        yield (None if _is_named(new[index]) or not olds else olds.pop(0)), index


def _is_named(one: object) -> bool:
    return isinstance(one, dict) and isinstance(one.get("name"), str)


def _identity(one: Any) -> str:  # noqa: ANN401 - anything that a file can say
    return f"name {one['name']}" if _is_named(one) else exactly(one)


def _first_difference(one: object, other: object, path: Path) -> Path:
    """Where two values that are not the same begin to differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        if unlike := one.keys() ^ other.keys():
            return (*path, min(unlike))
        pairs = [(key, one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(index, *both) for index, both in enumerate(zip(one, other, strict=True))]
    else:
        return path
    key, inner, inner_other = next(pair for pair in pairs if not same(*pair[1:]))
    return _first_difference(inner, inner_other, (*path, key))
