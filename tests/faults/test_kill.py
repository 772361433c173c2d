"""``kill -9`` in the middle of a burst: what was acknowledged is there, once, and the log has no gap."""

import asyncio
import contextlib
import itertools
import random
from pathlib import Path
from typing import Any

import aiohttp

from push.doubles.apns import TOPIC, Apple
from tests.support.people import RawSocket
from tests.support.process import ProcessUser, ServerProcess

KILLS = 8
SENDERS = 8
PATH = "/api/v2/messages"


class Sender:
    """Sends one message after the other under keys of its own, and remembers what was acknowledged."""

    def __init__(self, user: ProcessUser, chat_id: str) -> None:
        self.user = user
        self.chat_id = chat_id
        self.numbers = itertools.count(1)
        self.acked: dict[str, Any] = {}
        self.unsure: list[dict[str, Any]] = []

    def body(self) -> dict[str, Any]:
        key = f"{self.user.id}-{next(self.numbers)}"
        return {"type": "text", "chatId": self.chat_id, "content": f"content of {key}", "clientMessageId": key}

    async def burst(self, socket: RawSocket) -> None:
        """Until the server is gone."""
        with contextlib.suppress(ConnectionError, TimeoutError, aiohttp.ClientError):
            while True:
                body = self.body()
                self.unsure.append(body)
                ack = await socket.call("message:send", body)
                assert ack["isSuccess"], ack
                self.acked[body["clientMessageId"]] = ack["data"]
                self.unsure.pop()


async def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    chance = random.Random(7)
    events = 0
    async with ServerProcess(tmp_path / "data") as server, aiohttp.ClientSession() as session:
        first = await server.user(session, "first@example.org", "--permission", "users.manage")
        users = [first, *await first.others(SENDERS - 1)]
        group = {"type": "group", "name": "Burst", "memberIds": [each.id for each in users[1:]]}
        chat_id = (await first.post("/api/v2/chats", group)).json["_id"]
        senders = [Sender(user, chat_id) for user in users]
        reader_seqs: list[int] = []
        channel, epoch = f"chat:{chat_id}", None
        for _ in range(KILLS):
            sockets = [await each.user.socket() for each in senders]
            bursts = [asyncio.create_task(each.burst(socket)) for each, socket in zip(senders, sockets, strict=True)]
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            await server.kill()
            await asyncio.gather(*bursts)
            await server.start()

            # A reader who was there before gets the rest of the log, without a gap.
            reader = (
                await first.socket(offsets={channel: len(reader_seqs)}, epoch=epoch) if epoch else await first.socket()
            )
            ready = (await reader.event("session:ready"))[0]
            assert epoch is None or (ready["epoch"] == epoch and ready["recovered"] == {channel: True})
            if epoch is None:
                epoch, reader_seqs = ready["epoch"], list(range(1, ready["heads"][channel] + 1))
            reader_seqs += reader.seqs(channel)
            assert reader_seqs == list(range(1, len(reader_seqs) + 1))
            events = len(reader_seqs)
            await reader.close()

            # Whoever does not know sends again with the key; whoever knows gets the first answer.
            for sender in senders:
                for again in sender.unsure:
                    answer = await sender.user.post(PATH, again)
                    assert answer.status == 201
                    sender.acked[again["clientMessageId"]] = answer.json
                sender.unsure.clear()
                if sender.acked:
                    key, document = chance.choice(list(sender.acked.items()))
                    repeat = {"type": "text", "chatId": chat_id, "content": f"content of {key}", "clientMessageId": key}
                    answer = await sender.user.post(PATH, repeat)
                    assert (answer.status, answer.json) == (201, document)

        stored: dict[str, Any] = {}
        after = 0
        while after is not None:
            page = (await first.get(f"{PATH}?chatId={chat_id}&after={after}&limit=200")).json
            for item in page["items"]:
                assert item["content"] not in stored, "stored twice"
                stored[item["content"]] = item
            after = page["after"]
        acked = [(f"content of {key}", document) for sender in senders for key, document in sender.acked.items()]
        lost = [content for content, document in acked if stored.get(content) != document]
        assert lost == []
        seqs = sorted(item["seq"] for item in stored.values())
        assert seqs == list(range(1, len(seqs) + 1)) and len(seqs) >= events
        assert len(acked) > KILLS * SENDERS
        assert await server.stop() == 0
        assert "Traceback" not in server.log.read_text()


async def test_a_full_outbox_survives(tmp_path: Path) -> None:
    chance = random.Random(11)
    phones, kills, burst = 20, 5, 20
    async with Apple(delay=0.05) as apple, aiohttp.ClientSession() as session:
        settings = apple.write_files(tmp_path / "apple")
        async with ServerProcess(tmp_path / "data", **settings) as server:
            ann = await server.user(session, "ann@example.org", "--permission", "admin")
            others = await ann.others(phones)
            for number, each in enumerate(others):
                body = {"deviceId": "d", "platform": "ios", "pushToken": f"t{number}", "environment": "production",
                        "bundleId": TOPIC}  # fmt: skip
                assert (await each.post("/api/v1/devices", body)).status == 201
            group = {"type": "group", "name": "All", "memberIds": [each.id for each in others]}
            chat_id = (await ann.post("/api/v2/chats", group)).json["_id"]
            sent: set[str] = set()
            for _ in range(kills):
                for number in range(burst):
                    body = {"type": "text", "chatId": chat_id, "content": f"message {number}"}
                    sent.add((await ann.post(PATH, body)).json["_id"])
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                await server.kill()
                await server.start()
            wanted = {(f"t{number}", message) for number in range(phones) for message in sent}

            def all_told() -> bool:
                return {(push.token, push.payload["messageId"]) for push in apple.good} == wanted

            await apple.until(all_told)
            ids: dict[tuple[str, str], set[Any]] = {}
            for push in apple.pushes:
                ids.setdefault((push.token, push.payload["messageId"]), set()).add((push.id, push.collapse_id))
            assert all(len(each) == 1 for each in ids.values()), "what came twice came under the same ids"
            assert len(apple.providers) == 1, "one provider token, whichever process signs"
            assert await server.stop() == 0
            assert "Traceback" not in server.log.read_text()
