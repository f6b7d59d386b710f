"""Messages through apprise over real sockets: what arrives where, harmless, and what a failure means.

Each service is a server on loopback that requests meant for the Internet are led to; mail is a real SMTP
conversation. What is looked at is what a service would get, so an apprise that escapes less fails here.
"""

from __future__ import annotations

import html
import json
import logging
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from email.header import decode_header
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from structlog.testing import capture_logs

from deployer.adapters import notify_apprise
from deployer.adapters.notify_apprise import Apprise, ChatUnavailable
from deployer.adapters.store import OutboxStore, SqlStore
from deployer.core.markup import ZERO_WIDTH
from deployer.core.routes import Route, cloud_event, message
from deployer.engine.notify_delivery import NoticeTarget
from deployer.engine.outbox import Away, Gone, LockedOut, Outbox, Refused
from tests.support.build import at, release, seen
from tests.support.eventually import eventually
from tests.support.free_port import free_port
from tests.support.hostile_http import Hostile, Request, answer
from tests.support.mail_server import MailServer
from tests.support.prerequisites import require
from tests.support.promotion_site import PromotionSite
from tests.unit.core.test_routes import FAILURE

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import requests

require("the extra notify", find_spec("apprise") is not None, "pip install -e '.[notify]'")

EVIL = (
    'staging: b4d5678 "<b>x</b> **bold** _it_ `code` <!channel> <!here> @everyone @here @channel @room'
    " <@U123> <@&12> <#C1> [x](http://evil.example) <http://evil.example|Log in> </pre><script>alert(1)"
    '</script> &amp; ||spoiler|| ~~s~~ <users/all> @**all** <img src=x>" failed.'
)
LINK = "https://deployer.example.com/rollouts/staging%232"
TOKEN = "TIiajkdnlazkcOXrIdevi7FQ"
SLACK = f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}"
DISCORD = f"discord://123456789012345678/{TOKEN}"


def event(sentence: str = EVIL, **changes: object) -> dict[str, Any]:
    """A notice of a hostile commit."""
    payload = {**message(Route(name="ops"), FAILURE).payload, "sentence": sentence, **changes}
    return cloud_event(
        payload,
        id_="msg_1",
        environment="staging",
        at="2026-11-24T12:00:00.000Z",
        deployer="https://deployer.example.com",
        link=LINK,
    )


OK = {
    "ok": True,
    "result": {},
    "event_id": "$1",
    "room_id": "!r:h",
    "user_id": "@u:h",
    "device_id": "d",
    "joined_rooms": ["!r:h"],
}


class Internet(Hostile):
    """All services at once: what is sent to any host comes here."""

    def __init__(self, said: bytes | None = None) -> None:
        """Answer this, or what each service says when all is well."""
        self.said = said
        super().__init__(behave=self._behave)

    def _behave(self, request: Request, _: socket.socket) -> bytes | None:
        if self.said is not None:
            return self.said
        if "slack" in request.headers["x-was-for"] and request.path.startswith("/services"):
            return answer(200, "ok")
        if request.path.startswith("/.well-known"):
            return answer(404)
        return answer(200, json.dumps(OK), ["Content-Type: application/json"])


@contextmanager
def internet(monkeypatch: pytest.MonkeyPatch, said: bytes | None = None) -> Iterator[Internet]:
    """Have every request of requests go to this machine."""
    with Internet(said) as place, monkeypatch.context() as patched:
        send = HTTPAdapter.send

        def led(self: HTTPAdapter, request: requests.PreparedRequest, **more: Any) -> requests.Response:
            parts = urlsplit(request.url or "")
            request.headers["X-Was-For"] = f"{parts.scheme}://{parts.netloc}"
            request.url = f"{place.address}{parts.path}{'?' if parts.query else ''}{parts.query}"
            return send(self, request, **more)

        patched.setattr(HTTPAdapter, "send", led)
        yield place


def chat(root: Path, address: str, total_seconds: float = 10.0) -> Apprise:
    """The place with this address."""
    file = root / "ops.apprise"
    file.write_text(f"{address}\n")
    return Apprise(file, total_seconds=total_seconds)


