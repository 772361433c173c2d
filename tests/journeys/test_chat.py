"""Two people chat, over REST and sockets."""

from tests.conftest import Served


async def test_two_people_chat(either: Served) -> None:
    ann, bob = await either.people.many(2)
    socket = await bob.socket()
    chat = await ann.post("/api/v2/chats", {"type": "direct", "memberIds": [bob.id]})
    assert chat.status == 201
    chat_id = chat.json["_id"]
    payload, place = await socket.event("chat:new")
    assert payload["_id"] == chat_id and payload["at"] == 0
    assert place == {"channel": f"user:{bob.id}", "seq": 1}

    sent = await ann.send(chat_id, "hello")
    payload, place = await socket.event("message:new")
    assert payload == sent
    assert place == {"channel": f"chat:{chat_id}", "seq": sent["seq"]}

    ack = await socket.call("message:send", {"type": "text", "chatId": chat_id, "content": "hi"})
    assert (ack["isSuccess"], ack["statusCode"], ack["errors"]) == (True, 201, [])
    assert (await ann.get(f"/api/v2/messages/{ack['data']['_id']}")).json == ack["data"]

    ack = await socket.call("message:read", {"chatId": chat_id, "messageId": sent["_id"]})
    assert ack["data"] == {"chatId": chat_id, "userId": bob.id, "messageId": sent["_id"], "readSeq": sent["seq"]}
    assert (await ann.get(f"/api/v2/messages/{sent['_id']}")).json["readBy"] == [bob.id]
    assert (await ann.get(f"/api/v2/chats/{chat_id}")).json["unreadCount"] == 1
    await socket.close()


async def test_what_was_missed_is_replayed(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat_id = await ann.group(bob)
    socket = await bob.socket()
    ready = (await socket.event("session:ready"))[0]
    assert ready["userId"] == bob.id and ready["v"] == 1 and ready["recovered"] == {}
    assert ready["heads"] == {f"user:{bob.id}": 1, f"chat:{chat_id}": 0}
    await ann.send(chat_id, "1")
    await socket.event("message:new")
    await socket.close()
    for number in range(2, 6):
        await ann.send(chat_id, str(number))

    channel = f"chat:{chat_id}"
    again = await bob.socket(offsets={channel: 1, f"user:{bob.id}": 1, "chat:nowhere": 3}, epoch=ready["epoch"])
    names = [name for name, _ in again.events]
    assert names == ["message:new"] * 4 + ["session:ready"]
    assert [arguments[1]["seq"] for arguments in again.named("message:new")] == [2, 3, 4, 5]
    now = (await again.event("session:ready"))[0]
    assert now["recovered"] == {channel: True, f"user:{bob.id}": True, "chat:nowhere": False}
    assert now["heads"][channel] == 5
    await ann.send(chat_id, "6")
    assert (await again.event("message:new", 5))[1]["seq"] == 6
    await again.close()

    stranger = await bob.socket(offsets={channel: 1}, epoch="another")
    assert (await stranger.event("session:ready"))[0]["recovered"] == {channel: False}
    assert stranger.named("message:new") == []
    await stranger.close()
