"""YAML from hands that are not trusted, read as `serve deploy` reads it.

Owns the way from bytes to plain JSON-able Python, with a place in the file for every key and value. Must
not know what the values mean. Invariant: whatever the bytes are, it ends in a `Document` or in
`InvalidConfig`, in bounded time and memory; and no message repeats a value.

PyYAML reads (YAML 1.1, so `yes` is true and `017` is 15), because `serve deploy` reads with it and another
reader would see another config. Its pure-Python loader only: the C loader kills the process on 30 KB of `[`
(6.0.3). And of its constructor only the reading of single scalars: the rest makes dates, bytes, sets and
circular lists, which JSON cannot hold, and lets the last of two equal keys win.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from deployer.core import textfile
from deployer.core.document import Document
from deployer.core.errors import Problem
from deployer.core.redact import Path, is_secret, quote
from deployer.core.textfile import Place, TextFile, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from yaml.error import Mark

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "MAX_NUMBER_LENGTH", "Document", "load"]

MAX_BYTES = 256 * 1024
"""200 applications are 77 KB. The pure loader reads 0.4 to 2 MB/s: 1 MiB of short words took 2.7 s."""
MAX_NODES = 20_000
"""Keys and values, with aliases expanded. The densest file of that many takes 0.6 s to compose."""
MAX_DEPTH = 32
"""Serve's own schema needs 8 levels. Composing takes 3 Python frames per level, of the 1,000 there are."""
MAX_NUMBER_LENGTH = 64
"""`1:1:1...` is one number, in base 60 (YAML 1.1), and takes quadratic time. No useful number is longer."""

_STANDARD = "tag:yaml.org,2002:"
_CONSTRUCTOR = SafeConstructor()
_SCALARS: Mapping[str, Callable[[ScalarNode], Any]] = {
    _STANDARD + "null": _CONSTRUCTOR.construct_yaml_null,
    _STANDARD + "bool": _CONSTRUCTOR.construct_yaml_bool,
    _STANDARD + "int": _CONSTRUCTOR.construct_yaml_int,
    _STANDARD + "float": _CONSTRUCTOR.construct_yaml_float,
    _STANDARD + "str": _CONSTRUCTOR.construct_scalar,
}
# What YAML 1.1 can read plain text as, in the words of a person.
_READ_AS = {
    _STANDARD + "null": "null",
    _STANDARD + "bool": "true or false",
    _STANDARD + "int": "a number",
    _STANDARD + "float": "a number",
    _STANDARD + "timestamp": "a date",
}
_MERGE = _STANDARD + "merge"
# PyYAML gives `=` a type of its own as a value, and reads it as text as a key.
_EQUALS = _STANDARD + "value"

# What YAML 1.1 does not allow in a file, and the byte order mark, which PyYAML counts in no column. A value
# may hold none of them either: `"\0"` can write any. These are listed, not the others: to compile so large a
# complement takes 6 ms.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


def load(data: bytes, file: str, *, keys_as_written: bool = False) -> Document:
    """Read one YAML document. `file` is its name in messages.

    With `keys_as_written`, a plain key is the text that stands there: `on: true` has the key `on`. Without,
    it is what PyYAML makes of it, and refused if that is no text. Values are always PyYAML's.

    Raises InvalidConfig for all that is not YAML, that JSON cannot hold, or that is too big; with every
    problem found, where the YAML is sound enough to go on.
    """
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data):,} bytes, and more than {MAX_BYTES:,} are not read"
        raise invalid([Problem(file=file, line=0, column=0, message=message)])
    text = textfile.decode(data, file)
    if forbidden := _FORBIDDEN.search(text.text):
        message = f"YAML does not allow the character {_code(forbidden[0])}: remove it"
        raise invalid([text.problem(text.place(forbidden.start()), message)])
    root = _compose(text)
    if root is None:
        return Document(value=None, marks={(): (1, 1)}, key_marks={}, file=text)
    tree = _Tree(replace(text, hidden=_hidden(root)), keys_as_written=keys_as_written)
    value = tree.read(root)
    return Document(value=value, marks=tree.marks, key_marks=tree.key_marks, file=tree.file)


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def _place(mark: Mark) -> Place:
    return mark.line + 1, mark.column + 1


class _Refused(yaml.MarkedYAMLError):
    """Sound YAML that is not read all the same. The message is a sentence for people."""

    def __init__(self, message: str, mark: Mark) -> None:
        super().__init__(problem=message, problem_mark=mark)
        self.message = message
        self.place = _place(mark)


