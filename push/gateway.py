"""How a push leaves the house. ``LogGateway`` stands in where no APNs key is set."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a push, and so what to do next."""

    DELIVERED = "delivered"
    RETRY = "retry"
    TOKEN_DEAD = "token dead"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One push to one device. ``payload`` is the whole JSON document; ``expires_at`` is in seconds since 1970."""

    token: str
    topic: str
    push_type: str
    payload: Mapping[str, Any]
    environment: str
    priority: int = 10
    collapse_id: str | None = None
    expires_at: int = 0


@dataclass(frozen=True, slots=True)
class PushResult:
    """``reason`` is the provider's own word, empty when delivered."""

    outcome: Outcome
    status: int
    reason: str = ""


class PushGateway(Protocol):
    """Sends one push. Never raises for what the provider or the network did: that is a result."""

    async def send(self, request: PushRequest) -> PushResult: ...

    async def close(self) -> None: ...


class LogGateway:
    """Says what it would send."""

    async def send(self, request: PushRequest) -> PushResult:
        logger.info("would push %s to %s…", request.push_type, request.token[:6])
        return PushResult(Outcome.DELIVERED, 200)

    async def close(self) -> None:
        """Nothing is open."""
