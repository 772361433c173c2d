"""How a push leaves the house. ``LogGateway`` stands in where no APNs key is set."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

logger = logging.getLogger("bellwire.push")

LARGEST_PAYLOAD_BYTES = 4096
PushType = Literal["alert", "background", "liveactivity"]


class Outcome(StrEnum):
    """What became of a push, and so what to do next."""

    DELIVERED = "delivered"
    RETRY = "retry"  # the network or the provider failed; it may have arrived
    SLOW_DOWN = "slow down"  # too much for this device
    TOKEN_DEAD = "token dead"
    INVALID = "rejected"  # it will never be taken as it is
    UNAUTHORIZED = "refused"  # the credentials were refused; all pushes will be, until the operator fixes them


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One push to one device. ``payload`` is the whole JSON document; ``expires_at`` is in seconds since 1970.

    ``push_id`` is a uuid and stays the same when the push is tried again.
    """

    token: str
    topic: str
    push_type: PushType
    payload: Mapping[str, Any]
    environment: str
    push_id: str
    priority: int = 10
    collapse_id: str | None = None
    expires_at: int = 0


@dataclass(frozen=True, slots=True)
class PushResult:
    """``reason`` is the provider's own word. ``dead_at`` is since when a token is dead, in microseconds, if known."""

    outcome: Outcome
    status: int
    reason: str = ""
    dead_at: int | None = None


class PushGateway(Protocol):
    """Sends one push. Never raises for what the provider or the network did: that is a result."""

    async def send(self, request: PushRequest) -> PushResult: ...

    async def close(self) -> None: ...


def masked(token: str) -> str:
    """As logs may show a token."""
    return f"{token[:4]}…" if len(token) > 12 else "…"


class LogGateway:
    """Says what it would send."""

    async def send(self, request: PushRequest) -> PushResult:
        size = len(str(request.payload))
        logger.info(
            "no APNs key: skipped %s push of %d characters to %s",
            request.push_type,
            size,
            masked(request.token),
        )
        return PushResult(Outcome.DELIVERED, 200, "logged")

    async def close(self) -> None:
        """Nothing is open."""
