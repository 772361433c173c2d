"""Schema versions, by Alembic. SQLite is brought to the newest at start, PostgreSQL by ``run.py migrate``."""

from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect, text

VERSIONS = Path(__file__).parent / "versions"


class NotMigrated(Exception):
    """The database is not at the newest schema; run: python run.py migrate"""


def known() -> set[str]:
    """A version's file begins with its number."""
    return {path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py")}


def newest() -> str:
    return max(known())


def is_newest(connection: Connection) -> bool:
    if not inspect(connection).has_table("alembic_version"):
        return False
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == newest()


def upgrade(connection: Connection, upto: str = "head") -> None:
    """Bring the database behind ``connection`` to the newest schema, or up to an older one; the caller commits."""
    if not is_newest(connection):
        from storage.migrations import steps

        steps.run(connection, upto)


def upgrade_file(path: Path) -> None:
    """The same for a SQLite file, which is made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()


def require_newest(connection: Connection) -> None:
    if not is_newest(connection):
        raise NotMigrated(NotMigrated.__doc__)
