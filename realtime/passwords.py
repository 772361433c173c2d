"""Passwords: hashed and checked with Argon2id, a few at a time; and which are too easily guessed (NIST SP 800-63B)."""

import asyncio
import base64
import functools
import runpy
import secrets
import unicodedata
from collections.abc import Hashable, Iterable
from importlib.metadata import distribution

import argon2

from realtime.schema.limits import Limits
from realtime.support.turns import Turns
from storage.errors import FieldError, Invalid

# As many as there are cores on a small machine: each takes one for a tenth of a second.
HASHES_AT_ONCE = 2
SHORTEST, LONGEST_PASSWORD = 8, 128


SHORTEST_NAME = 4
COMMON = 10_000


@functools.cache
def common() -> frozenset[str]:
    """The most common passwords that are long enough; from zxcvbn's list, without what else it loads."""
    path = distribution("zxcvbn").locate_file("zxcvbn/frequency_lists.py")
    ranked: list[str] = runpy.run_path(str(path))["FREQUENCY_LISTS"]["passwords"]
    return frozenset(each for each in ranked[:COMMON] if len(each) >= SHORTEST)


def weakness(password: str, names: Iterable[str | None]) -> str | None:
    """What makes a password easy to guess, if anything: it is common, or mostly one of the owner's ``names``."""
    folded = normalized(password).casefold()
    if folded in common() or len(set(folded)) < 3:
        return "is one of those that are tried first; choose another"
    for name in names:
        own = normalized(name or "").casefold()
        if len(own) >= SHORTEST_NAME and own in folded and len(folded) - len(own) < SHORTEST:
            return "must not be your name or your e-mail address"
    return None


class Passwords:
    """Both raise Unavailable where too many wait. ``asker`` is whose turn it counts as; None is one of its own each time."""

    def __init__(self, limits: Limits) -> None:
        self.hasher = argon2.PasswordHasher()
        self.turns = Turns(HASHES_AT_ONCE, per_key=limits.passwords_per_asker, waiting=limits.passwords_waiting)

    async def require_strong(self, password: str, names: Iterable[str | None], field: str = "password") -> None:
        """Raises Invalid for one that is too easily guessed."""
        if problem := await asyncio.to_thread(weakness, password, names):
            raise Invalid(details=[FieldError(field, problem)], code="weak_password")

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