def posted(place: Hostile) -> dict[str, Any]:
    """The JSON of the last request that has some."""
    body = json.loads([one for one in place.requests if one.body.startswith(b"{")][-1].body)
    assert isinstance(body, dict)
    return body


# --- what arrives -------------------------------------------------------------------------------------------


def quiet(text: str) -> None:
    """Nobody is mentioned."""
    assert not re.search(f"@(?!{ZERO_WIDTH})", text), text
    assert "everyone" in text, "nothing is left out"


def test_slack_shows_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`& < >` are what its markup begins with; and it is told to look for none."""
    with internet(monkeypatch) as place:
        chat(tmp_path, f"{SLACK}?format=markdown").send("msg_1", event())
    body = posted(place)
    (shown,) = body["attachments"]
    assert body["mrkdwn"] is False
    assert "mrkdwn_in" not in shown
    assert shown["title"] == "deployer: staging#2"
    assert shown["color"] == "#CACF29"
    quiet(shown["text"])
    assert not set("<>") & set(shown["text"])
    assert "&lt;!channel&gt;" in shown["text"]
    assert "&amp;amp;" in shown["text"]
    assert shown["text"].endswith(f"\n{LINK}")
    assert place.requests[0].path == f"/services/T1JJ3T3L2/A1BRTD4JD/{TOKEN}"


@pytest.mark.parametrize("more", ["", "?format=markdown", "?format=html&footer=yes"])
def test_discord_reads_no_markdown_and_pings_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """Also where the address asks for Markdown, in which apprise looks for people to ping."""
    with internet(monkeypatch) as place:
        chat(tmp_path, f"{DISCORD}{more}").send("msg_1", event())
    body = posted(place)
    assert "embeds" not in body
    assert "allow_mentions" not in body
    text = body["content"]
    quiet(text)
    assert not re.search(f"<(?!{ZERO_WIDTH})", text)
    line = text.splitlines()[1]
    assert not re.search(r"(?<!\\)[`*_~|\[\]]", line), line
    assert text.endswith(f"\n{LINK}")


def test_mattermost_reads_no_markdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Discord."""
    with internet(monkeypatch) as place:
        chat(tmp_path, f"mmosts://chat.example.com/{TOKEN.lower()}00").send("msg_1", event())
    text = posted(place)["text"]
    quiet(text)
    assert not re.search(f"<(?!{ZERO_WIDTH})", text)
    assert not re.search(r"(?<!\\)[`*_~|\[\]]", text.splitlines()[1])


def test_telegram_reads_its_html_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one tag is ours."""
    with internet(monkeypatch) as place:
        chat(tmp_path, "tgram://123456789:abcdefg_hijklmnop/12315544").send("msg_1", event())
    body = posted(place)
    assert body["parse_mode"] == "HTML"
    quiet(body["text"])
    assert set(re.findall(r"</?\w+", body["text"])) <= {"<b", "</b"}
    assert body["text"].count("<b>") == 1
    assert "&lt;script&gt;" in body["text"]


def test_a_matrix_room_is_sent_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a formatted body, which is where HTML would be read; `@room` rings for nobody."""
    with internet(monkeypatch) as place:
        chat(tmp_path, f"matrixs://{TOKEN}@matrix.example.com/!r:h?e2ee=no").send("msg_1", event())
    (body,) = [json.loads(one.body) for one in place.requests if "m.room.message" in one.path]
    assert body.keys() == {"msgtype", "body"}
    assert body["msgtype"] == "m.text"
    quiet(body["body"])


