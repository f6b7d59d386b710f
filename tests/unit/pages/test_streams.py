"""What the streams of the pages send, and when they end."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from deployer.adapters.store import StoreError
from deployer.web.hub import Hub
from deployer.web.pages import Renderer, streams
from deployer.web.pages.fragments import Fragments
from tests.support import hostile_texts, pages_data
from tests.support.page_reader import Read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


RENDER = Renderer(now=lambda: pages_data.NOW, strict=True)


class Place:
    """Two environments, and what their streams are made of."""

    def __init__(self, text: Callable[[str], str] = pages_data.same) -> None:
        """Both are healthy."""
        self.models = pages_data.Told([pages_data.view("a", text), pages_data.view("b", text)], text)
        self.hub = Hub()
        self.fragments = Fragments(RENDER, cast("Any", self.models), self.hub)
        self.messages = streams.Messages(RENDER, self.fragments)

    def rows(self, seen: str | None = None) -> AsyncIterator[bytes]:
        """The stream of the first page."""
        return streams._rows(self.hub, self.messages, ("a", "b"), seen)

    def environment(self, seen: str | None = None) -> AsyncIterator[bytes]:
        """The stream of an environment's page."""

        async def render() -> str:
            return await self.fragments.environment_soon("a", may_deploy=False)

        return streams._part(self.hub, self.messages, "a", "#environment", render, seen)


async def messages(stream: AsyncIterator[bytes], many: int) -> list[str]:
    """The next ones, each of its pieces; beats are not counted."""
    found: list[str] = []
    while len(found) < many:
        one = b""
        while not one.endswith(b"\n\n"):
            one += await asyncio.wait_for(anext(stream), 10)
        if one != streams.BEAT:
            found.append(one.decode())
    return found


def play(story: Callable[[], Awaitable[None]]) -> None:
    """Run it."""
    asyncio.run(cast("Any", story()))


def targets(message: str) -> list[str]:
    """Which parts a message holds."""
    return re.findall(r'<hx-partial hx-target="#([^"]+)"', message)


def html_of(message: str) -> str:
    """What a client makes of a message."""
    return "\n".join(
        line.removeprefix("data: ") for line in message.splitlines() if line.startswith("data: ")
    )


def test_the_whole_present_comes_at_once_and_then_what_changed() -> None:
    """Also to who comes back after a restart of the daemon, whose cursor is another's."""

    async def story() -> None:
        place = Place()
        stream = place.rows(seen="beef.0")
        assert targets((await messages(stream, 1))[0]) == ["summary", "env-a", "env-b"]

        place.models.views["b"].update(health="Degraded", message="It fell.")
        place.hub.changed("b")
        (second,) = await messages(stream, 1)
        assert targets(second) == ["summary", "env-b"]
        assert "It fell." in second

    play(story)


def test_a_page_that_has_the_present_gets_a_beat_and_no_more() -> None:
    """It was rendered a moment ago."""

    async def story() -> None:
        place = Place()
        stream = place.rows(seen=streams.cursor(place.hub))
        assert await anext(stream) == streams.BEAT

        place.hub.changed("a")
        (message,) = await messages(stream, 1)
        assert targets(message) == ["summary", "env-a"]
        assert f"id: {streams.cursor(place.hub)}\n" in message

    play(story)


def test_who_comes_again_gets_what_changed_since() -> None:
    """Neither the whole present nor less: with the id of any message, and with what a page was made of."""

    async def story() -> None:
        place = Place()
        place.hub.changed("b")
        stream = place.rows()
        (first,) = await messages(stream, 1)
        seen = first.partition("\n")[0].removeprefix("id: ")
        assert seen == streams.cursor(place.hub)

        place.hub.changed("a")
        (second,) = await messages(place.rows(seen), 1)
        assert targets(second) == ["summary", "env-a"]
        assert targets((await messages(place.environment(seen), 1))[0]) == ["environment"]

        for other in (seen.replace(".", "x."), seen.partition(".")[0], f"{seen}x", ""):
            (whole,) = await messages(place.rows(other), 1)
            assert targets(whole) == ["summary", "env-a", "env-b"], other

    play(story)


def test_a_long_message_is_sent_in_pieces() -> None:
    """Of which one waits for a slow reader, and not the whole."""

    async def story() -> None:
        place = Place(lambda text: f"{text} {'fruit ' * 50_000}")
        stream = place.environment()
        sizes = []
        whole = b""
        assert await anext(stream) == streams.BEAT
        while not whole.endswith(b"\n\n"):
            piece = await asyncio.wait_for(anext(stream), 10)
            sizes.append(len(piece))
            whole += piece
        assert max(sizes) == 65_536
        assert targets(whole.decode()) == ["environment"]

    play(story)


def test_what_changed_and_looks_the_same_is_not_sent() -> None:
    """Of an environment's page, and of a rollout's."""

    async def story() -> None:
        place = Place()
        stream = place.environment()
        assert targets((await messages(stream, 1))[0]) == ["environment"]

        place.hub.changed("a")
        await asyncio.sleep(0)
        place.models.views["a"]["message"] = "Something else."
        place.hub.changed("a")
        assert "Something else." in (await messages(stream, 1))[0]

    play(story)


