"""Chats over REST: members, roles, leaving, muting, deleting, blocks."""

from typing import Any

import pytest

from realtime import history
from storage import log
from storage.transaction import Command
from tests.conftest import Served, eventually
from tests.support.people import Person

PATH = "/api/v2/chats"


async def test_direct_chats_are_one_a_pair(either: Served) -> None:
    ann, bob = await either.people.many(2)
    made = await ann.post(PATH, {"type": "direct", "memberIds": [bob.id]})
    found = await bob.post(PATH, {"type": "direct", "memberIds": [ann.id]})
    assert (made.status, found.status) == (201, 200)
    assert made.json["_id"] == found.json["_id"]
    assert made.json["name"] is None and made.json["memberCount"] == 2
    assert [each["role"] for each in made.json["members"]] == ["member", "member"]
    path = f"{PATH}/{made.json['_id']}"
    cid = await either.people.make()
    assert (await ann.patch(path, {"name": "x"})).status == 409
    assert (await ann.post(f"{path}/members", {"userIds": [cid.id]})).status == 409
    assert (await ann.delete(f"{path}/members/{bob.id}")).status == 409
    assert (await ann.post(f"{path}/leave")).status == 409
    assert (await ann.delete(path)).status == 403
    assert (await ann.post(PATH, {"type": "direct", "memberIds": [ann.id]})).status == 400
    assert (await ann.post(PATH, {"type": "direct", "memberIds": ["a" * 24]})).status == 404


async def test_the_document_of_a_group(server: Served) -> None:
    ann, bob = await server.people.many(2)
    made = await ann.post(PATH, {"type": "group", "name": "Tea", "memberIds": [bob.id], "id": "a" * 24})
    document = made.json
    assert list(document) == [
        "_id", "type", "name", "historyVisible", "members", "memberCount", "lastMessage", "unreadCount", "mutedUntil",
        "seq", "createdAt", "updatedAt",
    ]  # fmt: skip
    assert document["_id"] == "a" * 24
    assert document["members"][0] == {
        "userId": ann.id, "name": ann.user.name, "role": "owner", "readSeq": 0, "joinedSeq": 0,
    }  # fmt: skip
    assert (await bob.post(PATH, {"type": "group", "name": "Tea", "id": "a" * 24})).status == 409
    sent = await bob.send("a" * 24, "hi")
    seen = (await ann.get(f"{PATH}/{'a' * 24}")).json
    assert seen["lastMessage"] == sent and seen["unreadCount"] == 1 and seen["seq"] == sent["seq"]


async def test_a_new_chat_is_announced_with_some_of_its_members(either: Served) -> None:
    """Each member has an event of their own: with all members in it a large group would fill everybody's log."""
    ann, *others = await either.people.many(25)
    listener = await others[-1].socket()
    chat_id = await ann.group(*others)
    told, place = await listener.event("chat:new")
    assert (told["_id"], told["memberCount"], len(told["members"]), told["at"]) == (chat_id, 25, 20, 0)
    assert place["channel"] == f"user:{others[-1].id}"
    assert len((await ann.get(f"{PATH}/{chat_id}")).json["members"]) == 25
    late = await either.people.make()
    socket = await late.socket()
    assert (await ann.post(f"{PATH}/{chat_id}/members", {"userIds": [late.id]})).status == 201
    told = (await socket.event("chat:new"))[0]
    assert (told["memberCount"], len(told["members"]), told["at"]) == (26, 20, 1)


async def test_a_large_chat_shows_its_user(either: Served) -> None:
    """Among the at most 100 members, so that clients know how far their user has read."""
    ann, *others = await either.people.many(103)
    chat_id = await ann.group(*others)
    last = others[-1]
    sent = await ann.send(chat_id)
    await last.post(f"/api/v2/messages/{sent['_id']}/read")
    for document in ((await last.get(f"{PATH}/{chat_id}")).json, (await last.get(PATH)).json["items"][0]):
        assert document["memberCount"] == 103
        assert [each["userId"] for each in document["members"]] == [ann.id, *(each.id for each in others[:98]), last.id]
        assert document["members"][-1]["readSeq"] == sent["seq"]
    members = (await ann.get(f"{PATH}/{chat_id}")).json["members"]
    assert [each["userId"] for each in members] == [ann.id, *(each.id for each in others[:99])]