def test_teams_and_google_chat_are_sent_escaped_markdown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apprise does that; nobody is mentioned, and no tag or link with a text of its own begins."""
    with internet(monkeypatch) as place:
        sig = "KODuebWbDGYFr0z0eu0_5uz1"
        chat(tmp_path, f"workflows://a.example.com:443/643e69f83c8944438d68119179a10a64/{sig}").send(
            "m", event()
        )
        (card,) = posted(place)["attachments"]
        title, text = (one["text"] for one in card["content"]["body"])
        assert title == "deployer: staging#2"
        texts = [text]
        chat(tmp_path, "gchat://workspace/key/token").send("m", event())
        google = posted(place)
        texts.append(google["text"])
    for text in texts:
        quiet(text)
        assert not re.search(f"<(?!{ZERO_WIDTH})", text)
        assert "**bold**" not in text
    assert len(google["thread"]["thread_key"]) == 32


def test_webex_is_sent_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the field that is no Markdown."""
    with internet(monkeypatch) as place:
        chat(tmp_path, f"wxteams://{'a1' * 40}?format=markdown").send("m", event())
    body = posted(place)
    assert body.keys() == {"text"}
    quiet(body["text"])


def test_what_nobody_looked_at_is_sent_no_sign_that_could_be_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zulip, which knows no escapes: wide forms. Its topic is the rollout."""
    with internet(monkeypatch) as place:
        chat(tmp_path, f"zulip://bot@org/{'a1' * 16}/stream").send("msg_1", event())
    (form,) = [parse_qs(one.body.decode()) for one in place.requests]
    assert form["topic"] == ["deployer: staging#2"]
    assert not set(form["content"][0].splitlines()[0]) & set("\\`*_~|[]()<>&@#")
    assert form["content"][0].endswith(f"\n{LINK}")


def test_plain_text_is_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ntfy and a pager show it as it is."""
    with internet(monkeypatch) as place:
        chat(tmp_path, "ntfys://ntfy.example.com/topic?format=markdown").send("msg_1", event())
        assert posted(place)["message"] == f"{EVIL} Push a fix.\n{LINK}"
        assert "markdown" not in str(place.requests[-1].headers).lower()


WORDS = st.text(st.sampled_from("@<>&*_~`|[]()#\\!:/;ab 1-\"'ltgamp.x="), min_size=1, max_size=40)


def unescaped(text: str) -> str:
    """What is left of Markdown where no sign is escaped."""
    return re.sub(r"\\.", "", text)


def test_no_words_do_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written, with what apprise makes of it: all is escaped once, and nothing twice."""
    addresses = {
        "slack": SLACK,
        "discord": DISCORD,
        "telegram": "tgram://123456789:abcdefg_hijklmnop/12315544",
        "mattermost": f"mmosts://chat.example.com/{TOKEN.lower()}00",
        "google": "gchat://workspace/key/token",
        "teams": "workflows://a.example.com:443/643e69f83c8944438d68119179a10a64/KODuebWbDGYFr0z0eu0_5uz1",
    }
    for name in addresses:
        (tmp_path / name).mkdir()
    places = {name: chat(tmp_path / name, address) for name, address in addresses.items()}

    @settings(max_examples=50, deadline=None)
    @given(WORDS)
    @example(r"\*b\* \[x\](y)")
    def holds(words: str) -> None:
        written = f"x{' '.join(words.split())}"
        wanted = f"{written} Push a fix."
        sent = dict[str, dict[str, Any]]()
        for name, one in places.items():
            one.send("msg_1", event(written))
            sent[name] = posted(place)
        shown = sent["slack"]["attachments"][0]["text"]
        assert not set("<>") & set(shown)
        assert html.unescape(shown).replace(ZERO_WIDTH, "") == f"{wanted}\n{LINK}"
        shown = sent["telegram"]["text"].removeprefix("<b>deployer: staging#2</b>")
        assert not set("<>") & set(shown)
        assert html.unescape(shown).replace(ZERO_WIDTH, "").split() == [*wanted.split(), LINK]
        for shown in (sent["discord"]["content"], sent["mattermost"]["text"]):
            _, line, link = shown.splitlines()
            assert link == LINK
            assert re.sub(r"\\(.)", r"\1", line).replace(ZERO_WIDTH, "") == wanted
            assert not set("*_`~|[]#") & set(unescaped(line)), line
            assert not re.search(f"[<@&](?!{ZERO_WIDTH})", line), line
        card = sent["teams"]["attachments"][0]["content"]["body"][1]["text"]
        for shown in (sent["google"]["text"].partition("\n")[2], card):
            line, _ = shown.splitlines()
            assert not set("*_`~") & set(unescaped(line)), line
            assert not re.search(f"[<@](?!{ZERO_WIDTH})", line), line

    with internet(monkeypatch) as place:
        holds()


def test_an_incident_is_resolved_by_its_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same key, whoever restarts in between: each message is sent by a plugin of its own."""
    with internet(monkeypatch) as place:
        pager = chat(tmp_path, "pagerduty://abcdefghijklmnopqrst@abcdefghijklmnopqrst")
        pager.send("msg_1", event(severity="critical"))
        opened = posted(place)
        pager.send("msg_2", event(recovered=True))
        closed = posted(place)
    assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed["dedup_key"]
    assert opened["payload"]["severity"] == "critical"


