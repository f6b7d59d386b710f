"""A door with its tokens over a real store, and a clock that a test moves."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deployer.adapters.store import schema
from deployer.adapters.store.sqlite import Database
from deployer.adapters.store.tokens import Tokens
from deployer.core import tokens as rules
from deployer.core.tokens import Role, Token
from deployer.settings import Server
from deployer.web.attempts import Attempts
from deployer.web.callers import Callers
from deployer.web.guard import Door
from deployer.web.origins import Origins

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


class Keys:
    """Who has which token. `local` is the one of this machine."""

    def __init__(self, folder: Path) -> None:
        """Make a store without tokens in the folder."""
        path = folder / "tokens.db"
        schema.upgrade(path)
        self.database = Database(path)
        self.tokens = Tokens(self.database)
        self.local = rules.make(secrets.token_bytes(32))
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def give(
        self,
        role: Role,
        *,
        name: str = "ada",
        environments: Collection[str] | None = None,
        lasts: timedelta | None = None,
    ) -> str:
        """Make a token; the secret."""
        secret = rules.make(secrets.token_bytes(32))
        hash_ = rules.digest(secret)
        token = Token(
            id=rules.id_of(hash_),
            name=name,
            hash=hash_,
            role=role,
            environments=None if environments is None else frozenset(environments),
            created_at=self.now,
            created_by="bob (local)",
            expires_at=None if lasts is None else self.now + lasts,
        )
        self.tokens.add(token)
        return secret

    def revoke(self, secret: str) -> None:
        """Take it back."""
        self.tokens.revoke(rules.id_of(rules.digest(secret)), self.now)

    def door(self, server: Server | None = None) -> Door:
        """A door that knows these tokens."""
        server = server or Server()
        callers = Callers(local=self.local, tokens=self.tokens, server=server, now=lambda: self.now)
        # Its clock stands still, so that how fast a test runs does not matter.
        attempts = Attempts(lambda: 0.0)
        return Door(
            callers=callers, origins=Origins(server.allowed_hosts, server.public_url), attempts=attempts
        )

    def close(self) -> None:
        """Close the store."""
        self.database.close()


def bearer(secret: str) -> list[tuple[str, str]]:
    """The header that shows a token."""
    return [("Authorization", f"Bearer {secret}")]