async def past(person: Person, chat_id: str, query: str = "") -> Any:
    answer = await person.get(f"{PATH}/{chat_id}/events{query}")
    assert answer.status == 200, answer
    return answer.json


async def test_joins_leaves_and_names_of_a_chat(either: Served) -> None:
    ann, bob, cat = await either.people.many(3)
    chat_id = await ann.group(bob)
    socket = await bob.socket()
    await ann.send(chat_id)
    await ann.post(f"{PATH}/{chat_id}/members", {"userIds": [cat.id]})
    await ann.patch(f"{PATH}/{chat_id}", {"name": "Tea"})
    await ann.patch(f"{PATH}/{chat_id}", {"slowMode": 10})
    await cat.post(f"{PATH}/{chat_id}/leave")
    await eventually(lambda: len(socket.named("chat:updated")) == 4)
    live = [(place["seq"], event) for event, place in socket.named("chat:updated")]
    told = await past(bob, chat_id)
    assert told["before"] is None
    assert [list(each) for each in told["items"]] == [["seq", "changes", "added", "removed", "createdAt"]] * 3
    assert [(each["seq"], each["added"], each["removed"], each["changes"]) for each in told["items"]] == [
        (2, [cat.id], [], {}), (3, [], [], {"name": "Tea"}), (5, [], [cat.id], {}),
    ]  # fmt: skip
    assert {each["seq"] for each in told["items"]} == {seq for seq, event in live if "slowMode" not in event["changes"]}
    pages, before = [], ""
    while True:
        page = await past(bob, chat_id, f"?limit=1{before}")
        pages += [each["seq"] for each in page["items"]]
        if page["before"] is None:
            break
        before = f"&before={page['before']}"
    assert pages == [5, 3, 2]
    assert (await past(bob, chat_id, "?before=3"))["items"] == told["items"][:1]
    assert await past(bob, chat_id, "?before=0") == {"items": [], "before": None}
    assert (await past(bob, chat_id, f"?before={2**62}"))["items"] == told["items"]


async def test_events_of_a_chat_are_those_its_reader_may_see(either: Served) -> None:
    ann, bob, cat = await either.people.many(3)
    chat_id = await ann.group(bob)
    await ann.patch(f"{PATH}/{chat_id}", {"name": "Tea"})
    await ann.post(f"{PATH}/{chat_id}/members", {"userIds": [cat.id]})
    await ann.patch(f"{PATH}/{chat_id}", {"name": "Coffee"})
    assert [each["seq"] for each in (await past(cat, chat_id))["items"]] == [3]
    await ann.patch(f"{PATH}/{chat_id}", {"historyVisible": "all"})
    assert [each["seq"] for each in (await past(cat, chat_id))["items"]] == [1, 2, 3]
    pk = await either.services.chats.numbers.find(cat.user.tenant_pk, chat_id)
    await either.services.database.write(Command(lambda tx: log.trim(tx, {pk: 2}), channels=[pk]))
    assert await past(cat, chat_id) == {"items": (await past(ann, chat_id))["items"], "before": None}
    assert [each["seq"] for each in (await past(cat, chat_id))["items"]] == [3]