@pytest.mark.parametrize("more", ["", "&format=html"])
def test_mails_of_one_rollout_are_one_conversation(tmp_path: Path, more: str) -> None:
    """Plain text, whatever the address asks for; a subject and a thread for all of it."""
    with MailServer() as server:
        address = f"mailto://u:{TOKEN}@127.0.0.1:{server.port}?from=d@example.com&to=ops@example.com{more}"
        place = chat(tmp_path, address)
        place.send("msg_1", event())
        place.send("msg_2", event(recovered=True))
        place.send("msg_3", event(thread="staging#3"))
    first, again, other = server.mails
    assert {first["Subject"], again["Subject"]} == {"deployer: staging#2"}
    assert first["References"] == again["References"] == first["In-Reply-To"]
    assert other["References"] != first["References"]
    assert first["Message-ID"] != again["Message-ID"]
    assert {one.get_content_type() for one in server.mails} == {"text/plain"}
    assert first.get_content().split() == f"{EVIL} Push a fix.\n{LINK}".split()


def test_a_stranger_adds_no_header_to_a_mail(tmp_path: Path) -> None:
    """Nor a second recipient, nor an end of the mail before its end."""
    evil = "a\r\nBcc: victim@example.com\r\n\r\n.\r\nMAIL FROM:<x@example.com>\nSubject: b"
    with MailServer() as server:
        address = f"mailto://u:{TOKEN}@127.0.0.1:{server.port}?from=d@example.com&to=ops@example.com"
        chat(tmp_path, address).send("msg_1", event(evil, thread="staging#2\r\nBcc: victim@example.com"))
    (mail,) = server.mails
    assert server.recipients == ["ops@example.com"]
    assert mail["Bcc"] is None
    assert mail.get_all("Subject") == ["deployer: staging#2 Bcc: victim example.com"]
    assert decode_header(mail["Subject"])[0][1] is None
    assert server.commands.count("MAIL") == 1


# --- what a failure means -----------------------------------------------------------------------------------


def target(place: Apprise) -> NoticeTarget:
    """The target of the route."""
    return NoticeTarget(Route(name="ops"), place, "https://deployer.example.com")


@pytest.mark.parametrize(
    ("said", "meaning", "why"),
    [
        (answer(500, "x"), Away, "it answered 500: it is tried again"),
        (answer(429), Away, "it was asked too often, and is asked again later"),
        (answer(302, headers=["Location: http://127.0.0.1:1/"]), LockedOut, "it redirects elsewhere"),
        (answer(401), LockedOut, "it answered 401, and does not let us in, or knows no such address: check"),
        (answer(404, "no_service"), LockedOut, "it answered 404, and does not let us in"),
        (answer(410), Gone, "it answered 410, and wants nothing any more"),
        (answer(400, "invalid_payload"), Refused, "it answered 400, and does not take this"),
    ],
    ids=["500", "429", "302", "401", "404", "410", "400"],
)
@pytest.mark.parametrize(
    "address",
    [f"{SLACK}?optional=yes&retry=3&redirect=yes", "pagerduty://abcdefghijklmnopqrst@abcdefghijklmnopqrst"],
    ids=["slack", "pagerduty"],
)
def test_what_a_service_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    said: bytes,
    meaning: type[Exception],
    why: str,
) -> None:
    """As far as apprise tells; asked once, whatever stands in the address, of which not a word is said."""
    with internet(monkeypatch, said) as place, pytest.raises((Away, Refused)) as caught:
        target(chat(tmp_path, address)).test(at(0))
    assert type(caught.value) is meaning
    assert why in str(caught.value)
    assert len(place.requests) == 1
    for part in (TOKEN, "T1JJ3T3L2", "abcdefghijklmnopqrst"):
        assert part not in str(caught.value)


