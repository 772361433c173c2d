"""Backups: one moment of everything, of a running server, brought back on either database."""

import asyncio
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Connection, func, select

from storage import accounts, backup
from storage.backup import NoBackup
from storage.database import Database
from storage.models import metadata
from storage.transaction import Command, Tx
from tests.conftest import ServerFactory
from tests.faults import history
from tests.faults.history import Operation
from tests.support.files import encoded
from tests.support.postgres import connect
from tests.support.process import ProcessUser, ServerProcess

MESSAGES = "/api/v2/messages"


async def rows(database: Database) -> dict[str, list[Any]]:
    """All that is in there, but for what belongs to one installation."""

    def look(connection: Connection) -> dict[str, list[Any]]:
        tables = [each for each in metadata.sorted_tables if each.name not in (*backup.LEFT_OUT, "facts")]
        return {each.name: list(connection.execute(select(each).order_by(*each.primary_key))) for each in tables}

    return await database.read(look, snapshot=True)


async def test_everything_comes_back_on_either_database(
    serve: ServerFactory, postgres_database: str, tmp_path: Path
) -> None:
    server = await serve()
    ann = await server.people.make(grant=["admin"])
    bob = await server.people.make()
    chat = await ann.group(bob)
    await ann.send(chat, "a text with ü and \u0001 in it")
    await ann.post("/api/v1/credits/grants", {"userId": bob.id, "amount": 5})
    form = aiohttp.FormData()
    form.add_field("file", encoded("PNG"), filename="a.png")
    uploaded = (await ann.post("/api/v2/media", data=form)).json["id"]
    await ann.post(MESSAGES, {"type": "image", "chatId": chat, "mediaId": uploaded})
    database = server.services.database
    before, epoch = await rows(database), database.epoch
    folder = server.services.settings.data_dir
    file = tmp_path / "all.backup"
    told = await asyncio.to_thread(backup.make, database.url, file, media=folder / "media", secret=folder / "secret")
    assert told["messages"] == len(before["messages"]) > 0 and told["files"] == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    await empty(postgres_database)
    for number, url in enumerate((postgres_database, f"sqlite:///{tmp_path / 'new.db'}")):
        place = tmp_path / f"new{number}"
        back = await asyncio.to_thread(backup.restore, url, file, media=place / "media", secret=place / "secret")
        assert back == told
        again = Database(url)
        await again.start()
        assert await rows(again) == before
        assert again.epoch != epoch, "clients may have seen more than the backup holds"
        await again.write(Command(another_tenant))
        after = await rows(again)
        assert after["tenants"][-1].pk > max(row.pk for row in before["tenants"]), "a number that nobody had"
        await again.close()
        assert sorted(each.name for each in (place / "media").rglob("*") if each.is_file()) == sorted(
            each.name for each in (folder / "media").rglob("*") if each.is_file()
        )
        assert (place / "secret").read_text() == (folder / "secret").read_text()
        # And once more, from the other database.
        file = tmp_path / f"again{number}.backup"
        told = await asyncio.to_thread(backup.make, url, file, media=place / "media", secret=place / "secret")
        before = after


def another_tenant(tx: Tx) -> None:
    accounts.add_tenant(tx, "Another", None)


