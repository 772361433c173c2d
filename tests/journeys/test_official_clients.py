"""The official JavaScript client, and python-socketio's: connect, receive, send, resume, come back or stay away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from realtime.transport.states import Ending
from tests.conftest import Served, eventually
from tests.support.node_client import NodeClient

Start = Callable[[], Awaitable[NodeClient]]


@pytest.fixture
async def javascript(node: str) -> AsyncIterator[Start]:
    clients: list[NodeClient] = []

    async def start() -> NodeClient:
        clients.append(await NodeClient.start(node))
        return clients[-1]

    yield start
    for each in clients:
        await each.close()


async def test_javascript_with_default_options(server: Served, javascript: Start) -> None:
    """Polling, then an upgrade; receives, sends, and resumes from its offsets."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    client = await javascript()
    client.do("connect", url=server.url, auth=bob.auth())
    assert (await client.until("open"))["transport"] == "polling"
    ready = (await client.until("event", name="session:ready"))["payload"]
    sending = [asyncio.create_task(ann.send(chat_id, str(number))) for number in range(50)]
    assert (await client.until("upgrade"))["transport"] == "websocket"
    await asyncio.gather(*sending)
    await client.until("event", 50, name="message:new")
    seqs = [line["place"]["seq"] for line in client.seen("event", name="message:new")]
    assert seqs == list(range(1, 51))
    client.do("emit", name="message:send", payload={"type": "text", "chatId": chat_id, "content": "from javascript"})
    ack = (await client.until("ack"))["answer"]
    assert ack["isSuccess"] and ack["data"]["senderId"] == bob.id

    client.do("auth", auth=bob.auth(offsets={f"chat:{chat_id}": 51, f"user:{bob.id}": 1}, epoch=ready["epoch"]))
    client.do("offline")
    await client.until("disconnect")
    for number in range(3):
        await ann.send(chat_id, f"while away {number}")
    again = (await client.until("event", 2, name="session:ready"))["payload"]
    assert again["recovered"] == {f"chat:{chat_id}": True, f"user:{bob.id}": True}
    seqs = [line["place"]["seq"] for line in client.seen("event", name="message:new")]
    assert seqs == list(range(1, 55))


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["websocket", "polling"]])
async def test_javascript_with_other_transports(server: Served, javascript: Start, transports: list[str]) -> None:
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    client = await javascript()
    client.do("connect", url=server.url, auth=bob.auth(), options={"transports": transports})
    assert (await client.until("open"))["transport"] == transports[0]
    await client.until("event", name="session:ready")
    await asyncio.gather(*(ann.send(chat_id, str(number)) for number in range(100)))
    payload = {"type": "text", "chatId": chat_id, "content": "x"}
    client.do("emit", name="message:send", payload=payload, count=100)
    await client.until("ack", 100)
    await client.until("event", 200, name="message:new")
    seqs = [line["place"]["seq"] for line in client.seen("event", name="message:new")]
    assert seqs == list(range(1, 201))


async def test_fifty_messages_written_while_offline(server: Served, javascript: Start) -> None:
    """They leave in one polling payload; stock, more than 16 packets vanished."""
    ann = await server.people.make()
    chat_id = await ann.group()
    client = await javascript()
    client.do("connect", url=server.url, auth=ann.auth(), options={"upgrade": False})
    await client.until("event", name="session:ready")
    client.do("offline")
    await client.until("disconnect")
    client.do("emit", name="message:send", payload={"type": "text", "chatId": chat_id, "content": "x"}, count=50)
    await client.until("ack", 50)
    answers = [line["answer"] for line in client.seen("ack")]
    assert [answer["data"]["seq"] for answer in answers] == list(range(1, 51))


@pytest.mark.parametrize("options", [{}, {"upgrade": False}, {"transports": ["websocket"]}], ids=str)
async def test_after_a_cut_it_comes_back_after_a_log_out_it_does_not(
    server: Served, javascript: Start, options: dict[str, bool]
) -> None:
    ann = await server.people.make()
    client = await javascript()
    client.do("connect", url=server.url, auth=ann.auth(), options=options)
    await client.until("event", name="session:ready")
    if not options:
        await client.until("upgrade")
    for socket in list(server.services.socketio.eio.sockets.values()):
        socket.close_now(Ending.RESUME)
    assert (await client.until("disconnect"))["active"] is True
    await client.until("event", 2, name="session:ready")

    assert (await ann.post("/api/v1/auth/logout")).status == 200
    closed = await client.until("event", name="session:closed")
    assert closed["payload"] == {"reason": "logout"}
    last = await client.until("disconnect", 2)
    assert last["reason"] == "io server disconnect" and last["active"] is False
    await asyncio.sleep(1.5)
    assert len(client.seen("connect")) == 2
    await eventually(lambda: not server.services.socketio.eio.sockets)


async def test_it_reconnects_after_every_ending_that_says_so(server: Served, javascript: Start) -> None:
    """The others are its own goodbye and the session's end, which come with a DISCONNECT."""
    ann = await server.people.make()
    client = await javascript()
    options = {"transports": ["websocket"], "reconnectionDelay": 10}
    client.do("connect", url=server.url, auth=ann.auth(), options=options)
    endings = [each for each in Ending if each.reconnects]
    assert {*Ending} - {*endings} == {Ending.CLIENT_CLOSED, Ending.SESSION_CLOSED}
    for count, ending in enumerate(endings, 1):
        await client.until("event", count, name="session:ready")
        (socket,) = server.services.socketio.eio.sockets.values()
        if ending.code == 1006:
            socket.abort(ending)
        else:
            socket.close_now(ending)
    await client.until("event", len(endings) + 1, name="session:ready")


async def test_a_refused_javascript_client_gets_the_reason(server: Served, javascript: Start) -> None:
    client = await javascript()
    client.do("connect", url=server.url, auth={"token": "x", "v": 1})
    refused = await client.until("connect_error")
    assert refused["message"] == "authentication required" and refused["active"] is False


@pytest.mark.parametrize("transports", [None, ["websocket"], ["polling"]])
async def test_python_socketio(server: Served, transports: list[str] | None) -> None:
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    channel = f"chat:{chat_id}"
    client = await bob.client(transports)
    await asyncio.gather(*(ann.send(chat_id, str(number)) for number in range(50)))
    ack = await client.call("message:send", {"type": "text", "chatId": chat_id, "content": "from python"})
    assert ack["data"]["seq"] == 51
    await eventually(lambda: len(client.seqs(channel)) == 51)
    assert client.seqs(channel) == list(range(1, 52))
    await client.close()
    await ann.send(chat_id, "while away")
    again = await bob.client(transports, offsets={channel: 51}, epoch=server.services.database.epoch)
    assert again.seqs(channel) == [52]
    assert again.ready.result()["recovered"] == {channel: True}
    await again.close()