async def test_events_of_a_chat_are_looked_for_in_parts(either: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of a chat with many messages and few events costs no more than any other."""
    monkeypatch.setattr(history, "EVENTS_LOOKED_THROUGH", 3)
    ann, bob = await either.people.many(2)
    chat_id = await ann.group(bob)
    await ann.patch(f"{PATH}/{chat_id}", {"name": "Tea"})
    for _ in range(4):
        await ann.send(chat_id)
    assert await past(bob, chat_id) == {"items": [], "before": 3}
    page = await past(bob, chat_id, "?before=3")
    assert ([each["seq"] for each in page["items"]], page["before"]) == ([1], None)


async def test_the_list_begins_with_the_latest(either: Served) -> None:
    ann, bob = await either.people.many(2)
    ids = [await ann.group(bob, name=f"group {number}") for number in range(5)]
    await bob.send(ids[1], "x")
    await bob.send(ids[3], "y")
    first = (await ann.get(f"{PATH}?limit=3")).json
    second = (await ann.get(f"{PATH}?limit=3&cursor={first['nextCursor']}")).json
    assert [each["_id"] for each in first["items"] + second["items"]] == [ids[3], ids[1], ids[4], ids[2], ids[0]]
    assert second["nextCursor"] is None
    assert [each["unreadCount"] for each in first["items"]] == [1, 1, 0]
    assert (await ann.get(f"{PATH}?cursor=nonsense")).status == 400


async def roles(server: Served) -> tuple[str, dict[str, Person]]:
    people = dict(zip(("owner", "admin", "member", "readonly"), await server.people.many(4), strict=True))
    owner = people["owner"]
    chat_id = await owner.group(*[people[role] for role in ("admin", "member", "readonly")])
    for role in ("admin", "readonly"):
        changed = await owner.patch(f"{PATH}/{chat_id}/members/{people[role].id}", {"role": role})
        assert changed.status == 200 and changed.json["role"] == role
    people["stranger"] = await server.people.make()
    return chat_id, people


async def test_what_each_role_may(server: Served) -> None:
    chat_id, people = await roles(server)
    path = f"{PATH}/{chat_id}"
    allowed = {
        "rename": {"owner", "admin"},
        "add": {"owner", "admin"},
        "send": {"owner", "admin", "member"},
        "read": {"owner", "admin", "member", "readonly"},
        "mute": {"owner", "admin", "member", "readonly"},
        "make admin": {"owner"},
        "add admin": {"owner"},
        "remove admin": {"owner"},
        "delete": {"owner"},
    }
    for verb, roles_allowed in allowed.items():
        for role in ("stranger", "readonly", "member", "admin", "owner"):
            who = people[role]
            other = await server.people.make()
            match verb:
                case "rename":
                    answer = await who.patch(path, {"name": f"by {role}"})
                case "add":
                    answer = await who.post(f"{path}/members", {"userIds": [other.id]})
                case "send":
                    answer = await who.post("/api/v2/messages", {"type": "text", "chatId": chat_id, "content": "x"})
                case "read":
                    answer = await who.get(path)
                case "mute":
                    answer = await who.post(f"{path}/mute", {"until": "2999-01-01T00:00:00Z"})
                case "make admin":
                    answer = await who.patch(f"{path}/members/{people['member'].id}", {"role": "admin"})
                    await people["owner"].patch(f"{path}/members/{people['member'].id}", {"role": "member"})
                case "add admin":
                    answer = await who.post(f"{path}/members", {"userIds": [other.id], "role": "admin"})
                case "remove admin":
                    await people["owner"].post(f"{path}/members", {"userIds": [other.id], "role": "admin"})
                    answer = await who.delete(f"{path}/members/{other.id}")
                case "delete":
                    answer = await who.delete(path)
            expected = 404 if role == "stranger" else 403
            assert (answer.status < 300) == (role in roles_allowed), (verb, role, answer)
            assert answer.status in (200, 201, expected), (verb, role, answer)
    assert (await people["member"].get(path)).status == 404


async def test_a_group_keeps_an_owner(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat_id = await ann.group(bob)
    path = f"{PATH}/{chat_id}"
    assert (await ann.post(f"{path}/leave")).status == 409
    assert (await ann.patch(f"{path}/members/{ann.id}", {"role": "member"})).status == 409
    assert (await ann.patch(f"{path}/members/{bob.id}", {"role": "owner"})).status == 200
    assert (await ann.post(f"{path}/leave")).json == {"success": True}
    assert (await ann.get(path)).status == 404
    assert (await bob.post(f"{path}/leave")).status == 409
    assert (await bob.get(path)).json["memberCount"] == 1


async def test_members_in_pages(server: Served) -> None:
    ann, *others = await server.people.many(6)
    chat_id = await ann.group(*others)
    seen, cursor = [], ""
    while cursor is not None:
        answer = (await ann.get(f"{PATH}/{chat_id}/members?limit=2{cursor and '&cursor=' + cursor}")).json
        seen += [each["userId"] for each in answer["items"]]
        cursor = answer["nextCursor"]
    assert seen == [each.id for each in (ann, *others)]
    stranger = await server.people.make()
    assert (await stranger.get(f"{PATH}/{chat_id}/members")).status == 404


async def test_muting(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    muted = await ann.post(f"{PATH}/{chat_id}/mute", {"until": "2999-01-01T00:00:00+03:00"})
    assert muted.json["mutedUntil"] == "2998-12-31T21:00:00.000Z"
    assert (await bob.get(f"{PATH}/{chat_id}")).json["mutedUntil"] is None
    assert (await ann.post(f"{PATH}/{chat_id}/mute", {"until": None})).json["mutedUntil"] is None
    assert (await ann.post(f"{PATH}/{chat_id}/mute", {"until": "soon"})).status == 400


async def test_a_deleted_chat_is_gone_for_everybody(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat_id = await ann.group(bob)
    sent = await ann.send(chat_id)
    socket = await bob.socket()
    assert (await ann.delete(f"{PATH}/{chat_id}")).status == 200
    assert (await socket.event("chat:removed"))[0] == {"chatId": chat_id}
    assert (await bob.get(f"{PATH}/{chat_id}")).status == 404
    assert (await bob.get(f"/api/v2/messages/{sent['_id']}")).status == 404
    answer = await bob.post("/api/v2/messages", {"type": "text", "chatId": chat_id, "content": "x"})
    assert answer.status == 404
    await eventually(lambda: len(either.services.hub.channels) == 1)
    again = await ann.post(PATH, {"type": "group", "name": "again", "id": chat_id})
    assert again.status == 409
    await socket.close()


async def test_the_blocked_may_not_write(either: Served) -> None:
    ann, bob = await either.people.many(2)
    direct = (await ann.post(PATH, {"type": "direct", "memberIds": [bob.id]})).json["_id"]
    blocks = "/api/v1/users/me/blocks"
    assert (await bob.post(blocks, {"userId": ann.id})).status == 201
    assert (await bob.post(blocks, {"userId": ann.id})).status == 200
    assert (await bob.post(blocks, {"userId": bob.id})).status == 400
    assert [each["id"] for each in (await bob.get(blocks)).json["data"]["items"]] == [ann.id]
    body = {"type": "text", "content": "hello?"}
    assert (await ann.post("/api/v2/messages", {**body, "chatId": direct})).status == 403
    assert (await ann.post("/api/v2/messages", {**body, "targetUserId": bob.id})).status == 403
    assert (await bob.post("/api/v2/messages", {**body, "chatId": direct})).status == 201
    assert (await ann.post(PATH, {"type": "group", "name": "x", "memberIds": [bob.id]})).status == 403
    assert (await bob.delete(f"{blocks}/{ann.id}")).status == 200
    assert (await bob.delete(f"{blocks}/{ann.id}")).status == 404
    assert (await ann.post("/api/v2/messages", {**body, "chatId": direct})).status == 201


async def test_chats_of_two_tenants_with_one_id_do_not_touch(either: Served) -> None:
    elsewhere = await either.people.tenant()
    ann = await either.people.make(id="b" * 24)
    double = await either.people.make(id="b" * 24, tenant=elsewhere)
    first, second = await ann.group(id="c" * 24), await double.group(id="c" * 24)
    assert first == second
    sockets = [await ann.socket(), await double.socket()]
    await ann.send(first, "for tenant one")
    await double.send(first, "for tenant two")
    await sockets[0].event("message:new")
    await sockets[1].event("message:new")
    assert [each.named("message:new")[0][0]["content"] for each in sockets] == ["for tenant one", "for tenant two"]
    assert [len(each.named("message:new")) for each in sockets] == [1, 1]
    stranger = await either.people.make(tenant=elsewhere)
    assert (await stranger.get(f"/api/v1/users/{(await either.people.make()).id}")).status == 404
    for socket in sockets:
        await socket.close()