async def empty(url: str) -> None:
    connection = await connect(url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()


async def test_a_backup_under_load_is_one_moment(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org", "--permission=admin")
        (bob,) = await ann.others(1)
        chat = (await ann.post("/api/v2/chats", {"type": "group", "name": "x", "memberIds": [bob.id]})).json["_id"]
        await ann.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 10_000})
        operations: list[Operation] = []
        going = True

        async def write(number: int) -> None:
            while going:
                operation = Operation(f"{number}-{len(operations)}", chat)
                operations.append(operation)
                text = {"type": "text", "chatId": chat, "content": operation.key}
                answer = await ann.post(MESSAGES, text)
                operation.outcome, operation.document = "ok", answer.json
                await ann.post(
                    MESSAGES, {"type": "creditTransfer", "chatId": chat, "targetUserId": bob.id, "amount": 1}
                )

        writers = [asyncio.create_task(write(number)) for number in range(8)]
        while sum(each.outcome == "ok" for each in operations) < 100:
            await asyncio.sleep(0.02)
        acked = [each for each in operations if each.outcome == "ok"]
        file = tmp_path / "busy.backup"
        told = await server.command("backup", str(file))
        going = False
        await asyncio.gather(*writers)
        assert '"messages"' in told

        back = ServerProcess(tmp_path / "back")
        assert await back.command("restore", str(file)) == told
        with pytest.raises(ChildProcessError, match="not empty"):
            await back.command("restore", str(file))
        async with back:
            database = Database(f"sqlite:///{tmp_path / 'back' / 'bellwire.db'}")
            figures = await read(database, acked)
            assert {name: figures[name] for name in ("lost", "duplicate", "gap", "phantom")} == {
                "lost": 0, "duplicate": 0, "gap": 0, "phantom": 0,
            }  # fmt: skip
            assert '"tenants": 0' in (audit := await back.command("check", "ledger")), audit
            # Tokens count on, and the old server's clients find a new history.
            same = ProcessUser(session, back.url, ann.token or "", ann.id)
            assert (await same.get("/api/v1/users/me")).status == 200
            socket = await same.socket(offsets={f"chat:{chat}": 10**6}, epoch="of the old one")
            assert socket.named("session:ready")[0][0]["recovered"] == {f"chat:{chat}": False}
            await socket.close()
        with pytest.raises(ChildProcessError, match="already exists"):
            await server.command("backup", str(file))


async def read(database: Database, operations: list[Operation]) -> dict[str, int]:
    from sqlalchemy import create_engine

    assert database.path
    engine = create_engine(f"sqlite:///{database.path}")
    with engine.connect() as connection:
        stored = history.read(connection)
    engine.dispose()
    return history.check(operations, stored, [])


ABOUT = {
    "another format": '{"format": 1, "schema": "9999", "rows": {}}',
    "a number as schema": '{"format": 1, "schema": 14, "rows": {}}',
    "an unknown schema": '{"format": 1, "schema": "0009x", "rows": {}}',
    "no schema": '{"format": 1, "rows": {}}',
    "a list": "[1]",
    "rows in a list": '{"format": 1, "schema": "0001", "rows": []}',
    "deep": "[" * 100_000,
    "a number for a row": '{"format": 1, "schema": "0001", "rows": {"users": 1}}',
}


@pytest.mark.parametrize("what", ["nothing", "a text", "a cut one", *ABOUT])
async def test_what_is_no_backup_changes_nothing(tmp_path: Path, what: str) -> None:
    source, file = Database(f"sqlite:///{tmp_path / 'source.db'}"), tmp_path / "file"
    await source.start()
    await source.close()
    await asyncio.to_thread(backup.make, source.url, tmp_path / "good", media=None, secret=None)
    if what == "a text":
        file.write_text("no backup at all")
    elif what == "a cut one":
        file.write_bytes((tmp_path / "good").read_bytes()[:-2000])
    elif what in ABOUT:
        with tarfile.open(file, "w:gz") as archive:
            (tmp_path / "backup.json").write_text(ABOUT[what])
            archive.add(tmp_path / "backup.json", "backup.json")
            (tmp_path / "users").write_text("5\n")
            archive.add(tmp_path / "users", f"{backup.ROWS}users")
    url = f"sqlite:///{tmp_path / 'target.db'}"
    with pytest.raises((NoBackup, FileNotFoundError)):
        await asyncio.to_thread(backup.restore, url, file, media=None, secret=None)
    database = Database(url)
    await database.start()
    count = await database.read(
        lambda it: it.execute(select(func.count()).select_from(metadata.tables["users"])).scalar()
    )
    assert count == 0
    await database.close()
    assert not os.path.exists(f"{file}.new")
