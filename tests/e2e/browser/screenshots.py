"""Makes the pictures in docs/screenshots anew, of the pages of a team's two weeks (`showcase`).

    python -m tests.e2e.browser.screenshots [NAME ...]

The time is that of the story, and letters are drawn alike wherever Chromium has the same fonts, so a picture
changes when its page does.
"""

from __future__ import annotations

import base64
import struct
import sys
import tempfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.e2e.browser import showcase
from tests.support import browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.e2e.browser.made_up import Served

FOLDER = Path(__file__).parents[3] / "docs/screenshots"

LIGHT, DARK = "light", "dark"
WIDE, NARROW = 1280, 390

PICTURES = {
    "environments": ("/", WIDE, LIGHT),
    "environments-dark": ("/", WIDE, DARK),
    "environments-narrow": ("/", NARROW, LIGHT),
    "environment": ("/env/production", WIDE, LIGHT),
    "environment-dark": ("/env/staging", WIDE, DARK),
    "rollout": ("/rollouts/{failed}", WIDE, LIGHT),
    "rollback": ("/env/production/rollback?to={good}", WIDE, LIGHT),
    "plan": ("/env/ranker/plan", WIDE, LIGHT),
    "promotions": ("/promotions", WIDE, LIGHT),
    "approvals": ("/approvals", WIDE, LIGHT),
    "promote": ("/env/production/promote?source=staging", WIDE, DARK),
    "gates": ("/env/embeddings", WIDE, LIGHT),
    "history": ("/history", WIDE, LIGHT),
    "audit": ("/audit", WIDE, LIGHT),
    "stats": ("/stats", WIDE, LIGHT),
    "doctor": ("/doctor", WIDE, LIGHT),
    "settings": ("/settings", WIDE, LIGHT),
    "sign-in": ("/sign-in?next=/", WIDE, LIGHT),
}
"""Name: path, width, scheme."""

GATED = frozenset({"promotions", "approvals", "promote", "gates"})
"""Those of the team that has gates."""

_HIGHEST = 1400
"""Pixels of a page that is longer: what comes below is more of the same."""


_FEWER_COLOURS = """async png => {
    const bytes = Uint8Array.from(atob(png), one => one.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes]));
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const all = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
    const counts = new Map();
    for (const colour of all) counts.set(colour, (counts.get(colour) || 0) + 1);
    // Again and again the colour is kept that would be missed most: there is much of it, or none like it.
    const parts = colour => [colour & 255, colour >> 8 & 255, colour >> 16 & 255];
    const colours = [...counts].map(([colour, count]) => (
        {colour, count, parts: parts(colour), far: Infinity, place: 0}));
    const palette = [];
    while (palette.length < 256) {
        const missed = one => one.count * one.far;
        const next = colours.reduce((a, b) => missed(b) > missed(a) ? b : a);
        if (missed(next) === 0) break;
        for (const one of colours) {
            const far = one.parts.reduce((sum, part, at) => sum + (part - next.parts[at]) ** 2, 0);
            if (far < one.far) [one.far, one.place] = [far, palette.length];
        }
        palette.push(next.parts);
    }
    const places = new Map(colours.map(one => [one.colour, one.place]));
    let pixels = "";
    for (const colour of all) pixels += String.fromCharCode(places.get(colour));
    return {size: [image.width, image.height], palette: palette.flat(), pixels: btoa(pixels)};
}"""


def take(chromium: Browser, served: Served, name: str) -> Path:
    """Take one picture."""
    path, width, scheme = PICTURES[name]
    told = served.told
    (failed,) = told.rollouts(environments=None, environment="production", result="failed", limit=1)["items"]
    good = next(one for one in told.releases("production")["items"] if not one["is_live"])
    path = path.format(failed=failed["id"].replace("#", "%23"), good=good["digest"])
    with closing(
        chromium.new_context(
            viewport={"width": width, "height": 720}, color_scheme="dark" if scheme == DARK else "light"
        )
    ) as window:
        browser.patient(window).clock.set_fixed_time(showcase.END)
        page = window.new_page()
        if not path.startswith("/sign-in"):
            page.goto(f"{served.url}/sign-in")
            browser.sign_in(page, served.person if name in GATED else served.token)
        page.goto(served.url + path)
        if page.locator("#live").count():
            browser.is_live(page)
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": width, "height": min(height, _HIGHEST)})
        made = FOLDER / f"{name}.png"
        made.write_bytes(small(chromium, page.screenshot(animations="disabled", caret="hide")))
    return made


def small(chromium: Browser, png: bytes) -> bytes:
    """The same picture with the 256 colours that there are most of, in a quarter of the bytes."""
    with closing(chromium.new_context()) as window:
        found = window.new_page().evaluate(_FEWER_COLOURS, base64.b64encode(png).decode())
    width, height = found["size"]
    pixels = base64.b64decode(found["pixels"])
    rows = b"".join(b"\0" + pixels[row * width : (row + 1) * width] for row in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes(found["palette"])),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    written = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def main(names: list[str]) -> None:
    """Take those that are named, or all."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as another,
        showcase.served(Path(folder)) as served,
        showcase.served(Path(another), has_gates=True) as gated,
        browser.launched() as chromium,
    ):
        for name in names or PICTURES:
            made = take(chromium, gated if name in GATED else served, name)
            click.echo(f"{made.relative_to(FOLDER.parents[1])}: {made.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