def _refuse(message: str, mark: Mark) -> NoReturn:
    raise _Refused(message, mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's composer, with limits, and without the names of aliases in its errors.

    An unquoted password that starts with `*`, `&` or `!` reads as an alias, an anchor or a tag.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0

    def next_event(self) -> Any:  # noqa: ANN401 - each event has other attributes
        return self.peek_event()  # type: ignore[no-untyped-call]  # the stubs forgot it

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.next_event()
        known = event.anchor in self.anchors
        if self.check_event(yaml.AliasEvent) and not known:
            why = "`*` starts an alias, and no anchor (`&`) of this name stands above: quote it if it is text"
            _refuse(why, event.start_mark)
        if known and not self.check_event(yaml.AliasEvent):
            why = "`&` starts an anchor, and one of this name stands above already: quote it if it is text"
            _refuse(why, event.start_mark)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            _refuse(f"the file has more than {MAX_NODES:,} keys and values", event.start_mark)
        if self._depth > MAX_DEPTH:
            _refuse(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def fetch_directive(self) -> NoReturn:
        _refuse("directives (lines that start with `%`) are not supported: remove it", self.get_mark())


def _compose(file: TextFile) -> Node | None:
    loader = _Loader(file.text)
    try:
        root = loader.get_node() if loader.check_node() else None
        if loader.check_node():
            second = loader.next_event().start_mark
            _refuse("a second document starts here, and a file holds only one: remove it", second)
    except _Refused as error:
        raise invalid([file.problem(error.place, error.message)]) from None
    except yaml.MarkedYAMLError as error:
        message = f"not valid YAML: {error.problem}"
        if error.context and error.context_mark:
            message += f", {error.context} that starts at line {error.context_mark.line + 1}"
        # The one message of PyYAML that repeats more than a character of the file.
        message = re.sub("(?<=undefined tag handle) '.*?'", "", message)
        raise invalid([file.problem(_place(error.problem_mark or loader.get_mark()), message)]) from None
    except Exception as error:  # noqa: BLE001 - `"\Uffffffff"` is an OverflowError: PyYAML promises no type
        message = f"not valid YAML: PyYAML fails on it ({type(error).__name__})"
        raise invalid([file.problem(_place(loader.get_mark()), message)]) from None
    finally:
        loader.dispose()
    return root


def _hidden(root: Node) -> dict[int, int]:
    """From which column on each line holds secrets. No recursion: aliases nest deeper than Python can."""
    hidden: dict[int, int] = {}
    # Each key is looked at once: a long one that is aliased 9,000 times took 14 s.
    names: dict[int, bool] = {}
    seen: set[tuple[int, bool]] = set()
    todo = [(root, False)]
    while todo:
        node, secret = todo.pop()
        if (id(node), secret) in seen:
            continue
        seen.add((id(node), secret))
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if id(key) not in names:
                    names[id(key)] = is_secret((key.value,))
                todo.append((value, secret or names[id(key)]))
        elif isinstance(node, SequenceNode):
            todo += [(item, secret) for item in node.value]
        elif secret:
            start, end = node.start_mark, node.end_mark
            hidden[start.line] = min(start.column, hidden.get(start.line, start.column))
            hidden |= dict.fromkeys(range(start.line + 1, end.line + (end.column > 0)), 0)
    return hidden


class _Tree:
    """Makes plain values of nodes, and collects what is wrong with them."""

    def __init__(self, file: TextFile, *, keys_as_written: bool) -> None:
        self.file = file
        self.marks: dict[Path, Place] = {}
        self.key_marks: dict[Path, Place] = {}
        self._keys_as_written = keys_as_written
        self._problems: list[Problem] = []
        self._nodes = 0
        self._characters = 0

    def read(self, root: Node) -> object:
        value = None
        try:
            value = self._value(root, ())
        except _Refused as error:
            self._problems.append(self.file.problem(error.place, error.message))
        if self._problems:
            raise invalid(self._problems)
        return value

    def _wrong(self, node: Node, message: str) -> None:
        self._problems.append(self.file.problem(_place(node.start_mark), message))

    def _spend(self, node: Node) -> None:
        """Count what aliases expand to. Without any, it is never more than the composer has let through."""
        self._nodes += 1
        self._characters += len(node.value) if isinstance(node, ScalarNode) else 0
        if self._nodes > MAX_NODES or self._characters > MAX_BYTES:
            limit = f"{MAX_NODES:,} keys and values or {MAX_BYTES:,} characters"
            _refuse(f"the aliases (`*`) of this file expand to more than {limit}", node.start_mark)

    def _value(self, node: Node, path: Path) -> object:
        self._spend(node)
        self.marks[path] = _place(node.start_mark)
        if len(path) > MAX_DEPTH:
            why = f"with its aliases (`*`) expanded, nested more than {MAX_DEPTH} levels deep"
            _refuse(why, node.start_mark)
        match node:
            case ScalarNode() if node.tag in _SCALARS:
                return self._scalar(node)
            case SequenceNode() if node.tag == _STANDARD + "seq":
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            case MappingNode() if node.tag == _STANDARD + "map":
                return self._mapping(node, path)
        if node.tag == _STANDARD + "timestamp":
            self._wrong(node, "this reads as a date, which JSON cannot hold: quote it")
        else:
            self._wrong(
                node, "`!` starts a tag, and `=` and `<<` mean something in YAML: quote it if it is text"
            )
        return None

    def _scalar(self, node: ScalarNode) -> object:
        if node.tag in {_STANDARD + "int", _STANDARD + "float"} and len(node.value) > MAX_NUMBER_LENGTH:
            self._wrong(
                node, f"this is a number of more than {MAX_NUMBER_LENGTH} characters: quote it if it is text"
            )
            return None
        try:
            value = _SCALARS[node.tag](node)
        except (ValueError, LookupError):
            # `!!int ""`, `!!bool maybe`, and `0x_`, which looks like a number and is none.
            self._wrong(node, f"this does not read as {_READ_AS[node.tag]}: quote it if it is text")
            return None
        if isinstance(value, str):
            return self._text(node, value)
        if isinstance(value, float) and not math.isfinite(value):
            self._wrong(node, "JSON cannot hold this number, infinite or none at all: quote it if it is text")
        return value

    def _text(self, node: ScalarNode, value: str) -> str:
        # JSON writes an emoji as "\ud83d\ude00", two halves. On the way to Serve they become one character.
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if forbidden := _FORBIDDEN.search(value):
            self._wrong(node, f"this text holds the character {_code(forbidden[0])}: remove it")
        return value

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        mapping = {}
        for key, (key_node, value_node) in self._pairs(node, 0).items():
            here = (*path, key)
            self.key_marks[here] = _place(key_node.start_mark)
            mapping[key] = self._value(value_node, here)
        return mapping

    def _pairs(self, node: MappingNode, merges: int) -> dict[str, tuple[Node, Node]]:
        """Each key's nodes, with `<<` merged in as PyYAML does: own keys win, then earlier merges."""
        if merges > MAX_DEPTH:
            _refuse(f"`<<` merges more than {MAX_DEPTH} levels deep", node.start_mark)
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        for key_node, value_node in node.value:
            self._spend(key_node)
            key = self._key(key_node)
            if key in own:
                first = own[key][0].start_mark.line + 1
                self._wrong(key_node, f"duplicate key {quote(key)} (first at line {first})")
            elif key is not None:
                own[key] = key_node, value_node
        if "<<" in own and own["<<"][0].tag == _MERGE:
            _, value_node = own.pop("<<")
            for source in reversed(self._merge_sources(value_node)):
                merged |= self._pairs(source, merges + 1)
        return merged | own

    def _merge_sources(self, node: Node) -> list[MappingNode]:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        mappings = [source for source in sources if isinstance(source, MappingNode)]
        if len(mappings) < len(sources):
            self._wrong(node, "`<<` merges a mapping or a list of mappings, and this is something else")
        return mappings

    def _key(self, node: Node) -> str | None:
        """The key that this node is; None if it cannot be one."""
        if not isinstance(node, ScalarNode):
            self._wrong(
                node, "a key must be text: `?`, `{` and `[` start something else. Quote it if it is text"
            )
            return None
        if node.tag in {_STANDARD + "str", _EQUALS, _MERGE} or (
            self._keys_as_written and node.tag in _READ_AS
        ):
            return self._text(node, node.value)
        reading = _READ_AS.get(node.tag, "a value with a tag (`!`)")
        self._wrong(node, f"a key must be text, and this one reads as {reading}: quote it")
        return None
