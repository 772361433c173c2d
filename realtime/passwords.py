"""Passwords: hashed and checked with Argon2id, a few at a time."""

import asyncio
import base64
import secrets
import unicodedata
from collections.abc import Hashable

import argon2

from realtime.limits import Limits
from realtime.turns import Turns

# As many as there are cores on a small machine: each takes one for a tenth of a second.
AT_ONCE = 2


class Passwords:
    """Both raise Unavailable where too many wait. ``asker`` is whose turn it counts as; None is one of its own each time."""

    def __init__(self, limits: Limits) -> None:
        self.hasher = argon2.PasswordHasher()
        self.turns = Turns(AT_ONCE, per_key=limits.passwords_per_asker, waiting=limits.passwords_waiting)

    async def hash(self, password: str, asker: Hashable = None) -> str:
        async with self.turns.turn(asker or object()):
            return await asyncio.to_thread(self.hasher.hash, normalized(password))

    @property
    def decoy(self) -> str:
        """What no password matches, in the time that it takes to find out of any other."""
        made = self.hasher
        salt, digest = encoded(made.salt_len), encoded(made.hash_len)
        return f"$argon2id$v=19$m={made.memory_cost},t={made.time_cost},p={made.parallelism}${salt}${digest}"

    async def matches(self, hashed: str, password: str, asker: Hashable = None) -> bool:
        """Also as it was typed: so it was hashed by earlier versions."""
        for spelling in dict.fromkeys((normalized(password), password)):
            async with self.turns.turn(asker or object()):
                try:
                    return await asyncio.to_thread(self.hasher.verify, hashed, spelling)
                except argon2.exceptions.VerificationError:
                    continue
        return False


def encoded(length: int) -> str:
    return base64.b64encode(secrets.token_bytes(length)).decode().rstrip("=")


def normalized(password: str) -> str:
    """The same password, however a keyboard composed its characters (NIST SP 800-63B, section 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
