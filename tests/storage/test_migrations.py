"""The migrations make the schema that the models describe, and a database knows its version."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from storage.database import Database
from storage.migrations import NotMigrated
from storage.models import metadata


async def test_the_migrated_schema_is_that_of_the_models(database: Database) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await database.read(differences) == []


async def test_postgres_is_not_migrated_behind_ones_back(postgres_database: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(postgres_database.replace("+asyncpg", ""))
    await connection.execute("DROP TABLE alembic_version")
    await connection.close()
    with pytest.raises(NotMigrated, match=r"run\.py migrate"):
        await Database(postgres_database).start()


async def test_sqlite_is_migrated_at_start(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'sub' / 'new.db'}")
    await database.start()
    await database.close()
    assert (tmp_path / "sub" / "new.db").exists()
