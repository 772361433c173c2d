"""Web Push against doubles of four push services: what is sent, and what each answer means."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from push import post, signed, webpush
from push.doubles.webpush import FLAVOURS, PushService, Subscription, WebPushFault
from push.notes import LiveNote, Note
from push.post import Poster
from push.provider import Address, Outcome, Push
from push.signed import VapidTokens
from push.webpush import HOSTS, WebPushProvider, wrong_with_endpoint
from push.webpush_encryption import CURVE
from storage.types import SECOND
from tests.support.clock import Clock

SUBJECT = "mailto:operator@example.org"
DATA = {"type": "message", "chatId": "c1"}
NOTE = Note(once="m1", badge=3, title="Ann", body="hello", data=DATA)
OLD = 1


def url_of(data: Mapping[str, Any]) -> str:
    return f"https://chat.example.org/#/chat/{data['chatId']}"


@pytest.fixture
async def provider(service: PushService, tmp_path: Path) -> AsyncIterator[WebPushProvider]:
    ca = service.write_files(tmp_path)["push_ca"]
    keys = [VapidTokens(ec.generate_private_key(CURVE), SUBJECT) for _ in range(2)]
    made = WebPushProvider(keys, Poster(private=True, ca=ca), hosts=["localhost"], url_of=url_of)
    yield made
    await made.close()


def push_to(
    provider: WebPushProvider, subscription: Subscription, *, note: Note = NOTE, ttl: int = 3600, **address: Any
) -> Push:
    values: dict[str, Any] = {
        "token": subscription.endpoint, "app": provider.public_key, "environment": "production", "registered_at": OLD,
        **subscription.body["keys"], **address,
    }  # fmt: skip
    return Push(Address(**values), note, str(uuid.uuid4()), int(time.time()) + ttl)


# What is sent


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_each_push_service_accepts_it(service: PushService, provider: WebPushProvider, flavour: str) -> None:
    subscription = service.subscribe(flavour, provider.public_key)
    push = push_to(provider, subscription)
    assert (await provider.send(push)).outcome is Outcome.ACCEPTED
    (received,) = service.received
    assert received.message == {
        "web_push": 8030,
        "notification": {
            "title": "Ann", "body": "hello", "navigate": "https://chat.example.org/#/chat/c1", "tag": "m1",
            "silent": False, "data": {**DATA, "pushId": push.push_id, "badge": 3},
        },
        "app_badge": 3,
        "mutable": True,
    }  # fmt: skip
    assert received.headers["Urgency"] == "high" and 3590 <= int(received.headers["TTL"]) <= 3600
    assert "Topic" not in received.headers


def test_apple_replaces_by_a_topic_what_others_replace_by_the_tag(
    provider: WebPushProvider, service: PushService
) -> None:
    push = push_to(provider, service.subscribe(), token="https://web.push.apple.com/x")
    topic = webpush.headers_of(push, "", time.time())["Topic"]
    assert len(topic) == 32 and topic == webpush.headers_of(push, "", time.time())["Topic"]
    start = LiveNote(event="start", stream_id="s", chat_id="c", stamp=1, state={})
    topics = [
        webpush.headers_of(replace(push, note=note), "", time.time())["Topic"]
        for note in (start, replace(start, event="end"), replace(start, stream_id="other"))
    ]
    assert topics[0] == topics[1] != topics[2], "a cancellation replaces the start"


async def test_a_group_shows_who_wrote(service: PushService, provider: WebPushProvider) -> None:
    note = Note(once="m", badge=1, title="Friends", subtitle="Ann", body="hello", quiet=True, data=DATA)
    await provider.send(push_to(provider, service.subscribe(), note=note))
    notification = service.received[0].message["notification"]
    assert notification["body"] == "Ann: hello" and notification["silent"] is True


@pytest.mark.parametrize("piece", ["x", "é", "👨‍👩‍👧‍👦", '"'])
async def test_a_long_text_is_cut_to_what_every_browser_gets(
    service: PushService, provider: WebPushProvider, piece: str
) -> None:
    note = Note(once="m", badge=1, title="Ann", body=piece * 5000, data=DATA)
    assert (await provider.send(push_to(provider, service.subscribe(), note=note))).outcome is Outcome.ACCEPTED
    (received,) = service.received
    assert len(received.body) <= webpush.LARGEST_TEXT_BYTES + 103
    assert received.message["notification"]["body"].endswith("…")


async def test_an_expired_push_still_has_a_second(service: PushService, provider: WebPushProvider) -> None:
    assert (await provider.send(push_to(provider, service.subscribe("windows"), ttl=-5))).outcome is Outcome.ACCEPTED
    assert service.received[0].headers["TTL"] == "1"


async def test_one_jwt_for_an_origin_and_eleven_hours(
    service: PushService, provider: WebPushProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriptions = [service.subscribe() for _ in range(20)]
    for _ in range(2):
        await asyncio.gather(*(provider.send(push_to(provider, each)) for each in subscriptions))
    assert {origin: len(tokens) for origin, tokens in service.tokens.items()} == {service.url: 1}
    tokens = provider.keys[provider.public_key]
    text, made_at = tokens.tokens[service.url]
    tokens.tokens[service.url] = text, made_at - signed.VAPID_RENEWAL_SECONDS - 1
    await provider.send(push_to(provider, subscriptions[0]))
    assert len(service.tokens[service.url]) == 2
    monkeypatch.setattr(signed, "MOST_ORIGINS", 3)
    for number in range(5):
        tokens.header(f"https://{number}.example.org")
    assert list(tokens.tokens) == [f"https://{number}.example.org" for number in (2, 3, 4)]


async def test_each_subscription_is_signed_for_with_its_own_key(
    service: PushService, provider: WebPushProvider
) -> None:
    for key in provider.keys:
        subscription = service.subscribe("apple", key)
        assert (await provider.send(push_to(provider, subscription, app=key))).outcome is Outcome.ACCEPTED
    unknown = await provider.send(push_to(provider, service.subscribe(), app="of another installation"))
    assert unknown.outcome is Outcome.TOKEN_DEAD and len(service.received) == 2


# What comes back

REACTIONS = [
    ("google", WebPushFault(status=404), Outcome.TOKEN_DEAD),
    ("google", WebPushFault(status=410), Outcome.TOKEN_DEAD),
    ("mozilla", WebPushFault(status=410, reason="Gone"), Outcome.TOKEN_DEAD),
    ("google", WebPushFault(status=401), Outcome.REFUSED),
    ("apple", WebPushFault(status=403, reason="BadJwtToken"), Outcome.REFUSED),
    ("apple", WebPushFault(status=400, reason="VapidPkHashMismatch"), Outcome.REFUSED),
    ("apple", WebPushFault(status=400, reason="BadWebPushTopic"), Outcome.REJECTED),
    ("google", WebPushFault(status=400, reason="too large"), Outcome.REJECTED),
    ("mozilla", WebPushFault(status=413), Outcome.REJECTED),
    ("google", WebPushFault("redirect"), Outcome.REJECTED),
    ("mozilla", WebPushFault(status=429, retry_after="120"), Outcome.SLOW_DOWN),
    ("windows", WebPushFault(status=406), Outcome.SLOW_DOWN),
    ("google", WebPushFault(status=500), Outcome.RETRY),
    ("windows", WebPushFault(status=503), Outcome.RETRY),
    ("google", WebPushFault("close"), Outcome.RETRY),
    ("google", WebPushFault("silence"), Outcome.RETRY),
]


@pytest.mark.parametrize(("flavour", "fault", "outcome"), REACTIONS)
async def test_each_answer_is_a_result_and_the_next_push_goes(
    service: PushService,
    provider: WebPushProvider,
    flavour: str,
    fault: WebPushFault,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, good = service.subscribe(flavour), service.subscribe(flavour)
    service.plan = lambda received: fault if received.subscription is bad else None
    with monkeypatch.context() as patch:
        if fault.kind == "silence":
            patch.setattr(post, "ANSWER_SECONDS", 0.5)
        result = await provider.send(push_to(provider, bad))
    assert result.outcome is outcome, result
    assert result.one_scope == (outcome in (Outcome.REFUSED, Outcome.SLOW_DOWN)), (
        "another push service is not concerned"
    )
    assert result.after == float(fault.retry_after or 0)
    assert len(service.received) == 1, "nothing is sent twice"
    assert (await provider.send(push_to(provider, good))).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_may_be_unknown_in_its_first_seconds(
    service: PushService, provider: WebPushProvider, status: int
) -> None:
    subscription = service.subscribe()
    service.plan = lambda received: WebPushFault(status=status)
    registered_at = int(time.time() * SECOND) - webpush.YOUNG_MICROSECONDS + 10 * SECOND
    young = await provider.send(push_to(provider, subscription, registered_at=registered_at))
    assert young.outcome is Outcome.RETRY and young.after == webpush.YOUNG_RETRY_SECONDS
    old = await provider.send(push_to(provider, subscription, registered_at=registered_at - 20 * SECOND))
    assert old.outcome is Outcome.TOKEN_DEAD


@pytest.mark.parametrize("flavour", ["apple", "google", "mozilla"])
async def test_a_subscription_of_another_key_is_dead_once_ours_is_known_to_be_right(
    service: PushService, provider: WebPushProvider, flavour: str
) -> None:
    others = service.subscribe(flavour, "another key")
    assert (await provider.send(push_to(provider, others))).outcome is Outcome.REFUSED
    await provider.send(push_to(provider, service.subscribe(flavour)))
    assert (await provider.send(push_to(provider, others))).outcome is Outcome.TOKEN_DEAD


async def test_keys_that_are_not_a_browsers_are_a_result(service: PushService, provider: WebPushProvider) -> None:
    result = await provider.send(push_to(provider, service.subscribe(), p256dh="x", auth=""))
    assert result.outcome is Outcome.REJECTED and not service.received


# Where it may go


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://fcm.googleapis.com/fcm/send/abc:def",
        "https://jmt17.google.com/fcm/send/abc",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAA",
        "https://web.push.apple.com/QGuQyavXutnMH",
        "https://wns2-par02p.notify.windows.com/w/?token=BQYAAAB%2f",
        "https://FCM.googleapis.com:443/x",
    ],
)
def test_the_push_services_of_browsers_are_known(endpoint: str) -> None:
    assert wrong_with_endpoint(endpoint, HOSTS, private=False) is None


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://fcm.googleapis.com/x", "https://fcm.googleapis.com:8443/x", "https://fcm.googleapis.com.example.org/x",
        "https://evilfcm.googleapis.com.evil/x", "https://xpush.apple.com/x", "https://user@fcm.googleapis.com/x",
        "https://fcm.googleapis.com/x#y", "https://127.0.0.1/x", "https://[::1]/x", "https://[::ffff:10.0.0.1]/x",
        "https://169.254.169.254/latest", "https://0x7f000001/x", "https://localhost/x", "ftp://fcm.googleapis.com/x",
        "fcm.googleapis.com/x", "", "https://", "https:///x", "https://fcm.googleapis.com/" + "x" * 1000, "https://ﬁ/x",
    ],
)  # fmt: skip
def test_no_other_address_is_called(endpoint: str) -> None:
    assert wrong_with_endpoint(endpoint, HOSTS, private=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"])
async def test_an_allowed_name_that_leads_inside_is_not_called(
    service: PushService, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it led outside when it was registered."""
    ca = service.write_files(tmp_path)["push_ca"]
    keys = [VapidTokens(ec.generate_private_key(CURVE), SUBJECT)]
    provider = WebPushProvider(keys, Poster(private=False, ca=ca), hosts=["push.example.org"], url_of=url_of)
    loop = asyncio.get_running_loop()
    infos = loop.getaddrinfo

    async def leads_inside(host: str, port: Any, **options: Any) -> Any:
        return await infos(address, port, **options)

    monkeypatch.setattr(loop, "getaddrinfo", leads_inside)
    push = push_to(provider, service.subscribe(), token="https://push.example.org/x")
    result = await provider.send(push)
    assert result.outcome is Outcome.RETRY and result.reason in ("no connection", "NotPublic"), result
    assert not service.received
    await provider.close()


async def test_a_redirect_is_not_followed(service: PushService, provider: WebPushProvider) -> None:
    other = service.subscribe()
    service.plan = lambda received: WebPushFault("redirect", location=other.endpoint)
    result = await provider.send(push_to(provider, service.subscribe()))
    assert result.outcome is Outcome.REJECTED and len(service.received) == 1


async def test_the_origins_whose_answers_are_remembered_are_bounded(
    service: PushService, provider: WebPushProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webpush, "MOST_ORIGINS", 1)
    for key in provider.keys:
        await provider.send(push_to(provider, service.subscribe(), app=key))
    assert len(provider.proven) == 1


def test_a_clock_that_is_set_back_makes_a_new_jwt(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = VapidTokens(ec.generate_private_key(CURVE), SUBJECT)
    clock = Clock()
    monkeypatch.setattr(signed, "time", clock)
    before = tokens.header("https://a.example.org")
    tokens.tokens["https://a.example.org"] = "of the future", time.time() + 3600
    assert tokens.header("https://a.example.org").startswith("vapid t=ey") and before.startswith("vapid t=ey")