def test_a_commit_cannot_say_that_the_place_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one message would have all that wait thrown away."""
    evil = "error=410. Socket Exception: (535, b'no') refused"
    with internet(monkeypatch, answer(500)), pytest.raises(ChatUnavailable, match="it answered 500"):
        chat(tmp_path, SLACK).send("msg_1", event(evil))
    with MailServer({"MAIL": "451 later"}) as server:
        address = f"mailto://u:{TOKEN}@127.0.0.1:{server.port}?from=d@example.com&to=ops@example.com"
        with pytest.raises(ChatUnavailable, match="it answered 503"):
            chat(tmp_path, address).send("msg_1", event(evil))


def test_nothing_that_answers_is_away(tmp_path: Path) -> None:
    """Nothing is lost by that."""
    with pytest.raises(Away, match="it cannot be reached: nothing answers there") as caught:
        target(chat(tmp_path, f"ntfy://127.0.0.1:{free_port()}/{TOKEN}")).test(at(0))
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("answers", "meaning"),
    [
        ({"AUTH": "535 no"}, LockedOut),
        ({"MAIL": "451 later"}, Away),
        ({"RCPT": "550 nobody"}, Refused),
        ({"EHLO": "421 busy", "HELO": "421 busy"}, Away),
    ],
    ids=["auth", "later", "nobody", "busy"],
)
def test_what_a_mail_server_answers(
    tmp_path: Path, answers: Mapping[str, str], meaning: type[Exception]
) -> None:
    """In the same meaning."""
    with MailServer(answers) as server:
        address = f"mailto://u:{TOKEN}@127.0.0.1:{server.port}?from=d@example.com&to=ops@example.com"
        with pytest.raises((Away, Refused)) as caught:
            target(chat(tmp_path, address)).test(at(0))
    assert type(caught.value) is meaning
    assert TOKEN not in str(caught.value)


def test_a_service_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor asked again while that call hangs; a stop waits for nothing."""
    begun = threading.Event()

    class Hanging(Internet):
        def _behave(self, request: Request, connection: socket.socket) -> bytes | None:
            begun.set()
            self.pause()
            return None

    with Hanging() as server:
        place = chat(tmp_path, f"ntfy://127.0.0.1:{server.port}/{TOKEN}", total_seconds=0.3)
        with pytest.raises(Away, match=r"no complete answer within 0\.3 s"):
            target(place).test(at(0))
        assert begun.wait(10)
        with pytest.raises(Away, match="the last message to it still hangs"):
            target(place).test(at(0))
        assert len(server.requests) == 1
        call = place._call
    assert call is not None
    call.join(15)
    assert not call.is_alive()


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    """The call itself is left to end with the process."""
    with Hostile(behave=lambda _, __: server.pause()) as server:
        place = chat(tmp_path, f"ntfy://127.0.0.1:{server.port}/{TOKEN}", total_seconds=600.0)
        failed: list[Exception] = []

        def send() -> None:
            try:
                place.send("msg_1", event())
            except ChatUnavailable as error:
                failed.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        eventually(lambda: len(server.requests) == 1, within=10)
        place.interrupt()
        thread.join(10)
        assert not thread.is_alive()
        with pytest.raises(ChatUnavailable, match="shutting down"):
            place.send("msg_2", event())
        assert len(server.requests) == 1
    assert [str(one) for one in failed] == ["it was not sent to the end: the daemon is shutting down"]
    call = place._call
    assert call is not None
    assert call.daemon
    call.join(15)


def test_a_plugin_that_fails_has_failed_and_says_nothing_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are 180 of them."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError(TOKEN)

    monkeypatch.setattr(notify_apprise._Call, "_send", broken)
    with pytest.raises(Away, match="no answer is known") as caught:
        target(chat(tmp_path, SLACK)).test(at(0))
    assert TOKEN not in str(caught.value)


