"""Firebase Cloud Messaging against a double of Google: what is sent, and what each answer means."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from push import fcm, post, signed
from push.doubles.fcm import FcmFault, Google
from push.fcm import FcmProvider
from push.notes import LiveNote, Note
from push.post import Poster
from push.provider import Address, Outcome, Push
from push.signed import ServiceAccount, read_service_account
from storage.types import SECOND
from tests.support.clock import Clock

NOTE = Note(
    once="m1", badge=3, title="Ann", subtitle="Friends", body="hello", thread="c1", data={"type": "message", "seq": 7}
)
LIVE = LiveNote(event="end", stream_id="s1", chat_id="c1", stamp=100, state={"status": "ended"}, dismiss_at=130)
TOKEN = "phone:" + "x" * 30


def account_of(google: Google, folder: Path) -> ServiceAccount:
    return read_service_account(Path(google.write_files(folder)["fcm_key"]).read_text())


def provider_to(google: Google, folder: Path) -> FcmProvider:
    account = account_of(google, folder)
    return FcmProvider(account, Poster(private=True, connections=50, ca=str(folder / "ca.pem")), url=google.url)


@pytest.fixture
async def provider(google: Google, tmp_path: Path) -> AsyncIterator[FcmProvider]:
    made = provider_to(google, tmp_path)
    yield made
    await made.close()


def push_to(
    token: str = TOKEN, *, note: Note | LiveNote = NOTE, app: str = "", ttl: int = 3600, **address: Any
) -> Push:
    to = Address(token=token, app=app, environment="production", registered_at=0, **address)
    return Push(to, note, str(uuid.uuid4()), int(time.time()) + ttl)


# What is sent


async def test_a_message_is_data_without_a_collapse_key(google: Google, provider: FcmProvider) -> None:
    push = push_to(app="org.example.app")
    assert (await provider.send(push)).outcome is Outcome.ACCEPTED
    (message,) = google.messages
    assert message.data == {
        "type": "message", "seq": "7", "pushId": push.push_id, "tag": "m1", "badge": "3", "title": "Ann",
        "subtitle": "Friends", "body": "hello", "thread": "c1", "channelId": "messages",
    }  # fmt: skip
    assert "notification" not in message.document and "collapse_key" not in message.android
    assert message.android["priority"] == "HIGH" and message.android["restricted_package_name"] == "org.example.app"
    assert 3590 <= int(message.android["ttl"].removesuffix("s")) <= 3600


async def test_what_is_quiet_names_another_channel(google: Google, provider: FcmProvider) -> None:
    await provider.send(push_to(note=Note(once="m", badge=1, title="Ann", quiet=True)))
    await provider.send(push_to(quiet=True))
    quiet, unseen = google.messages
    assert quiet.data["channelId"] == "quiet" and quiet.android["priority"] == "HIGH"
    assert unseen.android["priority"] == "NORMAL", "an app that can show nothing is not woken"


async def test_a_badge_replaces_the_one_before(google: Google, provider: FcmProvider) -> None:
    await provider.send(push_to(note=Note(once="badge", badge=4)))
    (message,) = google.messages
    assert message.android["collapse_key"] == "badge" and message.android["priority"] == "NORMAL"
    assert message.data.pop("pushId") and message.data["badge"] == "4" and message.data["type"] == "badge"


async def test_a_live_update_goes_at_once_and_says_which_is_newest(google: Google, provider: FcmProvider) -> None:
    await provider.send(push_to(note=LIVE))
    (message,) = google.messages
    assert message.data["event"] == "end" and message.data["timestamp"] == "100"
    assert message.data["contentState"] == '{"status":"ended"}' and message.data["dismissAt"] == "130"
    assert message.data["tag"] == "live:s1" and message.data["channelId"] == "live"
    assert message.android["priority"] == "HIGH" and "collapse_key" not in message.android


@pytest.mark.parametrize(
    ("token", "kind", "field"),
    [
        (TOKEN, None, "token"),
        ("c8Yq0Zz1AbCdEfGhIjKlMn", None, "fid"),
        (TOKEN, "fid", "fid"),
        ("short", "token", "token"),
    ],
)
async def test_an_installation_id_is_told_from_a_token(
    google: Google, provider: FcmProvider, token: str, kind: str | None, field: str
) -> None:
    assert (await provider.send(push_to(token, kind=kind))).outcome is Outcome.ACCEPTED
    assert google.messages[0].document[field] == token


@pytest.mark.parametrize("piece", ["x", "é", "👨‍👩‍👧‍👦", '"', "\n"])
async def test_a_long_text_is_cut_to_what_fits(google: Google, provider: FcmProvider, piece: str) -> None:
    note = Note(once="m", badge=1, title="Ann", body=piece * 5000, data={"type": "message"})
    assert (await provider.send(push_to(note=note))).outcome is Outcome.ACCEPTED
    (message,) = google.messages
    size = fcm.data_bytes(message.data)
    assert fcm.LARGEST_DATA_BYTES - 2 * len(piece.encode()) - 4 <= size <= fcm.LARGEST_DATA_BYTES
    assert message.data["body"].endswith("…")


async def test_what_does_not_fit_at_all_is_not_sent(google: Google, provider: FcmProvider) -> None:
    large = LiveNote(event="update", stream_id="s", chat_id="c", stamp=1, state={"title": "x" * 5000})
    result = await provider.send(push_to(note=large))
    assert result.outcome is Outcome.REJECTED and result.status == 0 and not google.messages


async def test_an_expired_push_is_for_now_or_never(google: Google, provider: FcmProvider) -> None:
    await provider.send(push_to(ttl=-5))
    assert google.messages[0].android["ttl"] == "0s"


# What comes back

REACTIONS = [
    (FcmFault(status=404, code="UNREGISTERED"), Outcome.TOKEN_DEAD),
    (FcmFault(status=404, code=""), Outcome.REFUSED),
    (FcmFault(status=400, field="message.token", text="The registration token is not a valid FCM registration token"),
     Outcome.TOKEN_DEAD),
    (FcmFault(status=400, field="message.fid"), Outcome.TOKEN_DEAD),
    (FcmFault(status=400, code="INVALID_ARGUMENT", text="The registration token is not valid"), Outcome.TOKEN_DEAD),
    (FcmFault(status=400, field="message.data[from]", text="of the registration token"), Outcome.REJECTED),
    (FcmFault(status=400, code="INVALID_ARGUMENT", text="Android message is too big"), Outcome.REJECTED),
    (FcmFault(status=401, code="THIRD_PARTY_AUTH_ERROR"), Outcome.REFUSED),
    (FcmFault(status=403, code="SENDER_ID_MISMATCH"), Outcome.REFUSED),
    (FcmFault(status=403, code="PERMISSION_DENIED"), Outcome.REFUSED),
    (FcmFault(status=429, code="QUOTA_EXCEEDED"), Outcome.BUSY),
    (FcmFault(status=429, code="QUOTA_EXCEEDED", device_quota=True), Outcome.SLOW_DOWN),
    (FcmFault(status=500, code="INTERNAL"), Outcome.RETRY),
    (FcmFault(status=503), Outcome.RETRY),
    (FcmFault("html"), Outcome.RETRY),
    (FcmFault("empty", status=503), Outcome.RETRY),
    (FcmFault("empty", status=200), Outcome.RETRY),
    (FcmFault("cut"), Outcome.RETRY),
    (FcmFault("close"), Outcome.RETRY),
    (FcmFault("silence"), Outcome.RETRY),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "outcome"), REACTIONS)
async def test_each_answer_is_a_result_and_the_next_push_goes(
    google: Google, provider: FcmProvider, fault: FcmFault, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.plan = lambda message: fault if message.token == "bad:" else None
    with monkeypatch.context() as patch:
        if fault.kind == "silence":
            patch.setattr(post, "ANSWER_SECONDS", 0.5)
        result = await provider.send(push_to("bad:"))
    assert result.outcome is outcome, result
    assert len([each for each in google.messages if each.token == "bad:"]) == 1, "nothing is sent twice"
    assert (await provider.send(push_to())).outcome is Outcome.ACCEPTED


async def test_a_token_is_dead_since_the_request_began(google: Google, provider: FcmProvider) -> None:
    google.unregistered.add(TOKEN)
    before = int(time.time() * SECOND)
    result = await provider.send(push_to())
    assert result.outcome is Outcome.TOKEN_DEAD and result.dead_at is not None
    assert before <= result.dead_at <= int(time.time() * SECOND), "who registered since has another one"


async def test_another_projects_token_is_dead_once_the_key_is_known_to_be_right(
    google: Google, provider: FcmProvider
) -> None:
    mismatch = FcmFault(status=403, code="SENDER_ID_MISMATCH")
    google.plan = lambda message: mismatch if message.token == "bad:" else None
    assert (await provider.send(push_to("bad:"))).outcome is Outcome.REFUSED, "the key may be another project's"
    await provider.send(push_to())
    assert (await provider.send(push_to("bad:"))).outcome is Outcome.TOKEN_DEAD


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [("120", 120, 120), ("a date", 100, 500), ("soon", 0, 0), ("", 0, 0),
     ("999999", 3600, 3600), ("-5", 0, 0), ("٣", 0, 3600)],
)  # fmt: skip
async def test_the_pause_that_google_asks_for(
    google: Google, provider: FcmProvider, said: str, low: float, high: float
) -> None:
    said = formatdate(time.time() + 500, usegmt=True) if said == "a date" else said
    assert low <= post.retry_after({"Retry-After": said}) <= high
    if said.isascii():
        google.plan = lambda message: FcmFault(status=503, retry_after=said)
        assert low <= (await provider.send(push_to())).after <= high


# The bearer token


async def test_one_bearer_for_many_pushes(google: Google, provider: FcmProvider) -> None:
    results = await asyncio.gather(*(provider.send(push_to(f"t{number}:")) for number in range(100)))
    assert {each.outcome for each in results} == {Outcome.ACCEPTED}
    assert google.mints == 1 and google.most_minting == 1


async def test_a_bearer_that_is_refused_is_renewed_once(
    google: Google, provider: FcmProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(signed, "time", clock)
    await provider.send(push_to())
    google.bearers.clear()
    assert (await provider.send(push_to())).outcome is Outcome.REFUSED, "it is too young to be too old"
    clock.now += signed.GOOGLE_TOKEN_YOUNG_SECONDS + 1
    results = await asyncio.gather(*(provider.send(push_to()) for _ in range(20)))
    assert {each.outcome for each in results} == {Outcome.RETRY}
    assert (await provider.send(push_to())).outcome is Outcome.ACCEPTED and google.mints == 2


async def test_a_bearer_is_renewed_before_it_ends(
    google: Google, provider: FcmProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(signed, "time", clock)
    for seconds, mints in ((0, 1), (50 * 60, 1), (6 * 60, 2)):
        clock.now += seconds
        await provider.send(push_to())
        assert google.mints == mints


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (FcmFault(status=400, code="invalid_grant"), Outcome.REFUSED),
        (FcmFault(status=401, code="invalid_client"), Outcome.REFUSED),
        (FcmFault(status=500), Outcome.RETRY),
        (FcmFault("empty", status=200), Outcome.RETRY),
        (FcmFault("html"), Outcome.RETRY),
        (FcmFault("close"), Outcome.RETRY),
    ],
)
async def test_a_token_endpoint_that_fails_is_not_asked_for_each_push(
    google: Google, provider: FcmProvider, fault: FcmFault, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, asked = Clock(), []
    monkeypatch.setattr(signed, "time", clock)

    def plan() -> FcmFault:
        asked.append(1)
        return fault

    google.token_plan = plan
    results = await asyncio.gather(*(provider.send(push_to()) for _ in range(20)))
    assert {each.outcome for each in results} == {outcome} and len(asked) == 1 and google.most_minting == 1
    if outcome is Outcome.RETRY:
        await provider.send(push_to())
        assert len(asked) == 1, "it is left alone for a while"
    google.token_plan = lambda: None
    clock.now += signed.MINT_PAUSE_SECONDS + 1
    assert (await provider.send(push_to())).outcome is Outcome.ACCEPTED and not google.messages[1:]


async def test_a_bearer_serves_until_its_end_where_a_new_one_can_not_be_had(
    google: Google, provider: FcmProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(signed, "time", clock)
    await provider.send(push_to())
    google.token_plan = lambda: FcmFault(status=500)
    clock.now += signed.GOOGLE_TOKEN_SECONDS - signed.TOKEN_AHEAD + 1
    assert (await provider.send(push_to())).outcome is Outcome.ACCEPTED
    clock.now += signed.TOKEN_AHEAD
    assert (await provider.send(push_to())).outcome is Outcome.RETRY


def test_a_key_that_is_not_one_is_refused_at_the_start() -> None:
    account = {"project_id": "p", "client_email": "e", "private_key_id": "k", "token_uri": "t", "private_key": "no"}
    with pytest.raises(ValueError, match="private_key is not an RSA key"):
        read_service_account(json.dumps(account))


@pytest.mark.parametrize(
    ("text", "why"), [("no", "not JSON"), ("[]", "project_id"), ('{"project_id": "p"}', "client_email")]
)
def test_a_key_file_says_what_is_missing(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_service_account(text)


async def test_nobody_listens_and_then_somebody_does(google: Google, provider: FcmProvider) -> None:
    await provider.send(push_to())
    await google.stop()
    assert (await provider.send(push_to())).outcome is Outcome.RETRY
    await google.start()
    assert (await provider.send(push_to())).outcome is Outcome.ACCEPTED
