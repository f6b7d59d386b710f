"""Values that must never come out, every way in which one can be spelled, and the search for them.

A canary begins and ends with a mark that stands nowhere else, so that half of one is found as well, and one
search for the marks finds all of them. Between the marks it has what JSON, URLs, HTML and shells escape.

`found` looks thoroughly: in the text, in what is packed in it (gzip, zlib, zip), and in what is left once
escapes of JSON, HTML and URLs, and line breaks, are taken away. `glimpsed` is for every test: only the marks,
in plain, base64 and hex.
"""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import zipfile
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HEAD, TAIL = "Zq8CanaryHd", "CanaryTl8qZ"

_HOSTILE = 'a "b" & <c>\'s \\ ü %41 +/=?#'
"""What one or another way to write a text escapes."""

_BETWEEN = 12
"""Characters around a hit that are shown."""


def canary(name: str) -> str:
    """A secret as it stands in a config, with characters that are escaped in most places."""
    return f"{HEAD}.{name}.{_HOSTILE}.{TAIL}"


def plain_canary(name: str) -> str:
    """One that can be a token, a password in a URL, or a header: letters, digits, dots and dashes."""
    return f"{HEAD}.{name}.{'0123456789abcdef' * 2}.{TAIL}"


def in_base64(text: str) -> tuple[str, ...]:
    """What of it stands in base64, wherever in something longer it begins."""
    content, skipped = text.encode(), (0, 2, 3)
    return tuple(
        base64.b64encode(bytes(before) + content).decode()[skipped[before] : 8 * (before + len(content)) // 6]
        for before in range(3)
    )


def zipped(text: str) -> bytes:
    """A zip file with a file that holds it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", text)
    return file.getvalue()


SPELLINGS: Mapping[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "json": lambda text: json.dumps(text).encode(),
    "json in json": lambda text: json.dumps(json.dumps({"k": text})).encode(),
    "json, every character": lambda text: "".join(f"\\u{ord(one):04x}" for one in text).encode(),
    "json, every other character": lambda text: "".join(
        f"\\u{ord(one):04X}" if place % 2 else one for place, one in enumerate(text)
    ).encode(),
    "python": lambda text: repr(text).encode(),
    "url": lambda text: quote(text, safe="").encode(),
    "url, every character": lambda text: "".join(f"%{one:02x}" for one in text.encode()).encode(),
    "url in url": lambda text: quote(quote(text, safe=""), safe="").encode(),
    "html": lambda text: html.escape(text).encode(),
    "html, every character": lambda text: "".join(f"&#{ord(one)};" for one in text).encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 behind one byte": lambda text: base64.b64encode(b"x" + text.encode()),
    "base64 behind a name": lambda text: base64.b64encode(b"ab" + text.encode()),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()),
    "base64 in lines": lambda text: base64.encodebytes(text.encode() * 3),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "utf-16": lambda text: text.encode("utf-16-le"),
    "gzip": lambda text: b"before" + gzip.compress(text.encode()) + b"behind",
    "zlib": lambda text: b"before" + zlib.compress(text.encode()) + b"behind",
    "zip": zipped,
    "its first half": lambda text: text[: len(text) // 2].encode(),
    "its second half": lambda text: text[len(text) // 2 :].encode(),
    "broken over lines": lambda text: re.sub("(.{5})", r"\1\n  ", text).encode(),
}
"""Ways to hide one. A test hides one in each of them, so that it is known that it would be found."""


def _needles() -> tuple[bytes, ...]:
    needles: list[bytes] = []
    for mark in (HEAD, TAIL):
        content = mark.encode()
        needles += [content, content.hex().encode(), content.hex().upper().encode()]
        needles += [one.encode() for one in in_base64(mark)]
        needles.append(mark.encode("utf-16-le"))
    return tuple(needles)


_NEEDLES = _needles()
_ANY = re.compile(b"|".join(map(re.escape, _NEEDLES)))
_ESCAPED = re.compile(rb"\\+u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})")
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_GZIP = b"\x1f\x8b\x08"
_ZIP = b"PK\x03\x04"
_DEEPEST = 4


def glimpsed(data: bytes) -> bool:
    """Whether a canary stands in it, in plain, base64 or hex. Fast: some 2 ms for a megabyte."""
    return any(needle in data for needle in _NEEDLES)


def found(data: bytes | str) -> list[str]:
    """What stands around each canary in it; [] if there is none."""
    content = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    hits: dict[str, None] = {}
    for how, layer in _layers(content):
        for hit in _ANY.finditer(layer):
            around = layer[max(0, hit.start() - 8 * _BETWEEN) : hit.end() + _BETWEEN]
            hits[f"{how}...{around.decode('utf-8', 'replace')}..."] = None
    return [*hits]


def _layers(data: bytes) -> Iterator[tuple[str, bytes]]:
    for how, packed in _unpacked(data, 0):
        yield how, packed
        told = packed
        for _ in range(3):
            # Quoted more than once.
            told = unquote_to_bytes(_ESCAPED.sub(_character, told))
            yield f"{how}unescaped: ", told
        yield f"{how}html: ", html.unescape(packed.decode("utf-8", "replace")).encode()
        yield f"{how}joined: ", b"".join(told.split())


def _character(escape: re.Match[bytes]) -> bytes:
    return chr(int(escape[1] or escape[2], 16)).encode("utf-8", "replace")


def _unpacked(data: bytes, depth: int) -> Iterator[tuple[str, bytes]]:
    yield "", data
    if depth == _DEEPEST:
        return
    for name, content in _packed(data):
        for how, inner in _unpacked(content, depth + 1):
            yield f"{name}: {how}", inner


def _packed(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(_ZIP):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for one in packed.infolist():
                yield f"zip {one.filename}", packed.read(one)
        return
    starts = [(hit.start(), zlib.MAX_WBITS) for hit in _ZLIB.finditer(data)]
    starts += [(hit.start(), zlib.MAX_WBITS + 16) for hit in re.finditer(re.escape(_GZIP), data)]
    for start, bits in starts:
        stream = zlib.decompressobj(bits)
        content = b""
        try:
            content = stream.decompress(data[start:]) + stream.flush()
        except zlib.error:
            continue
        if content:
            yield f"packed at {start}", content