def test_a_quiet_stream_beats() -> None:
    """So that a proxy keeps it, and the page sees that somebody is there."""

    async def story() -> None:
        place = Place()
        stream = streams._rows(place.hub, place.messages, ("a", "b"), None, quiet=0.05)
        await messages(stream, 1)
        assert await asyncio.wait_for(anext(stream), 10) == streams.BEAT

    play(story)


def test_the_stream_ends_with_the_daemon_and_nobody_is_left() -> None:
    """Also one that nobody reads at that moment."""

    async def story() -> None:
        place = Place()
        stream = place.rows()
        await messages(stream, 1)
        assert place.hub.listeners == 1

        place.hub.close()
        with pytest.raises(StopAsyncIteration):
            await messages(stream, 1)
        assert place.hub.listeners == 0

    play(story)


def test_many_who_listen_are_sent_what_was_made_once() -> None:
    """Whenever they came: they wake at the same moments, so what each is told of is the same."""
    listeners = 30

    async def story() -> None:
        place = Place()
        made = sent = 0
        summary = place.fragments.summary

        def counted(rows: Any) -> str:
            nonlocal made
            made += 1
            return summary(rows)

        async def read(stream: AsyncIterator[bytes]) -> None:
            nonlocal sent
            async for one in stream:
                sent += one != streams.BEAT

        async def change(until: int) -> None:
            while sent < until:
                place.hub.changed("a")
                await asyncio.sleep(0.01)

        place.fragments.summary = counted  # type: ignore[method-assign] # it only counts
        changing = asyncio.ensure_future(change(2 * listeners))
        reading = []
        for _ in range(listeners):
            reading.append(asyncio.ensure_future(read(place.rows())))
            # One after the other, so that each would have a rhythm of his own.
            await asyncio.sleep(0.25 / listeners)
        await changing
        # What each got first was his own: all that there is, as it was when he came.
        made = sent = 0
        await change(10 * listeners)
        assert made < sent / 20, (made, sent)
        place.hub.close()
        await asyncio.gather(*reading)

    play(story)


def test_who_leaves_is_forgotten() -> None:
    """A browser that is closed."""

    async def story() -> None:
        place = Place()
        stream = place.environment()
        await messages(stream, 1)

        await cast("Any", stream).aclose()
        assert place.hub.listeners == 0

    play(story)


def test_a_store_that_cannot_tell_just_now_does_not_end_the_stream() -> None:
    """The page keeps what it has; with the next change of anything, or the next beat, it gets the rest."""

    async def story() -> None:
        place = Place()
        stream = place.rows(seen=streams.cursor(place.hub))
        await anext(stream)
        told = place.models.environments

        asked = threading.Event()

        def fail(*_: object) -> list[dict[str, Any]]:
            asked.set()
            message = "the disk is full"
            raise StoreError(message)

        place.models.environments = cast("Any", fail)  # type: ignore[method-assign] # the stand-in is ours
        place.hub.changed("a")
        waits = asyncio.ensure_future(messages(stream, 1))
        await asyncio.to_thread(asked.wait, 10)
        place.models.environments = told  # type: ignore[method-assign] # the stand-in is ours
        place.hub.changed("b")
        assert targets((await waits)[0]) == ["summary", "env-a", "env-b"]

    play(story)


def test_no_text_breaks_out_of_its_message() -> None:
    """A line break in a subject begins no event, and a tag in it no part."""

    async def story() -> None:
        for text in hostile_texts.TEXTS[:80]:
            place = Place(lambda _, text=text: text)  # type: ignore[misc] # mypy cannot infer the default's type
            for stream, many in ((place.rows(), 3), (place.environment(), 1)):
                (message,) = await messages(stream, 1)
                assert message.endswith("\n\n")
                lines = message[:-2].split("\n")
                assert all(line.startswith(("id: ", "data: ")) for line in lines)
                assert len(targets(message)) == many
                assert Read.of(html_of(message), is_part=True).complaints() == []
                await cast("Any", stream).aclose()

    play(story)


def test_a_stream_beats_also_where_much_changes_and_nothing_is_to_be_told() -> None:
    """The page looks the same each time; whoever listens still hears that somebody is there."""

    async def story() -> None:
        place = Place()
        told: list[bytes] = []

        async def same() -> str:
            return "<p>the same</p>"

        async def change() -> None:
            while True:
                place.hub.changed("a")
                await asyncio.sleep(0.01)

        changing = asyncio.create_task(change())
        stream = streams._part(place.hub, place.messages, "a", "#rollout", same, None, quiet=0.05)
        while len(told) < 4:
            told.append(await asyncio.wait_for(anext(stream), 10))
        changing.cancel()
        assert b"the same" in told[1]
        assert [told[0], *told[2:]] == [streams.BEAT] * 3

    play(story)
