"""One connection on the server: how its token ends it, what revokes it, and how it goes on after a gap."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, update

from realtime.fanout import session as module
from realtime.fanout.session import WARNING_SECONDS, Session
from storage import log
from storage.models import revocations, users
from storage.transaction import Command, Tx
from storage.types import SECOND, now
from tests.conftest import Served, ServerFactory, eventually
from tests.support.people import Api, Person, RawSocket

AUTH = "/api/v1/auth"
ANN = {"email": "ann@example.org", "password": "correct horse"}


def sessions_of(server: Served, person: Person) -> list[Session]:
    return list(server.services.sessions.of_user.get(person.user.pk, ()))


async def connected(server: Served, person: Person) -> tuple[RawSocket, Session]:
    socket = await person.socket()
    (session,) = sessions_of(server, person)
    return socket, session


# The end of a token


@pytest.mark.parametrize("fraction", [0, 1, SECOND - 1])
async def test_a_warning_a_minute_before_the_end(
    server: Served, monkeypatch: pytest.MonkeyPatch, fraction: int
) -> None:
    """At whole seconds, and never before a token has ended."""
    ann = await server.people.make()
    socket, session = await connected(server, ann)
    sessions, end = server.services.sessions, 2_000_000_000
    moment = [(end - 1000) * SECOND]
    monkeypatch.setattr(module, "now", lambda: moment[0])
    sessions.expiries.turn(end - 1000)
    session.caller = replace(session.caller, expires_at=(end - 1) * SECOND + fraction if fraction else end * SECOND)
    sessions.time(session)
    assert session.due == end - WARNING_SECONDS == end - 60

    async def at(second: int) -> None:
        moment[0] = second * SECOND
        await sessions.tick()

    await at(end - WARNING_SECONDS - 1)
    assert socket.named("session:expiring") == [] and session.due == end - WARNING_SECONDS
    await at(end - WARNING_SECONDS)
    assert (await socket.event("session:expiring"))[0]["expiresAt"].startswith("2033-05-18T03:3")
    assert session.due == end
    await at(end - 1)
    assert len(socket.named("session:expiring")) == 1 and not session.ended
    await at(end)
    assert (await socket.event("session:closed"))[0] == {"reason": "expired"}
    await socket.gone()
    assert socket.packets[-1] == "41/chat," and socket.ws.close_code == 1000
    await eventually(lambda: session.ended)
    assert not sessions.expiries.due and not sessions_of(server, ann) and sessions.count == 0


async def test_a_token_that_ends_soon_is_not_warned_of(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await server.people.make()
    socket, session = await connected(server, ann)
    sessions, end = server.services.sessions, 2_000_000_000
    monkeypatch.setattr(module, "now", lambda: (end - WARNING_SECONDS) * SECOND)
    sessions.expiries.turn(end - WARNING_SECONDS)
    session.caller = replace(session.caller, expires_at=end * SECOND)
    sessions.time(session)
    assert session.due == end and socket.named("session:expiring") == []


# What is revoked


def api(server: Served, pair: Any) -> Api:
    return Api(server.people.session, server.url, pair["accessToken"])


async def two_logins(server: Served) -> tuple[Api, RawSocket, RawSocket]:
    """Ann's first login, its socket, and that of a second one."""
    anonymous = server.people.anonymous
    first = api(server, (await anonymous.post(f"{AUTH}/register", ANN)).json["data"])
    second = api(server, (await anonymous.post(f"{AUTH}/login", ANN)).json["data"])
    return first, await first.socket(), await second.socket()