# --- the address --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nonsense://a/b/c", "apprise cannot use what stands in its url_file"),
        ("slack://nothing", "apprise cannot use what stands in its url_file"),
        ("", "has no apprise URL"),
        (f"ntfy://ntfy.example.com/{TOKEN}", "everybody on the way could read the messages: write ntfys://"),
    ],
    ids=["unknown", "incomplete", "empty", "open"],
)
def test_an_address_that_cannot_be_used_is_said_before_anything_is_sent(
    tmp_path: Path, address: str, why: str
) -> None:
    """By `check`, at the start, and at each message."""
    place = chat(tmp_path, address)
    with pytest.raises(ChatUnavailable, match=why):
        place.check()
    with pytest.raises(Away, match=why) as caught:
        target(place).test(at(0))
    assert TOKEN not in str(caught.value)


def test_an_address_that_can_be_used_is_named_by_its_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is the one that the service shows; it is read anew at each message."""
    assert chat(tmp_path, SLACK).check() == "slack"
    place = chat(tmp_path, f"https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/{TOKEN}")
    assert place.check() == "slack"
    with internet(monkeypatch) as server:
        place.send("msg_1", event())
        chat(tmp_path, DISCORD)
        place.send("msg_2", event())
    assert [one.headers["x-was-for"] for one in server.requests] == [
        "https://hooks.slack.com",
        "https://discord.com",
    ]
    (tmp_path / "ops.apprise").unlink()
    with pytest.raises(ChatUnavailable, match="cannot read its url_file"):
        place.check()


def test_without_the_extra_it_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, with the command."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ChatUnavailable, match=r"pip install 'ray-serve-deployer\[notify\]'"):
        chat(tmp_path, SLACK).check()


# --- with the outbox ----------------------------------------------------------------------------------------


def test_a_secret_of_the_address_stands_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in the log, which apprise writes into, nor in the store, after all that can go wrong."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    store = SqlStore.open(tmp_path / "deployer.db")
    outbox = OutboxStore(store.database)
    store.commit(store.load("staging"), [seen(release("1"), 1)], [message(Route(name="ops"), FAILURE)])
    clock, states = iter(range(0, 600_000, 600)), list[object]()
    with capture_logs() as logs:
        for said in (answer(500), answer(404, TOKEN), b"nonsense\r\n\r\n", answer(400, TOKEN)):
            with internet(monkeypatch, said):
                for address in (SLACK, f"pagerduty://{TOKEN[:20]}@{TOKEN[:20]}"):
                    targets = [target(chat(tmp_path, address))]
                    Outbox(outbox, targets, now=partial(at, next(clock)), jitter=lambda: 0.5).deliver_all()
                    states += outbox.targets()
    store.close()
    everything = "".join(map(str, (lines, logs, states, *capfd.readouterr())))
    assert "it answered 404" in everything
    assert TOKEN[:20] not in everything
    content = b"".join(one.read_bytes() for one in tmp_path.glob("deployer.db*"))
    assert TOKEN[:20].encode() not in content


# --- the command, and the daemon ----------------------------------------------------------------------------


def site(root: Path, address: str) -> PromotionSite:
    """A site with one route, which goes to people."""
    file = root / "people.apprise"
    file.touch(mode=0o600)
    file.write_text(f"{address}\n")
    routes = {"people": {"apprise": {"url_file": str(file)}, "environments": ["dev"]}}
    return PromotionSite(root, more={"notify": routes})


def test_a_rollout_that_fails_is_one_conversation(tmp_path: Path) -> None:
    """From the failure over the way back to its end, also over a restart: real mails, of a real daemon."""
    with MailServer() as server, capture_logs():
        address = f"mailto://u:{TOKEN}@127.0.0.1:{server.port}?from=d@example.com&to=ops@example.com"
        made = site(tmp_path, address)
        made.push(1)
        with made.running():
            assert made.type("sync", "dev", "--wait").exit_code == 0
            made.push(2, app="constructor_raises:app")
            assert made.type("sync", "dev", "--wait").exit_code == 4
            eventually(lambda: len(server.mails) == 3, within=60)
        made.push(3)
        with made.running():
            assert made.type("sync", "dev", "--wait").exit_code == 0
            eventually(lambda: len(server.mails) == 4, within=60)
    good, failed, back, well = server.mails
    subjects = [one["Subject"] for one in server.mails]
    assert subjects == ["deployer: dev#1", *["deployer: dev#2"] * 3]
    assert failed["References"] == back["References"] == well["References"] != good["References"]
    assert "failed" in failed.get_content()
    assert "well again after" in well.get_content()


def test_the_commands_know_it(tmp_path: Path) -> None:
    """Exit codes as for a webhook; the file is named, and not what is in it."""
    with MailServer() as server, capture_logs():
        address = f"mailto://u:{TOKEN}@127.0.0.1:{server.port}?from=d@example.com&to=ops@example.com"
        made = site(tmp_path, address)
        with made.running():
            pass
        file = tmp_path / "people.apprise"
        taken = made.type("notify", "test", "people")
        assert taken.exit_code == 0, taken.output
        assert taken.stdout == f"people: apprise, by {file} took the test message.\n"
        (mail,) = server.mails
        assert mail["Subject"] == "deployer: test/people"
        assert mail.get_content().startswith("This is a test of the route people: somebody typed")

        server.answers["AUTH"] = "535 no"
        refused = made.type("notify", "test", "people")
        assert refused.exit_code == 1
        assert (
            "people: the test message was not delivered: cannot send by mailto: it answered 401"
            in refused.stderr
        )
        assert made.json("notify", "list")["routes"][0]["to"] == f"apprise, by {file}"
        assert TOKEN not in refused.output + made.type("notify", "list").output


@pytest.mark.parametrize("command", [("run",), ("config", "validate")], ids=["run", "validate"])
def test_an_address_that_apprise_cannot_use_is_said_at_the_start(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """By the daemon and by who checks its settings: exit code 3, one sentence, nothing of the address."""
    made = site(tmp_path, f"slack://{TOKEN}")
    with capture_logs(), made.running():
        pass
    result = made.type(*command)
    assert result.exit_code == 3, result.output
    assert "notify.people.apprise: apprise cannot use what stands in its url_file" in result.output
    assert TOKEN not in result.output


def test_another_route_does_not_wait_for_one_that_hangs(tmp_path: Path) -> None:
    """Each has a thread of its own."""
    store = SqlStore.open(tmp_path / "deployer.db")
    told = [message(Route(name=name), FAILURE) for name in ("slow", "quick")]
    store.commit(store.load("staging"), [seen(release("1"), 1)], told)
    (tmp_path / "quick").mkdir()
    with Hostile(behave=lambda _, __: slow.pause()) as slow, Internet() as quick:
        quick.said = answer(200, "{}")
        targets = [
            NoticeTarget(Route(name="slow"), chat(tmp_path, f"ntfy://127.0.0.1:{slow.port}/a", 60.0), None),
            NoticeTarget(
                Route(name="quick"), chat(tmp_path / "quick", f"ntfy://127.0.0.1:{quick.port}/a"), None
            ),
        ]
        outbox = Outbox(OutboxStore(store.database), targets)
        outbox.start()
        try:
            eventually(lambda: len(slow.requests) == 1 and len(quick.requests) == 1, within=10)
            eventually(lambda: outbox.deliveries().get(("notify/quick", "delivered")) == 1, within=10)
            assert ("notify/slow", "delivered") not in outbox.deliveries()
        finally:
            since = time.monotonic()
            outbox.stop()
            assert time.monotonic() - since < 30.0, "nobody waits for the call, which may take a minute"
    store.close()


def test_it_is_imported_where_a_message_is_sent(tmp_path: Path) -> None:
    """And nowhere else: not with the settings, nor with what a daemon is made of."""
    program = "import sys; import deployer.cli.daemon, deployer.cli.run; print('apprise' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "False", done.stderr
    chat(tmp_path, SLACK).check()
    assert "apprise" in sys.modules
