"""`/static/`: the stylesheet, the scripts and the icon.

Owns what is served from `static/`, and for how long a browser may keep it. Must not read a file on behalf of
a request: they are read at the start, and a name is looked up. Invariant: the address of a file holds the
digest of what is in it, so a page and its script are always of the same version, also after an update of the
daemon.
"""

from __future__ import annotations

import hashlib
from functools import cache
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from deployer.web.access import open_to_all

STATIC = Path(__file__).parent.parent / "static"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served; other files of the folder are not."""

_VERSION = 12
"""Characters of the digest in an address."""

_FOR_EVER = "public, max-age=31536000, immutable"


def router() -> APIRouter:
    """The one route, for everybody: the sign-in page needs its stylesheet."""
    router = APIRouter(redirect_slashes=False)

    @router.get("/static/{name}", dependencies=[open_to_all()], include_in_schema=False)
    def static(name: str, v: str = "") -> Response:
        files = _files()
        if name not in files:
            return Response("There is no such file.\n", HTTPStatus.NOT_FOUND, media_type="text/plain")
        content, version = files[name]
        keep = _FOR_EVER if v == version else "no-cache"
        return Response(content, media_type=TYPES[Path(name).suffix], headers={"Cache-Control": keep})

    return router


def address(name: str) -> str:
    """Where a file of `static/` is found, in this version. Raises KeyError if there is none."""
    return f"/static/{name}?v={_files()[name][1]}"


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    found = {}
    for path in STATIC.iterdir():
        if path.suffix in TYPES:
            content = path.read_bytes()
            found[path.name] = (content, hashlib.sha256(content).hexdigest()[:_VERSION])
    return found
