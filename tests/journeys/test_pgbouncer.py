"""Behind PgBouncer in transaction mode: each transaction may have another connection, and no session keeps anything."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conftest import ServerFactory
from tests.support.guard import HANG_SECONDS

SETTINGS = """
[databases]
* = host={place} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


@pytest.fixture
async def pooled(postgres_database: str) -> AsyncIterator[str]:
    """The URL of a database behind a pooler that has three connections for all."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    assert Path(program).exists(), "no PgBouncer: run make install"
    url = make_url(postgres_database)
    place = str(url.query["host"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        # It refuses to be root, and must reach the server's socket: it is who the server is.
        owner = os.stat(place).st_uid
        os.chown(folder, owner, -1)
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(SETTINGS.format(place=place, port=port))
        file.chmod(0o644)
        process = await asyncio.create_subprocess_exec(
            program, "-q", str(file), user=owner if os.getuid() == 0 else None
        )
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                assert process.returncode is None, "PgBouncer ended"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        writer.close()
        yield url.set(host="127.0.0.1", port=port, username="postgres", query={}).render_as_string(hide_password=False)
        process.kill()
        await process.wait()


async def test_a_node_behind_a_pooler(pooled: str, serve: ServerFactory) -> None:
    server = await serve(database_url=pooled, database_pooler="transaction")
    ann, bob = await server.people.many(2)
    chats = [await ann.group(bob, name=f"Group {number}") for number in range(5)]
    a, b = await ann.socket(), await bob.socket()
    sent = await asyncio.gather(*(ann.send(chat, str(number)) for chat in chats for number in range(20)))
    await b.event("message:new", 100)
    assert len({message["_id"] for message in sent}) == 100
    pages = await asyncio.gather(*(bob.get("/api/v2/chats?limit=50") for _ in range(20)))
    for page in pages:
        assert [each["unreadCount"] for each in page.json["items"]] == [20] * 5
    await asyncio.gather(*(bob.post(f"/api/v2/messages/{message['_id']}/read") for message in sent))
    listed = (await bob.get("/api/v2/chats")).json["items"]
    assert [each["unreadCount"] for each in listed] == [0] * 5
    assert (await bob.patch(f"/api/v2/messages/{sent[0]['_id']}", {"content": "not mine"})).status == 403
    assert (await ann.patch(f"/api/v2/messages/{sent[0]['_id']}", {"content": "mine"})).status == 200
    await a.close()
    await b.close()
