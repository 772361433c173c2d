"""A SQLite file copied back to an earlier state begins a new history; anything else does not."""

import shutil
from pathlib import Path

from storage import log
from storage.database import Database
from storage.transaction import Command


async def life(path: Path, *, commits: int = 3) -> str:
    """Start, write, stop; the epoch."""
    database = Database(f"sqlite:///{path}")
    await database.start()
    for _ in range(commits):
        await database.write(Command(lambda tx: log.open_channel(tx, "chat:1")))
    await database.close()
    return database.epoch


def copy(path: Path, name: str) -> Path:
    return Path(shutil.copy(path, path.with_name(name)))


async def test_a_restart_keeps_the_epoch(tmp_path: Path) -> None:
    path = tmp_path / "bellwire.db"
    assert await life(path) == await life(path) == await life(path)


async def test_a_file_from_before_the_last_start_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "bellwire.db"
    epoch = await life(path)
    backup = copy(path, "backup.db")
    assert await life(path) == epoch
    shutil.copy(backup, path)
    assert await life(path) != epoch


async def test_a_file_copied_while_it_ran_is_noticed_too(tmp_path: Path) -> None:
    path = tmp_path / "bellwire.db"
    database = Database(f"sqlite:///{path}")
    await database.start()
    await database.write(Command(lambda tx: log.open_channel(tx, "chat:1")))

    import sqlite3

    source, target = sqlite3.connect(path), sqlite3.connect(tmp_path / "backup.db")
    source.backup(target)
    source.close()
    target.close()
    await database.write(Command(lambda tx: log.open_channel(tx, "chat:2")))
    await database.close()
    shutil.copy(tmp_path / "backup.db", path)
    assert await life(path) != database.epoch


async def test_a_lost_or_broken_mark_is_no_proof(tmp_path: Path) -> None:
    path = tmp_path / "bellwire.db"
    epoch = await life(path)
    path.with_suffix(".mark").unlink()
    second = await life(path)
    assert second != epoch
    path.with_suffix(".mark").write_text("{")
    assert await life(path) != second
