"""Requests about channels, and pushes over them, against a double of Apple: what is sent, and what an answer means."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from push.apns_channels import ApnsChannels
from push.apns_connection import ApnsHost
from push.doubles.apns import KEY_ID, TEAM, TOPIC, Apple
from push.doubles.apple_channels import ChannelFault
from push.notes import LiveNote
from push.provider import Address, Outcome, Push
from push.signed import AppleToken
from tests.push.test_apns import Shelf

NOTE = LiveNote(event="update", stream_id="s", chat_id="c", stamp=int(time.time()), state={"status": "scheduled"})


@pytest.fixture
async def channels(apple: Apple) -> AsyncIterator[ApnsChannels]:
    tls = ssl.create_default_context()
    apple.ca.configure_trust(tls)
    tls.set_alpn_protocols(["h2"])
    hosts = {name: ApnsHost("localhost", apple.port, tls, 1) for name in ("production", "sandbox")}
    managers = {name: ApnsHost("localhost", apple.manage_port, tls, 1) for name in ("production", "sandbox")}
    made = ApnsChannels(AppleToken(apple.private_key, KEY_ID, TEAM, Shelf().share), hosts, managers)
    yield made
    await made.close()
    for host in hosts.values():
        await host.close()


def push_to(channel: str, **changes: Any) -> Push:
    address = Address(token=channel, app=TOPIC, environment="sandbox", registered_at=0)
    push = Push(address, NOTE, "6f9619ff-8b86-4d01-b42d-00c04fc964ff", int(time.time()) + 60)
    return replace(push, **changes)


async def test_a_channel_is_opened_listed_and_closed(apple: Apple, channels: ApnsChannels) -> None:
    result, id, unknown = await channels.open_channel("sandbox", TOPIC)
    assert result.outcome is Outcome.ACCEPTED and id in apple.channels.ids and not unknown
    (asked,) = apple.channels.requests
    assert asked.payload == {"message-storage-policy": 1, "push-type": "LiveActivity"}
    listed, ids = await channels.list_channels("sandbox", TOPIC)
    assert listed.outcome is Outcome.ACCEPTED and ids == {id}
    assert (await channels.close_channel("sandbox", TOPIC, id)).outcome is Outcome.ACCEPTED
    assert not apple.channels.ids
    gone = await channels.close_channel("sandbox", TOPIC, id)
    assert (gone.outcome, gone.reason) == (Outcome.TOKEN_DEAD, "ChannelNotRegistered")


async def test_all_ten_thousand_are_listed(apple: Apple, channels: ApnsChannels) -> None:
    made = {apple.channels.make(TOPIC) for _ in range(10_000)}
    result, ids = await channels.list_channels("sandbox", TOPIC)
    assert result.outcome is Outcome.ACCEPTED and ids == made
    full, id, unknown = await channels.open_channel("sandbox", TOPIC)
    assert (full.outcome, full.reason, id) == (Outcome.REJECTED, "CannotCreateChannelConfig", None)
    assert not unknown


async def test_a_push_over_a_channel(apple: Apple, channels: ApnsChannels) -> None:
    id = apple.channels.make(TOPIC)
    result = await channels.send(push_to(id))
    assert result.outcome is Outcome.ACCEPTED
    (aps,) = apple.channels.by_app[TOPIC][id].sent
    assert aps == {"timestamp": NOTE.stamp, "event": "update", "content-state": {"status": "scheduled"}}
    (asked,) = apple.channels.requests
    assert asked.headers["apns-push-type"] == "liveactivity" and "apns-topic" not in asked.headers
    assert asked.headers["apns-channel-id"] == id and int(asked.headers["apns-expiration"]) > time.time()


@pytest.mark.parametrize(
    ("fault", "outcome", "one_scope"),
    [
        (ChannelFault(400, "ChannelNotRegistered"), Outcome.TOKEN_DEAD, False),
        (ChannelFault(400, "BadChannelId"), Outcome.TOKEN_DEAD, False),
        (ChannelFault(400, "FeatureNotEnabled"), Outcome.REFUSED, True),
        (ChannelFault(403, "TopicMismatch"), Outcome.REFUSED, True),
        (ChannelFault(403, "InvalidProviderToken"), Outcome.REFUSED, False),
        (ChannelFault(429, "TooManyRequests"), Outcome.SLOW_DOWN, False),
        (ChannelFault(503, "ServiceUnavailable"), Outcome.RETRY, False),
        (ChannelFault(400, "BadExpirationDate"), Outcome.REJECTED, False),
    ],
)  # fmt: skip
async def test_what_an_answer_means(
    apple: Apple, channels: ApnsChannels, fault: ChannelFault, outcome: Outcome, one_scope: bool
) -> None:
    apple.channel_plan = lambda request: fault
    result = await channels.send(push_to(apple.channels.make(TOPIC)))
    assert (result.outcome, result.status, result.reason, result.one_scope) == (
        outcome, fault.status, fault.reason, one_scope
    )  # fmt: skip


async def test_an_answer_without_a_name_opened_something(apple: Apple, channels: ApnsChannels) -> None:
    apple.channel_plan = lambda request: ChannelFault(nameless=True)
    result, id, unknown = await channels.open_channel("sandbox", TOPIC)
    assert result.outcome is Outcome.ACCEPTED and id is None and unknown and len(apple.channels.ids) == 1


async def test_what_was_not_sent_opened_nothing(apple: Apple, channels: ApnsChannels) -> None:
    await apple.stop()
    result, id, unknown = await channels.open_channel("sandbox", TOPIC)
    assert result.outcome is Outcome.RETRY and id is None and not unknown


async def test_what_cant_be_sent_is_not_sent(apple: Apple, channels: ApnsChannels) -> None:
    id = apple.channels.make(TOPIC)
    large = replace(NOTE, state={"title": "x" * 5200})
    for push in (
        push_to(id, note=large),
        push_to("no\r\nname"),
        push_to(id, address=replace(push_to(id).address, app="a/b")),
    ):
        assert (await channels.send(push)).outcome is Outcome.REJECTED
    opening, _, unknown = await channels.open_channel("sandbox", "../x")
    assert opening.outcome is Outcome.REJECTED and not unknown
    assert not apple.channels.requests


async def test_an_update_of_another_day_is_dropped(apple: Apple, channels: ApnsChannels) -> None:
    """As the double of Apple does it; an end is accepted whatever its time."""
    id = apple.channels.make(TOPIC)
    old = int(time.time()) - 9 * 3600
    for event in ("update", "end"):
        await channels.send(push_to(id, note=replace(NOTE, event=event, stamp=old)))
    assert [each["event"] for each in apple.channels.by_app[TOPIC][id].sent] == ["end"]


async def test_many_at_once(apple: Apple, channels: ApnsChannels) -> None:
    ids = [apple.channels.make(TOPIC) for _ in range(50)]
    results = await asyncio.gather(*(channels.send(push_to(each)) for each in ids))
    assert {each.outcome for each in results} == {Outcome.ACCEPTED}
    assert all(len(each.sent) == 1 for each in apple.channels.by_app[TOPIC].values())
