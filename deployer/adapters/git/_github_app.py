"""A GitHub App's key, exchanged for a token that lives for an hour.

Owns the token and the time it has left. Must not know git. Invariant: the private key is read by openssl
alone, from its file; the token is in memory and where the owner of this puts it, never in a message.

openssl signs: it takes 6 ms, and the key never gets into this process (ADR 0018).
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from deployer.adapters.git._commands import Children
from deployer.adapters.git._errors import GitUnavailable, harmless
from deployer.outgoing import NoAnswer, request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployer.adapters.git._remote import GithubApp
    from deployer.outgoing import Answer, Cutter

READ_CONTENT = {"contents": "read"}
WRITE_CONTENT = {"contents": "write"}
"""What git needs, to fetch and to push."""

_EARLY_SECONDS = 300.0
"""A token is replaced this long before its end: the longest fetch begins and ends with one token, and an API
that is down for a moment delays nothing."""

_BACKDATED_SECONDS = 60
"""GitHub's own advice against clocks that differ a little: the request was made a minute ago."""

_VALID_SECONDS = 540
"""For the request's end. GitHub takes ten minutes at most."""

_SKEW_SECONDS = 30.0
"""A clock that differs by more is named as the likely cause of a refusal."""

_SIGN_SECONDS = 10.0
"""For openssl, which takes 6 ms with a key of 2,048 bits."""

_SMALLEST_SIGNATURE = 128
"""Bytes, of an RSA key with 1,024 bits. A key of another kind makes signatures of some 70."""

_TOKEN = re.compile(r"[A-Za-z0-9_.=+/~-]{8,4000}")

_CREATED = 201

_LIMIT_BYTES = 256 * 1024
"""Of an answer: GitHub's has 2 kB."""

_PERMISSIONS = {"statuses": "Commit statuses"}
"""How GitHub's page of an App names what the API names otherwise; the rest is spelled alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """What the forge gave, and when it ends (seconds since 1970)."""

    text: str
    expires: float


class AppTokens:
    """The tokens of one App's installation, for one repository, for its API. Safe in any thread."""

    def __init__(
        self, app: GithubApp, *, url: str, ca_file: Path | None, permissions: Mapping[str, str]
    ) -> None:
        """Take whose they are, for which repository and what for; ask nothing yet.

        `permissions` as GitHub's API names them: `{"pull_requests": "write", "statuses": "write"}`.
        """
        self._held = InstallationToken(app, url=url, ca_file=ca_file, permissions=permissions)
        self._cutter = Children()
        self._lock = threading.Lock()

    def token(self) -> str:
        """One that lives for five minutes more at least, if the forge gives one.

        May ask the forge, for some 10 s at most. Raises GitUnavailable.
        """
        with self._lock:
            return self._held.renew(self._cutter)

    def forget(self) -> None:
        """It was refused, though its hour is not over: get another one the next time."""
        with self._lock:
            self._held.forget()

    def interrupt(self) -> None:
        """End what runs, and ask for nothing any more."""
        self._cutter.interrupt()


