"""The migrations make the schema that the models describe, and a database knows its version."""

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, select
from sqlalchemy.ext.asyncio import create_async_engine

from storage import backup
from storage.database import Database
from storage.migrations import NotMigrated, upgrade
from storage.models import metadata
from storage.models.search import search_metadata
from tests.conftest import ServerFactory
from tests.support.people import Api
from tests.support.postgres import connect


async def test_the_migrated_schema_is_that_of_the_models(database: Database) -> None:
    def differences(connection: Connection) -> object:
        wanted: Any = [metadata, search_metadata] if connection.dialect.name == "postgresql" else metadata
        return compare_metadata(MigrationContext.configure(connection), wanted)

    assert await database.read(differences) == []


async def test_postgres_is_not_migrated_behind_ones_back(postgres_database: str) -> None:
    connection = await connect(postgres_database)
    await connection.execute("DROP TABLE alembic_version")
    await connection.close()
    with pytest.raises(NotMigrated, match=r"run\.py migrate"):
        await Database(postgres_database).start()


async def test_sqlite_is_migrated_at_start(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'sub' / 'new.db'}")
    await database.start()
    await database.close()
    assert (tmp_path / "sub" / "new.db").exists()


async def first_schema(url: str, full: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """A database as the first release made it, with what it could hold of these rows; what was put in."""

    def fill(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        upgrade(connection, "0001")
        there = MetaData()
        there.reflect(connection)
        kept = {}
        for table in there.sorted_tables:
            if table.name in full:
                kept[table.name] = [{each.name: row[each.name] for each in table.columns} for row in full[table.name]]
                if kept[table.name]:
                    connection.execute(table.insert(), kept[table.name])
                    backup.go_on(connection, table)
        return kept

    engine = create_async_engine(url.replace("sqlite://", "sqlite+aiosqlite://"))
    async with engine.begin() as connection:
        kept = await connection.run_sync(fill)
    await engine.dispose()
    return kept


async def all_rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    def look(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        tables = [each for each in metadata.sorted_tables if each.name != "nodes"]
        return {
            each.name: [dict(row._mapping) for row in connection.execute(select(each).order_by(*each.primary_key))]
            for each in tables
        }

    return await database.read(look)


async def test_what_the_first_release_kept_is_there_in_the_newest(
    postgres_database: str, database_url: str, serve: ServerFactory, tmp_path: Path
) -> None:
    server = await serve()
    account = {"email": "ann@example.org", "password": "a long password", "name": "Ann"}
    made = (await server.people.anonymous.post("/api/v1/auth/register", account)).json["data"]
    bob = await server.people.make()
    ann = Api(server.people.session, server.url, made["accessToken"])
    chat = (await ann.post("/api/v2/chats", {"type": "group", "name": "x", "memberIds": [bob.id]})).json["_id"]
    message = (await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "old"})).json
    assert (await ann.patch(f"/api/v2/messages/{message['_id']}", {"content": "older"})).status == 200
    await bob.post(f"/api/v2/messages/{message['_id']}/read")
    await bob.post("/api/v1/users/me/blocks", {"userId": made["user"]["id"]})
    await bob.post(f"/api/v2/messages/{message['_id']}/report", {"reason": "r"})
    full = await all_rows(server.services.database)

    old = f"sqlite:///{tmp_path / 'old.db'}"
    if database_url.startswith("postgresql"):
        old = postgres_database
        connection = await connect(old)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.close()
    kept = await first_schema(old, full)
    assert {name for name, rows in kept.items() if not rows} <= {"revocations", "reset_links"}, "all are tried"
    await Database(old).migrate()
    newest = await serve(database_url=old)
    found = await all_rows(newest.services.database)
    del kept["facts"]
    for name, rows in kept.items():
        assert [{key: row[key] for key in rows[0]} for row in found[name]] == rows if rows else found[name] == [], name

    about = [row["about"] for row in found["events"] if row["name"] == "message:updated"]
    assert about == [message["seq"]], "edits of then are skipped for who joined later"
    again = (await newest.people.anonymous.post("/api/v1/auth/login", account)).json["data"]
    ann = Api(newest.people.session, newest.url, again["accessToken"])
    assert (await ann.get(f"/api/v2/messages/{message['_id']}")).json["content"] == "older"
    sent = await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "new"})
    assert sent.status == 201 and sent.json["seq"] > message["seq"]
