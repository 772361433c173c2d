"""The Python client: through cuts, restarts and a server that is killed; and as people get it, from its archive."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import eventually
from tests.faults.nodes import place_of
from tests.faults.test_clock import HOUR, Clock
from tests.support.guard import HANG_SECONDS
from tests.support.process import ServerProcess
from tests.support.proxy import Proxy

SOURCE = Path("clients/python")
spec = importlib.util.spec_from_file_location("bellwire_client", SOURCE / "bellwire_client/__init__.py")
assert spec and spec.loader
bellwire: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bellwire)


async def test_nothing_is_missed_or_sent_twice_through_cuts_and_kills(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org", "--permission=users.manage")
        (bob,) = await ann.others(1)
        async with Proxy(lambda: place_of(server.url)) as door:
            url = f"http://127.0.0.1:{door.port}"
            async with bellwire.Client(url, ann.token) as one, bellwire.Client(url, bob.token) as other:
                chat = (await one.post("/api/v2/chats", {"type": "group", "name": "x", "memberIds": [bob.id]}))["_id"]
                heard: list[Any] = []

                async def listen() -> None:
                    async for event in other.events():
                        heard.append(event)

                listening = asyncio.create_task(listen())
                sending = [asyncio.create_task(one.send(chat, f"message {number}")) for number in range(5)]
                await asyncio.gather(*sending)
                for number in range(5, 25):
                    sending.append(asyncio.create_task(one.send(chat, f"message {number}")))
                    await asyncio.sleep(0.05)
                    if number in (8, 16):
                        door.cut()
                    if number == 12:
                        await server.kill()
                        await server.start()
                async with asyncio.timeout(HANG_SECONDS):
                    sent = await asyncio.gather(*sending)
                    while len([each for each in heard if each.name == "message:new"]) < 25:
                        await asyncio.sleep(0.05)
                said = [each for each in heard if each.name == "message:new"]
                assert [each.seq for each in said] == list(range(1, 26))
                assert {each.payload["_id"] for each in said} == {each["_id"] for each in sent}
                assert sorted(each.payload["content"] for each in said) == sorted(f"message {n}" for n in range(25))
                assert not [each for each in heard if each.reload], "all was resumed"

                root = said[0].payload["_id"]
                reply = await one.send(chat, "reply", threadId=root, mentions=[bob.id])
                path = f"/api/v2/messages/{reply['_id']}"
                assert (await other.put(f"{path}/reactions/:x:"))["mine"] == [":x:"]
                assert (await other.delete(f"{path}/reactions/:x:"))["mine"] == []
                assert (await other.call("message:read", {"chatId": chat, "messageId": reply["_id"]}))[
                    "threadId"
                ] == root
                wanted = {"message:thread", "message:reactions", "thread:read"}
                async with asyncio.timeout(HANG_SECONDS):
                    while not wanted <= {each.name for each in heard}:
                        await asyncio.sleep(0.05)

                # Another program goes on where this one was.
                listening.cancel()
                offsets, epoch = dict(other.offsets), other.epoch
                await one.send(chat, "meanwhile")
            async with bellwire.Client(url, bob.token, offsets=offsets, epoch=epoch) as again:
                found = [event async for event in up_to(again, "message:new")]
                assert found[-1].payload["content"] == "meanwhile"
            with pytest.raises(bellwire.Refused) as refused:
                async with bellwire.Client(url, ann.token) as one:
                    await one.send("f" * 24, "into nowhere")
            assert refused.value.status == 404


async def up_to(client: Any, name: str) -> Any:
    async with asyncio.timeout(HANG_SECONDS):
        async for event in client.events():
            yield event
            if event.name == name:
                return


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own, in which the archive was installed; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("python-client")
    source = shutil.copytree(SOURCE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True, capture_output=True)
    (wheel,) = folder.glob("bellwire_client-*.whl")
    place = folder / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", place, wheel], check=True, capture_output=True)
    return place


def test_its_archive_is_typed(installed: Path, tmp_path: Path) -> None:
    assert (installed / "bellwire_client/py.typed").exists()
    program = tmp_path / "program.py"
    program.write_text("from bellwire_client import Client\nreveal_type(Client.send)\n")
    environment = os.environ | {"MYPYPATH": str(installed)}
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--cache-dir",
        str(tmp_path / "cache"),
        str(program),
    ]
    done = subprocess.run(command, env=environment, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0 and "Revealed type" in done.stdout, done.stdout


async def test_the_bot_answers(tmp_path: Path, installed: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org", "--permission=users.manage")
        (bot,) = await ann.others(1)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            SOURCE / "example.py",
            server.url,
            str(bot.token),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(installed)},
        )
        try:
            assert process.stdout
            assert await asyncio.wait_for(process.stdout.readline(), HANG_SECONDS) == b"ready\n"
            socket = await ann.socket()
            body = {"type": "text", "targetUserId": bot.id, "content": "hello"}
            assert (await ann.post("/api/v2/messages", body)).status == 201
            said = await socket.event("message:new", 2)
            assert said[0]["content"] == "You said: hello"
            await socket.close()
        finally:
            process.terminate()
            await process.wait()


async def test_a_gap_brings_another_connection(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org", "--permission=users.manage")
        (bob,) = await ann.others(1)
        async with bellwire.Client(server.url, bob.token) as client:
            body = {"type": "group", "name": "x", "memberIds": [bob.id]}
            chat = (await ann.post("/api/v2/chats", body)).json["_id"]
            for number in range(3):
                await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": str(number)})
            heard = [
                event.payload["content"] async for event in up_to(client, "message:new") if event.name == "message:new"
            ]
            await eventually(lambda: client._cursors[f"chat:{chat}"] == 3)
            # As if the newest two had never come.
            client._cursors[f"chat:{chat}"] = 1
            await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "3"})
            async with asyncio.timeout(HANG_SECONDS):
                async for event in client.events():
                    heard += [event.payload["content"]] if event.name == "message:new" else []
                    if heard[-1] == "3":
                        break
            assert heard == ["0", "1", "2", "1", "2", "3"]


async def test_it_goes_on_when_a_token_ends(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    server = ServerProcess(tmp_path / "data")
    server.environment |= clock.environment
    async with server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org", "--permission=users.manage")
        (bob,) = await ann.others(1)

        async def token() -> str:
            made = await ann.post(f"/api/v1/users/{bob.id}/tokens", {"ttl": HOUR})
            return str(made.json["data"]["token"])

        body = {"type": "direct", "memberIds": [bob.id]}
        chat = (await ann.post("/api/v2/chats", body)).json["_id"]
        async with bellwire.Client(server.url, token) as client:
            clock.set(HOUR)
            reasons = []
            async with asyncio.timeout(HANG_SECONDS):
                async for event in client.events():
                    if event.name == "session:closed":
                        reasons.append(event.payload["reason"])
                        await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "while away"})
                    if event.name == "message:new":
                        break
            assert reasons[0] == "expired" and event.payload["content"] == "while away"
        async with bellwire.Client(server.url, await token()) as client:
            clock.set(2 * HOUR)
            seen = [event.name async for event in client.events()]
            assert seen[-1] == "session:closed"
            with pytest.raises(bellwire.Refused):
                await client.send(chat, "too late")


async def test_a_refused_connection_is_refused_with_its_reason(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server:
        with pytest.raises(bellwire.Refused, match="authentication required") as refused:
            async with bellwire.Client(server.url, "not a token"):
                raise AssertionError("it is connected")
    assert refused.value.status == 401
