"""Schema versions, by Alembic. SQLite is brought to the newest at start, PostgreSQL by ``run.py migrate``."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine


class NotMigrated(Exception):
    """The database is not at the newest schema; run: python run.py migrate"""


def config() -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.set_main_option("path_separator", "os")
    return settings


def upgrade(connection: Connection) -> None:
    """Bring the database behind ``connection`` to the newest schema; the caller commits."""
    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")


def upgrade_file(path: Path) -> None:
    """The same for a SQLite file, which is made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()


def require_newest(connection: Connection) -> None:
    newest = ScriptDirectory.from_config(config()).get_current_head()
    if MigrationContext.configure(connection).get_current_revision() != newest:
        raise NotMigrated(NotMigrated.__doc__)
