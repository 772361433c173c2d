"""What push providers have in common: a push, its result, and the rules that turn an answer into what to do next."""

import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from push.notes import LiveNote, Note

logger = logging.getLogger("bellwire.push")


class Outcome(StrEnum):
    """What became of a push, and so what to do next."""

    ACCEPTED = "accepted"
    RETRY = "retry"  # the network or the provider failed; it may have arrived
    SLOW_DOWN = "slow down"  # too many pushes to this device
    BUSY = "busy"  # too many pushes altogether: the provider waits
    TOKEN_DEAD = "token dead"  # nothing can be pushed to this token any more
    REJECTED = "rejected"  # it will never be accepted as it is
    REFUSED = "refused"  # the credentials were refused; all pushes will be, until the operator fixes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a push goes. ``app`` is the bundle or package, "" for the one that the installation is set to.

    ``registered_at`` is since when the token is known to be this device's, in microseconds. ``kind`` is what its token is,
    where the app said so. A ``quiet`` device is not woken: its app can show nothing.
    """

    token: str
    app: str
    environment: str
    registered_at: int
    kind: str | None = None
    quiet: bool = False
    # A browser's public key and secret, in base64url.
    p256dh: str = ""
    auth: str = ""


@dataclass(frozen=True, slots=True)
class Push:
    """One push to one device. ``push_id`` is a uuid and stays the same when the push is tried again; ``expires_at`` is in
    seconds since 1970. A ``dry_run`` asks whether it would be accepted, which FCM alone answers.
    """

    address: Address
    note: Note | LiveNote
    push_id: str
    expires_at: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class PushResult:
    """``status`` is the provider's HTTP status, 0 without an answer; ``reason`` its own word. ``dead_at`` is since when a
    token is dead, in microseconds, if known. ``one_scope`` says that other scopes of the provider are not concerned. The next
    attempt is not to be made before ``after`` seconds.
    """

    outcome: Outcome
    status: int
    reason: str = ""
    dead_at: int | None = None
    one_scope: bool = False
    after: float = 0.0


class Rule(NamedTuple):
    """What an answer with this status, and one of these reasons where there are any, means."""

    outcome: Outcome
    statuses: Container[int]
    reasons: frozenset[str] | None = None
    one_scope: bool = False


ANY_STATUS = range(1000)


def rule_of(table: Sequence[Rule], status: int, reason: str) -> Rule:
    """The first rule that applies. A table ends with one that always does."""
    return next(each for each in table if status in each.statuses and (each.reasons is None or reason in each.reasons))


class Provider(Protocol):
    """Sends pushes to one platform."""

    # As logs and errors call it.
    name: str
    # Seconds before the first retry, at least; the policy may ask for more.
    retry_base: float

    def scope(self, push: Push) -> str:
        """What may be refused apart from the rest: an app, a project, an origin."""
        ...

    async def send(self, push: Push) -> PushResult:
        """Never raises for what the provider or the network did: that is a result."""
        ...

    async def close(self) -> None: ...


def masked(token: str) -> str:
    """A token as logs may show it."""
    return f"{token[:4]}…" if len(token) > 12 else "…"


class LogProvider:
    """Logs what it would send, where no key is set."""

    retry_base = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def scope(self, push: Push) -> str:
        return ""

    async def send(self, push: Push) -> PushResult:
        logger.info("no %s key: skipped a push to %s", self.name, masked(push.address.token))
        return PushResult(Outcome.ACCEPTED, 200, "logged")

    async def close(self) -> None:
        """Nothing is open."""
