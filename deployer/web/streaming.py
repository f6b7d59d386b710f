"""What all streams have in common (server-sent events): their headers, the beat, and pieces.

Owns when a beat is sent, and how much at a time. Must not know what a stream is about. Invariant: whoever
listens hears something at least every two times `QUIET_SECONDS`, also where much changes and nothing of it is
for him: so no proxy ends the connection (60 s is usual), a page knows that somebody is there, and the guard
sees each time whether the caller still counts. And for who reads slowly a piece of a message waits, not all.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import TYPE_CHECKING

from fastapi.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

QUIET_SECONDS = 15.0
"""After so long without anything to tell a beat is sent."""

_PIECE_BYTES = 65_536
"""What is given to the server at a time: as much as it keeps for a connection before it has us wait. With 500
environments the whole present has a megabyte, and all who are sent the same share it."""

MEDIA_TYPE = "text/event-stream"

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""nginx would hold the stream back without the second one."""


async def beating(
    texts: AsyncGenerator[bytes, None], beat: bytes, *, quiet: float = QUIET_SECONDS
) -> AsyncIterator[bytes]:
    """The texts in pieces, and a beat where there was none for so long.

    `texts` gives b"" whenever it looked and has nothing to tell, at the latest every `quiet` seconds.
    """
    loop = asyncio.get_running_loop()
    told_at = -math.inf
    async with aclosing(texts):
        async for text in texts:
            if text or loop.time() - told_at >= quiet:
                whole = text or beat
                for at in range(0, len(whole), _PIECE_BYTES):
                    yield whole[at : at + _PIECE_BYTES]
                told_at = loop.time()


def response(texts: AsyncIterator[bytes]) -> StreamingResponse:
    """The answer that goes on."""
    return StreamingResponse(texts, media_type=MEDIA_TYPE, headers=HEADERS)
