"""``run.py``: the first start, commands beside a running server and without one, and a file copied back."""

import asyncio
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

import run
from server.openapi import VERSION
from tests.support.process import ServerProcess


async def test_the_first_start_makes_what_it_needs(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    data.parent.mkdir()
    async with ServerProcess(data) as server, aiohttp.ClientSession() as session:
        assert stat.S_IMODE((data / "secret").stat().st_mode) == 0o600
        assert (data / "bellwire.db").exists()
        async with session.get(f"{server.url}/") as page:
            assert page.status == 200 and "unsafe" not in page.headers["Content-Security-Policy"]
        for path in (
            "/docs",
            "/vendor/socket.io.esm.min.js",
            "/vendor/swagger-ui-bundle.js",
            "/static/js/app.js",
            "/readyz",
        ):
            async with session.get(server.url + path) as answer:
                assert answer.status == 200, path
        second = ServerProcess(data)
        with pytest.raises(AssertionError, match="Another server is using the data directory"):
            await second.start()
        assert await server.stop() == 0
    assert (data / "lock").read_text() == ""


async def test_the_start_says_what_a_newcomer_needs(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    hint = "no administrator yet; create one with"
    await server.start()
    await server.stop()
    said = server.log.read_text()
    assert f"data in {tmp_path / 'data'}; Ctrl+C stops" in said
    assert hint in said
    await server.command("user", "add", "root@example.org", "--permission", "admin")
    await server.start()
    await server.stop()
    assert server.log.read_text().count(hint) == 1


async def test_commands_with_and_without_a_server(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    ann = orjson.loads(await server.command("user", "add", "ann@example.org", "--name", "Ann", "--number", "5"))
    assert (ann["name"], ann["number"], ann["email"]) == ("Ann", 5, "ann@example.org")
    with pytest.raises(ChildProcessError, match="at least 8"):
        await server.command("user", "add", "short@example.org", "--password", "-", given="short\n")
    await server.command("user", "add", "eve@example.org", "--password", "-", given="not in any list\n")
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            login = {"email": "eve@example.org", "password": "not in any list"}
            async with session.post(f"{server.url}/api/v1/auth/login", json=login) as answer:
                assert answer.status == 200
            bob = await server.user(session, "bob@example.org", "--id", "b" * 24, "--permission", "platform.admin")
            assert bob.id == "b" * 24
            assert (await bob.post("/api/v1/tenants", {"name": "Another"})).status == 201
            names = tmp_path / "names"
            names.write_text("ann@example.org\n5\nAnn\n" + "b" * 24 + "\n")
            assert len((await server.command("token", "--user", "Ann", "5")).split("\n")) == 2
            tokens = (await server.command("token", "--users", str(names), "--ttl", "60")).split("\n")
            assert len(tokens) == 4
            for token in tokens:
                headers = {"Authorization": f"Bearer {token}"}
                async with session.get(f"{server.url}/api/v1/users/me", headers=headers) as answer:
                    assert answer.status == 200
            epoch = await server.command("epoch", "--new")
            socket = await bob.socket(epoch=epoch, offsets={f"user:{bob.id}": 0})
            assert socket.named("session:ready")[0][0]["epoch"] == epoch
            await socket.close()
        refused = {
            ("token", "--user", "nobody"): "Unknown user",
            ("token",): "Name a user",
            ("token", "--user", "5", "--permission", "x"): "Unknown permission",
            ("token", "--user", "5", "--tenant", "0" * 36): "Unknown tenant",
            ("user", "add", "ann@example.org"): "already",
            ("user", "add", "no-address"): "email",
            ("user", "add", "x@example.org", "--number", "99999999999999999999"): "number",
            ("user", "add", "x@example.org", "--uuid", "x"): "uuid",
            ("migrate",): "A server is using this database",
        }
        said = await asyncio.gather(*(server.command(*each) for each in refused), return_exceptions=True)
        for problem, raised in zip(refused.values(), said, strict=True):
            assert isinstance(raised, ChildProcessError) and re.search(problem, str(raised)), (problem, raised)
    finally:
        await server.stop()
    assert "Traceback" not in server.log.read_text()
    assert "BELLWIRE_JWT_SECRET=  #" in await server.command("check")
    server.environment["BELLWIRE_JWT_SECRET"] = "0123456789abcdef" * 2
    server.environment["BELLWIRE_DATABASE_URL"] = "postgresql://me:hush@host/name"
    shown = await server.command("check")
    assert "0123456789abcdef" not in shown and "hush" not in shown and "********@host" in shown


async def test_a_file_copied_back_to_an_earlier_state(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with ServerProcess(data) as server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org")
        chat_id = (await ann.post("/api/v2/chats", {"type": "group", "name": "One"})).json["_id"]
        channel = f"chat:{chat_id}"
        body = {"type": "text", "chatId": chat_id, "content": "x"}
        for _ in range(5):
            assert (await ann.post("/api/v2/messages", body)).status == 201
        await server.stop()
        shutil.copy(data / "bellwire.db", tmp_path / "backup.db")

        await server.start()
        socket = await ann.socket(offsets={channel: 3})
        epoch = socket.named("session:ready")[0][0]["epoch"]
        for _ in range(5):
            assert (await ann.post("/api/v2/messages", body)).status == 201
        await socket.close()
        resumed = await ann.socket(offsets={channel: 3}, epoch=epoch)
        assert resumed.named("session:ready")[0][0]["recovered"] == {channel: True}
        assert resumed.seqs(channel) == [4, 5, 6, 7, 8, 9, 10]
        await resumed.close()

        for stop in (server.stop, server.kill):
            await stop()
            for leftover in data.glob("bellwire.db-*"):
                leftover.unlink()
            shutil.copy(tmp_path / "backup.db", data / "bellwire.db")
            await server.start()
            for offset in (10, 5, 3):
                told = await ann.socket(offsets={channel: offset}, epoch=epoch)
                ready = told.named("session:ready")[0][0]
                assert ready["recovered"] == {channel: False} and ready["epoch"] != epoch
                assert ready["heads"][channel] == 5 and told.seqs(channel) == []
                await told.close()
            epoch = ready["epoch"]
            await ann.post("/api/v2/messages", body)


async def test_what_admins_can_the_operator_can_by_commands(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server, aiohttp.ClientSession() as session:
        root = await server.user(session, "root@example.org", "--permission", "admin")
        ann = await server.user(session, "ann@example.org")
        socket = await ann.socket()
        assert orjson.loads(await server.command("user", "ban", "ann@example.org"))["status"] == "banned"
        assert (await socket.event("session:closed"))[0] == {"reason": "banned"}
        assert (await ann.get("/api/v1/users/me")).status == 401
        with pytest.raises(ChildProcessError, match="The user is banned"):
            await server.command("user", "enable", "ann@example.org")
        assert orjson.loads(await server.command("user", "unban", ann.id))["status"] == "active"
        assert "#reset=" in orjson.loads(await server.command("user", "reset-link", ann.id))["url"]
        await server.command("user", "sign-out", "root@example.org")
        assert (await root.get("/api/v1/users/me")).status == 401, "over anybody"
        root = type(root)(session, server.url, await server.command("token", "--user", root.id), root.id)
        assert orjson.loads(await server.command("user", "delete", ann.id)) == {"deleted": ann.id}
        with pytest.raises(ChildProcessError, match="Unknown user"):
            await server.command("user", "ban", "ann@example.org")
        made = orjson.loads(await server.command("tenant", "add", "Another"))
        there = orjson.loads(await server.command("user", "add", "ann@example.org", "--tenant", made["uuid"]))
        assert there["tenantId"] == made["uuid"]
        assert orjson.loads(await server.command("push")) == []
        with pytest.raises(ChildProcessError, match="not found"):
            await server.command("push", "--retry", "1")
        trail = (await root.get("/api/v1/admin/audit")).json["data"]["items"]
        actions = [(each["actorId"], each["action"]) for each in reversed(trail)]
        assert actions == [
            (None, action)
            for action in ("user.ban", "user.unban", "user.reset-link", "user.sign-out", "user.delete", "tenant.create")
        ]
        await socket.close()


async def test_lists_are_a_document_a_line(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    made = [orjson.loads(await server.command("user", "add", f"{name}@example.org")) for name in ("ann", "bob")]
    await server.command("user", "delete", made[1]["id"])
    async with server, aiohttp.ClientSession() as session:
        root = await server.user(session, "root@example.org", "--permission", "admin")
        other = orjson.loads(await server.command("tenant", "add", "Another"))
        there = orjson.loads(await server.command("user", "add", "cid@example.org", "--tenant", other["uuid"]))
        hook = {"url": "https://hooks.example.org/", "events": ["message:new"]}
        created = await root.post("/api/v1/admin/webhooks", hook)
        assert created.status == 201, created.json

        async def listed(*command: str) -> list[Any]:
            return [orjson.loads(line) for line in (await server.command(*command)).split("\n") if line]

        assert [each["email"] for each in await listed("user", "list")] == ["ann@example.org", "root@example.org"]
        assert await listed("user", "list", "--tenant", other["uuid"]) == [there]
        assert await listed("user", "show", "ann@example.org") == [made[0]]
        with pytest.raises(ChildProcessError, match=r"Unknown user 'bob@example\.org'"):
            await server.command("user", "show", "bob@example.org")
        default, another = await listed("tenant", "list")
        assert default["uuid"] == made[0]["tenantId"] and another == other
        (shown,) = await listed("webhook", "list")
        assert shown["url"] == hook["url"] and "secret" not in shown
        assert await listed("webhook", "list", "--tenant", other["uuid"]) == []


async def test_a_list_has_as_many_pages_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(run, "PAGE_ITEMS", 2)
    monkeypatch.setenv("BELLWIRE_DATA_DIR", str(tmp_path / "data"))
    for number in range(4):
        assert await asyncio.to_thread(command_line, monkeypatch, "user", "add", f"{number}@example.org") == 0
    capsys.readouterr()
    assert await asyncio.to_thread(command_line, monkeypatch, "user", "list") == 0
    emails = [orjson.loads(line)["email"] for line in capsys.readouterr().out.splitlines()]
    assert emails == [f"{number}@example.org" for number in range(4)]


def command_line(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *arguments])
        return run.main()


async def test_every_command_explains_itself(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    assert await server.command("--version") == f"Bellwire {VERSION}"
    overview = await server.command("--help")
    for command in ("serve", "token", "user", "tenant", "webhook", "push", "migrate", "check", "backup", "restore"):
        assert re.search(rf"^    {command}  ", overview, re.MULTILINE), command
    assert re.search(r"^    list  ", await server.command("user", "--help"), re.MULTILINE)
    with pytest.raises(ChildProcessError, match="2: usage"):
        await server.command("user")


async def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "BELLWIRE_DATA_DIR": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "run.py", "check", env=environment, stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    _, problem = await process.communicate()
    assert (process.returncode, problem) == (1, b"")
