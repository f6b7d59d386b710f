"""A stream is never silent for long, and what it is made of ends with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from deployer.web.streaming import beating

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def test_texts_pass_and_silence_beats() -> None:
    """At once in the beginning, then only after so long without a text."""

    async def texts() -> AsyncGenerator[bytes, None]:
        for text in (b"", b"one", b"", b"two", b""):
            yield text
        await asyncio.sleep(0.2)
        yield b""
        yield b""

    async def story() -> list[bytes]:
        return [text async for text in beating(texts(), b"beat", quiet=0.1)]

    assert asyncio.run(story()) == [b"beat", b"one", b"two", b"beat"]


def test_who_leaves_ends_what_it_is_made_of() -> None:
    """So that no subscription is left behind."""
    ended = []

    async def texts() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"more"
        finally:
            ended.append(True)

    async def story() -> None:
        stream = beating(texts(), b"beat")
        assert await anext(stream) == b"more"
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator, which is told as an iterator
        assert ended == [True]

    asyncio.run(story())
