"""How long these tests wait for Redis."""

import pytest

from realtime.cluster import broker_redis, client_redis, link_redis, presence_redis, rates_redis, servers_redis
from tests.support.guard import HANG_SECONDS


@pytest.fixture
def default_timeouts() -> None:
    """For a test about a Redis that does not answer."""


@pytest.fixture(autouse=True)
def long_timeouts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is slow because the machine is counts as an answer."""
    if "default_timeouts" in request.fixturenames:
        return
    monkeypatch.setattr(broker_redis, "CONFIRM_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(client_redis, "SILENCE_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(link_redis, "CONNECT_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(presence_redis, "ANSWER_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(rates_redis, "ANSWER_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(servers_redis, "CONNECT_SECONDS", HANG_SECONDS)
