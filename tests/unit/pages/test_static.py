"""What the browser gets beside the pages: whose it is, and that nothing in it needs a weaker policy."""

from __future__ import annotations

import hashlib
import re
import tomllib

import pytest

from deployer.web.pages import assets, render

VENDOR = tomllib.loads((assets.STATIC / "VENDOR.toml").read_text())
TEMPLATES = sorted(render.TEMPLATES.iterdir())


def test_what_was_written_elsewhere_is_byte_for_byte_what_was_published() -> None:
    """Each file with its checksum, the version that it says itself, and its licence beside it."""
    htmx = VENDOR["htmx"]
    for file in htmx["files"]:
        content = (assets.STATIC / file["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file["file"]
    assert f'version="{htmx["version"]}"' in (assets.STATIC / "htmx.min.js").read_text()
    assert "Zero-Clause BSD" in (assets.STATIC / htmx["licence_file"]).read_text()


def test_every_file_is_ours_or_accounted_for() -> None:
    """Nothing lies there that nobody wrote down."""
    theirs = {file["file"] for entry in VENDOR.values() for file in entry["files"]}

    assert {path.name for path in assets.STATIC.iterdir()} - theirs == {
        "VENDOR.toml",
        "app.css",
        "favicon.svg",
        "live.js",
    }


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_goes_around_the_escaping_or_the_policy(path: object) -> None:
    """Nothing is marked safe, and no script, style or handler is inline."""
    text = path.read_text()  # type: ignore[attr-defined] # a path; pytest's ids need the parameter's own type

    assert not re.search(r"\|\s*safe|autoescape|\|\s*e\b|Markup", text)
    assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|hx-on|<script(?! src=)", text)
    assert not re.search(r"=\{\{|= \{\{", text), "an attribute without quotes"


def test_every_icon_that_is_used_is_drawn() -> None:
    """In the templates and by the words."""
    sprite = (render.TEMPLATES / "_sprite.svg").read_text()
    drawn = set(re.findall(r'id="i-([a-z]+)"', sprite))
    source = (render.TEMPLATES.parent / "pages" / "words.py").read_text()
    source += (render.TEMPLATES.parent / "pages" / "shown.py").read_text()
    tables = re.findall(r'"(?:[^"]+)": \(([^)]*)\)', source)
    used = {word for row in tables for word in re.findall(r'"([a-z]+)"', row)} & drawn
    named = {name for path in TEMPLATES for name in re.findall(r'icon\("([a-z]+)"', path.read_text())}

    assert named <= drawn
    assert drawn - used - named == {"mark"}


def test_no_file_of_ours_asks_anybody_else() -> None:
    """No address of another site, in a script, a stylesheet or a template, but names of XML."""
    for path in [*TEMPLATES, *(assets.STATIC / name for name in ("app.css", "live.js", "favicon.svg"))]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|url\(|@import|//[a-z]+\.", text), path.name


def test_the_stylesheet_has_room_for_everybody() -> None:
    """Both schemes, less motion, print, and a focus that is seen."""
    text = (assets.STATIC / "app.css").read_text()

    for part in (
        "color-scheme: light dark",
        "prefers-reduced-motion",
        "@media print",
        ":focus-visible",
        ".skip",
    ):
        assert part in text
    assert "gradient" not in text


COLOURS = dict(
    re.findall(
        r"--([a-z-]+): light-dark\((#[0-9a-f]{6}, #[0-9a-f]{6})\)", (assets.STATIC / "app.css").read_text()
    )
)
PAIRS = [
    (text, ground)
    for text in ("text", "muted", "accent", "ok", "busy", "warn", "bad", "idle")
    for ground in ("surface", "ground", "sunken")
] + [
    *((tone, f"{tone}-ground") for tone in ("ok", "busy", "warn", "bad", "idle")),
    *(("text", f"{tone}-ground") for tone in ("ok", "busy", "warn", "bad", "idle")),
    *(("accent", f"{tone}-ground") for tone in ("busy", "warn", "bad", "idle")),
    ("on-accent", "accent"),
    ("on-accent", "bad"),
]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_every_text_can_be_read_on_its_ground(text: str, ground: str, scheme: int) -> None:
    """Contrast of 4.5 at least (WCAG 2.2, 1.4.3); of 3 for the edges of fields (1.4.11)."""
    one, other = (COLOURS[name].split(", ")[scheme] for name in (text, ground))

    assert contrast(one, other) >= 4.5, f"{one} on {other}: {contrast(one, other):.2f}"
    assert contrast(COLOURS["edge"].split(", ")[scheme], COLOURS["surface"].split(", ")[scheme]) >= 3


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
