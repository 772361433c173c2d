"""The keys that an identity provider publishes (RFC 7517): fetched once for all, and kept when it does not answer."""

import asyncio
import logging
import time
from typing import Any

import aiohttp
import jwt
import orjson

from realtime.schema.limits import MIB
from storage.errors import Unavailable
from storage.tasks import Tasks

logger = logging.getLogger("bellwire")

FETCH_SECONDS = 5.0
# An unknown key id makes us ask again at most this often, and so does a fetch that failed.
RETRY_SECONDS = 5.0
REFRESH_SECONDS = 300.0
# A set that could not be fetched again for so long is not believed any more.
KEPT_SECONDS = 24 * 3600.0
LARGEST_SET_BYTES = MIB


class KeySet:
    """The signing keys behind ``url``. ``fetched_at`` and ``tried_at`` are times of the monotonic clock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: list[jwt.PyJWK] = []
        self.fetched_at = -KEPT_SECONDS
        self.tried_at = -RETRY_SECONDS
        self.fetching: asyncio.Task[None] | None = None
        self.tasks = Tasks()

    async def find(self, kid: str | None) -> Any:
        """The key of this id; the only one there is for a token without an id.

        Raises InvalidKeyError where the provider has none such, Unavailable where the provider can't be asked.
        """
        key = self._known(kid)
        if key is not None:
            if time.monotonic() - self.fetched_at > REFRESH_SECONDS:
                self._fetch()
            return key
        if fetching := self._fetch():
            await asyncio.shield(fetching)
        key = self._known(kid)
        if key is not None:
            return key
        if self.tried_at > self.fetched_at:
            raise Unavailable("The keys of the identity provider cannot be fetched")
        raise jwt.InvalidKeyError("no such key")

    def _known(self, kid: str | None) -> Any:
        if time.monotonic() - self.fetched_at > KEPT_SECONDS:
            return None
        if kid is None:
            return self.keys[0].key if len(self.keys) == 1 else None
        return next((each.key for each in self.keys if each.key_id == kid), None)

    def _fetch(self) -> "asyncio.Task[None] | None":
        """The one fetch that is under way; None where the last one began a moment ago."""
        if self.fetching is None and time.monotonic() - self.tried_at >= RETRY_SECONDS:
            self.fetching = self.tasks.spawn(self._read())
        return self.fetching

    async def _read(self) -> None:
        self.tried_at = time.monotonic()
        try:
            self.keys = await fetch(self.url)
            self.fetched_at = time.monotonic()
        except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, jwt.PyJWTError) as error:
            logger.warning("the keys of the identity provider cannot be fetched: %s: %s", type(error).__name__, error)
        finally:
            self.fetching = None

    async def close(self) -> None:
        await self.tasks.finish()


async def fetch(url: str) -> list[jwt.PyJWK]:
    """The keys for signatures of a JWK set. Raises ClientError, TimeoutError, ValueError, PyJWTError."""
    timeout, jar = aiohttp.ClientTimeout(FETCH_SECONDS), aiohttp.DummyCookieJar()
    async with (
        aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, raise_for_status=True) as session,
        session.get(url) as answer,
    ):
        body = await answer.content.read(LARGEST_SET_BYTES + 1)
        while len(body) <= LARGEST_SET_BYTES and (more := await answer.content.read(LARGEST_SET_BYTES)):
            body += more
    if len(body) > LARGEST_SET_BYTES:
        raise ValueError(f"the key set is larger than {LARGEST_SET_BYTES} bytes")
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("a key set must be a JSON object")
    keys = jwt.PyJWKSet.from_dict(document).keys
    return [each for each in keys if each.public_key_use in (None, "sig")]
