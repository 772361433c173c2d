"""Tokens that authorize pushes: made once, kept while they are fresh, never by two at a time."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import jwt

TOKEN_SECONDS = 50 * 60
TOKEN_SOONEST = 20 * 60
TOKEN_AHEAD = 5 * 60


class SignedToken(NamedTuple):
    """A signed token and when it was made, in seconds since 1970."""

    text: str
    made_at: int


Share = Callable[[Callable[[SignedToken | None], SignedToken]], Coroutine[Any, Any, SignedToken]]


class AppleToken:
    """The token of pushes to Apple, one for all connections and, through ``share``, for all nodes.

    Apple wants it renewed not more often than every 20 minutes and at least every 60. ``share`` is given a function from
    the token that the installation has to the one that it shall have, and returns that.
    """

    def __init__(self, key: str, key_id: str, team_id: str, share: Share) -> None:
        self.key = key
        self.key_id = key_id
        self.team_id = team_id
        self.share = share
        self.token: SignedToken | None = None
        self.renewing: asyncio.Task[SignedToken] | None = None

    async def get(self) -> str:
        if self.token is None or not self.fresh(self.token):
            self.renewing = self.renewing or asyncio.create_task(self._renew())
            return (await asyncio.shield(self.renewing)).text
        return self.token.text

    async def _renew(self) -> SignedToken:
        try:
            self.token = await self.share(self._keep)
            return self.token
        finally:
            self.renewing = None

    def expire(self, text: str) -> bool:
        """Apple calls this token too old. Whether there is, or may be made, another."""
        if self.token is None or self.token.text != text:
            return True
        if time.time() - self.token.made_at < TOKEN_SOONEST:
            return False
        self.token = SignedToken(self.token.text, 0)
        return True

    def fresh(self, token: SignedToken) -> bool:
        """Another node's clock may be ahead of ours."""
        return -TOKEN_AHEAD <= time.time() - token.made_at < TOKEN_SECONDS

    def _keep(self, known: SignedToken | None) -> SignedToken:
        expired = self.token is not None and known is not None and self.token.text == known.text
        if known and self.fresh(known) and not expired:
            return known
        made_at = int(time.time())
        claims = {"iss": self.team_id, "iat": made_at}
        return SignedToken(jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": self.key_id}), made_at)