class InstallationToken:
    """The token of one App's installation, for one repository. One thread uses it."""

    def __init__(
        self,
        app: GithubApp,
        *,
        url: str,
        ca_file: Path | None,
        permissions: Mapping[str, str] = READ_CONTENT,
    ) -> None:
        """Take whose it is, for which repository and what for; ask nothing yet."""
        self._app = app
        self._url = url
        self._ca_file = ca_file
        self._permissions = dict(permissions)
        self._held: _Token | None = None

    @property
    def token(self) -> str | None:
        """The token that is held, or None."""
        return None if self._held is None else self._held.text

    def forget(self) -> None:
        """It was refused: the next `renew` gets another one."""
        self._held = None

    def renew(self, cutter: Cutter) -> str:
        """Get a token if none is held, or it ends soon. Raises GitUnavailable if there is none then."""
        held, now = self._held, time.time()
        if held is not None and now < held.expires - _EARLY_SECONDS:
            return held.text
        try:
            self._held = new = self._exchange(cutter)
        except GitUnavailable:
            if held is None or now >= held.expires:
                raise
            return held.text
        return new.text

    def _exchange(self, cutter: Cutter) -> _Token:
        bearer = self._signed()
        target = f"{self._app.api_url}/app/installations/{self._app.installation_id}/access_tokens"
        # As little as possible: this repository alone, and what is done with it.
        name = unquote(urlsplit(self._url).path).rstrip("/").rpartition("/")[2].removesuffix(".git")
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "Authorization": f"Bearer {bearer}",
        }
        try:
            answer = request(
                "POST",
                target,
                headers=headers,
                body={"repositories": [name], "permissions": self._permissions},
                ca_file=self._ca_file,
                cutter=cutter,
                limit_bytes=_LIMIT_BYTES,
            )
        except NoAnswer as error:
            self._fail(f"the forge's API at {self._app.api_url} {error}")
        if answer.status != _CREATED:
            self._fail(self._refusal(answer))
        token = _given(answer.body)
        if token is None:
            self._fail(f"{self._app.api_url} answered without a token: check that it is the forge's API")
        return token

    def _signed(self) -> str:
        """A JSON Web Token (RFC 7519) that says which App this is, signed with its key (RS256)."""
        path = self._app.private_key_file
        now = int(time.time())
        claims = {"iat": now - _BACKDATED_SECONDS, "exp": now + _VALID_SECONDS, "iss": self._app.app_id}
        text = f"{_encoded({'alg': 'RS256', 'typ': 'JWT'})}.{_encoded(claims)}"
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            self._fail(f"cannot read its private_key_file {path}: {error.strerror}")
        # No passphrase, or openssl would ask a person for it.
        command = ["openssl", "dgst", "-sha256", "-passin", "pass:", "-sign", str(path)]
        try:
            signed = subprocess.run(  # noqa: S603 - the arguments are the operator's
                command,
                input=text.encode("ascii"),
                capture_output=True,
                check=False,
                timeout=_SIGN_SECONDS,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        except FileNotFoundError:
            self._fail("openssl is not installed or not in PATH: install openssl")
        except subprocess.TimeoutExpired:
            self._fail(f"openssl did not end within {_SIGN_SECONDS:g} s")
        if signed.returncode or len(signed.stdout) < _SMALLEST_SIGNATURE:
            advice = "is not a private RSA key without a passphrase: take the PEM file as the forge gave it"
            self._fail(f"its private_key_file {path} {advice}")
        return f"{text}.{_base64(signed.stdout)}"

    def _refusal(self, answer: Answer) -> str:
        app = self._app
        match answer.status:
            case 401 if skew := _skew(answer.date):
                return f"{app.api_url} refused the App's key, and {skew}: set this machine's clock"
            case 401:
                cause = "refused the App's key: check app_id, and that private_key_file is a key of that App"
            case 403:
                cause = f"refused installation {app.installation_id} of the App: see whether it is suspended"
            case 404:
                cause = f"knows no installation {app.installation_id} of this App: check installation_id"
            case 422:
                rights = " and ".join(
                    f"{right} access to {_PERMISSIONS.get(name, name.replace('_', ' ').capitalize())}"
                    for name, right in self._permissions.items()
                )
                cause = (
                    "does not let the App read this repository: add it to the App's installation, and give"
                    f" the App {rights}"
                )
            case status if 300 <= status < 400:  # noqa: PLR2004 - every redirect
                return f"{app.api_url} redirects elsewhere: write the final URL as api_url"
            case status:
                return f"{app.api_url} answered {status}: the next look tries again"
        return f"{app.api_url} {cause}{_words(answer.body)}"

    def _fail(self, why: str) -> NoReturn:
        message = f"cannot read {self._url} as GitHub App {self._app.app_id}: {why}"
        raise GitUnavailable(message)


def _given(body: bytes) -> _Token | None:
    """The token in an answer, if there is a usable one."""
    try:
        given = json.loads(body)
        token, expires = given["token"], datetime.fromisoformat(given["expires_at"]).timestamp()
    # What is no JSON, no mapping, not complete, nested too deeply, of the year 99999.
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return None
    return _Token(text=token, expires=expires)


def _skew(date: str) -> str | None:
    """By how much our clock differs from that of the answer; None if it does not, or nobody knows."""
    try:
        seconds = time.time() - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    if abs(seconds) < _SKEW_SECONDS:
        return None
    return f"its clock is {abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'} ours"


def _words(body: bytes) -> str:
    """What the forge says itself, in brackets; nothing if it says nothing that can be read."""
    try:
        said = json.loads(body)["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return f" (it says: {harmless(said)})" if isinstance(said, str) else ""


def _encoded(value: Mapping[str, object]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode("ascii"))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
