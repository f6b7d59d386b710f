"""Reads a page as a browser would, and says what is wrong with it.

Owns the rules that every page keeps (`Read.complaints`). Must not know what a page is about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

VOID = frozenset({"input", "link", "meta"})
"""Elements of HTML without an end; those of SVG have one, or a slash."""

ELEMENTS = frozenset(
    {
        "a",
        "bdi",
        "body",
        "button",
        "circle",
        "code",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "footer",
        "form",
        "g",
        "h1",
        "h2",
        "h3",
        "head",
        "header",
        "html",
        "input",
        "label",
        "li",
        "link",
        "main",
        "meta",
        "nav",
        "noscript",
        "ol",
        "option",
        "p",
        "path",
        "pre",
        "rect",
        "script",
        "section",
        "select",
        "span",
        "strong",
        "summary",
        "svg",
        "symbol",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "time",
        "title",
        "tr",
        "ul",
        "use",
        "hx-partial",
    }
)
"""All that the templates use: what else is found was put there by a text."""

_NAMED = frozenset({"hx-sse:connect", "hx-trigger", "hx-swap", "hx-target"})
"""The attributes of htmx that are used; none of them is carried out as a script."""


@dataclass
class Read(HTMLParser):
    """One page, or a part of one."""

    is_part: bool = False
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    declared: bool = False

    def __post_init__(self) -> None:
        """Begin."""
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, html: str, *, is_part: bool = False) -> Read:
        """Read it."""
        one = cls(is_part=is_part)
        one.feed(html)
        one.close()
        return one

    # --- what the parser finds -------------------------------------------------------------------------

    def handle_decl(self, decl: str) -> None:
        """The doctype."""
        self.declared = decl.lower() == "doctype html"

    def handle_comment(self, data: str) -> None:
        """No page of ours has one."""
        self.problems.append(f"a comment: {data[:60]!r}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        given = {name: value or "" for name, value in attrs}
        if len(given) != len(attrs):
            self.problems.append(f"<{tag}> has an attribute twice")
        self.elements.append((tag, given))
        self._look(tag, given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One that ends where it begins."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-3:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        """Text."""
        if self.open and self.open[-1] in {"script", "style"}:
            self.problems.append(f"inline {self.open[-1]}: {data[:60]!r}")
        self.text.append(data)

    # --- the rules -------------------------------------------------------------------------------------

    def _look(self, tag: str, given: dict[str, str]) -> None:
        if tag not in ELEMENTS:
            self.problems.append(f"an element of nobody's: <{tag} {given}>")
        for name, value in given.items():
            if name == "style" or name.startswith("on"):
                self.problems.append(f"<{tag} {name}={value[:40]!r}>: inline")
            if name.startswith(("hx-", "data-hx-")) and name not in _NAMED:
                self.problems.append(f"<{tag} {name}>: htmx was not asked to do that")
            if name in {"href", "src", "action", "formaction", "xlink:href"}:
                parts = urlsplit(value)
                if parts.scheme or parts.netloc or not value.startswith(("/", "#")):
                    self.problems.append(f"<{tag} {name}={value[:60]!r}> leads elsewhere")
        if tag == "script" and "src" not in given:
            self.problems.append("a script without src")

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every such element."""
        return [given for name, given in self.elements if name == tag]

    def complaints(self) -> list[str]:
        """Everything that is wrong with it."""
        found = list(self.problems)
        if self.open:
            found.append(f"never closed: {self.open}")
        ids = [given["id"] for _, given in self.elements if "id" in given]
        found += [f"id {one!r} is there twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
        found += [
            f"#{reference} is nowhere"
            for _, given in self.elements
            for name in ("aria-labelledby", "aria-describedby", "for")
            for reference in given.get(name, "").split()
            if reference not in ids
        ]
        labelled = {given.get("for") for given in self.all("label")}
        found += [
            f"no label: {given}"
            for tag in ("input", "select")
            for given in self.all(tag)
            if given.get("type") != "hidden" and given.get("id") not in labelled
        ]
        found += [
            f"an image without words: {given}"
            for given in self.all("svg")
            if given.get("aria-hidden") != "true" and not given.get("aria-label")
        ]
        if len(self.all("form")) > len(self.all("button")):
            found.append("a form without a button")
        if "".join(self.text).count("\x00"):
            found.append("NUL")
        return found if self.is_part else [*found, *self._of_a_whole()]

    def _of_a_whole(self) -> list[str]:
        found = [] if self.declared else ["no doctype"]
        if [given.get("lang") for given in self.all("html")] != ["en"]:
            found.append("no language")
        found += [
            f"{len(self.all(tag))} of <{tag}>"
            for tag in ("h1", "main", "header", "footer")
            if len(self.all(tag)) != 1
        ]
        if not any(given.get("href") == "#main" for given in self.all("a")):
            found.append("no skip link")
        return found