@pytest.mark.parametrize("by", ["this process", "the table"])
async def test_what_closes_when_a_login_ends(either: Served, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """At once where it was ended, and within two seconds everywhere: each of the two ways by itself."""
    first, ended, other = await two_logins(either)
    sessions = either.services.sessions
    if by == "the table":
        either.services.accounts.on_revoked = lambda user_pk, login, reason: None
    else:

        async def nothing() -> None:
            return None

        monkeypatch.setattr(sessions, "look_at_revocations", nothing)
    assert (await first.post(f"{AUTH}/logout")).status == 200
    assert (await ended.event("session:closed"))[0] == {"reason": "logout"}
    await ended.gone()
    assert (await other.call("presence:watch", {"userIds": []}))["statusCode"] == 200
    assert other.named("session:closed") == []
    id = (await first.get("/api/v1/users/me")).status
    assert id == 401
    admin = await either.people.make(grant=["admin"])
    (left,) = [each for each in sessions.all() if each.caller.login]
    assert (await admin.post(f"/api/v1/admin/users/{left.user_id}/sign-out")).status == 200
    assert (await other.event("session:closed"))[0] == {"reason": "logout"}


async def test_what_was_revoked_long_ago_is_not_looked_at_again(
    serve: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test alone looks: two at a time would both find it.
    monkeypatch.setattr("server.background.TICK_SECONDS", 1e6)
    server = await serve()
    ann, bob = await server.people.many(2)
    sessions = server.services.sessions
    judged: list[int] = []
    judge = sessions._judge

    async def counted(user_pk: int, reason: str) -> bool:
        judged.append(user_pk)
        return await judge(user_pk, reason)

    sessions._judge = counted  # type: ignore[method-assign]
    socket = await bob.socket()
    assert (await ann.post(f"{AUTH}/logout")).status == 200
    for _ in range(3):
        await sessions.look_at_revocations()
    assert judged.count(ann.user.pk) == 1
    assert socket.named("session:closed") == []


# After a gap


async def test_a_gap_that_can_not_be_filled(either: Served) -> None:
    """The client is told where to go on from, and hears what comes after, once."""
    ann, bob = await either.people.many(2)
    chat = await ann.group(bob)
    for _ in range(3):
        await ann.send(chat)
    socket, session = await connected(either, bob)
    hub = either.services.hub
    pk = await either.services.chats.numbers.find(bob.user.tenant_pk, chat)
    for channel_pk, name, head in ((pk, f"chat:{chat}", 3), (bob.user.pk, f"user:{bob.id}", 1)):
        hub._end_at_gap(hub.channels[channel_pk], [session])
        assert (await socket.event("channel:reset", 1 if name.startswith("chat") else 2))[0] == {
            "channel": name,
            "head": head,
        }
    await ann.send(chat, "after")
    assert (await socket.event("message:new"))[0]["content"] == "after"
    assert socket.seqs(f"chat:{chat}") == [4] and hub.resets == 2


async def test_after_a_gap_older_objects_stay_hidden(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat = await ann.group()
    before = await ann.send(chat, "from before")
    assert (await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [bob.id]})).status == 201
    socket, session = await connected(server, bob)
    pk = await server.services.chats.numbers.find(bob.user.tenant_pk, chat)
    server.services.hub._end_at_gap(server.services.hub.channels[pk], [session])
    await socket.event("channel:reset")
    assert (await ann.patch(f"/api/v2/messages/{before['_id']}", {"content": "changed"})).status == 200
    assert (await socket.event("channel:skip"))[0] == {}
    assert "changed" not in str(socket.packets)


async def test_who_left_during_a_gap_is_not_brought_back(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    socket, session = await connected(server, bob)
    hub, pk = server.services.hub, await server.services.chats.numbers.find(bob.user.tenant_pk, chat)
    channel = hub.channels[pk]
    hub.remove(session, pk)
    assert (await ann.delete(f"/api/v2/chats/{chat}/members/{bob.id}")).status == 200
    await socket.event("chat:removed")
    session.on_gap(channel.pk, channel.name)
    await eventually(lambda: session.following is None and not session.control)
    assert socket.named("channel:reset") == [] and pk not in session.subscriptions


async def test_a_stream_goes_on_after_a_gap(server: Served) -> None:
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    made = await owner.post("/api/v1/streams", {"title": "Match", "startsAt": "2999-01-01T20:00:00Z"})
    id = made.json["data"]["id"]
    socket, session = await connected(server, ann)
    assert (await socket.call("stream:watch", {"streamId": id}))["statusCode"] == 200
    (channel,) = [each for each in session.subscriptions.values() if each.name == f"stream:{id}"]
    server.services.hub._end_at_gap(channel, [session])
    head = (await server.services.database.read(lambda it: log.heads(it, [channel.pk])))[channel.pk]
    assert (await socket.event("channel:reset"))[0] == {"channel": f"stream:{id}", "head": head}
    assert (await owner.post(f"/api/v1/streams/{id}/cancel")).status == 200
    assert (await socket.event("stream:status"))[0]["status"] == "cancelled"


# Following the user's chats


async def test_who_can_not_follow_comes_back_by_reconnecting(
    server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ann, bob = await server.people.many(2)
    socket, _ = await connected(server, bob)

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server.services.sessions, "_join", broken)
    await ann.group(bob)
    await socket.gone()
    assert socket.named("session:closed") == [] and "41/chat," not in socket.packets
    assert "could not follow" in caplog.text
    caplog.clear()


async def test_an_older_joining_is_not_followed(server: Served) -> None:
    """Removed and added again while a node looks away: the subscription begins at the latest joining."""
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    members = f"/api/v2/chats/{chat}/members"
    socket, session = await connected(server, bob)
    sessions, hub, joined = server.services.sessions, server.services.hub, []
    add = hub.add

    def noted(one: Any, pk: int, name: str, cursor: int, joined_seq: int = 0) -> Any:
        joined.append((name, cursor, joined_seq))
        return add(one, pk, name, cursor, joined_seq)

    hub.add = noted  # type: ignore[method-assign, assignment]
    assert (await ann.delete(f"{members}/{bob.id}")).status == 200
    assert (await ann.post(members, {"userIds": [bob.id]})).status == 201
    await socket.event("chat:new")
    await ann.send(chat, "hello again")
    assert (await socket.event("message:new"))[0]["content"] == "hello again"
    await sessions._join(session, chat, 0)
    assert joined == [(f"chat:{chat}", 2, 2)], "what is told of a joining from before is not acted on"


async def test_what_a_session_begins_with(server: Served) -> None:
    ann = await server.people.make()
    socket, session = await connected(server, ann)
    ready = socket.named("session:ready")[0][0]
    assert (ready["v"], ready["userId"]) == (1, ann.id)
    assert session.active and not session.refreshing and session.pending == 0
    assert server.services.sessions.resumed == 0
    again = await ann.socket(offsets={f"user:{ann.id}": 0}, epoch=ready["epoch"])
    assert server.services.sessions.resumed == 1 and server.services.sessions.count == 2
    await again.close()
    await eventually(lambda: server.services.sessions.count == 1)
    assert len(sessions_of(server, ann)) == 1


async def test_what_is_not_durable_is_dropped_where_half_of_the_buffer_waits(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await server.people.make()
    _, session = await connected(server, ann)
    limit = server.services.limits.outbound
    written: list[bytes] = []
    session.write = written.append
    waiting: Callable[[int], property] = lambda size: property(lambda self: size)  # noqa: E731
    for size, passes in ((limit // 2 - 1, True), (limit // 2, False), (limit, False)):
        monkeypatch.setattr(type(session.socket), "buffered", waiting(size))
        session.write_ephemeral(b"x")
        assert (written == [b"x"]) is passes, size
        written.clear()


async def test_a_revocation_of_who_is_not_there_is_no_error(server: Served) -> None:
    sessions = server.services.sessions
    sessions.revoke(10**9, None, "logout")
    await sessions.look_at_revocations()
    assert sessions.count == 0


async def test_who_is_closed_by_a_revocation(server: Served) -> None:
    first, of_login, other = await two_logins(server)
    sessions = server.services.sessions
    mine = {each.caller.login: each for each in sessions.all()}
    assert len(mine) == 2 and None not in mine
    (pk,) = sessions.of_user
    sessions.revoke(pk, "another login", "logout")
    assert not any(each.ended for each in mine.values())
    (login, ended), (_, stays) = mine.items()
    sessions.revoke(pk, login, "logout")
    await eventually(lambda: ended.ended)
    assert not stays.ended
    sessions.revoke(pk, None, "banned")
    await eventually(lambda: stays.ended)
    await eventually(lambda: pk not in sessions.of_user)
    said = [each.named("session:closed")[0][0]["reason"] for each in (of_login, other)]
    assert sorted(said) == ["banned", "logout"]
    assert first.token


async def test_a_session_that_ended_leaves_nothing(server: Served) -> None:
    ann = await server.people.make()
    sessions = server.services.sessions
    socket, session = await connected(server, ann)
    assert sessions.expiries.due
    await socket.close()
    await eventually(lambda: session.ended)
    assert ann.user.pk not in sessions.of_user and not sessions.expiries.due and sessions.count == 0
    assert session.following is None and session.control == []


async def test_a_newer_token_moves_the_end(server: Served) -> None:
    ann = await server.people.make(ttl=600)
    socket, session = await connected(server, ann)
    before = session.due
    newer, _ = server.services.tokens.issue(ann.user, ttl=1_200)
    assert (await socket.call("session:refresh", {"token": newer}))["statusCode"] == 200
    assert before + 590 <= session.due <= before + 610
    assert {second: items for second, items in server.services.sessions.expiries.due.items() if items} == {
        session.due: {session}
    }


async def test_presence_is_not_shown_any_more_of_whom_one_shares_no_chat_with(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    await bob.send(chat)
    socket, session = await connected(server, ann)
    assert (await socket.call("presence:watch", {"userIds": [bob.id]}))["isSuccess"]
    assert session.watched == {bob.user.pk}
    assert (await bob.post(f"/api/v2/chats/{chat}/leave")).status == 200
    await socket.event("chat:updated")
    assert (await ann.delete(f"/api/v2/chats/{chat}")).status == 200
    await socket.event("chat:removed")
    await eventually(lambda: session.watched == frozenset())


@pytest.mark.parametrize(("ago", "looked_ago", "acts"), [(50, 60, True), (50, 0, False)])
async def test_a_look_at_revocations_goes_back_to_the_last_one(
    server: Served, ago: int, looked_ago: int, acts: bool
) -> None:
    """And some seconds before it, for clocks of processes differ."""
    ann = await server.people.make()
    _, session = await connected(server, ann)
    sessions, database = server.services.sessions, server.services.database
    sessions.checked_at = time.monotonic() + 10_000
    at = now() - ago * SECOND
    row = {"user_pk": ann.user.pk, "login_id": None, "reason": "logout", "at": at}

    def apply(tx: Tx) -> None:
        tx.execute(insert(revocations), row)
        tx.execute(update(users).where(users.c.pk == ann.user.pk).values(valid_after=now() + 1))

    await database.write(Command(apply))
    sessions.checked_at = time.monotonic() - looked_ago
    await sessions.look_at_revocations()
    if acts:
        await eventually(lambda: session.ended)
    else:
        assert not session.socket.closing and not session.ended


async def test_a_revocation_lets_no_process_remember_the_callers(server: Served) -> None:
    ann, bob = await server.people.many(2)
    assert (await ann.get("/api/v1/users/me")).status == 200
    accounts, sessions = server.services.accounts, server.services.sessions
    assert accounts.callers.known
    await sessions.look_at_revocations()
    assert accounts.callers.known, "nothing was revoked"
    row = {"user_pk": bob.user.pk, "login_id": None, "reason": "logout", "at": now()}
    await server.services.database.write(Command(lambda tx: tx.execute(insert(revocations), row)))
    await sessions.look_at_revocations()
    assert not accounts.callers.known


async def test_a_session_ends_with_its_token_unless_refreshed(server: Served) -> None:
    ann, other = await server.people.many(2)
    socket = await ann.socket()
    (session,) = server.services.sessions.all()
    refreshed = await ann.socket()
    longer, _ = server.services.tokens.issue(ann.user, ttl=3600)
    ack = await refreshed.call("session:refresh", {"token": longer})
    assert ack["isSuccess"] and ack["data"]["expiresAt"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert (await refreshed.call("session:refresh", {"token": other.token}))["statusCode"] == 401
    # The warning comes a minute before the end; as if that were now.
    (longest,) = (each for each in server.services.sessions.all() if each is not session)
    assert longest.due == -(-longest.caller.expires_at // SECOND) - 60
    expiries = server.services.sessions.expiries
    expiries.discard(longest.due, longest)
    longest.due = expiries.add(0, longest)
    assert (await refreshed.event("session:expiring"))[0] == {"expiresAt": ack["data"]["expiresAt"]}
    session.caller = replace(session.caller, expires_at=now())
    server.services.sessions.time(session)
    assert (await socket.event("session:closed"))[0] == {"reason": "expired"}
    await socket.gone()
    assert socket.packets[-1] == "41/chat,"
    assert not refreshed.closed
    await refreshed.close()


async def test_joining_and_leaving_while_connected(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat_id = await ann.group()
    await ann.send(chat_id, "before")
    socket = await bob.socket()
    path = f"/api/v2/chats/{chat_id}/members"
    for round in range(1, 6):
        await ann.post(path, {"userIds": [bob.id]})
        await ann.send(chat_id, f"inside {round}")
        await socket.event("message:new", round)
        await ann.delete(f"{path}/{bob.id}")
        await ann.send(chat_id, f"outside {round}")
    await socket.event("chat:removed", 5)
    hub = either.services.hub
    await eventually(lambda: f"chat:{chat_id}" not in {each.name for each in hub.channels.values()})
    contents = [arguments[0]["content"] for arguments in socket.named("message:new")]
    assert contents == [f"inside {round}" for round in range(1, 6)]
    assert len(socket.named("chat:new")) == len(socket.named("chat:removed")) == 5
    for payload, place in socket.named("chat:new"):
        assert payload["lastMessage"] is None and place["channel"] == f"user:{bob.id}"
    assert (await socket.call("typing", {"chatId": chat_id}))["statusCode"] == 404
    again = await bob.socket(offsets={f"chat:{chat_id}": 3}, epoch=either.services.database.epoch)
    ready = (await again.event("session:ready"))[0]
    assert ready["recovered"] == {f"chat:{chat_id}": False} and f"chat:{chat_id}" not in ready["heads"]
    await socket.close()
    await again.close()


async def test_what_can_not_be_replayed_is_said(serve: ServerFactory) -> None:
    server = await serve(max_replay_events=10, max_replay_bytes=20_000)
    ann, bob = await server.people.many(2)
    many, large, joined, fine = [await ann.group(bob) for _ in range(4)]
    for number in range(11):
        await ann.send(many, str(number))
    for _ in range(3):
        await ann.send(large, "x" * 8000)
    await ann.delete(f"/api/v2/chats/{joined}/members/{bob.id}")
    await ann.post(f"/api/v2/chats/{joined}/members", {"userIds": [bob.id]})
    await ann.send(fine, "x")
    ids = {name: f"chat:{id}" for name, id in (("many", many), ("large", large), ("joined", joined), ("fine", fine))}
    epoch = server.services.database.epoch
    socket = await bob.socket(offsets={**dict.fromkeys(ids.values(), 0), f"user:{bob.id}": 999}, epoch=epoch)
    ready = (await socket.event("session:ready"))[0]
    assert ready["recovered"] == {
        ids["many"]: False, ids["large"]: False, ids["joined"]: False, ids["fine"]: True, f"user:{bob.id}": False,
    }  # fmt: skip
    assert [arguments[1]["channel"] for arguments in socket.named("message:new")] == [ids["fine"]]
    assert {*ready["heads"]} == {*ids.values(), f"user:{bob.id}"}
    await socket.close()


async def test_much_that_is_short_is_replayed_whole(either: Served) -> None:
    """The bytes of a resume are what its events have, not what they could have."""
    ann, bob = await either.people.many(2)
    chats = [await ann.group(bob) for _ in range(4)]
    for chat in chats:
        await asyncio.gather(*(ann.send(chat, str(number)) for number in range(50)))
    offsets = {f"chat:{chat}": 0 for chat in chats}
    socket = await bob.socket(offsets=offsets, epoch=either.services.database.epoch)
    ready = (await socket.event("session:ready"))[0]
    assert ready["recovered"] == dict.fromkeys(offsets, True) and len(socket.named("message:new")) == 200
    await socket.close()


async def test_a_new_login_outlives_an_older_sign_out(server: Served) -> None:
    admin, ann = await server.people.make(grant=["admin"]), await server.people.make()
    old = await ann.socket()
    await admin.post(f"/api/v1/admin/users/{ann.id}/sign-out")
    await old.gone()
    ann.token, _ = server.services.tokens.issue(ann.user, ttl=60)
    new = await ann.socket()
    await server.services.sessions.look_at_revocations()
    await new.call("app:state", {"active": True})
    assert not new.closed
    await new.close()


async def test_a_member_removed_and_added_while_connecting(server: Served) -> None:
    """The snapshot of connecting is old by the time it is read from: nothing may be missed, nothing doubled."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob, historyVisible="all")
    path = f"/api/v2/chats/{chat_id}/members"
    epoch = server.services.database.epoch
    for round in range(10):
        head = (await ann.send(chat_id, f"before {round}"))["seq"]
        connecting = asyncio.create_task(bob.socket(offsets={f"chat:{chat_id}": head - 1}, epoch=epoch))
        await asyncio.sleep(0.002 * round)
        await ann.delete(f"{path}/{bob.id}")
        back = (await ann.post(path, {"userIds": [bob.id]})).json["seq"]
        socket = await connecting
        last = (await ann.send(chat_id, f"after {round}"))["seq"]
        channel = f"chat:{chat_id}"

        await socket.until(lambda s=socket, c=channel, last=last: last in s.seqs(c))
        seqs = socket.seqs(channel)
        assert seqs == sorted(set(seqs))
        assert [seq for seq in seqs if seq > back] == list(range(back + 1, last + 1))
        await socket.close()
